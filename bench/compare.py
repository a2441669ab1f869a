"""Compares two sets of results: what has changed, and whether it is more than noise.

Repetitions are taken together to their median. A change counts when it exceeds the noise: the spread
of both sides, each half of what lies between its smallest and its largest value, added up; and at
least a share of the value, `FLOOR`, larger where there are too few repetitions to know their spread.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from bench.report import markdown
from bench.report.figures import METRICS, MORE, Cell, Metric, cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.results import Result

COMPARED = (
    *("efficiency", "died", "longest_stall", "pages_p50", "pages_failed"),
    *("voice_p95", "voice_lost", "voice_lost_up", "mos", "udp_lost", "cpu"),
)
FLOOR = {"sim": 0.01, "lab": 0.03}
FLOOR_OF_ONE = {"sim": 0.03, "lab": 0.08}
"""Where either side has fewer than three repetitions."""
LITTLE = {
    "udp_lost": 0.2,
    "voice_lost": 0.2,
    "voice_lost_up": 0.2,
    "voice_p95": 5.0,
    "longest_stall": 0.25,
    "mos": 0.05,
    "pages_p50": 0.02,
}
"""Changes up to this, in the metric's own unit, never count."""

BETTER, WORSE, SAME, GONE, NEW = "better", "worse", "same", "gone", "new"


class Subject(NamedTuple):
    """What is compared with itself."""

    clock: str
    scenario: str
    system: str
    workload: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.clock} {self.scenario} {self.system} {self.workload}"


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One metric of one subject, before and after."""

    subject: Subject
    metric: Metric
    before: Cell | None
    after: Cell | None

    @property
    def ratio(self) -> float | None:
        """After over before."""
        if self.before is None or self.after is None or not self.before.median:
            return None
        return self.after.median / self.before.median

    @property
    def noise(self) -> float:
        """How large a difference means nothing, in the metric's unit."""
        if self.before is None or self.after is None:
            return 0.0
        few = min(self.before.count, self.after.count) < 3
        floor = (FLOOR_OF_ONE if few else FLOOR).get(self.subject.clock, 0.08)
        return max(
            self.before.spread + self.after.spread,
            floor * abs(self.before.median),
            LITTLE.get(self.metric.name, 0.0),
        )

    @property
    def verdict(self) -> str:
        """Say what has become of it."""
        if self.before is None:
            return NEW
        if self.after is None:
            return GONE
        difference = self.after.median - self.before.median
        if abs(difference) <= self.noise:
            return SAME
        return BETTER if (difference > 0) == (self.metric.better == MORE) else WORSE


def compare(before: Iterable[Result], after: Iterable[Result]) -> list[Change]:
    """Return every metric of every subject of both sets."""
    sides = [_by_subject(before), _by_subject(after)]
    changes = []
    for subject in dict.fromkeys([*sides[0], *sides[1]]):
        for name in COMPARED:
            metric = METRICS[name]
            cells = [cell(side.get(subject, ()), metric) for side in sides]
            if any(cells):
                changes.append(Change(subject, metric, *cells))
    return changes


def table(changes: Sequence[Change], *, everything: bool = False) -> str:
    """Return Markdown: the changes that count first to last, and a line that sums up."""
    shown = [change for change in changes if everything or change.verdict != SAME]
    rows = [
        [
            str(change.subject),
            change.metric.title,
            _written(change.before, change.metric),
            _written(change.after, change.metric),
            "" if change.ratio is None else f"{change.ratio:.2f}",
            f"**{change.verdict}**" if change.verdict in (BETTER, WORSE) else change.verdict,
        ]
        for change in shown
    ]
    verdicts = [change.verdict for change in changes]
    counts = {one: verdicts.count(one) for one in (BETTER, WORSE, SAME, NEW, GONE)}
    total = ", ".join(f"{count} {one}" for one, count in counts.items() if count)
    head = ["measurement", "figure", "before", "after", "ratio", "verdict"]
    text = markdown.table(head, rows, "llrrrl") + "\n" if rows else ""
    return text + (f"Of {len(changes)} figures: {total}." if changes else "Nothing to compare.")


def _by_subject(results: Iterable[Result]) -> dict[Subject, list[Result]]:
    found: dict[Subject, list[Result]] = {}
    for one in results:
        subject = Subject(one.clock, one.scenario, one.system, one.workload, one.seconds)
        found.setdefault(subject, []).append(one)
    return found


def _written(one: Cell | None, metric: Metric) -> str:
    return "" if one is None else markdown.with_spread(one, metric)
