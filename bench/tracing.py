"""The verbs about traces of capacity: `python -m bench trace …`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.errors import unknown

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def trace() -> None:
    """Generates traces of capacity, and describes them."""


@trace.command("write")
@click.argument("modem")
@click.argument("direction", type=click.Choice(["down", "up"]))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--seconds", type=click.FloatRange(1, 86400), default=180.0, show_default=True)
def trace_write(modem: str, direction: str, file: Path, seed: int, seconds: float) -> None:
    """Writes a trace of a generated modem, in mahimahi's format."""
    from bench.links import modems, traces

    if modem not in modems.PRESETS:
        raise unknown("modem", modem, modems.PRESETS)
    times = modems.PRESETS[modem].trace(direction, seed, seconds).times
    traces.write(file, times)
    click.echo(_described(str(file), times))


@trace.command("show")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def trace_show(files: tuple[Path, ...]) -> None:
    """Says what traces are like."""
    from bench.links import traces

    for file in files:
        click.echo(_described(str(file), traces.read(file).times))


@trace.command("compare")
def trace_compare() -> None:
    """Puts recorded traces beside generated ones, as a table in Markdown."""
    from bench.links import modems

    click.echo(modems.comparison_table(), nl=False)


def _described(name: str, times: Sequence[int]) -> str:
    from bench.links import traces

    what = traces.statistics(times)
    rates = " / ".join(f"{rate / 1e6:.2f}" for rate in (what.p5, what.p50, what.p95))
    return (
        f"{name}: {what.length:.0f} s, mean {what.mean / 1e6:.2f} Mbit/s, "
        f"per second p5 / p50 / p95 {rates}, longest gap {what.longest_gap:.2f} s"
    )
