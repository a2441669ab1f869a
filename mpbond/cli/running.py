"""What `mpbond client` and `mpbond server` have in common: options and the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_UNDER_A_SUPERVISOR: Final = "%(levelname)s %(name)s: %(message)s"  # the journal adds the time
_ON_A_TERMINAL: Final = "%(asctime)s " + _UNDER_A_SUPERVISOR


def running_options(default: str) -> Callable[[F], F]:
    """Decorates a verb with --config, --dry-run and --verbose."""

    def decorate(function: F) -> F:
        for option in (
            click.option(
                "-v", "--verbose", is_flag=True, help="Log everything, whatever log_level says."
            ),
            click.option(
                "--dry-run",
                is_flag=True,
                help="Print the commands that would change this system, change nothing, and end.",
            ),
            click.option(
                "-c",
                "--config",
                "path",
                type=click.Path(readable=False, path_type=Path),
                default=default,
                show_default=True,
                envvar="MPBOND_CONFIG",
                help="The configuration.",
            ),
        ):
            function = option(function)
        return function

    return decorate


def start_log(level: str) -> None:
    """Sends the log, from `level` on, to standard error."""
    form = _ON_A_TERMINAL if sys.stderr.isatty() else _UNDER_A_SUPERVISOR
    logging.basicConfig(format=form)
    logging.getLogger("mpbond").setLevel(level.upper())
