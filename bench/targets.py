"""What mpbond has to reach, as data: every figure that its default scheduler is held to.

A `Target` is one figure of one scenario under one workload, and its bound. The bound is a number, or it
goes by what other systems reach in the same run: the best of them, times a factor or plus a distance.
Efficiency is of all that the links offer; an inner packet of mpbond carries at most .925 of that.

    table        the six scenarios of the reports
    mq           two links each, one flow: never worse than the better of them alone
    following    links that change, or lose, or vary, and applications that do
    trouble      links that are pulled, fall silent, lose half, come and go
    cost         what the tunnel itself takes
    adding       one link more of whatever kind never costs anything
"""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
from typing import TYPE_CHECKING

from bench import scenarios, workloads
from bench.errors import BenchError
from bench.report.figures import MORE, Metric
from bench.report.readings import READINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SYSTEM = "adaptive"
"""The system that is judged, if no other is asked for."""
Place = tuple[str, str]
"""A scenario and a system."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One figure that is to be reached."""

    group: str
    scenario: str
    workload: str
    reading: str
    """The name of a metric in `READINGS`, which also says whether more or less is better."""
    bound: float = 0.0
    """The least, or the most, it may be; a distance from `beside` where that is given."""
    factor: float = 1.0
    """What the best figure of `beside` is multiplied by."""
    beside: tuple[Place, ...] = ()
    seconds: float | None = None
    """How long it is measured, where that is not free."""
    clocks: tuple[str, ...] = ("sim", "lab")

    @property
    def name(self) -> str:
        """How it is called in rows and asked for: scenario, workload and figure."""
        return f"{self.scenario}/{self.workload}/{self.reading}"

    @property
    def metric(self) -> Metric:
        """How its figure is read and written."""
        return READINGS[self.reading]

    def limit(self, beside: Sequence[float]) -> float:
        """Return the bound, given the figures of those beside it."""
        if not self.beside:
            return self.bound
        best = max(beside) if self.metric.better == MORE else min(beside)
        return best * self.factor + self.bound

    def reached(self, figure: float, limit: float) -> bool:
        """Say whether a figure is good enough."""
        return figure >= limit if self.metric.better == MORE else figure <= limit

    def matches(self, pattern: str) -> bool:
        """Say whether it is meant by a group's name, or by "scenario/workload/figure" or its beginning.

        `*` stands for anything; workload and figure may be cut short to what is no name of another one.
        """
        if pattern == self.group:
            return True
        names = {*workloads.WORKLOADS, *READINGS}
        parts = zip(pattern.split("/"), (self.scenario, self.workload, self.reading), strict=False)
        return all(
            fnmatch.fnmatchcase(own, f"{part}*" if place and part not in names else part)
            for place, (part, own) in enumerate(parts)
        )


def select(patterns: Iterable[str], clock: str) -> list[Target]:
    """Return the targets of a clock that are meant by any pattern, all without one."""
    there = [target for target in TARGETS if clock in target.clocks]
    wanted = list(patterns)
    for pattern in wanted:
        if not any(target.matches(pattern) for target in there):
            raise BenchError(
                f"nothing is held to {pattern!r} on the {clock} clock; "
                "`python -m bench targets --dry-run` names what is"
            )
    if not wanted:
        return there
    return [target for target in there if any(target.matches(pattern) for pattern in wanted)]


CUBIC, BBR, EIGHT, UP = "tcp1_down_cubic", "tcp1_down_bbr", "tcp8_down_cubic", "tcp1_up_cubic"
VOICE = "voice_tcp"

TABLE: dict[str, tuple[float, float, float, float, float]] = {
    "equal4": (0.905, 0.905, 0.90, 45, 0),
    "cable_adsl": (0.905, 0.905, 0.90, 45, 0),
    "fiber_lte": (0.90, 0.905, 0.90, 30, 0),
    "article6": (0.84, 0.86, 0.80, 130, 0.5),
    "lossy3": (0.84, 0.88, 0.82, 100, 0.2),
    "lte_drive": (0.60, 0.79, 0.60, 180, 1.5),
}
"""By scenario: efficiency of one flow down (both congestion controls), of eight, of one up; then of a
call beside a download the round trip (ms) that 95 % do not exceed, and how many percent are lost or later
than 300 ms."""


def _table() -> Iterator[Target]:
    for scenario, (one, eight, up, round_trip, late) in TABLE.items():
        for workload, reading, bound in (
            (CUBIC, "efficiency", one),
            (BBR, "efficiency", one),
            (EIGHT, "efficiency", eight),
            (UP, "efficiency", up),
            (VOICE, "voice_p95", round_trip),
            (VOICE, "voice_300", late),
        ):
            yield Target(
                group="table", scenario=scenario, workload=workload, reading=reading, bound=bound
            )


OF_BEST = 0.97
"""What of mpbond over the best link alone mpbond over both has at least."""
RATES = {"bw4": 53, "bw10": 96, "duallte": 48, "starlink": 75, "rtt70": 75, "loss2": 60}
"""Mbit/s."""


def _matrix() -> Iterator[Target]:
    for row, links in scenarios.MATRIX.items():
        scenario = f"mq_{row}"
        each = range(1 if links[0] == links[1] else 2)
        for workload in (CUBIC, BBR):
            yield Target(
                group="mq",
                scenario=scenario,
                workload=workload,
                reading="goodput",
                factor=OF_BEST,
                beside=tuple((scenario, f"single:{number}") for number in each),
            )
        least = {**RATES, "fiberlte": 280}.get(row)
        if least is not None:
            for workload in (CUBIC, BBR):
                yield Target(
                    group="mq",
                    scenario=scenario,
                    workload=workload,
                    reading="goodput",
                    bound=least,
                    clocks=("sim",) if row == "fiberlte" else ("sim", "lab"),
                )


NOISE = (
    *(("noisy3.1", BBR), ("noisy3.1", EIGHT)),  # loss alone
    *(("noisy3.2", BBR), ("noisy3.2", EIGHT)),  # jitter alone
    ("noisy3.0", "bursts"),  # bursts alone
    *(("noisy3", BBR), ("noisy3", EIGHT), ("noisy3", "bursts")),  # together
)
"""Where and under what the learned rate has to be right."""


def _following() -> Iterator[Target]:
    for workload in (EIGHT, CUBIC):
        for reading, bound in (("queue_after_fall", 300), ("use_after_rise", 0.9)):
            yield Target(
                group="following",
                scenario="falling",
                workload=workload,
                reading=reading,
                bound=bound,
                seconds=25,
            )
    for scenario, workload in NOISE:
        yield Target(
            group="following",
            scenario=scenario,
            workload=workload,
            reading="rate_error",
            bound=15,
            seconds=30,
            clocks=("sim",),
        )
    for scenario in ("equal4", "cable_adsl"):
        yield Target(
            group="following",
            scenario=scenario,
            workload="fair",
            reading="fairness",
            bound=0.9,
            clocks=("sim",),
        )
        yield Target(
            group="following",
            scenario=f"{scenario}*2",
            workload="fair",
            reading="fairness",
            bound=0.9,
            clocks=("lab",),
        )


def _trouble() -> Iterator[Target]:
    for scenario in ("equal4", "cable_adsl"):
        for workload in ("pull", "pull_other", "silent", "bad", "flap"):
            for reading, bound in (
                ("longest_stall", 0.4),
                ("died", 0),
                ("lost", 5),
                ("voice_gap", 0.3),
                ("use_again", 0.95),
            ):
                if reading == "use_again" and workload == "flap":
                    continue
                yield Target(
                    group="trouble",
                    scenario=scenario,
                    workload=workload,
                    reading=reading,
                    bound=bound,
                )


def _cost() -> Iterator[Target]:
    for scenario in ("equal4", "article6"):
        yield Target(
            group="cost", scenario=scenario, workload="idle", reading="idle_cost", bound=1.0
        )
    yield Target(group="cost", scenario="article6", workload="udp", reading="reply_cost", bound=2.0)


ADDED = (
    *("fiber_lte.0", "fiber_lte.1", "cable_adsl.0", "cable_adsl.1", "article6.3", "lossy3.2"),
    *("lte_drive.0", "lte_drive.3", "starlink_5g.0", "mq_geo.1", "policer.0", "shallow.0"),
)
"""Links of every kind, each of which is put beside each other one."""
WHOLE = ("equal4", "article6", "lossy3", "lte_drive")
"""Scenarios of which each link is left out once."""


def _adding() -> Iterator[Target]:
    for first, second in itertools.combinations(ADDED, 2):
        yield from _never_worse(f"{first}+{second}", ((first, "single"), (second, "single")))
    for scenario in WHOLE:
        count = {"equal4": 4, "article6": 6, "lossy3": 3, "lte_drive": 4}[scenario]
        for out in range(count if scenario != "equal4" else 1):
            rest = "+".join(f"{scenario}.{number}" for number in range(count) if number != out)
            yield from _never_worse(scenario, ((rest, SYSTEM),))


def _never_worse(scenario: str, than: tuple[Place, ...]) -> Iterator[Target]:
    for reading, factor, distance in (("goodput", 0.98, 0.0), ("voice_p95", 1.0, 10.0)):
        yield Target(
            group="adding",
            scenario=scenario,
            workload=VOICE,
            reading=reading,
            bound=distance,
            factor=factor,
            beside=than,
        )


TARGETS: tuple[Target, ...] = (
    *_table(),
    *_matrix(),
    *_following(),
    *_trouble(),
    *_cost(),
    *_adding(),
)
"""All of them."""
