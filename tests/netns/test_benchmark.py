"""Short measurements of everything that may carry the traffic, and what is left of them: nothing."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest

from bench.lab import namespaces
from bench.lab.run import Laboratory
from bench.links.shape import LinkSpec
from bench.results import Result
from bench.scenarios import Scenario
from bench.systems import System
from bench.workloads import WORKLOADS

SECONDS = 3.0
RATE = 8e6
TWO = Scenario(
    name="two",
    title="two links of 8 Mbit/s",
    links=(LinkSpec.plain(rate_down=RATE, rate_up=RATE, delay=0.010),) * 2,
)
TRACES = (
    "ip -o link",
    "ip rule",
    "ip -6 rule",
    "ip route show table all",
    "ip -6 route show table all proto 109",
    "ip mptcp endpoint",
    "nft list ruleset",
    "cat /proc/sys/net/ipv4/ip_forward",
    "ss -HtanO",
)
DOWNLOAD = WORKLOADS["tcp1_down_cubic"]


@pytest.fixture(scope="module")
def laboratory():
    with Laboratory(TWO) as built:
        yield built


def traces(laboratory):
    """What a system might have left in the namespaces that all systems share."""
    lab = laboratory.lab
    seen = {
        f"{host}: {command}": lab.run(host, *command.split(), check=False).stdout.splitlines()
        for host in ("client", "server", "web")
        for command in TRACES
    }
    seen |= {
        f"{host}: programs": namespaces.command(
            "ip", "netns", "pids", lab.spaces.full(host)
        ).stdout.split()
        for host in ("client", "server", "web")
    }
    sockets = Path("/var/run/wireguard").glob(f"*{lab.spaces.run_id}*")
    return seen | {"control sockets of WireGuard": [each.name for each in sockets]}


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("bare", 0.25, 0.5),
        ("single:1", 0.2, 0.5),
        ("rr+hold", 0.5, 0.96),
        ("adaptive", 0.5, 0.96),
        ("mptcp", 0.5, 0.98),
        ("wireguard", 0.2, 0.5),
    ],
)
def test_a_download_is_measured_over_every_kind_of_system(laboratory, name, least, most):
    before = traces(laboratory)
    system = System.parse(name)
    result = laboratory.measure(system, DOWNLOAD, seed=7, seconds=SECONDS)
    assert traces(laboratory) == before
    assert least < result.efficiency["down"] < most, result.reason
    assert (result.system, result.workload, result.seed) == (name, DOWNLOAD.name, 7)
    assert result.capacity["down"] == 2 * RATE * SECONDS / 8
    assert result.goodput["up"] is None
    assert sum(result.timeline.goodput_down) == sum(result.flows)
    assert len(result.timeline.capacity_down[1]) == SECONDS / 0.1
    assert result.lateness.p99 > 0
    assert result.lateness.overrun == 0
    assert Result.from_json(result.to_json()) == result
    programs = {"mpbond": "mpbond", "wireguard": "wireguard-go"}.get(system.kind)
    sides = {f"{programs} client", f"{programs} server"} if programs else set()
    assert set(result.cpu) == {"emulator", "generators"} | sides
    assert (result.tunnel is not None) == (system.kind == "mpbond")
    if result.tunnel is not None:
        assert result.tunnel.received["down"] > result.goodput["down"] * SECONDS / 8 / 1500
        assert 0 <= result.tunnel.lost <= 0.01 * result.tunnel.sent["down"]
    used = [sum(link) > RATE / 8 * SECONDS / 10 for link in result.timeline.down]
    if system.one_link:
        assert used == [number == result.link for number in range(2)]
        assert result.efficiency_of_link["down"] > result.efficiency["down"]
    else:
        assert used == [True, True]


def test_a_call_goes_on_beside_a_download_while_a_link_is_pulled(laboratory):
    result = laboratory.measure(
        System.parse("weighted"), WORKLOADS["pull"], seed=7, seconds=SECONDS
    )
    assert result.alive
    assert result.voice.sent == SECONDS * 50
    assert result.voice.lost_up < 0.5
    gone = result.timeline.capacity_down[0]
    assert gone[0] > 0
    assert gone[15] == 0
    assert result.capacity_by_link["down"][0] < result.capacity_by_link["down"][1]


def test_a_silent_link_carries_nothing_and_then_again(laboratory):
    result = laboratory.measure(
        System.parse("adaptive"), WORKLOADS["silent"], seed=7, seconds=SECONDS
    )
    assert result.alive
    assert result.links[0]["down"]["swallowed"] > 0
    assert result.timeline.capacity_down[0][15] == 0
    assert sum(result.timeline.down[0][11:19]) < sum(result.timeline.down[1][11:19]) / 4
    after = laboratory.measure(System.parse("bare:0"), DOWNLOAD, seed=7, seconds=1.0)
    assert after.links[0]["down"]["swallowed"] == 0
    assert after.efficiency_of_link["down"] > 0.5


def test_two_boxes_are_measured_at_once_over_links_of_their_own():
    links = (*TWO.links, *(dataclasses.replace(link, client=1) for link in TWO.links))
    scenario = dataclasses.replace(TWO, links=links)
    with Laboratory(scenario) as built:
        result = built.measure(System.parse("adaptive"), WORKLOADS["fair"], seed=7, seconds=2.0)
    assert result.valid, result.reason
    assert len(result.boxes) == 2
    assert min(result.boxes) > 2.0 * RATE / 8 / 2
    assert sum(result.boxes) * 8 / 2.0 == result.goodput["down"]
    assert {"mpbond client", "mpbond client1", "mpbond server"} < set(result.cpu)
    carried = [sum(series) for series in result.timeline.down]
    assert min(carried) > 2.0 * RATE / 8 / 5


@pytest.mark.parametrize("name", ["weighted", "mptcp", "wireguard"])
def test_a_failure_in_the_middle_leaves_nothing_behind(laboratory, monkeypatch, name):
    before = traces(laboratory)

    def refuse(_link):
        raise OSError("the cable is stuck")

    with monkeypatch.context() as patched:
        patched.setattr(laboratory.lab, "pull", refuse)
        with pytest.raises(OSError, match="the cable is stuck"):
            laboratory.measure(System.parse(name), WORKLOADS["pull"], seed=7, seconds=1.0)
    assert traces(laboratory) == before


def test_a_laboratory_that_is_left_by_an_exception_is_gone():
    laboratory = Laboratory(TWO)
    run_id = laboratory.lab.spaces.run_id
    with pytest.raises(ZeroDivisionError), laboratory:
        raise ZeroDivisionError
    left = [each.name for each in namespaces.NAMED.iterdir() if f"mpb{run_id}-" in each.name]
    assert left == []
    assert not (namespaces.RUNS / run_id).exists()


def test_two_laboratories_measure_side_by_side(laboratory):
    found = {}

    def measure(which, laboratory):
        system = System.parse("wireguard")
        found[which] = laboratory.measure(system, DOWNLOAD, seed=7, seconds=2.0)

    with Laboratory(TWO) as other:
        threads = [
            threading.Thread(target=measure, args=each) for each in enumerate((laboratory, other))
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert [found[which].efficiency["down"] > 0.15 for which in range(2)] == [True, True]
