"""Plain traffic through a bond of three links, over both IP versions.

client ──┬─ wwan0 (NAT) 8 Mbit/s 20 ms ─┐
         ├─ wwan1 (NAT) 8 Mbit/s 20 ms ─┼── server ── web
         └─ wwan2 (NAT) 8 Mbit/s 20 ms ─┘
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys

import pytest

from bench.lab import LinkSpec
from bench.lab.iperf import iperf
from bench.lab.probe import Probe
from tests.netns.observe import INNER, INNER6, WEB, WEB6, carried, drops, mpbond

RATE = 8e6
SUM = 3 * RATE
BOTH = pytest.mark.parametrize("target", [INNER, INNER6], ids=["ipv4", "ipv6"])


@pytest.fixture(scope="module")
def lab(module_laboratory):
    lab = module_laboratory(*[LinkSpec.plain(rate_down=RATE, rate_up=RATE)] * 3)
    lab.start_server()
    lab.start_client(masquerade=False)  # sources stay as they are
    return lab


@BOTH
@pytest.mark.parametrize("size", [56, 1300, 4000, 20000])
def test_ping(lab, target, size):
    said = lab.run("client", "ping", "-c", "10", "-i", "0.05", "-s", str(size), target).stdout
    assert " 0% packet loss" in said


@BOTH
@pytest.mark.parametrize("direction", ["down", "up"])
def test_tcp_gets_more_than_any_one_link(lab, target, direction):
    seen = iperf(lab, target, server="server", flows=8, direction=direction, seconds=3, omit=1)
    assert seen.rate > 1.8 * RATE


@BOTH
@pytest.mark.parametrize("direction", ["down", "up"])
def test_udp_at_two_thirds_of_the_sum_arrives(lab, target, direction):
    seen = iperf(
        lab, target, server="server", udp_rate=SUM * 2 / 3, direction=direction, seconds=2, omit=1
    )
    assert seen.rate > 0.98 * SUM * 2 / 3
    assert seen.loss < 0.005


def test_every_link_carries_its_part_in_both_directions(lab):
    before = lab.report()
    probe = Probe(lab, INNER, interval=0.002)
    probe.wait_for(600)
    probe.finish()
    for link in range(3):
        for direction in ("up", "down"):
            assert carried(lab, link, direction) - before[f"{link} {direction}"]["carried"] > 150


def test_packets_come_in_order_though_three_links_race(lab):
    probe = Probe(lab, INNER, interval=0.001)
    probe.wait_for(1000)
    trace = probe.finish()
    numbers = [echo.number for echo in trace.echoes]
    assert numbers == sorted(numbers)
    assert trace.lost == trace.duplicates == 0


def test_the_server_translates_what_leaves_for_the_internet(laboratory):
    lab = laboratory(LinkSpec(), LinkSpec())
    lab.start_server()
    lab.start_client(default_route=True)
    for target in (WEB, WEB6):
        ping = ("ping", "-c", "3", "-i", "0.1", target)
        assert " 0% packet loss" in lab.run("client", *ping).stdout
        assert iperf(lab, target, flows=4, seconds=1).rate > 0


def test_status_in_words_and_as_json(lab):
    shown = mpbond(lab, "client", "status")
    for link in ("wwan0", "wwan1", "wwan2"):
        assert re.search(rf"{link}.*\bup\b", shown)
    told = json.loads(mpbond(lab, "client", "status", "--json"))
    assert told["role"] == "client"
    assert told["state"] == "connected"
    paths = told["sessions"][0]["paths"]
    assert [path["link"] for path in paths] == ["wwan0", "wwan1", "wwan2"]
    for path in paths:
        assert 0.015 < path["rtt"] < 0.3
        assert path["local"].startswith("192.168.8.100")
    server = json.loads(mpbond(lab, "server", "status", "--json"))
    assert server["sessions"][0]["peer"] == "client"
    assert {path["remote"].rsplit(":", 1)[0] for path in server["sessions"][0]["paths"]} == {
        link.public() for link in lab.links
    }


def test_only_root_and_the_group_may_speak_to_the_daemon(lab):
    mode = os.stat(lab.bond.control_socket("client")).st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) & 0o007 == 0


def test_a_scheduler_is_changed_while_traffic_flows(lab):
    probe = Probe(lab, INNER, interval=0.005)
    for name in ("rr", "xor", "weighted"):
        mpbond(lab, "client", "set", "scheduler", name, "--direction", "both")
        probe.wait_for(100)
        assert lab.bond.session("client")["scheduler"] == {"up": name, "down": name}
        lab.wait_until(
            lambda name=name: lab.bond.session("server")["scheduler"]["down"] == name,
            what="the server's change of scheduler",
        )
    trace = probe.finish()
    assert trace.lost == 0


def test_xor_keeps_a_flow_on_one_link(lab):
    mpbond(lab, "client", "set", "scheduler", "xor", "--direction", "both")
    lab.wait_until(
        lambda: lab.bond.session("server")["scheduler"]["down"] == "xor", what="xor at the server"
    )
    before = lab.report()
    probe = Probe(lab, INNER, interval=0.002)
    probe.wait_for(500)
    probe.finish()
    after = lab.report()
    for direction in ("up", "down"):
        used = [
            after[f"{link} {direction}"]["carried"] - before[f"{link} {direction}"]["carried"]
            for link in range(3)
        ]
        assert sum(count > 450 for count in used) == 1, used
    mpbond(lab, "client", "set", "scheduler", "weighted", "--direction", "both")


def test_a_wrong_setting_is_one_sentence(lab):
    control = str(lab.bond.control_socket("client"))
    argv = ("-m", "mpbond", "set", "scheduler", "fastest", "--control", control)
    refused = lab.run("client", sys.executable, *argv, check=False)
    assert refused.returncode in (1, 2)
    assert "fastest" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_source_that_is_not_the_clients_own_is_dropped_and_counted(lab):
    before = lab.status("server")["drops"]
    lab.spaces.ip("client", "addr add 10.99.0.1/32 dev lo", "addr add fd99::1/128 dev lo")
    try:
        for target, source in ((INNER, "10.99.0.1"), (INNER6, "fd99::1")):
            ping = ("ping", "-c", "5", "-i", "0.05", "-W", "1", "-I", source, target)
            assert "100% packet loss" in lab.run("client", *ping, check=False).stdout
    finally:
        lab.spaces.ip("client", "addr del 10.99.0.1/32 dev lo", "addr del fd99::1/128 dev lo")
    after = lab.status("server")["drops"]
    risen = {why: count - before.get(why, 0) for why, count in after.items()}
    assert max(risen.values()) >= 10, risen


def test_garbage_from_anybody_is_dropped_and_counted(lab):
    before = drops(lab, "server")
    probe = Probe(lab, INNER)
    lab.run("web", sys.executable, "-c", GARBAGE)
    probe.wait_for(50)
    assert probe.finish().lost == 0
    assert drops(lab, "server") - before >= 900


GARBAGE = """
import os, select, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(1, 1000):
    s.sendto(os.urandom(n % 1400), ("203.0.113.10", 4510))
    select.select([], [], [], 0.0005)
"""
