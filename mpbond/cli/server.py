"""`mpbond server`: ends the tunnels of many clients until it is told to stop."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from mpbond.cli.running import running_options, start_log
from mpbond.config import load_server

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Runs the server: ends the tunnels of clients.")
@running_options("/etc/mpbond/server.toml")
@click.pass_context
def server(ctx: click.Context, path: Path, dry_run: bool, verbose: bool) -> None:
    """Ends the tunnels of clients and lets them out into the internet."""
    config = load_server(path)
    if verbose:
        config = dataclasses.replace(config, log_level="debug")
    start_log(config.log_level)
    from mpbond.runtime.daemon import run_server

    ctx.exit(run_server(config, dry_run=dry_run))
