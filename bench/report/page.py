"""A report of all that some result files hold: one page of Markdown, and plots beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import workloads
from bench.errors import BenchError
from bench.report import markdown, pictures, tables
from bench.report.figures import METRICS
from bench.report.tables import distinct, pick

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.report.pictures import Picture
    from bench.results import Result

CLOCKS = {
    "lab": "In namespaces, on the real clock",
    "sim": "In the simulator, on the virtual clock",
}
READING = """\
Numbers are medians of the repetitions; ± is half of what lies between the smallest and the largest.
The best of a row is bold. Efficiency is the payload that applications received, over what all links
could have carried in the same window. `bare` is the best link without mpbond, `single` is mpbond
over that link."""


def write(results: Sequence[Result], directory: Path, *, plots: bool = True) -> Path:
    """Write a report into a directory and return its page."""
    if not results:
        raise BenchError("there are no results to report on; `run` and `sim` make some")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"cannot make the directory {directory}: {error.strerror}") from None
    page = directory / "report.md"
    sections = ["# Measurements\n", provenance(results), READING + "\n"]
    for clock in CLOCKS:
        lengths = sorted({one.seconds for one in pick(results, clock=clock)})
        for length in lengths:
            group = [one for one in pick(results, clock=clock) if one.seconds == length]
            sections += [f"## {CLOCKS[clock]}, {length:g} s\n"]
            sections += _clock(group, clock, directory if plots else None)
    refused = markdown.refused(results)
    if refused:
        sections += ["## What does not count\n", refused]
    page.write_text("\n".join(text for text in sections if text))
    return page


def provenance(results: Sequence[Result]) -> str:
    """Return what was measured, with which versions, on which machine, when: a list in Markdown."""
    valid = [one for one in results if one.valid]
    versions = {
        name: sorted({str(one.versions[name]) for one in results if name in one.versions})
        for name in dict.fromkeys(name for one in results for name in one.versions)
        if name not in ("dirty", "tree")
    }
    machines = dict.fromkeys(
        f"{one.machine.get('cpu', 'unknown')}, {one.machine.get('cores', '?')} cores, "
        f"{one.machine.get('memory', 0) / 2**30:.0f} GiB"
        for one in results
    )
    days = sorted(one.started[:10] for one in results)
    lengths = " or ".join(f"{length:g}" for length in sorted({one.seconds for one in results}))
    lines = [
        f"{len(results)} measurement{'s' * (len(results) != 1)} of {lengths} s each"
        + (f", of which {len(valid)} count" * (len(valid) < len(results))),
        f"made {days[0]}" + (f" to {days[-1]}" if days[-1] != days[0] else ""),
        f"on {'; '.join(machines)}",
        "with " + ", ".join(f"{name} {'/'.join(texts)}" for name, texts in versions.items()),
    ]
    commands = dict.fromkeys(one.command for one in results if one.command)
    lines += [f"by `{command}`" for command in commands]
    return "\n".join(f"* {line}" for line in lines) + "\n"


def _clock(results: Sequence[Result], clock: str, directory: Path | None) -> list[str]:
    sections = []
    for workload in _ordered(distinct(results, "workload")):
        group = pick(results, workload=workload)
        title = _title(workload)
        for metric, picture in (
            ("efficiency", pictures.summary(results, clock, workload)),
            ("voice_p95", pictures.voice(results, clock, workload)),
            ("pages_p50", None),
        ):
            table = tables.overview(group, METRICS[metric])
            if table:
                sections += [f"### {title}: {METRICS[metric].title}\n"]
                sections += _shown(picture, directory)
                sections += [table]
    for scenario in distinct(results, "scenario"):
        sections += _scenario(pick(results, scenario=scenario), clock, scenario, directory)
    late = tables.lateness(results)
    if late:
        sections += ["### How late the emulator was\n", late]
    return sections


def _scenario(
    results: Sequence[Result], clock: str, scenario: str, directory: Path | None
) -> list[str]:
    sections = [f"### {scenario}\n"]
    for workload in _ordered(distinct(results, "workload")):
        group = pick(results, workload=workload)
        table = tables.details(group)
        if not table:
            continue
        sections += [f"#### {_title(workload)}\n", table]
        if any(one.timeline is not None for one in group):
            for picture in (
                pictures.throughput(results, clock, scenario, workload),
                pictures.queues(results, clock, scenario, workload),
            ):
                sections += _shown(picture, directory)
    return sections


def _shown(picture: Picture | None, directory: Path | None) -> Iterator[str]:
    if picture is not None and directory is not None:
        yield picture.put(directory, "")


def _ordered(names: Sequence[str]) -> list[str]:
    known = [name for name in workloads.WORKLOADS if name in names]
    return known + [name for name in names if name not in known]


def _title(workload: str) -> str:
    known = workloads.WORKLOADS.get(workload)
    return known.title if known is not None else workload
