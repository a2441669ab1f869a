"""Which results go into a plot, what its file is called, and what it shows, in a sentence."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from bench import scenarios, workloads
from bench.report import markdown, plots
from bench.report.figures import METRICS, cell, goodput, has_rate
from bench.report.tables import distinct, pick, systems_of, with_best

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.results import Result


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A plot that can be drawn into a directory."""

    name: str
    """Of the file, without its ending."""
    caption: str
    draw: Callable[[Path], bool]

    def put(self, directory: Path, beside: str) -> str:
        """Draw it, and return the Markdown that shows it; `beside` is the directory's name there.

        Returns "" when there was nothing to draw.
        """
        file = directory / f"{self.name}.png"
        if not self.draw(file):
            return ""
        return f"![{self.caption}]({beside}{file.name})\n"


def summary(results: Sequence[Result], clock: str, workload: str) -> Picture:
    """Efficiency by scenario and system."""
    group = with_best(pick(results, clock=clock, workload=workload))
    names = _whole(group)
    shown = [
        (scenario, markdown.by_system(pick(group, scenario=scenario), names))
        for scenario in distinct(group, "scenario")
    ]
    return Picture(
        _name(group, clock, workload, "efficiency"),
        f"Goodput as a share of what all links offered: {_title(workload)}",
        lambda file: plots.summary(shown, file),
    )


def throughput(results: Sequence[Result], clock: str, scenario: str, workload: str) -> Picture:
    """What every link carried over time, by system."""
    chosen = _typical(pick(results, clock=clock, scenario=scenario, workload=workload))
    return Picture(
        _name(chosen, clock, scenario, workload, "throughput"),
        f"What each link of {scenario} carried over time{_rival(scenario)}: {_title(workload)}",
        lambda file: plots.throughput(chosen, file),
    )


def queues(results: Sequence[Result], clock: str, scenario: str, workload: str) -> Picture:
    """How long packets stood in the links' queues over time, by system."""
    chosen = _typical(pick(results, clock=clock, scenario=scenario, workload=workload))
    return Picture(
        _name(chosen, clock, scenario, workload, "queues"),
        f"How long packets stood in the queue of each link of {scenario}: {_title(workload)}",
        lambda file: plots.queue_delay(chosen, file),
    )


def voice(results: Sequence[Result], clock: str, workload: str) -> Picture:
    """Round trips of a call, by scenario and system."""
    group = pick(results, clock=clock, workload=workload)
    shown = [
        (scenario, _typical(pick(group, scenario=scenario)))
        for scenario in distinct(group, "scenario")
    ]
    return Picture(
        _name(group, clock, workload, "call"),
        f"Share of a call's packets that came back within a time: {_title(workload)}",
        lambda file: plots.voice(shown, file),
    )


def _name(results: Sequence[Result], *words: str) -> str:
    """Return a name that no plot of another length has."""
    lengths = [f"{length:g}s" for length in sorted({one.seconds for one in results})]
    return "-".join([*words, *lengths])


def _typical(results: Sequence[Result]) -> list[Result]:
    """Return of each system the repetition nearest to its median."""
    chosen = []
    for group in markdown.by_system(results, _whole(results)):
        valid = [one for one in group if one.valid]
        found = cell(valid, METRICS["voice_p95"]) if valid and not has_rate(valid[0]) else None
        read = METRICS["voice_p95"].read if found is not None else goodput
        values = sorted((read(one) or 0.0) for one in valid)
        if values:
            median = values[(len(values) - 1) // 2]
            chosen.append(min(valid, key=lambda one: abs((read(one) or 0.0) - median)))
    return chosen


def _whole(results: Sequence[Result]) -> list[str]:
    """Leave out links by number: plots show the best one only."""
    return [name for name in systems_of(results) if ":" not in name]


def _rival(scenario: str) -> str:
    """Say whose packets are in a link's besides those of the system."""
    known = scenarios.SCENARIOS.get(scenario)
    if known is None or known.rival is None:
        return ""
    return f", somebody else's download on link {known.rival} included"


def _title(workload: str) -> str:
    known = workloads.WORKLOADS.get(workload)
    return known.title if known is not None else workload
