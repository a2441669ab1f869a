"""Links that go and come, fall silent, share a subnet, or speak only IPv6.

The probe's datagrams tell what a change costs: how many were lost, and for how long none came.
"""

from __future__ import annotations

import pytest

from bench.lab import LinkSpec
from bench.lab.iperf import Measurement
from bench.lab.probe import Probe
from tests.netns.observe import INNER, INNER6, PORT, SERVER6, carried

QUICK = 1.5  # s; longest silence a user would not call an outage


@pytest.fixture
def lab(laboratory):
    lab = laboratory(LinkSpec(), LinkSpec(), LinkSpec())
    lab.start_server()
    lab.start_client()
    return lab


def up(lab, side="client"):
    return sum(path["state"] == "up" for path in lab.bond.paths(side).values())


def test_a_link_pulled_and_put_back_under_load(lab):
    load = Measurement(lab, INNER, server="server", flows=4, seconds=10)
    probe = Probe(lab, INNER)
    probe.wait_for(50)
    lab.pull(0)
    lab.wait_until(lambda: up(lab) == 2, what="the pulled link being known as gone")
    probe.wait_for(50)
    lab.restore(0)
    lab.wait_until(lambda: up(lab) == 3, what="the link being up again")
    before = carried(lab, 0, "up"), carried(lab, 0, "down")
    probe.wait_for(100)
    assert carried(lab, 0, "up") > before[0]
    assert carried(lab, 0, "down") > before[1]
    assert probe.finish().longest_gap < QUICK
    assert load.result().rate > 8e6


def test_a_modem_taken_out_and_put_in_again(lab):
    probe = Probe(lab, INNER)
    lab.unplug(1)
    lab.wait_until(lambda: up(lab) == 2, what="the modem being known as gone")
    probe.wait_for(50)
    lab.plug(1)
    lab.wait_until(lambda: up(lab) == 3, what="the new interface being up")
    assert probe.finish().longest_gap < QUICK


@pytest.mark.parametrize("direction", [None, "up", "down"])
def test_a_link_that_falls_silent_gets_no_new_packets(lab, direction):
    """The side that sends into the silence finds out; the other way may go on being used."""
    senders = {None: ("client", "server"), "up": ("client",), "down": ("server",)}[direction]
    probe = Probe(lab, INNER)
    probe.wait_for(100)
    lab.silence(2, direction)
    for side in senders:
        lab.wait_until(lambda side=side: up(lab, side) == 2, what=f"silence known at the {side}")
    probe.wait_for(100)
    lab.unsilence(2, direction)
    for side in ("client", "server"):
        lab.wait_until(lambda side=side: up(lab, side) == 3, what="the link being up again")
    trace = probe.finish()
    assert trace.longest_gap < QUICK
    # srtt + 4 rttvar + 60 ms is 0.1 s here, in which a third of 10 datagrams is lost each way
    assert trace.lost < 40


def test_all_links_silent_and_back(lab):
    probe = Probe(lab, INNER)
    for link in range(3):
        lab.silence(link)
    lab.wait_until(lambda: up(lab) == 0, what="every link being down")
    for link in range(3):
        lab.unsilence(link)
    lab.wait_until(lambda: up(lab) == 3, what="every link being up again")
    probe.wait_for(50)
    probe.finish()


def test_any_link_alone_is_enough_to_start(laboratory):
    lab = laboratory(LinkSpec(), LinkSpec(), LinkSpec())
    lab.silence(0)
    lab.silence(2)
    lab.start_server()
    lab.start_client(wait=False)
    lab.bond.wait_paths("client", 1)
    probe = Probe(lab, INNER)
    lab.unsilence(0)
    lab.unsilence(2)
    lab.bond.wait_paths("client", 3)
    assert probe.finish().longest_gap < QUICK


def test_a_client_without_links_waits_for_the_first(laboratory):
    lab = laboratory(LinkSpec())
    lab.unplug(0)
    lab.start_server()
    lab.start_client(wait=False)
    lab.wait_until(lambda: "wwan" in lab.bond.log("client"), what="a warning that nothing matches")
    lab.plug(0)
    lab.bond.wait_paths("client", 1)
    assert " 0% packet loss" in lab.run("client", "ping", "-c", "3", "-i", "0.2", INNER).stdout


def test_equal_subnets_with_strict_reverse_path_filters(laboratory):
    lab = laboratory(LinkSpec(), LinkSpec(), LinkSpec(), rp_filter=1)
    lab.start_server()
    lab.start_client()
    probe = Probe(lab, INNER, interval=0.002)
    probe.wait_for(300)
    assert probe.finish().lost == 0
    for link in range(3):
        assert carried(lab, link, "up") > 80
        assert carried(lab, link, "down") > 80


def test_the_concentrator_by_ipv6(laboratory):
    lab = laboratory(LinkSpec(ipv6=True), LinkSpec(ipv6=True))
    lab.start_server()
    lab.start_client(endpoints=[f"[{SERVER6}]:{PORT}"])
    for target in (INNER, INNER6):
        probe = Probe(lab, target)
        probe.wait_for(100)
        assert probe.finish().lost == 0
    assert all(path["remote"] == f"[{SERVER6}]:{PORT}" for path in lab.bond.paths().values())


@pytest.mark.parametrize("endpoint", ["203.0.113.11:4510", "[2001:db8:1::11]:4510"])
def test_the_server_answers_from_the_address_it_was_spoken_to(laboratory, endpoint):
    lab = laboratory(LinkSpec(ipv6=True), LinkSpec(ipv6=True))
    lab.start_server()
    lab.start_client(endpoints=[endpoint])
    probe = Probe(lab, INNER)
    probe.wait_for(50)
    assert probe.finish().lost == 0
