"""Putting packets back in order, lane by lane (design 8).

A lane is one of 1,024 buckets of flows with its own sequence numbers; a gap delays only its own lane.
Ways out of a gap: the missing packet comes; FORWARD says that it will not; it is proven lost; or the
hold expires. In a lane whose delay is evened out (core.even) a packet whose turn it is waits for its time.

* The hold counts from the arrival of the first packet beyond the gap, is armed once and never moved, so
  that many gaps do not add up. `Gap` records are made when the highest sequence jumps, hence ascend both
  in sequence and in time, and the first one is always the next to expire.
* A gap is proven lost when every live path has delivered a send order that is not below that of the first
  packet beyond it: paths are FIFO, so what was sent before on any of them would have come. The caller
  keeps the paths' orders and hands in the smallest, the `frontier`.
* UNORDERED packets are delivered at once. What comes after its gap was given up is late: it is delivered
  at once too, since for TCP a late packet is better than a lost one. Every lane remembers which of the last
  32,768 sequences have come, so nothing is delivered twice.
* Packets that came together, one after the other in their lane, are held, and go on, together.
* Memory is bounded over all lanes; when it is full, nothing waits for its time any more, and if that is not
  enough, the oldest gap of all is given up.
"""

from collections import deque

from mpbond.core.even import Lines
from mpbond.core.ranges import RangeSet
from mpbond.core.stats import OrderStats
from mpbond.core.wire import SEQUENCE_SPACE, recover

REMEMBERED_FORWARDS = 32  # ranges per lane that FORWARD has called off and nothing has passed yet
REMEMBERED = 1 << 15  # sequences per lane for the detection of copies: .1 s of 4 Gbit/s,
REMEMBERED_RANGES = 256  # in so many ranges at least, and no more than twice as many
MAXIMUM_JUMP = 1 << 16  # sequences; after a larger one the lane starts again
BUFFER_LIMIT = 4 << 20  # bytes over all lanes: 8 ms of 4 Gbit/s
PACKET_COST = 128  # bytes a held packet costs besides its own
NEVER = float("inf")

Held = tuple[float, float, int, list[bytes]]
"""Packets with consecutive sequences: when they came, when they are due, what they take, and themselves.

No packet: one that was delivered out of order keeps its place."""


class Gap:
    """Missing sequences up to `last`, shown at `time` by a packet of send order `order`."""

    __slots__ = ("last", "order", "time")

    def __init__(self, last: int, order: int, time: float) -> None:
        self.last = last
        self.order = order
        self.time = time


class Lane:
    """One lane's receiving side. `next` is the lowest sequence neither delivered nor given up."""

    __slots__ = ("came", "floor", "forwarded", "gaps", "held", "highest", "next")

    def __init__(self) -> None:
        self.next = 0
        self.highest = -1
        self.held: dict[int, Held] = {}  # by the first one's sequence
        self.gaps: deque[Gap] = deque()
        self.came = RangeSet()
        self.floor = 0  # below that `came` does not tell
        self.forwarded = RangeSet()  # what will not come, from `next` on


class Lanes:
    """All lanes of a session's receiving side; delivers into `delivered`, which the session empties."""

    def __init__(self, stats: OrderStats, limit: int = BUFFER_LIMIT) -> None:
        self.delivered: list[bytes] = []
        self.held_bytes = 0
        """Bytes that packets beyond gaps take."""
        self._stats = stats
        self._limit = limit
        self._lanes: dict[int, Lane] = {}
        self._gapped: dict[int, Lane] = {}
        self._lines = Lines(PACKET_COST)

    @property
    def has_gaps(self) -> bool:
        """Is any lane waiting for a missing packet?"""
        return bool(self._gapped)

    def next_timeout(self, hold: float) -> float | None:
        """When the first hold expires, or the first packet's time has come."""
        due = self._lines.next_timeout()
        if self._gapped:
            expiry = min(lane.gaps[0].time for lane in self._gapped.values()) + hold
            if due is None or expiry < due:
                due = expiry
        return due

    def release_due(self, now: float) -> None:
        """Deliver what has waited for its time."""
        if self._lines:
            self._lines.release(now, self.delivered)

    def insert(
        self,
        number: int,
        sequence: int,
        packet: bytes,
        *,
        order: int,
        ordered: bool,
        now: float,
        due: float = 0.0,
    ) -> None:
        """Take a packet of lane `number`; `sequence` has 22 bits, `order` is already recovered.

        An ordered one is delivered at `due` at the earliest.
        """
        lane = self._lanes.get(number)
        if lane is None:
            lane = self._lanes[number] = Lane()
        sequence = recover(sequence, lane.highest + 1, SEQUENCE_SPACE)
        if sequence > lane.highest + MAXIMUM_JUMP:
            self._start_again(number, lane, sequence, now)
        if not self._is_new(lane, sequence):
            return
        if sequence > lane.highest:
            if sequence > max(lane.highest + 1, lane.next):  # FORWARD may have taken `next` beyond
                lane.gaps.append(Gap(sequence - 1, order, now))
                self._gapped[number] = lane
            lane.highest = sequence
        if sequence > lane.next:
            if ordered:
                self._hold(lane, sequence, [packet], due, now)
            else:
                self.delivered.append(packet)
                self._hold(lane, sequence, [], due, now)
            return
        if ordered and (due > now or self._lines):
            self._pass(number, [packet], due, now)
        else:
            self.delivered.append(packet)
        if sequence < lane.next:
            self._stats.late += ordered
            return
        lane.next += 1
        if lane.held or lane.gaps or len(lane.forwarded):
            self._advance(number, lane, now)

    def insert_run(
        self, number: int, sequence: int, packets: list[bytes], *, order: int, now: float
    ) -> bool:
        """Take ordered packets with consecutive sequences from `sequence` (22 bits) on, due at once.

        False, and nothing has happened, if some of them are not new, or if order is not all they wait for.
        """
        lane = self._lanes.get(number)
        if lane is None or self._lines or len(lane.forwarded):
            return False
        sequence = recover(sequence, lane.highest + 1, SEQUENCE_SPACE)
        highest, last = lane.highest, sequence + len(packets) - 1
        if sequence < lane.next or sequence < lane.floor or highest - sequence >= REMEMBERED:
            return False
        if sequence > highest and (lane.next > highest + 1 or last - highest > MAXIMUM_JUMP):
            return False
        if not lane.came.take(sequence, last):
            return False
        self._forget_old(lane)
        if sequence > highest:
            lane.highest = last
            if sequence > highest + 1:
                lane.gaps.append(Gap(sequence - 1, order, now))
                self._gapped[number] = lane
        if sequence > lane.next:
            self._hold(lane, sequence, packets, 0.0, now)
            return True
        lane.next = last + 1
        self.delivered += packets
        if lane.held or lane.gaps:
            self._advance(number, lane, now)
        return True

    def forward(self, number: int, first: int, count: int, now: float) -> None:
        """FORWARD: `count` sequences from `first` (22 bits) will not come; remembered if early."""
        lane = self._lanes.setdefault(number, Lane())
        first = recover(first, lane.highest + 1, SEQUENCE_SPACE)
        last = first + min(count, MAXIMUM_JUMP) - 1
        if last < lane.next or first > lane.highest + MAXIMUM_JUMP:
            return
        lane.forwarded.add(max(first, lane.next), last)
        lane.forwarded.keep_newest(REMEMBERED_FORWARDS)
        self._advance(number, lane, now)

    def release_proven(self, frontier: int, now: float) -> None:
        """Give up every gap whose first packet beyond was sent no later than `frontier`."""
        for number, lane in list(self._gapped.items()):
            while lane.gaps and lane.gaps[0].order <= frontier:
                self._give_up(number, lane, now)

    def release_expired(self, hold: float, now: float) -> None:
        """Give up every gap whose hold has expired; with no hold at all nothing counts as skipped."""
        skipped = self._stats.skipped
        for number, lane in list(self._gapped.items()):
            while lane.gaps and lane.gaps[0].time + hold <= now + 1e-9:
                self._give_up(number, lane, now)
        if hold == 0:
            self._stats.skipped = skipped

    def _hold(
        self, lane: Lane, sequence: int, packets: list[bytes], due: float, now: float
    ) -> None:
        """Keep packets beyond a gap; of an unordered one, which has gone on, only its place."""
        size = sum(map(len, packets)) + (len(packets) or 1) * PACKET_COST
        lane.held[sequence] = (now, due, size, packets)
        self.held_bytes += size
        self._stats.held += len(packets)
        if self.held_bytes + self._lines.bytes > self._limit:
            self.release_due(NEVER)
            while self._gapped and self.held_bytes > self._limit:
                self._give_up_oldest(now)

    def _pass(self, number: int, packets: list[bytes], due: float, now: float) -> None:
        """Deliver packets whose turn it is, at `due` if that is still to come."""
        lines = self._lines
        if due <= now and not lines:
            self.delivered += packets
            return
        for packet in packets:
            lines.put(number, packet, due, now, self.delivered)
        if self.held_bytes + lines.bytes > self._limit:
            self.release_due(NEVER)

    def _start_again(self, number: int, lane: Lane, sequence: int, now: float) -> None:
        """The lane goes on so far ahead that what lies between was lost in some long outage."""
        self._stats.restarted += 1
        while lane.gaps:
            self._give_up(number, lane, now)
        lane.next, lane.highest = sequence, sequence - 1
        lane.came = RangeSet()
        lane.forwarded = RangeSet()

    def _is_new(self, lane: Lane, sequence: int) -> bool:
        """Mark a sequence as seen; False when it is a copy, or too old to tell."""
        old = lane.highest - sequence >= REMEMBERED or sequence < lane.floor
        if old or not lane.came.take(sequence, sequence):
            self._stats.duplicate += 1
            return False
        self._forget_old(lane)
        return True

    def _forget_old(self, lane: Lane) -> None:
        """Forget the oldest ranges where losses have made many of them."""
        came = lane.came
        if len(came) > 2 * REMEMBERED_RANGES:
            came.keep_newest(REMEMBERED_RANGES)
            lane.floor = came.smallest

    def _advance(self, number: int, lane: Lane, now: float) -> None:
        """Deliver what follows `next` without a gap, and forget gaps that are behind."""
        while True:
            if lane.next in lane.held:
                lane.next += self._let_go(number, lane, lane.next, now)
                continue
            end = lane.forwarded.end_of(lane.next) if len(lane.forwarded) else None
            if end is None:
                break
            between = (at for at in lane.held if lane.next < at <= end)
            lane.next = min(between, default=end + 1)
        lane.forwarded.drop_below(lane.next)
        gaps = lane.gaps
        while gaps and gaps[0].last < lane.next:
            gaps.popleft()
        if not gaps:
            self._gapped.pop(number, None)

    def _let_go(self, number: int, lane: Lane, sequence: int, now: float) -> int:
        """Deliver what was held from a sequence on; return how many places that frees."""
        arrived, due, size, packets = lane.held.pop(sequence)
        self.held_bytes -= size
        if not packets:
            return 1
        self._pass(number, packets, due, now)
        self._stats.note_hold(now - arrived, len(packets))
        return len(packets)

    def _give_up(self, number: int, lane: Lane, now: float) -> None:
        """Skip what is missing of the first gap, delivering what came of it in order."""
        last = lane.gaps[0].last
        missing = last - lane.next + 1 - lane.forwarded.count(lane.next, last)
        for sequence in sorted([at for at in lane.held if at <= last]):
            end = sequence + self._let_go(number, lane, sequence, now) - 1
            missing -= end - sequence + 1 - lane.forwarded.count(sequence, end)
        self._stats.skipped += missing
        lane.next = last + 1
        self._advance(number, lane, now)

    def _give_up_oldest(self, now: float) -> None:
        number, lane = min(self._gapped.items(), key=lambda item: item[1].gaps[0].time)
        self._stats.overflow += 1
        self._give_up(number, lane, now)
