"""The wires of the fast path: what carries packets over them, a second each, and what is left: nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.fast import crowd, load, run, soak, tunnels
from bench.fast.tunnels import Tunnel, carrying
from bench.fast.wires import CLIENT, SERVER, Wires
from bench.lab import namespaces
from bench.lab.namespaces import LabError
from bench.lab.processes import cpu_seconds

SECOND = 1.0


@pytest.fixture(scope="module")
def wires():
    with Wires(2) as built:
        yield built


def traces(wires):
    """What a tunnel might have left in the namespaces that all share."""
    seen = {
        f"{side}: {command}": wires.run(side, *command.split()).stdout.splitlines()
        for side in (CLIENT, SERVER)
        for command in ("ip -o link", "ip rule", "ip route show table all", "nft list ruleset")
    }
    return seen | {
        f"{side}: programs": namespaces.command(
            "ip", "netns", "pids", wires.spaces.full(side)
        ).stdout.split()
        for side in (CLIENT, SERVER)
    }


def test_a_second_of_everything_over_bare_wires_and_one_path():
    kept, said = [], []
    how = run.How(
        tunnels=[Tunnel.parse("veth"), Tunnel.parse("mpbond:1")],
        workloads=("tcp1_down_cubic", "udp1300_up", "train1300_down", "ping"),
        seconds=SECOND,
        repetitions=1,
    )
    found = run.measure(how, kept.append, said.append)
    assert found == kept
    assert [one.valid for one in found] == [True] * 6, [one.reason for one in found]
    bare, carried = found[0], found[2]
    assert bare.goodput["down"] > carried.goodput["down"] > 10e6
    assert set(carried.cpu_per_gb) == {"mpbond client", "mpbond server"}
    assert carried.cpu_per_gb["mpbond server"] > 0
    for stream in found[3:5]:
        assert stream.udp.sent > 1000
        # offered is nine tenths of what TCP got, by super-packets: far more than single packets get through
        assert stream.udp.sent - stream.udp.lost > 1000
    assert 0 < found[1].round_trip.p50 < found[5].round_trip.p50 < 0.1


@pytest.mark.parametrize(
    "name", ["mpbond:2", "wireguard", "openvpn", f"fastd:{tunnels.METHODS[1]}"]
)
def test_every_tunnel_carries_both_ways_and_leaves_nothing(wires, name):
    before = traces(wires)
    with carrying(wires, Tunnel.parse(name)) as carrier:
        for direction in ("down", "up"):
            moved = load.transfer(wires, carrier, direction=direction, flows=2, seconds=0.5)
            assert moved.doubt is None
            assert moved.rate > 10e6
            assert moved.generators > 0
        small = load.stream(
            wires, carrier, direction="down", size=36, rate=2000, seconds=0.5, warm=0.2
        )
        assert small.doubt is None
        assert small.lost < 0.2
        assert len(carrier.processes) == 2
    assert traces(wires) == before
    assert not list(Path("/var/run/wireguard").glob(f"*{wires.spaces.run_id}*"))


def test_limited_wires_carry_what_they_are_limited_to(wires):
    before = traces(wires)
    wires.limit((40e6, 20e6))
    try:
        with carrying(wires, Tunnel.parse("veth")) as carrier:
            moved = load.transfer(wires, carrier, direction="up", flows=1, seconds=SECOND)
    finally:
        wires.unlimit()
    assert 0.7 * 40e6 < moved.rate < 40e6
    assert traces(wires) == before


def test_a_tunnel_whose_program_dies_is_an_error_and_leaves_nothing(wires):
    before = traces(wires)
    with pytest.raises(LabError, match="openvpn of the server ended"):
        kill_in_the_middle(wires)
    assert traces(wires) == before


def kill_in_the_middle(wires):
    with carrying(wires, Tunnel.parse("openvpn")) as carrier:
        pid = carrier.processes["openvpn server"]
        wires.run(SERVER, "kill", "-9", str(pid))
        wires.wait_until(lambda: has_ended(pid))


def has_ended(pid):
    try:
        cpu_seconds(pid)
    except ProcessLookupError:
        return True
    return False


def test_wires_that_are_left_by_an_exception_are_gone():
    wires = Wires(1)
    with pytest.raises(ZeroDivisionError), wires:
        raise ZeroDivisionError
    assert not [each for each in namespaces.NAMED.iterdir() if wires.spaces.run_id in each.name]


def test_a_short_soak_looks_at_both_programs():
    said = []
    findings, kept = soak.soak(5.0, 1, said.append)
    assert [finding.side for finding in findings] == ["client", "server"]
    for finding in findings:
        assert finding.descriptors
        assert finding.first.memory > 10e6
    assert len(kept["samples"]["client"]) >= soak.SAMPLES
    assert kept["rate"] > 10e6


def test_a_crowd_of_idle_clients_connects_and_leaves_nothing():
    before = namespaces_here()
    finding, kept = crowd.crowd(20, SECOND, lambda _text: None, settling=0.0)
    assert (finding.clients, finding.connected, finding.lost) == (20, 20, 0)
    assert finding.seconds >= SECOND
    assert 0 <= finding.cpu < 1
    assert finding.memory < crowd.MEMORY
    # a handshake each, and what proves the path
    assert kept["sights"]["last"]["clients"]["sent"] >= 2 * 20
    assert kept["sights"]["last"]["clients"]["received"] >= 2 * 20
    assert kept["sights"]["alone"]["memory"] > 10e6
    assert namespaces_here() == before


def namespaces_here():
    return {each.name for each in namespaces.NAMED.iterdir() if f"mpb{os.getpid()}x" in each.name}
