"""What is done over a system of links while it is measured: as data, the same on both clocks.

Traffic begins `START` seconds after the links' clock; the window that is measured begins with it and
lasts as long as was asked for, so slow start counts. Everything else that happens at a time (a link
is pulled, or turns bad) is an `Event` on the links' clock, and the objects of a page are drawn from
its number: both clocks do the same.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from bench.errors import unknown
from bench.links.draws import Draws

if TYPE_CHECKING:
    from collections.abc import Iterable

START = 1.0
"""Seconds of the links' clock at which traffic begins."""

PIECE = 1 << 20
"""Bytes of one piece of a `pieces` download."""

PAGE_HTML = 30_000
PAGE_OBJECTS = 12
PAGE_OBJECT_BYTES = (5_000, 60_000)
PAGE_CONNECTIONS = 6
PAGE_PAUSE = 0.5
"""Seconds from the last byte of a page to the first SYN of the next."""

UDP_PAYLOAD = 1_200
UDP_SHARE = 0.9 * 0.925
"""Share of the links' mean capacity at which `udp` sends: nine tenths of what mpbond's headers leave."""

VOICE_INTERVAL = 0.020
VOICE_PAYLOAD = 160 + 12
"""Bytes of UDP payload: 20 ms of G.711 and an RTP header."""
VOICE_TOS = 0xB8
"""DSCP EF."""

PULLED = 8.0
FLAPPING = 3.0
BAD_LOSS = 0.5

BURST_EVERY = 2.0
BURST_SHARE = 0.5
"""Of what the links carry in that time (s), an application that sends in bursts sends as much at once."""

DOWN, UP = "down", "up"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One kind of load."""

    name: str
    title: str
    kind: str
    """"bulk" and "pieces" (TCP), "pages", "udp", "bursts" (TCP again), "quic", or nothing of its own:
    "voice" is the call alone, "idle" no traffic at all."""
    direction: str = DOWN
    """"down" (from the internet), "up", or "both"."""
    flows: int = 1
    congestion: str = "cubic"
    """TCP's congestion control at the side that sends the data."""
    voice: bool = False
    """Whether a call goes on at the same time."""
    trouble: str | None = None
    """What happens to a link: "pull", "silent", "flap", "bad" or nothing."""
    victim: int = 0
    """The number of that link. By itself it is the first one, over which a session comes up first where
    links are told in order of their round trips, as those of equal4, cable_adsl and fiber_lte are."""
    boxes: int = 1
    """How many client boxes do it at the same time; further ones have `others` flows. In the simulator they
    are on the same links, in the lab each has its own and the server's processor is what they share."""
    others: int = 1
    clocks: tuple[str, ...] = ("sim", "lab")

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions in which data goes."""
        return (DOWN, UP) if self.direction == "both" else (self.direction,)

    @property
    def leading(self) -> str:
        """The direction that decides which link is the best one."""
        return UP if self.direction == UP else DOWN


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """At `time` (s, links' clock) `action` befalls `link`.

    "pull" and "restore" are of the cable between client and modem; between "silence" and "speak" the
    link swallows all and says nothing. "loss" gives the probability `loss` that the link then loses a
    packet; None returns to its own.
    """

    time: float
    action: str
    link: int = 0
    loss: float | None = None


def events(workload: Workload, seconds: float) -> tuple[Event, ...]:
    """Return what befalls the links while a workload is measured for so long, in order of time."""
    end, link = START + seconds, workload.victim
    if workload.trouble in ("pull", "silent"):
        begin = START + seconds / 3
        first, last = ("pull", "restore") if workload.trouble == "pull" else ("silence", "speak")
        return (Event(begin, first, link), Event(begin + min(PULLED, seconds / 3), last, link))
    if workload.trouble == "flap":
        times = [START + FLAPPING * n for n in range(1, int(seconds / FLAPPING) + 1)]
        found = [
            Event(time, "restore" if n % 2 else "pull", link)
            for n, time in enumerate(times)
            if time < end
        ]
        if len(found) % 2:
            found.append(Event(end, "restore", link))
        return tuple(found)
    if workload.trouble == "bad":
        begin = START + seconds / 3
        return (
            Event(begin, "loss", link, BAD_LOSS),
            Event(begin + seconds / 3, "loss", link, None),
        )
    return ()


def absences(workload: Workload, seconds: float) -> tuple[tuple[int, float, float], ...]:
    """Return when which link was pulled or silent: (link, from, to) in s of the links' clock."""
    found, since = [], {}
    for event in events(workload, seconds):
        if event.action in ("pull", "silence"):
            since[event.link] = event.time
        elif event.action in ("restore", "speak"):
            found.append((event.link, since.pop(event.link), event.time))
    found += [(link, time, START + seconds) for link, time in since.items()]
    return tuple(found)


def burst(rate: float) -> int:
    """Return the bytes of a burst over links that carry `rate` bit/s together."""
    return round(BURST_SHARE * BURST_EVERY * rate / 8)


def page(number: int, seed: int) -> tuple[int, ...]:
    """Return the sizes of a page's objects in bytes; the first is its HTML."""
    draws = Draws(seed * 1_000_003 + number)
    low, high = PAGE_OBJECT_BYTES
    return (PAGE_HTML, *(low + draws.next() % (high - low + 1) for _ in range(PAGE_OBJECTS)))


def _tcp(flows: int, direction: str, congestion: str) -> Workload:
    count = "one TCP flow" if flows == 1 else f"{flows} TCP flows"
    way = {"down": "down", "up": "up", "both": "each way at once"}[direction]
    return Workload(
        name=f"tcp{flows}_{direction}_{congestion}",
        title=f"{count} {way}, {congestion.upper()}",
        kind="bulk",
        direction=direction,
        flows=flows,
        congestion=congestion,
    )


WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        _tcp(1, "down", "cubic"),
        _tcp(1, "down", "bbr"),
        _tcp(1, "up", "cubic"),
        _tcp(1, "up", "bbr"),
        _tcp(8, "down", "cubic"),
        _tcp(8, "down", "bbr"),
        Workload(
            name="tcp30_down_cubic",
            title="30 TCP flows down that fetch pieces of 1 MiB, CUBIC",
            kind="pieces",
            flows=30,
        ),
        _tcp(1, "both", "cubic"),
        Workload(
            name="pages",
            title="pages of 13 objects over 6 connections, one page after the other",
            kind="pages",
            flows=PAGE_CONNECTIONS,
        ),
        Workload(name="udp", title="UDP down at nine tenths of what fits", kind="udp"),
        Workload(name="voice_idle", title="a call, nothing else", kind="voice", voice=True),
        Workload(
            name="voice_tcp",
            title="a call beside one TCP flow down, CUBIC",
            kind="bulk",
            voice=True,
        ),
        Workload(name="quic", title="one QUIC download", kind="quic", clocks=("lab",)),
        Workload(
            name="pull",
            title="link 0 is pulled for 8 s; one TCP flow down, CUBIC, and a call",
            kind="bulk",
            voice=True,
            trouble="pull",
        ),
        Workload(
            name="pull_other",
            title="link 1 is pulled for 8 s; one TCP flow down, CUBIC, and a call",
            kind="bulk",
            voice=True,
            trouble="pull",
            victim=1,
        ),
        Workload(
            name="silent",
            title="link 0 is up and silent for 8 s; one TCP flow down, CUBIC, and a call",
            kind="bulk",
            voice=True,
            trouble="silent",
        ),
        Workload(
            name="flap",
            title="link 0 goes and comes every 3 s; one TCP flow down, CUBIC, and a call",
            kind="bulk",
            voice=True,
            trouble="flap",
        ),
        Workload(
            name="bad",
            title="link 0 loses half for a third of the time; one TCP flow down, CUBIC, and a call",
            kind="bulk",
            voice=True,
            trouble="bad",
        ),
        Workload(name="idle", title="nothing is sent", kind="idle"),
        Workload(
            name="bursts",
            title="a player that fetches half of what fits every 2 s over one TCP connection, CUBIC",
            kind="bursts",
        ),
        Workload(
            name="fair",
            title="two clients of one server, one TCP flow down and thirty, CUBIC",
            kind="bulk",
            boxes=2,
            others=30,
        ),
    )
}

GROUPS: dict[str, tuple[str, ...]] = {
    "tcp": tuple(name for name in WORKLOADS if name.startswith("tcp")),
    "voice": ("voice_idle", "voice_tcp"),
    "trouble": ("pull", "pull_other", "silent", "flap", "bad"),
    "all": tuple(WORKLOADS),
}


def get(name: str) -> Workload:
    """Return the workload of that name."""
    try:
        return WORKLOADS[name]
    except KeyError:
        raise unknown("workload", name, [*WORKLOADS, *GROUPS]) from None


def select(names: Iterable[str]) -> list[Workload]:
    """Return the workloads of these names and groups, each once, in order."""
    found: dict[str, Workload] = {}
    for name in names:
        for one in GROUPS.get(name, (name,)):
            found[one] = get(one)
    return list(found.values())
