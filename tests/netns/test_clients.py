"""Two client boxes at one server, a host behind a client, and prefixes routed to one.

lan ── client ──┬─ modem0 ─┐
                ├─ modem1 ─┼── net ──┬── server
       client1 ─┴─ modem2 ─┘         └── web
"""

from __future__ import annotations

import base64
import sys

import pytest

from bench.lab import LinkSpec
from bench.lab.iperf import Measurement
from bench.lab.probe import Probe
from tests.netns.observe import INNER, INNER6, WEB, WEB6, drops

LINKS = (LinkSpec(), LinkSpec(), LinkSpec(client=1))


def loses_all(lab, namespace, target):
    ping = ("ping", "-c", "3", "-i", "0.1", "-W", "1", target)
    return "100% packet loss" in lab.run(namespace, *ping, check=False).stdout


def reaches(lab, namespace, target):
    ping = ("ping", "-c", "3", "-i", "0.1", "-W", "1", target)
    return " 0% packet loss" in lab.run(namespace, *ping, check=False).stdout


def uses_the_tunnel(lab):
    status = lab.status("client")
    return status["default_route"] and status["state"] == "connected"


def test_two_clients_at_once(laboratory):
    lab = laboratory(*LINKS)
    lab.start_server()
    lab.start_client(0)
    lab.start_client(1)
    assert {each["peer"] for each in lab.status("server")["sessions"]} == {"client", "client1"}
    loads = [
        Measurement(lab, INNER, client=box, server="server", flows=2, seconds=4)
        for box in ("client", "client1")
    ]
    assert all(load.result().rate > 5e6 for load in loads)
    lab.stop(lab.bond.running["client1"])
    assert reaches(lab, "client", INNER)


@pytest.mark.parametrize("allowed", [False, True])
def test_clients_reach_each_other_only_if_allowed(laboratory, allowed):
    lab = laboratory(*LINKS)
    lab.start_server(client_to_client=allowed)
    lab.start_client(0)
    lab.start_client(1)
    before = drops(lab, "server")
    for address in lab.bond.inner("client1"):
        assert reaches(lab, "client", address) is allowed
    assert allowed or drops(lab, "server") > before


def test_a_host_behind_the_client_uses_the_tunnel(laboratory):
    lab = laboratory(LinkSpec(), LinkSpec())
    lab.start_server()
    lab.start_client(default_route=True, masquerade=True)
    for target in (WEB, WEB6, INNER, INNER6):
        assert reaches(lab, "lan", target)
    probe = Probe(lab, WEB, client="lan", server="web")
    lab.pull(0)
    probe.wait_for(50)
    assert probe.finish().longest_gap < 1.5


def test_a_routed_prefix_is_reached_from_outside_without_nat(laboratory):
    lab = laboratory(LinkSpec(), LinkSpec())
    routes = ["192.0.2.8/29", "2001:db8:77:1::/64"]
    lab.start_server(peers={"client": {"routes": routes}})
    lab.start_client(default_route=True, masquerade=True)
    lab.spaces.ip(
        "client", "addr add 192.0.2.9/32 dev lan0", "addr add 2001:db8:77:1::9/128 dev lan0 nodad"
    )
    for address, target in (("192.0.2.9", WEB), ("2001:db8:77:1::9", WEB6)):
        assert reaches(lab, "web", address)
        sniffer = lab.popen(
            "web", sys.executable, "-c", SOURCE_SEEN.format(family=6 if ":" in target else 4)
        )
        assert sniffer.stdout.readline() == "ready\n"
        lab.run("client", sys.executable, "-c", SEND_FROM.format(source=address, target=target))
        assert sniffer.stdout.readline().strip() == address


SOURCE_SEEN = """
import socket
s = socket.socket(socket.AF_INET if {family} == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("", 9009))
print("ready", flush=True)
print(s.recvfrom(100)[1][0], flush=True)
"""
SEND_FROM = """
import socket
s = socket.socket(socket.AF_INET6 if ":" in "{source}" else socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("{source}", 0))
s.sendto(b"hello", ("{target}", 9009))
"""


def test_when_the_server_is_down_traffic_goes_directly_or_is_blocked(laboratory):
    for way in ("direct", "block"):
        lab = laboratory(LinkSpec(), LinkSpec())
        lab.start_client(default_route=True, masquerade=True, when_down=way, wait=False)
        lab.wait_until(lambda lab=lab: lab.bond.log("client"), what="the client's first words")
        lab.wait_until(
            lambda lab=lab, way=way: reaches(lab, "lan", WEB) is (way == "direct"),
            what=f"when_down = {way}",
        )
        assert lab.status("client")["when_down"] == way
        assert reaches(lab, "client", WEB) is (way == "direct")
        lab.start_server()
        lab.wait_until(lambda lab=lab: uses_the_tunnel(lab), what="the tunnel being used")
        lab.wait_until(lambda lab=lab: reaches(lab, "lan", WEB), what="the LAN in the tunnel")
        lab.stop(lab.bond.running["server"])
        lab.wait_until(
            lambda lab=lab, way=way: reaches(lab, "lan", WEB) is (way == "direct"),
            what=f"when_down = {way} after the server went",
        )


def test_rules_that_others_remove_come_back(laboratory):
    lab = laboratory(LinkSpec(), LinkSpec())
    lab.start_server()
    lab.start_client(default_route=True)
    before = lab.run("client", "ip", "rule").stdout
    lab.run("client", "ip", "rule", "flush")
    for priority, table in ((32766, "main"), (32767, "default")):
        lab.run("client", "ip", "rule", "add", "priority", str(priority), "lookup", table)
    assert lab.run("client", "ip", "rule").stdout != before
    lab.wait_until(lambda: lab.run("client", "ip", "rule").stdout == before, 30, "the rules again")
    assert reaches(lab, "client", WEB)


def test_a_stranger_gets_no_session(laboratory):
    lab = laboratory(*LINKS)
    stranger = base64.b64encode(bytes([9]) + bytes(31)).decode()
    lab.start_server(peers={"client1": {"public_key": stranger}})
    lab.start_client(0)
    before = drops(lab, "server")
    lab.start_client(1, wait=False)
    lab.wait_until(lambda: drops(lab, "server") > before, what="the stranger being counted")
    assert [each["peer"] for each in lab.status("server")["sessions"]] == ["client"]
    assert loses_all(lab, "client1", INNER)
