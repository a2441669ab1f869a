"""Tables in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.figures import best, cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.report.figures import Cell, Metric
    from bench.results import Result


def table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """Return a table; `align` has an l or r for each column."""
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "|".join("---:" if side == "r" else "---" for side in align) + "|")
    lines += ["| " + " | ".join(_escaped(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def with_spread(one: Cell, metric: Metric) -> str:
    """Return a median, and behind it half of what lies between smallest and largest, if anything."""
    text = metric.write(one.median)
    spread = metric.write(one.spread)
    return text if float(spread.replace(",", "")) == 0 else f"{text} ±{spread.removeprefix('0')}"


def row(
    groups: Sequence[Sequence[Result]], metric: Metric, *, mark: bool = True
) -> list[str] | None:
    """Return a metric of several systems, the best in bold; None when none of them has it."""
    cells = [cell(group, metric) for group in groups]
    if not any(cells):
        return None
    top = best(cells, metric) if mark else set()
    texts = ["" if one is None else with_spread(one, metric) for one in cells]
    return [f"**{text}**" if n in top else text for n, text in enumerate(texts)]


def refused(results: Iterable[Result]) -> str:
    """Return a table of what is not valid among results, with the reasons; "" if there is none."""
    rows = [
        [
            *(r.clock, r.scenario, f"`{r.system}`", f"`{r.workload}`", str(r.repetition + 1)),
            r.reason or "no reason was given",
        ]
        for r in results
        if not r.valid
    ]
    head = ["clock", "scenario", "system", "workload", "repetition", "why it does not count"]
    return table(head, rows, "llllrl") if rows else ""


def by_system(results: Iterable[Result], systems: Sequence[str]) -> list[list[Result]]:
    """Return results in the order of systems."""
    found: Mapping[str, list[Result]] = {name: [] for name in systems}
    for result in results:
        if result.system in found:
            found[result.system].append(result)
    return list(found.values())


def _escaped(cells: Sequence[str]) -> list[str]:
    return [text.replace("|", "\\|") for text in cells]
