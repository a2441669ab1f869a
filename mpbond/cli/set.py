"""`mpbond set`: changes a running mpbond, until it ends; the configuration stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from mpbond.cli import control_client
from mpbond.config import SCHEDULERS
from mpbond.errors import ControlError

_LONGEST_HOLD_MS: Final = 500
_CONTROL: Final = click.option(
    "--control",
    type=click.Path(readable=False, path_type=Path),
    envvar="MPBOND_CONTROL",
    help="The control socket of the mpbond that is meant.",
)
_CLIENT: Final = click.option(
    "--client", "peer", metavar="NAME", help="On a server: only for this client, not for all."
)


def _hold(_ctx: click.Context, _param: click.Parameter, value: str) -> str | float:
    if value == "auto":
        return value
    try:
        milliseconds = float(value)
    except ValueError:
        milliseconds = -1.0
    if not 0 <= milliseconds <= _LONGEST_HOLD_MS:
        right = f'use "auto" or 0 to {_LONGEST_HOLD_MS} milliseconds'
        raise click.BadParameter(f'"{value}" is no hold; {right}.')
    return milliseconds


@click.group(name="set", short_help="Changes a setting of a running mpbond.")
def set_group() -> None:
    """Changes a setting of a running mpbond at once, without breaking connections."""


@set_group.command()
@click.argument("name", type=click.Choice(SCHEDULERS))
@click.option(
    "--direction",
    type=click.Choice(["up", "down", "both"]),
    default="both",
    show_default=True,
    help="Up is from the client to the server, on either side.",
)
@_CLIENT
@_CONTROL
def scheduler(name: str, direction: str, peer: str | None, control: Path | None) -> None:
    """Chooses how packets are spread over the paths."""
    message: dict[str, object] = {
        "verb": "set",
        "name": "scheduler",
        "value": name,
        "direction": direction,
    }
    _ask(message, peer, control)
    where = "up and down" if direction == "both" else direction
    click.echo(f"The scheduler is now {name} ({where}).")


@set_group.command()
@click.argument("value", metavar="auto|MS", callback=_hold)
@_CLIENT
@_CONTROL
def hold(value: str | float, peer: str | None, control: Path | None) -> None:
    """Chooses how long a packet waits for an earlier one: auto, or milliseconds (0: never)."""
    _ask({"verb": "set", "name": "hold", "value": value}, peer, control)
    if value == "auto":
        click.echo("The hold now follows the paths.")
    elif value == 0:
        click.echo("The hold is now off: packets are passed on as they come.")
    else:
        click.echo(f"The hold is now {value:g} ms.")


def _ask(message: dict[str, object], peer: str | None, control: Path | None) -> None:
    if peer is not None:
        message["client"] = peer
    control_client.request(control or _only_daemon(), message)


def _only_daemon() -> Path:
    alive = []
    for path in control_client.find_sockets():
        try:
            control_client.request(path, {"verb": "status"})
        except control_client.NobodyListensError:
            continue
        alive.append(path)
    if not alive:
        raise control_client.nobody_runs()
    if len(alive) > 1:
        names = ", ".join(str(path) for path in alive)
        raise ControlError(f"several mpbond run here ({names}); name one by --control.")
    return alive[0]
