"""Links whose packets are small, big, or both."""

from __future__ import annotations

import pytest

from bench.lab import LinkSpec
from bench.lab.iperf import Measurement
from tests.netns.observe import INNER, INNER6

SETS = {"small": (1280, 1280), "big": (9000, 9000), "mixed": (1280, 1500, 9000)}


HEADERS = 28 + 34  # bytes of outer IPv4 and UDP, and of the tunnel's own


def measure_all(lab):
    """Runs TCP over both IP versions at once, one direction after the other."""
    for direction in ("down", "up"):
        runs = [
            Measurement(
                lab, target, server="server", flows=4, direction=direction, seconds=2, omit=1
            )
            for target in (INNER, INNER6)
        ]
        rates = [run.result().rate for run in runs]
        assert min(rates) > 1e6
        assert sum(rates) > 0.9 * 8e6


@pytest.mark.parametrize("mtus", SETS.values(), ids=SETS.keys())
def test_everything_passes_whatever_the_links_packets_are(laboratory, mtus):
    lab = laboratory(*[LinkSpec(mtu=mtu) for mtu in mtus])
    lab.start_server()
    lab.start_client()
    tun = lab.status("client")["tun"]["mtu"]
    assert tun == max(1280, min(mtus) - HEADERS)  # or full packets would all go in two parts
    for target, header in ((INNER, 28), (INNER6, 48)):
        for size in (tun - header, tun - header + 1, 8000):
            ping = ("ping", "-c", "6", "-i", "0.05", "-s", str(size), target)
            assert " 0% packet loss" in lab.run("client", *ping).stdout
    measure_all(lab)


def test_the_smallest_tunnel_over_the_smallest_links(laboratory):
    lab = laboratory(LinkSpec(mtu=1280), LinkSpec(mtu=1280))
    lab.start_server(mtu=1280)
    lab.start_client(mtu=1280)
    measure_all(lab)


def test_a_network_narrower_than_the_link_says_is_no_black_hole(laboratory):
    lab = laboratory(LinkSpec(), LinkSpec())
    for modem in ("modem0", "modem1"):
        lab.run(modem, "ip", "link", "set", "wan", "mtu", "1400")
        lab.run("net", "ip", "link", "set", modem, "mtu", "1400")
    lab.start_server()
    lab.start_client()
    assert lab.status("client")["tun"]["mtu"] == 1438
    for target in (INNER, INNER6):
        ping = ("ping", "-c", "6", "-i", "0.05", "-s", str(1438 - 48), target)
        assert " 0% packet loss" in lab.run("client", *ping).stdout
    measure_all(lab)
