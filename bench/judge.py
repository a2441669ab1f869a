"""Holds measurements against what mpbond has to reach, row by row, as soon as a row can be told.

A row needs the results of the system that is judged, and of those beside it, in every repetition; figures
are medians of them. What several rows need is measured once. Measurements are made in the order of the rows.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from bench import workloads
from bench.plans import Case, can_be
from bench.report.figures import MORE, Metric, cell
from bench.systems import System
from bench.targets import SYSTEM, Place, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bench.results import Result

CLOSE = ("efficiency", "voice_300")
REACHED, MISSED, UNKNOWN = "reached", "missed", "no figure"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How rows are measured."""

    clock: str
    system: str = SYSTEM
    seconds: float = 60.0
    repetitions: int = 3
    seed: int = 1
    also: tuple[str, ...] = ()
    """Systems whose figures are shown beside, whatever is held to what."""

    def cases(self, target: Target, place: Place) -> list[Case]:
        """Return the measurements of a row at a place, one for each repetition."""
        scenario, system = place
        return [
            Case(
                clock=self.clock,
                scenario=scenario,
                system=self.system if system == SYSTEM else system,
                workload=target.workload,
                seed=self.seed + repetition,
                repetition=repetition,
                seconds=float(target.seconds or self.seconds),
            )
            for repetition in range(self.repetitions)
        ]

    def places(self, target: Target) -> list[Place]:
        """Return where a row is measured: the one that is judged, what it is held to, what is shown."""
        own = (target.scenario, SYSTEM)
        workload = workloads.get(target.workload)
        shown = [
            (target.scenario, name)
            for name in self.also
            if can_be(self.clock, System.parse(name), workload)
        ]
        return list(dict.fromkeys((own, *target.beside, *shown)))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A target and what became of it. Figures are None where nothing was measured."""

    target: Target
    verdict: str
    figure: float | None = None
    spread: float = 0.0
    limit: float | None = None
    beside: Mapping[str, float]
    """Figures of other systems, by their names."""
    reason: str | None = None
    """Why there is no figure."""

    def text(self) -> str:
        """Return the row as one line."""
        metric = self.target.metric
        sign = "≥" if metric.better == MORE else "≤"
        limit = "–" if self.limit is None else write(metric, self.limit)
        figure = "–" if self.figure is None else write(metric, self.figure)
        if self.spread:
            figure += f" ± {write(metric, self.spread)}"
        line = f"{self.target.scenario} {self.target.workload}"
        line = f"{line:<32} {metric.title:<30} {figure:>14} {sign} {limit:<7} {self.verdict}"
        if self.beside:
            told = (f"{name} {write(metric, value)}" for name, value in self.beside.items())
            line += f"   ({', '.join(told)})"
        return line + (f"   {self.reason}" if self.reason else "")


def write(metric: Metric, value: float) -> str:
    """Return a number as in tables of reports, with one digit more where bounds lie close."""
    return f"{value:,.{metric.digits + (metric.name in CLOSE)}f}"


class Board:
    """Collects results and tells each row once all it needs is there. A `campaign.Watcher`."""

    def __init__(
        self,
        targets: Sequence[Target],
        how: How,
        tell: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self.rows: list[Row] = []
        self._how = how
        self._tell = tell
        self._warn = warn
        self.open = list(targets)
        """What has not been told yet."""
        self._results: dict[Case, Result] = {}

    @property
    def clean(self) -> bool:
        """Whether all was reached."""
        return all(row.verdict == REACHED for row in self.rows)

    def cases(self) -> list[Case]:
        """Return what is to be measured, in the order of the rows."""
        how = self._how
        return list(
            dict.fromkeys(
                case
                for target in self.open
                for place in how.places(target)
                for case in how.cases(target, place)
            )
        )

    def take(self, results: Iterable[tuple[Case, Result]]) -> None:
        """Take results that are there, and tell the rows that are complete now."""
        self._results.update(results)
        left = []
        for target in self.open:
            needed = [
                case
                for place in self._how.places(target)
                for case in self._how.cases(target, place)
            ]
            if all(case in self._results for case in needed):
                self.rows.append(self._judge(target))
                self._tell(self.rows[-1].text())
            else:
                left.append(target)
        self.open = left

    def summary(self) -> str:
        """Return how many rows were reached, in one line."""
        counts = {
            verdict: sum(row.verdict == verdict for row in self.rows)
            for verdict in (REACHED, MISSED, UNKNOWN)
        }
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        return f"{said or 'nothing measured'}, of {len(self.rows) + len(self.open)}"

    def _judge(self, target: Target) -> Row:
        own, *others = self._how.places(target)
        figures = {place: self._figure(target, place) for place in (own, *others)}
        held = [value[0] for place in target.beside if (value := figures[place]) is not None]
        beside = {
            name(place, target): value[0]
            for place in others
            if (value := figures[place]) is not None
        }
        limit = target.limit(held) if held or not target.beside else None
        mine = figures[own]
        if mine is None or limit is None:
            return Row(
                target=target,
                verdict=MISSED if limit is not None and self._lost(target, own) else UNKNOWN,
                figure=mine[0] if mine is not None else None,
                limit=limit,
                beside=beside,
                reason=self._reason(target),
            )
        return Row(
            target=target,
            verdict=REACHED if target.reached(mine[0], limit) else MISSED,
            figure=mine[0],
            spread=mine[1],
            limit=limit,
            beside=beside,
        )

    def _figure(self, target: Target, place: Place) -> tuple[float, float] | None:
        """Return the median and the spread of what was measured at a place."""
        found = cell(self._at(target, place), target.metric)
        return None if found is None else (found.median, found.spread)

    def _at(self, target: Target, place: Place) -> list[Result]:
        return [self._results[case] for case in self._how.cases(target, place)]

    def _lost(self, target: Target, place: Place) -> bool:
        """Say whether there is no figure because a call lost too much to have one."""
        valid = [result for result in self._at(target, place) if result.valid]
        return bool(valid) and target.reading.startswith("voice_")

    def _reason(self, target: Target) -> str | None:
        for place in self._how.places(target):
            for result in self._at(target, place):
                if not result.valid:
                    return f"{place[1]}: {result.reason}"
        return "nothing came, or the run is too short"

    # -- as a watcher of campaigns

    def begin(self, case: Case) -> None:
        """A measurement begins."""

    def end(self, case: Case, result: Result) -> None:
        """It has ended."""
        self.take([(case, result)])

    def say(self, text: str) -> None:
        """Something happens that takes time."""

    def note(self, text: str) -> None:
        """Something has happened that is worth knowing."""
        self._warn(text)

    def fault(self, text: str) -> None:
        """Something is left behind."""
        self._warn(text)


def name(place: Place, target: Target) -> str:
    """Return what a place is called beside the row of a target."""
    scenario, system = place
    return system if scenario == target.scenario else f"{scenario} {system}"
