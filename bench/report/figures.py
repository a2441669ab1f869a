"""Figures out of results: one number by name, and medians of repetitions with their spread.

A `Metric` knows how a number is read out of a result, how it is written, and which way is better.
Results that are not valid have no say: `Table` keeps them apart, with their reasons.
"""

from __future__ import annotations

import dataclasses
import statistics
from typing import TYPE_CHECKING, Any

from bench import workloads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.results import Result

    Read = Callable[[Result], float | None]

MORE, LESS = 1, -1
NOT_CARRYING = ("emulator", "generators", "simulator")
"""Processes of the laboratory itself."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """The median of some repetitions, the smallest and the largest, and how many there were."""

    median: float
    low: float
    high: float
    count: int

    @property
    def spread(self) -> float:
        """Half of what lies between the smallest and the largest."""
        return (self.high - self.low) / 2


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """One kind of number."""

    name: str
    title: str
    read: Read
    digits: int = 2
    better: int = MORE
    """Whether `MORE` or `LESS` of it is better; 0 for neither."""

    def write(self, value: float) -> str:
        """Return a number as it stands in tables."""
        return f"{value:,.{self.digits}f}"


def direction(result: Result) -> str:
    """Return the direction by which a result is judged: that of its data, or the slower one."""
    workload = workloads.WORKLOADS.get(result.workload)
    ways = [way for way, rate in result.goodput.items() if rate is not None]
    if workload is not None and workload.direction in ways:
        return workload.direction
    return min(ways, key=lambda way: result.goodput[way] or 0.0) if ways else "down"


def goodput(result: Result) -> float | None:
    """Return bit/s of payload; of both directions together where data goes both ways."""
    rates = [rate for rate in result.goodput.values() if rate is not None]
    return sum(rates) if rates else None


def efficiency(result: Result) -> float | None:
    """Return goodput over the capacity of all links, both directions together where both are used."""
    rate = goodput(result)
    if rate is None or not has_rate(result):
        return None
    ways = [way for way, one in result.goodput.items() if one is not None]
    offered = sum(result.capacity.get(way) or 0 for way in ways)
    return rate * span(result) / 8 / offered if offered else None


def efficiency_of_link(result: Result) -> float | None:
    """Return goodput over the capacity of the one link that was used."""
    shares = result.efficiency_of_link or {}
    return shares.get(direction(result)) if has_rate(result) else None


def offered(result: Result) -> float | None:
    """Return what all links offered in the direction of the data, in bit/s."""
    ways = [way for way, one in result.goodput.items() if one is not None] or ["down"]
    total = sum(result.capacity.get(way) or 0 for way in ways)
    return total * 8 / span(result) if total and span(result) else None


def has_rate(result: Result) -> bool:
    """Say whether the rate says something: not of what pauses, nor of a call alone."""
    workload = workloads.WORKLOADS.get(result.workload)
    return workload is None or workload.kind not in ("pages", "voice", "idle", "bursts")


def span(result: Result) -> float:
    """Return how long the window is, in seconds."""
    return result.window[1] - result.window[0]


def cpu(result: Result) -> float | None:
    """Return seconds of CPU for 1e9 bytes of goodput of the processes that carry it."""
    carrying = [used for name, used in result.cpu_per_gb.items() if name not in NOT_CARRYING]
    return sum(carrying) if carrying and has_rate(result) else None


def _scaled(read: Read, factor: float) -> Read:
    def scaled(result: Result) -> float | None:
        value = read(result)
        return None if value is None else value * factor

    return scaled


def _voice(field: str, of: str | None = None, factor: float = 1) -> Read:
    def read(result: Result) -> float | None:
        if result.voice is None:
            return None
        value: Any = getattr(result.voice, field)
        if of is not None:
            value = getattr(value, of)
        return None if value is None else float(value * factor)

    return read


def _pages(field: str) -> Read:
    def read(result: Result) -> float | None:
        value: float | None = getattr(result.pages, field) if result.pages is not None else None
        return value

    return read


def _one_way(way: str) -> Read:
    """Goodput of one direction, where data goes both ways."""

    def read(result: Result) -> float | None:
        rate = result.goodput.get(way)
        both = all(one is not None for one in result.goodput.values())
        return rate / 1e6 if rate is not None and both else None

    return read


def _rated(read: Read) -> Read:
    return lambda result: read(result) if has_rate(result) else None


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("goodput", "goodput, Mbit/s", _rated(_scaled(goodput, 1e-6))),
        Metric("goodput_down", "goodput down, Mbit/s", _one_way("down")),
        Metric("goodput_up", "goodput up, Mbit/s", _one_way("up")),
        Metric("efficiency", "of the capacity of all links", efficiency),
        Metric("efficiency_of_link", "of the link used", efficiency_of_link, better=0),
        Metric("retransmits", "sent again by TCP", lambda r: r.retransmits, 0, LESS),
        Metric("longest_stall", "longest stall, s", lambda r: r.longest_stall, 2, LESS),
        Metric(
            "died",
            "connections died",
            lambda one: None if one.alive is None else float(not one.alive),
            0,
            LESS,
        ),
        Metric("pages_p50", "page p50, s", _pages("p50"), 2, LESS),
        Metric("pages_p95", "page p95, s", _pages("p95"), 2, LESS),
        Metric("pages_count", "pages", _pages("count"), 0),
        Metric("pages_failed", "pages failed", _pages("failed"), 0, LESS),
        Metric("voice_p50", "call, round trip p50, ms", _voice("round_trip", "p50", 1e3), 0, LESS),
        Metric("voice_p95", "call, round trip p95, ms", _voice("round_trip", "p95", 1e3), 0, LESS),
        Metric("voice_p99", "call, round trip p99, ms", _voice("round_trip", "p99", 1e3), 0, LESS),
        Metric("voice_lost", "call, lost down, %", _voice("lost_down", None, 100), 1, LESS),
        Metric("voice_lost_up", "call, lost up, %", _voice("lost_up", None, 100), 1, LESS),
        Metric(
            "voice_150", "call, later than 150 ms, %", _voice("later_than_150", None, 100), 1, LESS
        ),
        Metric(
            "voice_300", "call, later than 300 ms, %", _voice("later_than_300", None, 100), 1, LESS
        ),
        Metric("voice_gap", "call, longest gap, s", _voice("longest_gap"), 2, LESS),
        Metric("mos", "call, MOS", _voice("mos"), 2),
        Metric(
            "udp_lost",
            "UDP lost, %",
            lambda r: None if r.udp is None or not r.udp.sent else 100 * r.udp.lost / r.udp.sent,
            1,
            LESS,
        ),
        Metric(
            "udp_reordered",
            "UDP reordered",
            lambda r: None if r.udp is None else r.udp.reordered,
            0,
            LESS,
        ),
        Metric("cpu", "CPU, s/GB", cpu, 1, LESS),
        Metric(
            "lateness",
            "emulator late, p99, ms",
            lambda r: None if r.lateness is None else r.lateness.p99 * 1e3,
            2,
            0,
        ),
    )
}


def cell(results: Iterable[Result], metric: Metric) -> Cell | None:
    """Return the median of a metric over those repetitions that are valid and have it."""
    values = [
        value for result in results if result.valid and (value := metric.read(result)) is not None
    ]
    if not values:
        return None
    return Cell(statistics.median(values), min(values), max(values), len(values))


def best(cells: Sequence[Cell | None], metric: Metric) -> set[int]:
    """Return which cells are written alike to the best one; none if there is nothing to compare."""
    there = [one.median for one in cells if one is not None]
    if len(there) < 2 or not metric.better:
        return set()
    top = metric.write(max(there) if metric.better == MORE else min(there))
    found = {
        n for n, one in enumerate(cells) if one is not None and metric.write(one.median) == top
    }
    return found if len(found) < len(there) else set()


def headline(result: Result) -> str:
    """Return the one number by which a measurement is told in a line."""
    if not result.valid:
        return result.reason or "not valid"
    parts = []
    rate, share = METRICS["goodput"].read(result), efficiency(result)
    if rate is not None:
        parts.append(f"{rate:.2f} Mbit/s")
    if share is not None:
        parts.append(f"{share:.2f} of what was offered")
    if result.pages is not None and result.pages.p50 is not None:
        parts.append(f"{result.pages.count} pages, p50 {result.pages.p50:.2f} s")
    if result.voice is not None and result.voice.round_trip.p95 is not None:
        parts.append(f"call p95 {result.voice.round_trip.p95 * 1e3:.0f} ms")
    return ", ".join(parts) or ("nothing arrived" if has_rate(result) else "measured")
