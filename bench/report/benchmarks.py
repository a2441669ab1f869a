"""Brings the figures of docs/benchmarks.md up to date.

The page is written by people, but for blocks between `<!-- made: WHAT -->` and `<!-- end -->`, which
this module fills from results: tables, and plots in a directory beside the page that bears its name. A
block for which there are no results keeps what it has, so that results of one clock can be brought up to
date alone; one that never had any says so. WHAT is one of

    provenance                              what was measured, when, on what, by which commands
    systems | workloads | scenarios         what the names stand for
    overview CLOCK WORKLOAD METRIC          by scenario and system
    details CLOCK SCENARIO WORKLOAD         all figures by system
    summary CLOCK WORKLOAD                  plot: efficiency by scenario and system
    throughput CLOCK SCENARIO WORKLOAD      plot: each link over time
    queues CLOCK SCENARIO WORKLOAD          plot: waiting in each link's queue over time
    call CLOCK WORKLOAD                     plot: round trips of a call
    agreement                               efficiency on both clocks
    checks                                  what the emulator's self-checks found
    lateness                                of the emulator
    traces                                  recorded and generated traces
    refused                                 what does not count, and why
    fast                                    the fast path: medians by workload and system
    fast-bounds                             what it has to reach, and whether it does
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from bench import scenarios, systems, workloads
from bench.errors import BenchError, unknown
from bench.fast import bounds
from bench.fast.run import CLOCK
from bench.links import modems
from bench.report import markdown, page, pictures, tables
from bench.report.figures import METRICS
from bench.report.tables import pick

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.report.pictures import Picture
    from bench.results import Result

    Block = tuple[int, Callable[..., str]]
    """How many words it takes, and what makes its text of them."""

BLOCK = re.compile(
    r"(<!-- made: (?P<what>[^>]*?) -->\n)(?P<old>.*?)(?P<end><!-- end -->)", re.DOTALL
)
NOTHING = "Not measured.\n"
CLOCKS = {
    "agreement": {"sim", "lab"},
    "checks": {"lab"},
    "lateness": {"lab"},
    "fast": {"fast"},
    "fast-bounds": {"fast"},
}
"""Of which clocks blocks need results that do not name one."""


@dataclasses.dataclass(slots=True)
class Left:
    """The blocks, by their words, for which there were no results."""

    kept: list[str] = dataclasses.field(default_factory=list)
    """Those that have what they had."""
    empty: list[str] = dataclasses.field(default_factory=list)
    """Those that show nothing, though their clock was measured."""


def write(results: Sequence[Result], path: Path) -> Left:
    """Fill the blocks of a page, and say for which there was nothing."""
    try:
        text = path.read_text()
    except OSError as error:
        raise BenchError(f"cannot read the page {path}: {error.strerror}") from None
    if text.count("<!-- made:") != len(BLOCK.findall(text)):
        raise BenchError(f"{path} has a block that does not end with <!-- end -->")
    blocks = _blocks(results, path.parent / path.stem)
    measured = {one.clock for one in results}
    left = Left()

    def fill(match: re.Match[str]) -> str:
        name, *arguments = match["what"].split()
        if name not in blocks:
            raise unknown("block", name, blocks)
        count, make = blocks[name]
        if len(arguments) != count:
            raise BenchError(f"{path}: the block {name!r} takes {count} words, not {arguments}")
        made = make(*arguments)
        if not made and match["old"].strip() not in ("", NOTHING.strip()):
            left.kept.append(match["what"])
            return match[0]
        if not made and CLOCKS.get(name, {"sim", "lab"} & {*arguments}) <= measured:
            left.empty.append(match["what"])
        return f"{match[1]}\n{made or NOTHING}\n{match['end']}"

    path.write_text(BLOCK.sub(fill, text))
    return left


def _blocks(results: Sequence[Result], directory: Path) -> dict[str, Block]:
    fast = [one for one in results if one.clock == CLOCK]
    results = [one for one in results if one.clock != CLOCK]
    shown = tables.alike(results)

    def drawn(make: Callable[..., Picture]) -> Callable[..., str]:
        return lambda *names: make(shown, *names).put(directory, f"{directory.name}/")

    def overview(clock: str, workload: str, metric: str) -> str:
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS)
        return tables.overview(pick(shown, clock=clock, workload=workload), METRICS[metric])

    def details(clock: str, scenario: str, workload: str) -> str:
        return tables.details(pick(shown, clock=clock, scenario=scenario, workload=workload))

    return {
        "provenance": (0, lambda: page.provenance(results) if results else ""),
        "systems": (0, lambda: _names({n: one.title for n, one in systems.SYSTEMS.items()})),
        "workloads": (0, lambda: _names({n: one.title for n, one in workloads.WORKLOADS.items()})),
        "scenarios": (0, lambda: _names({n: one.title for n, one in scenarios.SCENARIOS.items()})),
        "overview": (3, overview),
        "details": (3, details),
        "summary": (2, drawn(pictures.summary)),
        "throughput": (3, drawn(pictures.throughput)),
        "queues": (3, drawn(pictures.queues)),
        "call": (2, drawn(pictures.voice)),
        "agreement": (0, lambda: tables.agreement(results)),
        "checks": (0, lambda: tables.checks(results)),
        "lateness": (0, lambda: tables.lateness(results)),
        "traces": (0, modems.comparison_table),
        "refused": (0, lambda: markdown.refused(results) or "Nothing.\n"),
        "fast": (0, lambda: _rows(bounds.table(bounds.Figures(fast))) if fast else ""),
        "fast-bounds": (0, lambda: _rows(bounds.judged(bounds.Figures(fast))) if fast else ""),
    }


def _rows(rows: list[list[str]]) -> str:
    """Return a table whose first row is its head."""
    head, *rest = rows
    return markdown.table(head, rest, "l" + "r" * (len(head) - 1)) if rest else ""


def _names(titles: dict[str, str]) -> str:
    return markdown.table(
        ["name", "what it is"], [[f"`{name}`", title] for name, title in titles.items()], "ll"
    )
