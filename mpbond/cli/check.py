"""`mpbond check`: is a configuration usable, and what would mpbond do with it?"""

from __future__ import annotations

from pathlib import Path

import click

from mpbond.cli.describe import describe
from mpbond.config import load


@click.command(short_help="Validates a configuration and says what it would do.")
@click.argument("path", metavar="CONFIG", type=click.Path(readable=False, path_type=Path))
def check(path: Path) -> None:
    """Validates CONFIG and says in words what mpbond would do with it; changes nothing.

    Lines that begin with # are worth a look but no mistakes. For the commands themselves, run
    mpbond client or mpbond server with --dry-run.
    """
    facts, warnings = describe(load(path))
    width = max(len(name) for name, _ in facts)
    click.echo(f"{path} is usable.")
    for name, words in facts:
        click.echo(f"  {name.ljust(width)}  {words}")
    for warning in warnings:
        click.secho(f"# {warning}", fg="yellow")
