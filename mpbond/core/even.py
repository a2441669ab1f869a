"""Even delay: a bulk flow sees the delay of the slowest path it is to use, not that of the fastest.

A TCP that goes by the least round trip it has seen (BBR, in the kernel and in QUIC) keeps about twice the
product of rate and that round trip in flight. Its few first packets, and those it looks for the least round
trip with every ten seconds, go over the quickest path. If another one is farther than that round trip, the
flow never has enough in flight to need it: of fibre with 8 ms and LTE with 60 it fills the fibre and leaves
LTE idle, for an in-order flow over both needs 34 ms.

So the sender asks the receiver to hand on the packets of such a lane no sooner than if they had come by the
farther path. What came by a quicker one waits for the difference of the ways, which is that of their least
one-way delays: queue never counts. The scheduler knows that nothing is gained by arriving sooner, and
uses both. Order is as before; UNORDERED packets, and all other lanes, wait for nothing.

    begin    the quicker paths are full, a farther one is not, and a lane carries a good part of that
    rise     to STEP times the round trip, then again after PERIOD: BBR fills the paths as long as the round
             trip is less than twice the least that it knows, and it knows for ten seconds; no further once
             the farther path is full
    end      the lane has become quiet, or the farther path is not used for all that

Flows that fill their window anyway (CUBIC) have long filled the farther path, so nothing begins.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mpbond.core.path import Path
from mpbond.core.wire import LANE_COUNT

LEAST_WAY, MOST_WAY = 0.003, 0.100  # seconds between paths that are evened out
NEEDED = 0.6  # of the quickest round trip: a way shorter than that fits into twice that
ROOM = 1_500_000  # bytes that may wait for it at the receiver
FULL = 0.85  # of its rate: the path is full
WORTH = 0.08  # of the full paths' rate, which a farther one has to add
BULK = 0.1  # of that rate: a lane that carries as much is evened out,
QUIET = 0.03  # until it carries less than so much
BEGIN, END = 2, 3  # reviews in a row
STEP = 1.8  # times the round trip of the quickest path
PERIOD = 10.9  # seconds: longer than BBR remembers the least round trip
USED = 0.04  # of the quickest path's rate, which the farther one carries if it was worth it,
TRIAL = 30.0  # within so many seconds
PAUSE = 600.0  # seconds until what was not is tried again
NEWS = 0.002  # seconds by which a way differs from what was told
MAXIMUM_LANES = 16  # that are evened out at a time
MAXIMUM_WAYS = 256  # path ids
NEVER = float("inf")
SLACK = 0.0005  # seconds that a packet may leave early: wake-ups are a millisecond apart


class Lines:
    """Packets that wait for their time, lane by lane, in order. `bytes` are theirs; times in seconds."""

    def __init__(self, cost: int) -> None:
        """`cost`: bytes that a packet takes besides its own."""
        self.bytes = 0
        self._cost = cost
        self._lines: dict[int, deque[tuple[float, bytes]]] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def put(
        self, number: int, packet: bytes, due: float, now: float, delivered: list[bytes]
    ) -> None:
        """Let a packet wait behind the others of its lane until `due`; if none does, maybe not at all."""
        line = self._lines.get(number)
        if line is None:
            if due <= now + SLACK:
                delivered.append(packet)
                return
            line = self._lines[number] = deque()
        elif line[-1][0] > due:
            due = line[-1][0]
        line.append((due, packet))
        self.bytes += len(packet) + self._cost

    def release(self, now: float, delivered: list[bytes]) -> None:
        """Deliver what is due."""
        now += SLACK
        for number, line in list(self._lines.items()):
            while line and line[0][0] <= now:
                packet = line.popleft()[1]
                delivered.append(packet)
                self.bytes -= len(packet) + self._cost
            if not line:
                del self._lines[number]

    def next_timeout(self) -> float | None:
        """When something is due, late enough that the next half millisecond's leaves with it."""
        if not self._lines:
            return None
        return min(line[0][0] for line in self._lines.values()) + SLACK


class Evened:
    """The receiver's part: what the peer has asked for. `lanes`: seconds by lane."""

    def __init__(self) -> None:
        self.lanes: dict[int, float] = {}
        self._ways: dict[int, float] = {}

    def take(self, message: Mapping[str, Any]) -> bool:
        """Take the peer's message in place of the one before; malformed, it returns False: nothing waits."""
        lanes = _delays(message.get("even"), LANE_COUNT, MAXIMUM_LANES)
        ways = _delays(message.get("ways"), MAXIMUM_WAYS, MAXIMUM_WAYS)
        well_formed = lanes is not None and ways is not None
        self.lanes, self._ways = (lanes or {}, ways or {}) if well_formed else ({}, {})
        return well_formed

    def wait(self, lane: int, path: int) -> float:
        """How long a packet of a lane waits that came by a path, in seconds."""
        late = self.lanes.get(lane)
        if late is None:
            return 0.0
        wait = late - self._ways.get(path, late)
        return wait if wait > 0.0 else 0.0


def _delays(items: object, below: int, most: int) -> dict[int, float] | None:
    """Read a list of [number below `below`, microseconds]; None if it is none, or has more than `most`."""
    if not isinstance(items, list) or len(items) > most:
        return None
    found = {}
    for item in items:
        match item:
            case [int(number), int(delay)] if 0 <= number < below and delay >= 0:
                found[number] = min(delay / 1e6, MOST_WAY)
            case _:
                return None
    return found


class _Lane:
    """A lane that is evened out: its delay in seconds."""

    __slots__ = ("delay", "quiet", "rise")

    def __init__(self, rise: float) -> None:
        self.delay = 0.0
        self.quiet = 0  # reviews
        self.rise = rise  # when the delay may rise again


class EvenDelay:
    """The sender's part: which lanes are evened out, and how far. `lanes`: seconds by lane."""

    def __init__(self) -> None:
        self.lanes: dict[int, float] = {}
        self.ways: dict[int, float] = {}
        self._states: dict[int, _Lane] = {}
        self._bulk: dict[int, int] = {}  # reviews in which a lane has carried much
        self._covered: set[int] = set()  # farther paths that are to be used
        self._sequences: Sequence[int] = ()
        self._missing = 0  # reviews in which such a path was not full
        self._used_at = 0.0  # when the farthest of them was used, or could not be
        self._not_before = float("-inf")
        self._told: dict[str, list[list[int]]] = {"even": [], "ways": []}

    def review(self, paths: Iterable[Path], sequences: Sequence[int], now: float) -> None:
        """Look at what was sent in the last second; `news` has what the receiver is to know of it.

        `paths`: those that may carry packets. `sequences`: how many packets each lane has sent so far.
        """
        before, self._sequences = self._sequences, sequences[:]
        known = [path for path in paths if path.up and path.rtt.has_sample]
        lowest = min((path.tier for path in known), default=0)
        known = [path for path in known if path.tier == lowest]
        if len(known) < 2 or not before:
            self._stop()
            return
        known.sort(key=lambda path: path.rate.base_owd)
        least = known[0].rate.base_owd
        ways = {path.id: path.rate.base_owd - least for path in known}
        full, idle = _divide(known, ways)
        if not full and not self._states:
            return
        moved = {
            lane: (count - old & 0xFFFFFFFF) * known[0].mtu
            for lane, (count, old) in enumerate(zip(sequences, before, strict=True))
            if count != old
        }
        capacity = sum([path.rate.rate for path in full], 0.0) or known[0].rate.rate
        self._end(moved, QUIET * capacity)
        if idle is not None and now >= self._not_before:
            self._begin(moved, BULK * capacity, now)
            if self._states and idle.id not in self._covered:
                self._covered.add(idle.id)
                self._used_at = now
        else:
            self._bulk.clear()
        missing = idle is not None and idle.id in self._covered
        self._missing = self._missing + 1 if missing else 0
        if self._states:
            self._follow(known, ways, now)

    def news(self) -> dict[str, Any] | None:
        """Return the CONTROL message that tells what is asked for; None if it is what was told last."""
        even = [[lane, round(delay * 1e6)] for lane, delay in self.lanes.items()]
        ways = [[path, round(way * 1e6)] for path, way in self.ways.items()] if even else []
        message = {"even": even, "ways": ways}
        if message == self._told:
            return None
        self._told = message
        return message

    def _begin(self, moved: dict[int, int], bulk: float, now: float) -> None:
        self._bulk = {
            lane: self._bulk.get(lane, 0) + 1 for lane, size in moved.items() if size >= bulk
        }
        for lane, count in self._bulk.items():
            if count >= BEGIN and lane not in self._states and len(self._states) < MAXIMUM_LANES:
                self._states[lane] = _Lane(now)

    def _end(self, moved: dict[int, int], quiet: float) -> None:
        for lane, state in list(self._states.items()):
            state.quiet = state.quiet + 1 if moved.get(lane, 0) < quiet else 0
            if state.quiet >= END:
                del self._states[lane]
        if not self._states:
            self._covered.clear()
            self.lanes = {}

    def _stop(self) -> None:
        self._states.clear()
        self._covered.clear()
        self._bulk.clear()
        self.lanes = {}

    def _follow(self, known: list[Path], ways: dict[int, float], now: float) -> None:
        """Bring every lane nearer to the way of the farthest path that is to be used."""
        covered = [path for path in known if path.id in self._covered]
        if not covered or ways[covered[-1].id] > MOST_WAY:
            self._stop()
            return
        told = self.ways
        self.ways = {
            path: told[path] if abs(told.get(path, NEVER) - way) <= NEWS else way
            for path, way in sorted(ways.items())
        }
        farthest = covered[-1]
        goal = self.ways[farthest.id]
        round_trip = known[0].rate.base_rtt
        for state in self._states.values():
            if state.delay > goal:
                state.delay = goal
                state.rise = now + PERIOD
            elif (
                state.delay < goal
                and now >= state.rise
                and (self._missing >= BEGIN or not state.delay)
            ):
                state.delay = min(goal, STEP * (round_trip + state.delay) - round_trip)
                state.rise = now + PERIOD
        reached = all(state.delay >= goal for state in self._states.values())
        if not reached or _load(farthest) > USED * known[0].rate.rate:
            self._used_at = now
        elif now - self._used_at > TRIAL:
            self._not_before = now + PAUSE
            self._stop()
            return
        self.lanes = {lane: state.delay for lane, state in self._states.items()}


def _load(path: Path) -> float:
    """Bytes per second that were sent on a path of late."""
    return path.stats.sent.last / 8


def _divide(known: list[Path], ways: dict[int, float]) -> tuple[list[Path], Path | None]:
    """The quick paths that are full; and the next farther one that is not, but worth using."""
    full: list[Path] = []
    total = 0.0
    for path in known:
        rate = path.rate
        if rate.learned and _load(path) >= FULL * rate.rate:
            full.append(path)
            total += rate.rate
            continue
        if not full:
            return [], None
        if ways[path.id] < max(LEAST_WAY, NEEDED * known[0].rate.base_rtt):
            return full, None
        if ways[path.id] > min(MOST_WAY, ROOM / total):
            break
        if not rate.learned or rate.rate > WORTH * total:
            return full, path
    return full, None
