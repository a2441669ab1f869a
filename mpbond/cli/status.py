"""`mpbond status`: what runs here and how its paths are."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import click

from mpbond.cli import control_client
from mpbond.cli.report import Line, report
from mpbond.errors import ControlError

PERIOD: Final = 1.0  # seconds between two looks of --watch
_STYLES: Final[dict[str, dict[str, Any]]] = {
    "title": {"bold": True},
    "good": {"fg": "green"},
    "warning": {"fg": "yellow"},
    "bad": {"fg": "red"},
}


@click.command(short_help="Shows what runs here and how its paths are.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole status as JSON.")
@click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C.")
@click.option(
    "--control",
    type=click.Path(readable=False, path_type=Path),
    envvar="MPBOND_CONTROL",
    help="Ask at this control socket only.",
)
def status(as_json: bool, watch: bool, control: Path | None) -> None:
    """Shows each session and each of its paths: state, rates, RTT, loss and share.

    Up is from the client to the server, on either side. Ends with status 1 if no mpbond runs. With
    --json, each mpbond that runs here prints one document.
    """
    shown = _look(control, as_json)
    if not watch:
        _show(shown)
        return
    try:
        while True:
            click.clear()
            _show(shown)
            time.sleep(PERIOD)
            shown = _look_again(control, as_json)
    except KeyboardInterrupt:
        click.echo()


def _look(control: Path | None, as_json: bool) -> list[Line]:
    found, troubles = _ask_all(control)
    lines: list[Line] = []
    for answer in found:
        if as_json:
            document = json.dumps(answer, indent=2, sort_keys=True, ensure_ascii=False)
            lines.append(Line(document))
        else:
            lines.extend([Line("")] if lines else [])
            lines.extend(report(answer, time.time()))
    if not as_json:
        lines.extend(Line(f"# {trouble}", "warning") for trouble in troubles)
    return lines


def _look_again(control: Path | None, as_json: bool) -> list[Line]:
    try:
        return _look(control, as_json)
    except ControlError as error:
        return [] if as_json else [Line(f"# {error}", "warning")]


def _show(lines: list[Line]) -> None:
    for line in lines:
        click.secho(line.text, **_STYLES.get(line.tone, {}))


def _ask_all(control: Path | None) -> tuple[list[dict[str, Any]], list[ControlError]]:
    if control is not None:
        return [_ask(control)], []
    found: list[dict[str, Any]] = []
    troubles: list[ControlError] = []
    for path in control_client.find_sockets():
        try:
            found.append(_ask(path))
        except control_client.NobodyListensError:
            continue
        except ControlError as error:
            troubles.append(error)
    if not found:
        raise troubles[0] if troubles else control_client.nobody_runs()
    return found, troubles


def _ask(path: Path) -> dict[str, Any]:
    answer = control_client.request(path, {"verb": "status"}).get("status")
    if not isinstance(answer, dict):
        raise ControlError(f"mpbond at {path} answered without a status; is it another version?")
    return answer
