"""`mpbond set`: changes a running mpbond, until it ends; the configuration stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from mpbond.cli import control_client, words
from mpbond.config import SCHEDULERS, TIERS
from mpbond.config.amounts import RATE_EXAMPLE, read_rate
from mpbond.errors import ControlError

_LONGEST_HOLD_MS: Final = 500
_TIER_WORDS: Final = {
    "always": "always",
    "overflow": "for what the other links cannot carry",
    "last resort": "only while no other link is up",
}
_CONTROL: Final = click.option(
    "--control",
    type=click.Path(readable=False, path_type=Path),
    envvar="MPBOND_CONTROL",
    help="The control socket of the mpbond that is meant.",
)
_DIRECTION: Final = click.option(
    "--direction",
    type=click.Choice(["up", "down", "both"]),
    default="both",
    show_default=True,
    help="Up is from the client to the server, on either side.",
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


def _cap(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    rate = 0.0 if value == "none" else read_rate(value)
    if rate is None:
        right = f'use a rate such as "{RATE_EXAMPLE}", from 10 kbit/s to 100 Gbit/s, or none'
        raise click.BadParameter(f'"{value}" is no cap; {right}.')
    return rate


@click.group(name="set", short_help="Changes a setting of a running mpbond.")
def set_group() -> None:
    """Changes a setting of a running mpbond at once, without breaking connections."""


@set_group.command()
@click.argument("name", type=click.Choice(SCHEDULERS))
@_DIRECTION
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
    click.echo(f"The scheduler is now {name} ({_where(direction)}).")


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


@set_group.command()
@click.argument("link")
@click.argument(
    "name",
    metavar="|".join(f'"{tier}"' if " " in tier else tier for tier in TIERS),
    type=click.Choice(TIERS),
)
@_CONTROL
def tier(link: str, name: str, control: Path | None) -> None:
    """Chooses when LINK carries packets, on the client.

    Overflow: only what the other links cannot carry. Last resort: only while no other link is up.
    """
    _ask({"verb": "set", "name": "tier", "value": name, "link": link}, None, control)
    click.echo(f"{link} is now used {_TIER_WORDS[name]}.")


@set_group.command()
@click.argument("link")
@click.argument("rate", metavar="RATE|none", callback=_cap)
@_DIRECTION
@_CONTROL
def cap(link: str, rate: float, direction: str, control: Path | None) -> None:
    """Limits what LINK may carry, as in "8 Mbit/s", on the client."""
    message: dict[str, object] = {
        "verb": "set",
        "name": "cap",
        "value": rate,
        "link": link,
        "direction": direction,
    }
    _ask(message, None, control)
    limit = f"carries at most {words.rate(rate)}" if rate else "has no cap"
    click.echo(f"{link} now {limit} ({_where(direction)}).")


def _where(direction: str) -> str:
    return "up and down" if direction == "both" else direction


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
