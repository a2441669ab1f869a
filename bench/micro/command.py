"""The verb about single steps: `python -m bench micro`.

Each make of mpbond is measured by a process of its own (bench.micro.makes), which is this verb again with
`--make`; what they keep is put together.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import results
from bench.errors import BenchError
from bench.results.provenance import machine

if TYPE_CHECKING:
    from bench.micro.items import Item

NAMES = ("python", "kernel", "compiled")
"""Those of bench.micro.makes, which takes long to import."""


@click.command()
@click.option("--only", metavar="A,B,…", default="", help='Items, or beginnings of "item/batch".')
@click.option(
    "--make",
    type=click.Choice(NAMES),
    help="All in Python, the batch functions compiled, or the core too.  [default: one by one]",
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
    only: str,
    make: str | None,
    repetitions: int,
    seconds: float,
    instructions: bool,
    out: Path | None,
) -> None:
    """Measures each step of the fast path by itself, per packet."""
    from bench.micro import instructions as counting
    from bench.micro import items
    from bench.micro.makes import IN_USE, MAKES

    chosen = items.select(filter(None, only.split(",")))
    by = counting.counter() if instructions else None
    if instructions and by is None:
        click.echo("neither perf's counters nor valgrind is there: no instructions", err=True)
    if make is not None and make == IN_USE:
        figures = _measure(chosen, repetitions, seconds, by)
    else:
        options = ["--only", only, "--repetitions", str(repetitions), "--seconds", str(seconds)]
        options += [] if by is None else ["--instructions"]
        figures = []
        for name, variable in (MAKES if make is None else {make: MAKES[make]}).items():
            figures += _by_another(name, variable, options)
    if out is not None:
        kept = {
            "versions": results.versions(),
            "machine": machine(),
            "repetitions": repetitions,
            "seconds": seconds,
            "figures": figures,
        }
        out.write_text(json.dumps(kept, indent=1) + "\n")


def _measure(
    chosen: list[Item], repetitions: int, seconds: float, by: str | None
) -> list[dict[str, Any]]:
    """Measure what this process runs."""
    from bench.micro import instructions as counting
    from bench.micro import measure

    counted: dict[str, float] = {}
    if by is not None:
        click.echo(f"counting instructions by {by} …", err=True)
        counted = counting.count(chosen, by)
    figures = []
    for item in chosen:
        figure = measure.measure(item, repetitions=repetitions, seconds=seconds)
        figure = dataclasses.replace(figure, instructions=counted.get(item.key))
        click.echo(figure.text())
        figures.append(dataclasses.asdict(figure) | {"counter": by})
    return figures


def _by_another(make: str, variable: str, options: list[str]) -> list[dict[str, Any]]:
    """Let a process with another make measure; one that is not there is told of and has no figures."""
    environment = os.environ | {"MPBOND_PURE": variable}
    asked = "from bench.micro.makes import IN_USE; print(IN_USE)"
    found = _run(["-c", asked], environment, capture=True).strip()
    if found != make:
        click.echo(f"{make}: not built here", err=True)
        return []
    with tempfile.TemporaryDirectory() as place:
        out = Path(place, "figures.json")
        _run(
            ["-m", "bench", "micro", "--make", make, *options, "--out", str(out)],
            environment,
            capture=False,
        )
        kept: list[dict[str, Any]] = json.loads(out.read_text())["figures"]
    return kept


def _run(arguments: list[str], environment: dict[str, str], *, capture: bool) -> str:
    root = Path(__file__).parents[2]
    environment = environment | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"measuring in a process of its own failed with {done.returncode}")
    return done.stdout or ""
