"""Measures tunnels over plain wires: one visit after the other, each with all its workloads.

A visit sets one tunnel up, measures workload by workload, and takes it down. Every repetition visits all
tunnels, each time beginning with another, so that whatever else the machine does befalls all alike. Results
are the laboratory's (`bench.results`), on the clock "fast" and in the scenarios `wires` and `fast2`.

    tcpN_down_cubic, tcpN_up_cubic   N flows of TCP; CPU seconds of each process for 1e9 bytes
    udp1300_…, train1300_…           datagrams of 1,300 bytes at nine tenths of what one flow of TCP got in
                                     the same visit; trains are handed to the kernel 16 at a time (UDP GSO)
    udp64_…                          packets of 64 bytes, as many as pass with at most 1 % lost
    ping, ping_loaded                1,000 small packets and their echoes, 5 ms apart; beside one flow down
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from bench import results
from bench.errors import BenchError, unknown
from bench.fast import load
from bench.fast.tunnels import FASTD, METHODS, MPBOND, VETH, Tunnel, carrying
from bench.fast.wires import Wires
from bench.lab.namespaces import LabError
from bench.results.measured import quantiles
from bench.results.provenance import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bench.fast.tunnels import Carrier
    from bench.results import Result

CLOCK = "fast"
WIRES, FAST2 = "wires", "fast2"
FAST2_RATES = (300e6, 150e6)
"""bit/s of the wires of the scenario fast2, which are token buckets of the kernel."""
HEADERS = 28
UDP_PAYLOAD, SMALL_PAYLOAD = 1300, 64 - HEADERS
UDP_SHARE = 0.9
TRAIN = 16
TRIAL = 1.0
"""Seconds in which each of fastd's methods shows what it can."""
WORKLOADS = (
    *("tcp1_down_cubic", "tcp1_up_cubic", "tcp8_down_cubic", "tcp8_up_cubic"),
    *("udp1300_down", "udp1300_up", "train1300_down", "train1300_up"),
    *("udp64_down", "udp64_up", "ping", "ping_loaded"),
)
ON_FAST2 = ("tcp1_down_cubic", "tcp1_up_cubic")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What is measured, and how often."""

    tunnels: Sequence[Tunnel]
    workloads: Sequence[str]
    seconds: float = 5.0
    repetitions: int = 5
    scenarios: Sequence[str] = (WIRES, FAST2)


@dataclasses.dataclass(frozen=True, slots=True)
class Visit:
    """A tunnel that is set up once, for these workloads."""

    scenario: str
    tunnel: Tunnel
    workloads: tuple[str, ...]
    repetition: int


def workloads_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return the workloads of these names or beginnings of names, in their order; all without any."""
    wanted = list(names)
    for name in wanted:
        if not any(each.startswith(name) for each in WORKLOADS):
            raise unknown("workload", name, WORKLOADS)
    return tuple(
        each for each in WORKLOADS if not wanted or any(each.startswith(name) for name in wanted)
    )


def visits(how: How) -> Iterator[Visit]:
    """Return what is done, in its order."""
    tunnels = list(how.tunnels)
    for repetition in range(how.repetitions):
        first = repetition % max(1, len(tunnels))
        if WIRES in how.scenarios:
            for tunnel in tunnels[first:] + tunnels[:first]:
                wanted = tuple(each for each in how.workloads if carries(tunnel, each))
                if wanted:
                    yield Visit(WIRES, tunnel, wanted, repetition)
        on_fast2 = tuple(each for each in how.workloads if each in ON_FAST2)
        if FAST2 in how.scenarios and on_fast2:
            for tunnel in tunnels:
                if tunnel.kind == MPBOND and tunnel.paths == len(FAST2_RATES):
                    yield Visit(FAST2, tunnel, on_fast2, repetition)


def carries(tunnel: Tunnel, workload: str) -> bool:
    """Say whether a workload tells anything of a tunnel: no generator makes nine tenths of bare wires."""
    return tunnel.kind != VETH or "1300" not in workload


def seconds_of(how: How) -> float:
    """Return about how long all of it takes."""
    each = {"tcp": load.WARM + how.seconds + 1.5, "udp64": 14 * 2.2, "ping": 7.0}
    each |= {"udp1300": each["tcp"], "train1300": each["tcp"]}
    return sum(
        4.0
        + sum(
            next(s for start, s in each.items() if name.startswith(start))
            for name in visit.workloads
        )
        for visit in visits(how)
    )


def measure(how: How, record: Callable[[Result], None], say: Callable[[str], None]) -> list[Result]:
    """Measure everything; each result is recorded as soon as it is there."""
    for tunnel in how.tunnels:
        tunnel.require()
    found: list[Result] = []
    with Wires(max((tunnel.paths for tunnel in how.tunnels), default=1)) as wires:
        methods: dict[Tunnel, Tunnel] = {}
        for visit in visits(how):
            tunnel = visit.tunnel
            if tunnel.kind == FASTD and tunnel.method is None:
                if tunnel not in methods:
                    methods[tunnel] = fastest(wires, say)
                tunnel = methods[tunnel]
            for result in _visit(wires, visit, tunnel, how.seconds):
                found.append(result)
                record(result)
                say(line(result))
    return found


def fastest(wires: Wires, say: Callable[[str], None]) -> Tunnel:
    """Return fastd with the method that gets most through here, by a short trial of each."""
    rates: dict[str, float] = {}
    for method in METHODS:
        tunnel = Tunnel(FASTD, method=method)
        try:
            with carrying(wires, tunnel) as carrier:
                moved = load.transfer(wires, carrier, direction="down", flows=1, seconds=TRIAL)
        except LabError as error:
            say(f"fastd with {method} does not work here: {error}")
            continue
        rates[method] = moved.rate
    if not rates:
        raise BenchError("fastd works with none of the methods that are tried")
    told = ", ".join(f"{method} {rate / 1e6:.0f}" for method, rate in rates.items())
    say(f"fastd's methods, Mbit/s: {told}")
    return Tunnel(FASTD, method=max(rates, key=lambda method: rates[method]))


def line(result: Result) -> str:
    """Return a result as one line."""
    place = f"{result.scenario} {result.system} {result.workload} {result.repetition + 1}"
    if not result.valid:
        return f"{place:<46} {result.reason}"
    told = []
    rates = [rate for rate in result.goodput.values() if rate is not None]
    if result.packets_per_second is not None:
        told.append(f"{result.packets_per_second:,.0f} packets/s")
    elif rates:
        told.append(f"{sum(rates) / 1e6:,.0f} Mbit/s")
    if result.udp is not None and result.udp.sent:
        told.append(f"{result.udp.lost / result.udp.sent:.3%} lost")
    trip = result.round_trip
    if trip is not None and trip.p50 is not None:
        last = "lost" if trip.p99 is None else f"{trip.p99 * 1e3:.3f}"
        told.append(f"{trip.p50 * 1e3:.3f} / {last} ms")
    told += [f"{name} {cpu:.2f} s/GB" for name, cpu in result.cpu_per_gb.items()]
    return f"{place:<46} {', '.join(told)}"


def _visit(wires: Wires, visit: Visit, tunnel: Tunnel, seconds: float) -> Iterator[Result]:
    """Measure one tunnel; what cannot be measured is a result that is not valid."""
    left = list(visit.workloads)
    name = FASTD if tunnel.kind == FASTD else tunnel.name

    def result(workload: str, versions: dict[str, Any], **fields: Any) -> Result:
        return results.Result(
            clock=CLOCK,
            scenario=visit.scenario,
            system=name,
            workload=workload,
            seed=0,
            repetition=visit.repetition,
            seconds=seconds,
            started=results.now(),
            versions=results.versions() | versions,
            machine=machine(),
            window=(load.WARM, load.WARM + seconds),
            **fields,
        )

    try:
        if visit.scenario == FAST2:
            wires.limit(FAST2_RATES)
        with carrying(wires, tunnel) as carrier:
            stage = Stage(wires, carrier, seconds)
            while left:
                fields = stage.play(left[0])
                yield result(left.pop(0), carrier.versions, **fields)
    except LabError as error:
        for workload in left:
            yield result(workload, {}, valid=False, reason=str(error))
    finally:
        wires.unlimit()


class Stage:
    """Plays workloads through a tunnel; returns what a result holds of each."""

    def __init__(self, wires: Wires, carrier: Carrier, seconds: float) -> None:
        self._wires = wires
        self._carrier = carrier
        self._seconds = seconds
        self._rates: dict[str, float] = {}  # bit/s of one flow of TCP, by direction

    def play(self, workload: str) -> dict[str, Any]:
        """Play one workload; LabError when a tunnel or a generator fails."""
        kind, _, rest = workload.partition("_")
        if kind == "ping":
            trips = load.ping(self._wires, self._carrier, loaded=rest == "loaded")
            return {"round_trip": quantiles(trips)}
        direction = rest.removesuffix("_cubic")
        if kind.startswith("tcp"):
            return self._tcp(direction, int(kind[3:]))
        if kind == "udp64":
            return self._small(direction)
        return self._stream(direction, TRAIN if kind.startswith("train") else 1)

    def _tcp(self, direction: str, flows: int) -> dict[str, Any]:
        moved = load.transfer(
            self._wires, self._carrier, direction=direction, flows=flows, seconds=self._seconds
        )
        if flows == 1:
            self._rates[direction] = moved.rate
        cpu = dict(moved.cpu) | {"generators": moved.generators}
        return {
            "goodput": {direction: moved.rate},
            "flows": [moved.bytes],
            "retransmits": moved.retransmits,
            "cpu": cpu,
            "cpu_per_gb": _per_gb(moved.cpu, moved.bytes),
            "valid": moved.doubt is None,
            "reason": moved.doubt,
        }

    def _stream(self, direction: str, train: int) -> dict[str, Any]:
        if direction not in self._rates:
            self._tcp(direction, 1)
        if not self._rates[direction]:
            raise LabError("TCP carried nothing, so there is no rate for UDP")
        rate = UDP_SHARE * self._rates[direction] / 8 / UDP_PAYLOAD
        one = load.stream(
            self._wires,
            self._carrier,
            direction=direction,
            size=UDP_PAYLOAD,
            rate=rate,
            seconds=self._seconds,
            train=train,
        )
        return _fields(one, direction) | {"valid": one.doubt is None, "reason": one.doubt}

    def _small(self, direction: str) -> dict[str, Any]:
        def probe(rate: float) -> load.Streamed:
            return load.stream(
                self._wires,
                self._carrier,
                direction=direction,
                size=SMALL_PAYLOAD,
                rate=rate,
                seconds=load.STEP_SECONDS,
                warm=load.STEP_WARM,
            )

        steps = load.climb(probe)
        best = load.passed(steps)
        if best is None:
            return {"valid": False, "reason": "more than 1 % of the packets is lost at any rate"}
        most = max(step.came for step in steps)
        return _fields(best, direction) | {"packets_per_second": best.came, "packets_most": most}


def _fields(one: load.Streamed, direction: str) -> dict[str, Any]:
    return {
        "goodput": {direction: one.bytes * 8 / one.seconds},
        "udp": results.Udp(
            sent=one.sent, lost=max(0, one.sent - one.received), reordered=one.reordered
        ),
        "cpu": dict(one.cpu) | {"generators": one.generators},
        "cpu_per_gb": _per_gb(one.cpu, one.bytes),
    }


def _per_gb(cpu: Any, count: int) -> dict[str, float]:
    return {name: round(used * 1e9 / count, 3) for name, used in cpu.items()} if count else {}
