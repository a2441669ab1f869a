"""Programs that are stopped, killed and started again, and what they leave on the system."""

from __future__ import annotations

import signal

import pytest

from bench.lab import LinkSpec
from bench.lab.probe import Probe
from tests.netns.observe import INNER, INNER6, WEB, system

HEALED = 2.0  # s, under traffic


@pytest.fixture
def lab(laboratory):
    return laboratory(LinkSpec(), LinkSpec(ipv6=True))


def crash(lab, side):
    """Ends a daemon as a crash or the out-of-memory killer would."""
    child = lab.bond.running.pop(side)
    child.send_signal(signal.SIGKILL)
    child.wait()


def healing_time(probe, since):
    """Seconds from `since` to the first answer of a datagram that left after it."""
    return min(echo.received for echo in probe.echoes() if echo.sent > since) - since


@pytest.mark.parametrize("end", ["stop", "crash"])
def test_the_server_is_restarted_under_traffic(lab, end):
    lab.start_server()
    lab.start_client()
    probe = Probe(lab, INNER)
    if end == "stop":
        assert lab.stop(lab.bond.running["server"]) == 0
    else:
        crash(lab, "server")
    lab.start_server()
    since = lab.now()
    probe.wait_for(20)
    assert healing_time(probe, since) < HEALED
    lab.bond.wait_paths("client", 2)
    probe.finish()


@pytest.mark.parametrize("end", ["stop", "crash"])
def test_the_client_is_restarted_under_traffic(lab, end):
    """The server is pinging all the while; the new client must not be kept out by the old one."""
    lab.start_server()
    lab.start_client()
    client = lab.bond.inner("client")[0]
    probe = Probe(lab, client, client="server", server="client")
    if end == "stop":
        assert lab.stop(lab.bond.running["client"]) == 0
    else:
        crash(lab, "client")
    lab.start_client()
    since = lab.now()
    probe.wait_for(20)
    assert healing_time(probe, since) < HEALED
    probe.finish()
    assert len(lab.status("server")["sessions"]) == 1


def test_an_idle_client_finds_a_restarted_server_by_one_keepalive(lab):
    lab.start_server()
    lab.start_client(keepalive=2)
    crash(lab, "server")
    lab.start_server()
    lab.wait_until(lambda: lab.status("server")["sessions"], 6, "the client's new session")


def test_sigterm_undoes_everything(lab):
    before = {side: system(lab, side) for side in ("client", "server")}
    lab.start_server()
    lab.start_client(default_route=True, masquerade=True)
    assert system(lab, "client") != before["client"]
    assert system(lab, "server") != before["server"]
    for side in ("client", "server"):
        assert lab.stop(lab.bond.running[side]) == 0
        assert system(lab, side) == before[side]


def test_what_a_killed_client_left_is_cleaned_at_the_next_start(lab):
    before = {side: system(lab, side) for side in ("client", "server")}
    lab.start_server()
    lab.start_client(default_route=True, masquerade=True)
    during = {side: system(lab, side) for side in ("client", "server")}
    for side in ("client", "server"):
        crash(lab, side)
    lab.start_server()
    lab.start_client(default_route=True, masquerade=True)
    assert " 0% packet loss" in lab.run("client", "ping", "-c", "3", "-i", "0.2", WEB).stdout
    for side in ("client", "server"):
        for look in ("rules", "IPv6 rules", "nftables", "parameters"):
            assert system(lab, side)[look] == during[side][look]
        assert lab.stop(lab.bond.running[side]) == 0
        assert system(lab, side) == before[side]


def test_a_second_daemon_does_not_disturb_the_first(lab):
    lab.start_server()
    lab.start_client()
    first = lab.bond.running["client"]
    second = lab.start_client(wait=False)
    assert second.wait(20) == 1
    lab.bond.running["client"] = first
    assert "mpbond:" in lab.bond.log("client")
    for target in (INNER, INNER6):
        assert " 0% packet loss" in lab.run("client", "ping", "-c", "3", "-i", "0.2", target).stdout


def test_a_dry_run_changes_nothing_and_says_what_it_would_do(lab):
    before = system(lab, "client")
    lab.start_server()
    child = lab.bond.dry_run("client", default_route=True)
    assert child.returncode == 0
    assert "ip rule add" in child.stdout
    assert system(lab, "client") == before
