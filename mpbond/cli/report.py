"""The status map as lines for people: a title, each session, a row for each path, then what to
know. A row stays within 100 columns; what is special about a path (why it is not up, its tier, caps
and quota) has a line of its own below.

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

_HEADINGS: Final = (
    "path",
    "state",
    "up Mbit/s",
    "down Mbit/s",
    "RTT ms",
    "queue",
    "loss",
    "repaired",
    "share",
)
_LEFT_ALIGNED: Final = (0, 1)
_CLASSES: Final = ("normal", "realtime", "acknowledgement", "bulk")
_TIERS: Final = {1: "overflow", 2: "last resort"}
_PERIODS: Final = {"day": "today", "month": "this month"}
_DAY: Final = 86400.0  # seconds
_NAMED_LINKS: Final = 4  # of those whose sockets have the same offloads, where others have not
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
    lines.extend(_offloads(status, sessions))
    lines.extend(_drops(status.get("drops") or {}))
    if status.get("fast_path"):
        lines.append(Line(f"fast path: {status['fast_path']}"))
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
    yield from _flow(session, server)
    yield from _table(session, server)
    yield from _order(session)


def _flow(session: Map, server: bool) -> Iterator[Line]:
    """What the paths together carry, what waits for them, and what kinds of packets there are."""
    rate, queue = session.get("rate"), session.get("queue") or {}
    up, down = _directions(server)
    if rate:
        told = f"learned {words.rate(rate.get(up))} up, {words.rate(rate.get(down))} down"
        waiting = queue.get("packets") or 0
        if waiting:
            waits = f"{words.count(waiting, 'packet')} of {words.count(queue.get('flows') or 0, 'flow')}"
            told += f"; {waits} waiting, delay {words.delay(queue.get('delay'))}"
        else:
            told += "; nothing waiting"
        yield Line(f"  {told}")
    even = session.get("even") or {}
    evened = [
        f"{words.delay(even[key])} {way}"
        for key, way in ((up, "up"), (down, "down"))
        if even.get(key)
    ]
    if evened:
        yield Line(f"  bulk flows evened out: {', '.join(evened)}")
    classes = session.get("classes") or {}
    counts = {name: (classes.get(name) or {}).get("packets") or 0 for name in _CLASSES}
    if any(counts.values()):
        yield Line(f"  classes: {', '.join(f'{n:,} {name}' for name, n in counts.items())}")


def _order(session: Map) -> Iterator[Line]:
    order = session.get("order") or {}
    told = {key: order.get(key) or 0 for key in ("held", "late", "duplicate", "skipped")}
    if any(told.values()):
        yield Line(f"  order: {', '.join(f'{n:,} {key}' for key, n in told.items())}")
    repaired, given_up = session.get("repaired") or 0, session.get("given_up") or 0
    if repaired or given_up:
        yield Line(f"  repair: {repaired:,} sent again, {given_up:,} given up")


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


def _directions(server: bool) -> tuple[str, str]:
    """How the side that was asked calls up and down."""
    return ("received", "sent") if server else ("sent", "received")


def _row(path: Map, session: Map, server: bool) -> tuple[str, ...]:
    up, down = _directions(server)
    repaired = path.get("repaired")
    return (
        _path_name(path, session),
        str(path.get("state", words.UNKNOWN)),
        _rates(path, up),
        _rates(path, down),
        _rtts(path),
        words.delay(path.get("queue_delay")),
        words.percent(path.get("loss")),
        words.UNKNOWN if repaired is None else f"{repaired:,}",
        _shares(path.get("share") or {}, up, down),
    )


def _rates(path: Map, way: str) -> str:
    """The rate of the last second, and of how much that is according to rate control."""
    now = words.megabits((path.get(way) or {}).get("rate"))
    learned = (path.get("rate") or {}).get(way)
    if way == "sent" and not path.get("learned", not path.get("ramping")):
        learned = None  # it is but the most that was ever asked of the path
    return f"{now} of {words.megabits(learned)}" if learned else now


def _rtts(path: Map) -> str:
    """The round trip now, and without any queue."""
    now, base = path.get("rtt"), path.get("rtt_min")
    if now is None:
        return words.UNKNOWN
    return f"{now * 1000:.0f}" + ("" if base is None else f" ({base * 1000:.0f})")


def _shares(share: Map, *ways: str) -> str:
    known = [share.get(way) for way in ways]
    if all(part is None for part in known):
        return words.UNKNOWN
    return "/".join(words.UNKNOWN if part is None else f"{part * 100:.0f}" for part in known) + " %"


def _notes(path: Map, server: bool) -> str:
    """What is special about a path."""
    up, down = _directions(server)
    notes = [str(path["reason"])] if path.get("state") != "up" and path.get("reason") else []
    tier = path.get("tier") or 0
    if tier in _TIERS:
        notes.append(_TIERS[tier])
    cap = path.get("cap") or {}
    caps = [
        f"{words.rate(cap[at])} {way}" for at, way in ((up, "up"), (down, "down")) if cap.get(at)
    ]
    if caps:
        notes.append(f"at most {' and '.join(caps)}")
    quota = path.get("quota")
    if quota:
        used, of = words.volume(quota.get("used") or 0), words.volume(quota.get("of") or 0)
        told = f"{used} of {of} {_PERIODS.get(quota.get('per'), '')}"
        said = not quota.get("exhausted") or path.get("state") != "up"
        notes.append(told if said else f"quota used up: {told}")
    return "; ".join(notes)


def _path_name(path: Map, session: Map) -> str:
    link, remote = path.get("link"), path.get("remote")
    if not link:
        return str(remote or f"path {path.get('id')}")
    same = [other for other in session.get("paths") or () if other.get("link") == link]
    return f"{link} to {remote}" if len(same) > 1 else str(link)


def _table(session: Map, server: bool) -> Iterator[Line]:
    paths = session.get("paths") or ()
    if not paths:
        yield Line("  no path", "warning")
        return
    rows = [_row(path, session, server) for path in paths]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    tones = {"up": "good", "down": "bad"}
    yield Line(_aligned(_HEADINGS, widths))
    for path, row in zip(paths, rows, strict=True):
        tone = tones.get(row[1], "warning")
        yield Line(_aligned(row, widths), tone)
        notes = _notes(path, server)
        if notes:
            yield Line(f"  {' ' * widths[0]}  {notes}", "plain" if tone == "good" else tone)


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


def _offloads(status: Map, sessions: Sequence[Map]) -> Iterator[Line]:
    """What the kernel does for the TUN device and for the sockets; links only where they differ."""
    tun = status.get("tun") or {}
    parts = []
    if tun.get("offloads") is not None:
        parts.append(f"{tun.get('name')} {_named(tun['offloads'])}")
    links: dict[str, list[str]] = {}
    for session in sessions:
        for path in session.get("paths") or ():
            if path.get("offloads") is not None:
                names = links.setdefault(_named(path["offloads"]), [])
                names.append(_path_name(path, session))
    if len(links) == 1:
        parts.append(f"sockets {next(iter(links))}")
    else:
        parts += [f"{_few(names)} {offloads}" for offloads, names in links.items()]
    if parts:
        yield Line(f"offloads: {'; '.join(parts)}")


def _named(offloads: Sequence[str]) -> str:
    return ", ".join(offloads) or "none"


def _few(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_LINKS
    told = " ".join(names[:_NAMED_LINKS])
    return f"{told} and {more} more" if more > 0 else told


def _drops(drops: Mapping[str, int]) -> Iterator[Line]:
    told = sorted((reason for reason in drops if drops[reason]), key=lambda reason: -drops[reason])
    if told:
        parts = ", ".join(f"{drops[reason]:,} {reason}" for reason in told)
        yield Line(f"dropped: {parts}")
