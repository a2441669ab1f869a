"""`adaptive`: every packet goes where it will arrive first (design 7), and `redundant`: everywhere.

The time of arrival is predicted from what rate control knows: the path's least one-way delay, the packet's
own time on the link, and the larger of the queue it shows now and the queue that what is in flight must
make there, `in flight / rate - base RTT`. One-way delays of all paths carry the same unknown clock offset, so
they may be compared. What a path loses arrives a repair later; that is added in proportion.

Paths without room (window, pacing) take part with the time they need until they have some. If such a path
would still be the earlier one, a packet waits for it, unless its flow has more to send than the
others can carry in the time that would be won (after ECF, Lim et al., CoNEXT 2017): a flow that is but a few
packets goes over the quick path alone, and one that exceeds it uses all. No packet takes a path that is
more than GUARD behind: every lane it belongs to would wait for it. Where the receiver evens out the delay
of a lane (core.even), no path is earlier than that.

Tiers: 0 is used always, 1 for what tier 0 cannot carry, 2 when no other is up.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from mpbond.core.path import Path
from mpbond.core.wire import LANE_COUNT

GUARD: Final = 0.150  # seconds behind the earliest arrival
OVERFLOW_DELAY: Final = 0.030  # seconds of backlog from which a path of tier 1 is used
SLACK: Final = 0.002  # seconds of difference that are not worth waiting for
REPAIR_TIME: Final = 0.030  # seconds on top of a round trip until a lost packet has come again
LOSSY: Final = 0.1  # share of datagrams lost above which a path repairs nothing another could
NEVER: Final = float("inf")


class Adaptive:
    """`adaptive`. `begin` looks at the paths once per flush; `choose` then costs a few multiplications."""

    name: ClassVar[str] = "adaptive"
    per_flow = False
    adapts = True

    def __init__(self) -> None:
        self.full = False
        """No path has room for anything."""
        self.even: Mapping[int, float] = {}
        """Seconds, by lane, to which the receiver evens out the delay of the paths."""
        self._paths: Sequence[Path] = ()
        self._base: list[float] = []
        self._least = 0.0  # of those
        self._queue: list[float] = []
        self._pipe: list[float] = []
        self._inverse: list[float] = []
        self._room: list[float] = []
        self._wait: list[float] = []
        self._extra: list[bool] = []
        self._total = 1.0

    def begin(self, paths: Sequence[Path], now: float) -> None:
        """Look at the paths: their delays, rates, and room, as of `now`."""
        self._paths = paths
        self.full = False
        self._base, self._queue, self._pipe, self._inverse = [], [], [], []
        self._room, self._wait, self._extra = [], [], []
        lowest = min(path.tier for path in paths)
        total = 0.0
        for path in paths:
            rate = path.rate
            speed = rate.speed
            oldest = path.sent.oldest
            queue = rate.queue_now(None if oldest is None else oldest.time, now)
            in_flight = path.sent.in_flight
            penalty = path.loss * (path.rtt.smoothed + REPAIR_TIME)
            self._base.append(rate.base_owd + penalty)
            self._queue.append(queue)
            self._pipe.append(in_flight - speed * rate.base_rtt)
            self._inverse.append(1.0 / speed)
            room = rate.allowance(in_flight, now)
            self._room.append(room)
            wait = 0.0
            if room <= 0:
                wait = max(rate.release - now, (in_flight + path.mtu - rate.window) / speed)
            self._wait.append(wait)
            self._extra.append(path.tier > lowest)
            total += speed
        self._least = min(self._base)
        self._total = total

    def choose(self, paths: Sequence[Path], flow: int, size: int, backlog: int = 0) -> int | None:
        """Return the path with the earliest predicted arrival; None to wait for a better one."""
        best, best_at, soonest, room_left = -1, NEVER, NEVER, False
        bases = self._base
        if self.even:
            late = self.even.get(flow % LANE_COUNT)
            if late:
                least = self._least + late
                bases = [base if base > least else least for base in bases]
        for at, path in enumerate(paths):
            planned = path.planned
            inverse = self._inverse[at]
            delay = (self._pipe[at] + planned) * inverse
            if delay < self._queue[at]:
                delay = self._queue[at]
            arrival = bases[at] + delay + size * inverse
            room = self._room[at] - planned
            if room > 0:
                room_left = True
                if self._extra[at] and backlog < OVERFLOW_DELAY * self._total:
                    continue
                if arrival < best_at:
                    best, best_at = at, arrival
            else:
                arrival += max(self._wait[at], (size - room) * inverse if planned else 0.0)
                if self._extra[at]:
                    continue
            if arrival < soonest:
                soonest = arrival
        if best < 0:
            self.full = not room_left
            return None
        behind = best_at - soonest
        if behind > SLACK and (behind > GUARD or behind * self._total > backlog):
            return None
        return best

    def urgent(self, size: int) -> list[int]:
        """Return the paths by predicted arrival whether or not they have room, earliest first."""
        return [at for _, at in self._arrivals(size)]

    def for_repair(self, size: int, *, last: bool = False) -> list[int]:
        """Return the paths that are worth a repair, by predicted arrival, earliest first.

        All that follows in its lane waits for it. So none of them is one over which it would come later than
        over the first, were it lost there once more; nor one that loses much, while there is another. Where
        all of these lose much, the `last` try goes over one that does not, however late.
        """
        arrivals = self._arrivals(size)
        if not arrivals:
            return []
        soonest, first = arrivals[0]
        latest = soonest + self._paths[first].rtt.smoothed + REPAIR_TIME
        near = [at for arrival, at in arrivals if arrival <= latest]
        sound = [at for _, at in arrivals if self._paths[at].loss <= LOSSY]
        return [at for at in near if at in sound] or (last and sound) or near

    def _arrivals(self, size: int) -> list[tuple[float, int]]:
        """When a packet would arrive, and over which path, earliest first."""
        order = []
        for at, path in enumerate(self._paths):
            if self._extra[at]:
                continue
            delay = max(self._queue[at], (self._pipe[at] + path.planned) * self._inverse[at])
            order.append((self._base[at] + delay + size * self._inverse[at], at))
        order.sort()
        return order

    def room(self, at: int) -> float:
        """Bytes that path number `at` may still take in this flush."""
        return self._room[at] - self._paths[at].planned


class Redundant(Adaptive):
    """`redundant`: every packet on the path where it arrives first, and on all others that have room."""

    name: ClassVar[str] = "redundant"
