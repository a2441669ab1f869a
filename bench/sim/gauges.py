"""What a measurement wants to know of the tunnel itself, beside what links and applications tell.

Packets are counted where hosts hand them in and take them out, so whatever is missing at the end, when
nothing is under way any more, was lost in the tunnel or dropped by its send queue; the latter is told by
mpbond's own counters. Rates are what each sending side shows in its status.
"""

from functools import partial

from bench.results import Tunnel
from bench.sim.apps import Window
from bench.sim.world import Side, World
from bench.systems import QUEUE_DROPS
from bench.workloads import DOWN, UP
from mpbond.core.client import ClientEndpoint
from mpbond.core.path import Path
from mpbond.core.session import Session

STEP = 1.0
"""Seconds between two looks at what was learned."""


class TunnelGauge:
    """Watches the tunnel of a world from now on, and its rates within a window."""

    def __init__(self, world: World, window: Window) -> None:
        self._world = world
        self._before = {way: _counts(*self._ends(way)) for way in (DOWN, UP)}
        self._rates: dict[str, list[list[float | None]]] = {
            way: [[] for _ in world.links] for way in (DOWN, UP)
        }
        moment = window.start + STEP
        while moment <= window.end + 1e-6:
            world.at(moment, partial(self._look))
            moment += STEP

    def figures(self) -> Tunnel:
        """Return what was found; to be asked when nothing is under way any more."""
        grown = {
            way: [
                now - before for now, before in zip(_counts(*self._ends(way)), since, strict=True)
            ]
            for way, since in self._before.items()
        }
        return Tunnel(
            sent={way: counts[0] for way, counts in grown.items()},
            received={way: counts[1] for way, counts in grown.items()},
            dropped={way: counts[2] for way, counts in grown.items()},
            rates=self._rates,
        )

    def _ends(self, way: str) -> tuple[Side, Side]:
        """Return who sends in a direction, and who receives."""
        world = self._world
        return (world.client, world.server) if way == UP else (world.server, world.client)

    def _look(self) -> None:
        world = self._world
        for way in (DOWN, UP):
            side, _ = self._ends(way)
            learned = _learned(side, world.now)
            for number, series in enumerate(self._rates[way]):
                series.append(learned.get(number))


def _counts(sender: Side, receiver: Side) -> tuple[int, int, int]:
    dropped = sum(sender.endpoint.drops[reason] for reason in QUEUE_DROPS)
    return sender.entered, receiver.left, dropped


def _learned(side: Side, now: float) -> dict[int, float | None]:
    """Return the learned rate (bit/s) of the client's paths by link, None for one that knows nothing."""
    found: dict[int, float | None] = {}
    for session in _sessions(side):
        for path in session.paths.values():
            rate = path.status(now).get("rate")
            number = _link_of(path, side)
            if isinstance(rate, dict) and number is not None:
                found[number] = rate["sent"] or None
    return found


def _sessions(side: Side) -> list[Session]:
    if isinstance(side.endpoint, ClientEndpoint):
        return [side.endpoint.session] if side.endpoint.session is not None else []
    return list(side.endpoint.sessions.values())


def _link_of(path: Path, side: Side) -> int | None:
    """Return the link of a path: its socket at a client, in its address at the server."""
    if isinstance(side.endpoint, ClientEndpoint):
        return path.socket
    name, number, _ = path.remote if isinstance(path.remote, tuple) else ("", None, 0)
    return number if name == "client" else None
