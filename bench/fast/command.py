"""The verb about the fast path: `python -m bench fast`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import keeping, plans, results
from bench.errors import BenchError
from mpbond import native

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.fast import run
    from bench.results import Result

PARTLY = 3
"""Exit status: done, but something is missed or cannot be used."""
CORES = ("pure", "compiled")
SECONDS, IDLE = 5.0, 30.0
"""Of a measurement, and of clients that idle, if nothing else is asked for."""


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--systems",
    metavar="A,B,…",
    default="",
    help="Of veth, mpbond:N, wireguard, openvpn, fastd[:METHOD]. [default: all; N 1, 2 and 6]",
)
@click.option(
    "--workloads", metavar="A,B,…", default="", help="Names or beginnings of them. [default: all]"
)
@click.option(
    "--seconds", type=click.FloatRange(0.5, 3600), help="Of each measurement.  [default: 5]"
)
@click.option("--repetitions", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option(
    "--core",
    type=click.Choice(CORES),
    help="By whose limits the exit status goes; both are shown. [default: the core that is here]",
)
@click.option(
    "--soak", type=click.FloatRange(5), help="Load one tunnel for so many seconds instead."
)
@click.option(
    "--clients",
    type=click.IntRange(2, 10_000),
    help="Let so many clients idle on one server instead, for 30 seconds if not told otherwise.",
)
@click.option("--paths", type=click.IntRange(1, 6), default=1, help="Of the tunnel that soaks.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Where results are kept."
)
@click.option("--dry-run", is_flag=True, help="Name the measurements, make none.")
@click.pass_context
def fast(ctx: click.Context, /, files: tuple[Path, ...], **options: Any) -> None:
    """Measures mpbond and others over plain wires (root), or shows what FILES hold of that."""
    core = options["core"] or CORES[native.kernel is not None]
    if files:
        ctx.exit(0 if tell(read(files), core) else PARTLY)
    out: Path | None = options["out"]
    if options["dry_run"]:
        for visit in _visits(options):
            click.echo(f"{visit.scenario} {visit.tunnel.name}: {', '.join(visit.workloads)}")
        return
    if os.geteuid() != 0:
        raise BenchError("the wires are in network namespaces: run this as root, or by sudo")
    if out is not None:
        keeping.prepare(out)
    with keeping.terminable():
        if options["soak"]:
            good = soak(options["soak"], options["paths"], out)
        elif options["clients"]:
            good = crowd(options["clients"], options["seconds"] or IDLE, out)
        else:
            keep = keeping.recorder(out) if out is not None else _forget
            good = tell(measure(options, keep), core)
    ctx.exit(0 if good else PARTLY)


def measure(options: dict[str, Any], keep: Callable[[Result], None]) -> list[Result]:
    """Measure, and tell each result as it comes."""
    from bench.fast import run

    how = _how(options)
    click.echo(f"about {plans.duration(run.seconds_of(how))}", err=True)
    return run.measure(how, keep, lambda text: click.echo(text, err=True))


def tell(found: list[Result], core: str) -> bool:
    """Print what was found and what of it is enough; say whether all of it is."""
    from bench.fast import bounds

    if not found:
        raise BenchError("there is nothing to show")
    figures = bounds.Figures(found)
    click.echo(bounds.text(bounds.table(figures)))
    click.echo()
    click.echo(bounds.text(bounds.judged(figures)))
    for reason in figures.refused():
        click.echo(f"not counted: {reason}")
    return bounds.all_reached(figures, core) and not figures.refused()


def read(files: tuple[Path, ...]) -> list[Result]:
    """Return the results of the fast path that are in files."""
    from bench.fast.run import CLOCK

    return [one for one in results.newest(results.read(*files)) if one.clock == CLOCK]


def soak(seconds: float, paths: int, out: Path | None) -> bool:
    """Soak, tell what came of it, and keep all samples; say whether all is well."""
    from bench.fast import soak as soaking

    findings, kept = soaking.soak(seconds, paths, lambda text: click.echo(text, err=True))
    for finding in findings:
        click.echo(finding.text())
    if out is not None:
        out.write_text(json.dumps(kept | {"versions": results.versions()}) + "\n")
    return all(finding.good for finding in findings)


def crowd(clients: int, seconds: float, out: Path | None) -> bool:
    """Let clients idle, tell what that costs, and keep what was seen; say whether it is little enough."""
    from bench.fast import bounds
    from bench.fast import crowd as gathering

    finding, kept = gathering.crowd(clients, seconds, lambda text: click.echo(text, err=True))
    click.echo(bounds.text(finding.judged()))
    if out is not None:
        out.write_text(json.dumps(kept | {"versions": results.versions()}) + "\n")
    return finding.good


def _how(options: dict[str, Any]) -> run.How:
    from bench.fast import run, tunnels

    names = _split(options["systems"]) or tunnels.SYSTEMS
    return run.How(
        tunnels=[tunnels.Tunnel.parse(each) for each in names],
        workloads=run.workloads_of(_split(options["workloads"])),
        seconds=options["seconds"] or SECONDS,
        repetitions=options["repetitions"],
    )


def _visits(options: dict[str, Any]) -> Iterator[run.Visit]:
    from bench.fast import run

    return run.visits(_how(options))


def _forget(_result: Result) -> None:
    """Keep no result."""


def _split(names: str) -> list[str]:
    return [name for name in names.split(",") if name]
