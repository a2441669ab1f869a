"""`mpbond client`: joins the links of this machine until it is told to stop."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from mpbond.cli.running import running_options, start_log
from mpbond.config import load_client

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Runs the client: joins the links of this machine.")
@running_options("/etc/mpbond/client.toml")
@click.pass_context
def client(ctx: click.Context, path: Path, dry_run: bool, verbose: bool) -> None:
    """Joins the links of this machine into one tunnel to the server."""
    config = load_client(path)
    if verbose:
        config = dataclasses.replace(config, log_level="debug")
    start_log(config.log_level)
    from mpbond.runtime.daemon import run_client

    ctx.exit(run_client(config, dry_run=dry_run))
