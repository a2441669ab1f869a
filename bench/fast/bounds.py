"""What the fast path has to reach, as data, and whether it does; and the table of all that was measured.

A `Bound` is a median over repetitions, taken as it is, as a multiple of what other systems reached in the
same run (`over`), or as what it is more than theirs (`beyond`). It has two limits: one for the pure-Python
core, and one for a core with compiled functions.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.fast.run import CLOCK, FAST2, FAST2_RATES, WIRES, WORKLOADS
from bench.fast.tunnels import MPBOND, OTHERS, VETH
from bench.report.figures import LESS, METRICS, MORE, Cell, Metric, cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.results import Result

PURE, COMPILED = "pure", "compiled"
"""Cores, as the command line calls them."""
ONE = f"{MPBOND}:1"
REACHED, MISSED, UNKNOWN = "reached", "missed", "not measured"


def _trip(name: str, quantile: str) -> Metric:
    def read(result: Result) -> float | None:
        trip = result.round_trip
        value = None if trip is None else getattr(trip, quantile)
        return None if value is None else float(value) * 1e3

    return Metric(name, f"round trip {quantile}, ms", read, 3, LESS)


READINGS: dict[str, Metric] = {
    "goodput": dataclasses.replace(METRICS["goodput"], digits=0),
    "lost": dataclasses.replace(METRICS["udp_lost"], name="lost", digits=3),
    "packets": Metric("packets", "packets/s", lambda result: result.packets_per_second, 0),
    "packets_most": Metric(
        "packets_most", "packets/s, however many are lost", lambda result: result.packets_most, 0
    ),
    "p50": _trip("p50", "p50"),
    "p99": _trip("p99", "p99"),
    "cpu": METRICS["cpu"],
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One figure of one system that is to be reached."""

    title: str
    workload: str
    reading: str
    pure: float
    compiled: float
    system: str = ONE
    scenario: str = WIRES
    over: tuple[str, ...] = ()
    """Systems of which the best one's figure is 1."""
    beyond: str | None = None
    """A system whose figure is taken off."""
    of: float = 1.0
    """What figures are shares of, where it is known beforehand."""
    digits: int = 2

    @property
    def metric(self) -> Metric:
        """How its figure is read."""
        return READINGS[self.reading]

    def figure(self, cells: Figures) -> float | None:
        """Return what was measured; None where a part of it is missing."""
        own = cells.of(self.scenario, self.system, self.workload, self.metric)
        if own is None:
            return None
        figure = own.median / self.of
        if self.over:
            others = [
                found.median
                for name in self.over
                if (found := cells.of(self.scenario, name, self.workload, self.metric)) is not None
            ]
            best = max(others, default=0.0)
            return figure / best if best else None
        if self.beyond is not None:
            other = cells.of(self.scenario, self.beyond, self.workload, self.metric)
            return None if other is None else figure - other.median
        return figure

    def verdict(self, figure: float | None, limit: float) -> str:
        """Say whether a figure is good enough."""
        if figure is None:
            return UNKNOWN
        more = self.metric.better == MORE
        return REACHED if (figure >= limit if more else figure <= limit) else MISSED


class Figures:
    """The results of a run, by what they are of."""

    def __init__(self, results: Iterable[Result]) -> None:
        self._found: dict[tuple[str, str, str], list[Result]] = {}
        for result in results:
            if result.clock != CLOCK:
                raise BenchError(f"a result of the clock {result.clock} is none of the fast path")
            where = (result.scenario, result.system, result.workload)
            self._found.setdefault(where, []).append(result)

    @property
    def systems(self) -> list[str]:
        """Every system of the scenario of plain wires, in the order of coming."""
        return list(
            dict.fromkeys(system for scenario, system, _ in self._found if scenario == WIRES)
        )

    def of(self, scenario: str, system: str, workload: str, metric: Metric) -> Cell | None:
        """Return the median of a metric, if there is any."""
        return cell(self._found.get((scenario, system, workload), ()), metric)

    def refused(self) -> list[str]:
        """Return why what counts for nothing does so, a line each."""
        return [
            f"{result.scenario} {result.system} {result.workload}: {result.reason}"
            for results in self._found.values()
            for result in results
            if not result.valid
        ]


def _bounds() -> Iterator[Bound]:
    for way in ("down", "up"):
        one = f"tcp1_{way}_cubic"
        yield Bound(
            title=f"one TCP flow {way}, one path, over the fastest other",
            workload=one,
            reading="goodput",
            pure=1.4,
            compiled=3.0,
            over=OTHERS,
        )
        for paths in (2, 6):
            yield Bound(
                title=f"one TCP flow {way}, {paths} paths, over one path",
                workload=one,
                reading="goodput",
                system=f"{MPBOND}:{paths}",
                pure=0.85,
                compiled=0.85,
                over=(ONE,),
            )
        yield Bound(
            title=f"packets of 64 bytes {way}, a second",
            workload=f"udp64_{way}",
            reading="packets",
            pure=30_000,
            compiled=50_000,
            digits=0,
        )
        yield Bound(
            title=f"UDP of 1,300 bytes {way} at .9 of TCP, % lost",
            workload=f"udp1300_{way}",
            reading="lost",
            pure=0.1,
            compiled=0.1,
            digits=3,
        )
    for quantile, pure, compiled in (("p50", 0.5, 0.3), ("p99", 2.0, 1.0)):
        yield Bound(
            title=f"idle round trip added, {quantile}, ms",
            workload="ping",
            reading=quantile,
            pure=pure,
            compiled=compiled,
            beyond=VETH,
            digits=3,
        )
    for way in ("down", "up"):
        yield Bound(
            title=f"one TCP flow {way} over 300 + 150 Mbit/s, share",
            scenario=FAST2,
            workload=f"tcp1_{way}_cubic",
            system=f"{MPBOND}:2",
            reading="goodput",
            pure=0.85,
            compiled=0.88,
            of=sum(FAST2_RATES) / 1e6,
        )


BOUNDS: tuple[Bound, ...] = tuple(_bounds())
"""All of them."""

SHOWN: tuple[tuple[str, str, str], ...] = (
    *((name, "goodput", "Mbit/s") for name in WORKLOADS if name.startswith("tcp")),
    *((name, "cpu", "CPU s/GB") for name in WORKLOADS if name.startswith("tcp1")),
    *((name, "lost", "% lost") for name in WORKLOADS if "1300" in name),
    *((name, "packets", "packets/s") for name in WORKLOADS if name.startswith("udp64")),
    *((name, "packets_most", "packets/s, most") for name in WORKLOADS if name.startswith("udp64")),
    ("ping", "p50", "p50, ms"),
    ("ping", "p99", "p99, ms"),
    ("ping_loaded", "p50", "p50, ms"),
    ("ping_loaded", "p99", "p99, ms"),
)
"""The rows of the table: a workload, a reading, and how that is called."""


def table(figures: Figures) -> list[list[str]]:
    """Return a table of medians: systems in columns, with ratios to the best of the others in brackets."""
    systems = figures.systems
    rows = [["", *systems]]
    for workload, reading, unit in SHOWN:
        metric = READINGS[reading]
        cells = [figures.of(WIRES, system, workload, metric) for system in systems]
        if not any(cells):
            continue
        held = [
            found.median
            for system, found in zip(systems, cells, strict=True)
            if found is not None and system in OTHERS
        ]
        best = (max if metric.better == MORE else min)(held) if held else 0.0
        ratio = reading in ("goodput", "packets", "packets_most", "cpu") and best > 0
        texts = []
        for found in cells:
            if found is None:
                texts.append("–")
                continue
            share = f" ({found.median / best:.2f})" if ratio else ""
            texts.append(metric.write(found.median) + share)
        rows.append([f"{workload}, {unit}", *texts])
    return rows


def text(rows: Sequence[Sequence[str]]) -> str:
    """Return a table with its columns aligned."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            each.ljust(width) if not at else each.rjust(width)
            for at, (each, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def judged(figures: Figures) -> list[list[str]]:
    """Return a table of the bounds: what was measured, and whether that is enough for either core."""
    rows = [["", "measured", PURE, "", COMPILED, ""]]
    for bound in BOUNDS:
        figure = bound.figure(figures)
        sign = "≥" if bound.metric.better == MORE else "≤"
        row = [bound.title, UNKNOWN if figure is None else _write(figure, bound)]
        for limit in (bound.pure, bound.compiled):
            row += [f"{sign} {_write(limit, bound)}", bound.verdict(figure, limit)]
        rows.append(row)
    return rows


def all_reached(figures: Figures, core: str) -> bool:
    """Say whether nothing that was measured misses its limit."""
    verdicts = {
        bound.verdict(bound.figure(figures), bound.pure if core == PURE else bound.compiled)
        for bound in BOUNDS
    }
    return MISSED not in verdicts


def _write(value: float, bound: Bound) -> str:
    return f"{value:,.{bound.digits}f}"
