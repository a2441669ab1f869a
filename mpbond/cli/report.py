"""The status map as lines for people: a title, each session, a row for each path, then what to
know.

"Up" is from the client to the server whichever side is asked, so on a server the rate up is what
it receives. A pure function of the map and the wall clock; keys that a daemon leaves out count as
not known.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from mpbond.cli import words

Map = Mapping[str, Any]

_HEADINGS: Final = ("path", "state", "up", "down", "RTT", "loss", "share up", "share down", "")
_LEFT_ALIGNED: Final = (0, 1, 8)
_DAY: Final = 86400.0  # seconds
_WHEN_DOWN: Final = {
    "direct": 'traffic goes out by the links themselves (when_down = "direct")',
    "block": 'traffic is held back (when_down = "block")',
}


class Line(NamedTuple):
    """A line of the report and how it is meant: title, plain, good, warning or bad."""

    text: str
    tone: str = "plain"


def report(status: Map, now: float) -> list[Line]:
    """Writes a status map as lines; `now` is the wall clock, seconds since the epoch."""
    lines = [Line(_title(status), "title")]
    sessions = status.get("sessions") or []
    if not sessions or status.get("state") != "connected":
        lines.extend(_without_session(status, sessions))
    for session in sessions:
        lines.extend(_session(session, status.get("role") == "server", now))
    lines.extend(_idle_links(status, sessions))
    lines.extend(_drops(status.get("drops") or {}))
    lines.extend(Line(f"# {warning}", "warning") for warning in status.get("warnings") or [])
    return lines


def _title(status: Map) -> str:
    tun = status.get("tun") or {}
    parts = [f"{status.get('role', 'mpbond')} on {tun.get('name', 'no device')}"]
    if tun.get("addresses"):
        parts.append(" ".join(tun["addresses"]))
    if tun.get("mtu"):
        parts.append(f"MTU {tun['mtu']}")
    parts.append(f"running for {words.span(status.get('uptime'))}")
    return f"mpbond {', '.join(parts)}"


def _without_session(status: Map, sessions: Sequence[Map]) -> Iterator[Line]:
    if status.get("role") == "server":
        if not sessions:
            yield Line("no client is connected")
        return
    if status.get("state") == "connecting":
        yield Line("connecting: no answer from the server yet", "warning")
    elif status.get("state") != "connected":
        yield Line("not connected: the server cannot be reached", "bad")
    if status.get("state") != "connected" and status.get("when_down") in _WHEN_DOWN:
        yield Line(f"# {_WHEN_DOWN[status['when_down']]}", "warning")


def _session(session: Map, server: bool, now: float) -> Iterator[Line]:
    yield Line(_header(session, server, now), "title")
    inner = [*(session.get("addresses") or ()), *(session.get("routes") or ())]
    if server and inner:
        yield Line(f"  has {', '.join(inner)}")
    yield Line(f"  {_manner(session)}")
    yield from _table([_row(path, session, server) for path in session.get("paths") or ()])
    order = session.get("order") or {}
    if any(order.get(key) for key in ("held", "late", "duplicate", "skipped")):
        told = [
            f"{order.get(key) or 0:,} {key}" for key in ("held", "late", "duplicate", "skipped")
        ]
        yield Line(f"  order: {', '.join(told)}")


def _header(session: Map, server: bool, now: float) -> str:
    paths = session.get("paths") or ()
    alive = any(path.get("state") != "down" for path in paths)
    contact = "connected to" if alive else "no contact with"
    remotes = {path.get("remote") for path in paths}
    remotes.discard(session.get("peer"))  # configured by address: once is enough
    where = f" at {remotes.pop()}" if len(remotes) == 1 and not server else ""
    told = f"{contact} {session.get('peer') or session.get('public_key')}{where}"
    ago = session.get("since")
    if ago is None:
        return told
    form = "%H:%M:%S" if ago < _DAY else "%Y-%m-%d %H:%M"
    begun = time.strftime(form, time.localtime(now - ago))
    return f"{told}{'' if alive else ', connected'} since {begun} ({words.span(ago)})"


def _manner(session: Map) -> str:
    scheduler = session.get("scheduler") or {}
    up, down = scheduler.get("up"), scheduler.get("down")
    told = [f"{name} {way}" for name, way in ((up, "up"), (down, "down")) if name]
    parts = [f"scheduler {up if up == down else ', '.join(told)}"]
    hold = session.get("hold")
    parts.append("hold off" if hold == 0 else f"hold {words.delay(hold)}")
    parts.append(f"{session.get('cipher')}, key {words.span(session.get('key_age'))} old")
    return ", ".join(parts)


def _row(path: Map, session: Map, server: bool) -> tuple[str, ...]:
    up, down = ("received", "sent") if server else ("sent", "received")
    share = path.get("share") or {}
    reason = path.get("reason") if path.get("state") != "up" else None
    return (
        _path_name(path, session),
        str(path.get("state", words.UNKNOWN)),
        words.rate((path.get(up) or {}).get("rate")),
        words.rate((path.get(down) or {}).get("rate")),
        words.delay(path.get("rtt")),
        words.percent(path.get("loss")),
        words.percent(share.get(up)),
        words.percent(share.get(down)),
        reason or "",
    )


def _path_name(path: Map, session: Map) -> str:
    link, remote = path.get("link"), path.get("remote")
    if not link:
        return str(remote or f"path {path.get('id')}")
    same = [other for other in session.get("paths") or () if other.get("link") == link]
    return f"{link} to {remote}" if len(same) > 1 else str(link)


def _table(rows: list[tuple[str, ...]]) -> Iterator[Line]:
    if not rows:
        yield Line("  no path", "warning")
        return
    columns = list(zip(_HEADINGS, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    tones = {"up": "good", "down": "bad"}
    yield Line(_aligned(_HEADINGS, widths))
    for row in rows:
        yield Line(_aligned(row, widths), tones.get(row[1], "warning"))


def _aligned(cells: Sequence[str], widths: list[int]) -> str:
    padded = [
        cell.ljust(width) if index in _LEFT_ALIGNED else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"  {'  '.join(padded)}".rstrip()


def _idle_links(status: Map, sessions: Sequence[Map]) -> Iterator[Line]:
    used = {path.get("link") for session in sessions for path in session.get("paths") or ()}
    idle = [link for link in status.get("links") or () if link.get("name") not in used]
    for link in idle:
        yield Line(f"  {link.get('name')}: {link.get('state')}", "warning")


def _drops(drops: Mapping[str, int]) -> Iterator[Line]:
    told = sorted((reason for reason in drops if drops[reason]), key=lambda reason: -drops[reason])
    if told:
        parts = ", ".join(f"{drops[reason]:,} {reason}" for reason in told)
        yield Line(f"dropped: {parts}")
