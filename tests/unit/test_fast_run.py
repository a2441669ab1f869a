"""In which order tunnels are visited, and what becomes of one that fails."""

import contextlib

import pytest

from bench.errors import BenchError
from bench.fast import run
from bench.fast.load import Transferred
from bench.fast.run import How, Tunnel
from bench.fast.tunnels import Carrier
from bench.lab.namespaces import LabError

DOWN = "tcp1_down_cubic"


def how(*names, workloads=(DOWN,), **more):
    return How(tunnels=[Tunnel.parse(name) for name in names], workloads=workloads, **more)


def test_each_repetition_begins_with_another_tunnel():
    made = run.visits(how("veth", "mpbond:1", "fastd", repetitions=3))
    order = [visit.tunnel.name for visit in made]
    assert order == [
        *("veth", "mpbond:1", "fastd"),
        *("mpbond:1", "fastd", "veth"),
        *("fastd", "veth", "mpbond:1"),
    ]


def test_two_paths_are_measured_over_limited_wires_too():
    made = list(run.visits(how("mpbond:1", "mpbond:2", workloads=(DOWN, "ping"), repetitions=1)))
    assert [(visit.scenario, visit.tunnel.name) for visit in made] == [
        ("wires", "mpbond:1"),
        ("wires", "mpbond:2"),
        ("fast2", "mpbond:2"),
    ]
    assert made[-1].workloads == (DOWN,)


def test_bare_wires_are_not_asked_for_what_no_generator_makes():
    workloads = ("udp1300_up", "train1300_up", "ping")
    bare, carried = run.visits(how("veth", "mpbond:1", workloads=workloads, repetitions=1))
    assert bare.workloads == ("ping",)
    assert carried.workloads == workloads
    assert not list(run.visits(how("veth", workloads=workloads[:2], repetitions=1)))


def test_workloads_are_asked_for_by_the_beginnings_of_their_names():
    assert run.workloads_of(["tcp1", "ping"]) == (
        *("tcp1_down_cubic", "tcp1_up_cubic", "ping", "ping_loaded"),
    )
    assert run.workloads_of([]) == run.WORKLOADS
    with pytest.raises(BenchError, match="no workload 'sctp'"):
        run.workloads_of(["sctp"])


def test_the_time_it_takes_grows_with_what_is_asked_for():
    short, long = (how("veth", workloads=run.WORKLOADS, repetitions=n) for n in (1, 5))
    assert run.seconds_of(long) == pytest.approx(5 * run.seconds_of(short))


@pytest.fixture
def wires(monkeypatch):
    """Wires that are none, with tunnels that stand, but for those in `broken`."""

    class Wires:
        def __init__(self, count):
            self.count, self.limits, self.broken = count, [], set()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def limit(self, rates):
            self.limits.append(rates)

        def unlimit(self):
            self.limits.append(())

    made = Wires(0)

    def build(count):
        made.count = count
        return made

    @contextlib.contextmanager
    def carrying(_wires, tunnel):
        if tunnel.kind in made.broken or tunnel.name in made.broken:
            raise LabError(f"{tunnel.name} does not come up")
        yield Carrier({}, {"program": 1}, {"tunnel": tunnel.name})

    def transfer(_wires, carrier, *, direction, flows, seconds):
        rate = 500e6 if carrier.versions["tunnel"].endswith("umac") else 400e6
        return Transferred(
            bytes=round(rate * seconds / 8),
            seconds=seconds,
            retransmits=3,
            cpu={"program": 2.0},
            generators=0.5,
        )

    monkeypatch.setattr(run, "Wires", build)
    monkeypatch.setattr(run, "carrying", carrying)
    monkeypatch.setattr(run.load, "transfer", transfer)
    monkeypatch.setattr(run.Tunnel, "require", lambda _tunnel: None)
    return made


def test_what_was_measured_is_recorded_at_once(wires):
    kept, said = [], []
    found = run.measure(how("mpbond:2", repetitions=1, seconds=4.0), kept.append, said.append)
    assert found == kept
    assert wires.count == 2
    assert wires.limits == [(), run.FAST2_RATES, ()]
    one = found[0]
    assert (one.clock, one.scenario, one.system, one.workload) == (
        *("fast", "wires", "mpbond:2", DOWN),
    )
    assert one.goodput == {"down": pytest.approx(400e6)}
    assert one.cpu_per_gb == {"program": pytest.approx(10.0)}
    assert one.cpu["generators"] == 0.5
    assert "400 Mbit/s" in said[0]


def test_a_tunnel_that_does_not_come_up_costs_its_own_figures_only(wires):
    wires.broken = {"wireguard"}
    workloads = (DOWN, "tcp1_up_cubic")
    found = run.measure(
        how("wireguard", "veth", workloads=workloads, repetitions=1), lambda _: None, lambda _: None
    )
    assert [(one.system, one.valid) for one in found] == [
        *(("wireguard", False), ("wireguard", False), ("veth", True), ("veth", True)),
    ]
    assert found[0].reason == "wireguard does not come up"


def test_fastd_is_measured_with_the_method_that_is_fastest_here(wires):
    wires.broken = {"fastd:aes128-ctr+umac"}
    said = []
    (one,) = run.measure(how("fastd", repetitions=1), lambda _: None, said.append)
    assert (one.system, one.versions["tunnel"]) == ("fastd", "fastd:salsa2012+umac")
    assert any("aes128-ctr+umac does not work here" in text for text in said)


def test_fastd_that_works_with_no_method_is_an_error(wires):
    wires.broken = {"fastd"}
    with pytest.raises(BenchError, match="none of the methods"):
        run.measure(how("fastd", repetitions=1), lambda _: None, lambda _: None)
