"""Schedulers: which path takes the next packet (design 7).

A scheduler sees the paths that may be used now, never an empty list, and answers with an index into it,
or with None when the packet had better wait. `per_flow` says that a flow stays on one path as long as the
set of paths does not change: its packets then need no reordering at the receiver. `adapts` says that it
goes by what rate control has learned: it sends only where there is room, and what is lost is repaired.
The others send at once, by a rule that knows nothing of rates: what is too much waits in the modems.

`adaptive` and `redundant` stand in core.adaptive.
"""

from collections.abc import Sequence
from math import log
from typing import Any, ClassVar, Final, Protocol

from mpbond.core.adaptive import Adaptive, Redundant
from mpbond.core.flow import mix

CACHE_LIMIT: Final = 1 << 14  # flows
LAST_TURN: Final = 256  # above every path id


class Candidate(Protocol):
    """What a scheduler knows of a path: its id, and its share by configuration."""

    id: int
    weight: float


class Scheduler(Protocol):
    """The rule by which packets are spread over paths."""

    name: ClassVar[str]
    per_flow: bool
    adapts: bool

    def choose(self, paths: Sequence[Any], flow: int, size: int, backlog: int = 0) -> int | None:
        """Return the index in `paths` for a packet of `size` bytes whose flow hashes to `flow`.

        `backlog` is how many bytes would have left before the last of that flow has, if all paths were
        one; None: not now.
        """


class RoundRobin:
    """`rr`: the next path in turn, packet by packet."""

    name: ClassVar[str] = "rr"
    per_flow = False
    adapts = False

    def __init__(self) -> None:
        self._last = -1

    def choose(self, paths: Sequence[Candidate], flow: int, size: int, backlog: int = 0) -> int:
        """Return the path whose id follows the last one used; paths come in any order."""
        last = self._last
        best, best_turn = 0, 2 * LAST_TURN
        for at, path in enumerate(paths):
            turn = path.id if path.id > last else path.id + LAST_TURN
            if turn < best_turn:
                best, best_turn = at, turn
        self._last = paths[best].id
        return best


class Weighted:
    """`weighted`: smooth weighted round-robin in bytes.

    Every path earns its weight in each turn and the richest pays for all, as nginx does it: shares are
    exact over a round and a heavy path's turns are spread out instead of coming in a row.
    """

    name: ClassVar[str] = "weighted"
    per_flow = False
    adapts = False

    def __init__(self) -> None:
        self._credit: dict[int, float] = {}
        self._known: tuple[tuple[int, float], ...] = ()

    def choose(self, paths: Sequence[Candidate], flow: int, size: int, backlog: int = 0) -> int:
        """Return the path with the largest credit after this turn's earnings."""
        known = tuple((path.id, path.weight) for path in paths)
        if known != self._known:
            self._known = known
            self._credit = {path_id: self._credit.get(path_id, 0.0) for path_id, _ in known}
        credit = self._credit
        best, best_credit, total = 0, float("-inf"), 0.0
        for at, (path_id, weight) in enumerate(known):
            total += weight
            credit[path_id] += weight * size
            if credit[path_id] > best_credit:
                best, best_credit = at, credit[path_id]
        credit[known[best][0]] -= total * size
        return best


class LayerHash:
    """`xor`: one path per flow, by weighted rendezvous hashing of the flow.

    Each path draws a number from the flow's hash and its own id and the smallest `-ln(u)/weight` wins
    (Schindelhauer and Schomaker, 2005). When a path goes, only its flows move; when one comes, only the
    flows that now prefer it do.
    """

    name: ClassVar[str] = "xor"
    per_flow = True
    adapts = False

    def __init__(self) -> None:
        self._known: tuple[tuple[int, float], ...] = ()
        self._chosen: dict[int, int] = {}

    def choose(self, paths: Sequence[Candidate], flow: int, size: int, backlog: int = 0) -> int:
        """Return the path that the flow prefers."""
        known = tuple((path.id, path.weight) for path in paths)
        if known != self._known or len(self._chosen) >= CACHE_LIMIT:
            self._known = known
            self._chosen = {}
        at = self._chosen.get(flow)
        if at is None:
            at = self._chosen[flow] = _prefer(known, flow)
        return at


SCHEDULERS: dict[str, type[Scheduler]] = {
    "rr": RoundRobin,
    "xor": LayerHash,
    "weighted": Weighted,
    "adaptive": Adaptive,
    "redundant": Redundant,
}
DEFAULT_SCHEDULER = Adaptive.name


def _prefer(known: tuple[tuple[int, float], ...], flow: int) -> int:
    best, best_score = 0, float("inf")
    for at, (path_id, weight) in enumerate(known):
        draw = (mix(flow ^ mix(path_id * 0x9E3779B1 + 1)) + 0.5) / 2**32
        score = -log(draw) / weight
        if score < best_score:
            best, best_score = at, score
    return best
