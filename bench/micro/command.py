"""The verb about single steps: `python -m bench micro`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from bench import results
from bench.results.provenance import machine


@click.command()
@click.option(
    "--only", metavar="A,B,…", default="", help='Items, or beginnings of "item/batch/twin".'
)
@click.option("--repetitions", type=click.IntRange(1, 1000), default=7, show_default=True)
@click.option(
    "--seconds",
    type=click.FloatRange(0.001, 60),
    default=0.3,
    show_default=True,
    help="Of each repetition.",
)
@click.option("--instructions", is_flag=True, help="Count them too, which takes some minutes.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where figures are kept, as JSON.",
)
def micro(
    only: str, repetitions: int, seconds: float, instructions: bool, out: Path | None
) -> None:
    """Measures each step of the fast path by itself, per packet."""
    from bench.micro import instructions as counting
    from bench.micro import items, measure

    chosen = items.select(filter(None, only.split(",")))
    counted: dict[str, float] = {}
    by = None
    if instructions:
        by = counting.counter()
        if by is None:
            click.echo("neither perf's counters nor valgrind is there: no instructions", err=True)
        else:
            click.echo(f"counting instructions by {by} …", err=True)
            counted = counting.count(chosen, by)
    figures = []
    for item in chosen:
        figure = measure.measure(item, repetitions=repetitions, seconds=seconds)
        figures.append(dataclasses.replace(figure, instructions=counted.get(item.key)))
        click.echo(figures[-1].text())
    if out is not None:
        kept = {
            "versions": results.versions(),
            "machine": machine(),
            "repetitions": repetitions,
            "seconds": seconds,
            "counter": by,
            "figures": [dataclasses.asdict(figure) for figure in figures],
        }
        out.write_text(json.dumps(kept, indent=1) + "\n")
