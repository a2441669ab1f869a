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
  at once too, since for TCP a late packet is better than a lost one. Every lane remembers the last 2,048
  sequences, so nothing is delivered twice.
* Memory is bounded over all lanes; when it is full, nothing waits for its time any more, and if that is not
  enough, the oldest gap of all is given up.
"""

from collections import deque

from mpbond.core.even import Lines
from mpbond.core.ranges import RangeSet
from mpbond.core.stats import OrderStats
from mpbond.core.wire import SEQUENCE_SPACE, recover

REMEMBERED_FORWARDS = 32  # ranges per lane that FORWARD has called off and nothing has passed yet
REMEMBERED = 2048  # sequences per lane for the detection of copies
MAXIMUM_JUMP = 1 << 16  # sequences; after a larger one the lane starts again
BUFFER_LIMIT = 4 << 20  # bytes over all lanes
PACKET_COST = 128  # bytes a held packet costs besides its own
NEVER = float("inf")
_MAP_MASK = (1 << REMEMBERED) - 1


class Gap:
    """Missing sequences up to `last`, shown at `time` by a packet of send order `order`."""

    __slots__ = ("last", "order", "time")

    def __init__(self, last: int, order: int, time: float) -> None:
        self.last = last
        self.order = order
        self.time = time


class Lane:
    """One lane's receiving side. `next` is the lowest sequence neither delivered nor given up."""

    __slots__ = ("forwarded", "gaps", "held", "highest", "next", "seen")

    def __init__(self) -> None:
        self.next = 0
        self.highest = -1
        # arrived, due, packet; None: delivered, out of order
        self.held: dict[int, tuple[float, float, bytes] | None] = {}
        self.gaps: deque[Gap] = deque()
        self.seen = 0  # bit i: sequence highest - i has come
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
            self._hold(lane, sequence, packet, ordered, due, now)
            return
        if ordered and (due > now or self._lines):
            self._pass(number, packet, due, now)
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
        count = len(packets)
        sequence = recover(sequence, lane.highest + 1, SEQUENCE_SPACE)
        last = sequence + count - 1
        bits = (1 << count) - 1
        if sequence > lane.highest:
            if last - lane.highest >= REMEMBERED or lane.next > lane.highest + 1:
                return False
            lane.seen = (lane.seen << last - lane.highest | bits) & _MAP_MASK
            if sequence > lane.next:
                self._hold_run(number, lane, sequence, packets, order, now)
                return True
        else:
            if sequence != lane.next or not lane.gaps or last > lane.gaps[0].last:
                return False
            bits <<= lane.highest - last
            if lane.seen & bits or lane.highest - sequence >= REMEMBERED:
                return False
            lane.seen |= bits
        lane.highest = max(lane.highest, last)
        lane.next += count
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
        self, lane: Lane, sequence: int, packet: bytes, ordered: bool, due: float, now: float
    ) -> None:
        """Keep a packet beyond a gap; of an unordered one, which goes on, only its place."""
        self.held_bytes += PACKET_COST
        if ordered:
            lane.held[sequence] = (now, due, packet)
            self.held_bytes += len(packet)
            self._stats.held += 1
        else:
            lane.held[sequence] = None
            self.delivered.append(packet)
        if self.held_bytes + self._lines.bytes > self._limit:
            self.release_due(NEVER)
            if self.held_bytes > self._limit:
                self._give_up_oldest(now)

    def _hold_run(
        self,
        number: int,
        lane: Lane,
        sequence: int,
        packets: list[bytes],
        order: int,
        now: float,
    ) -> None:
        """Keep packets beyond all that have come."""
        if sequence > lane.highest + 1:
            lane.gaps.append(Gap(sequence - 1, order, now))
            self._gapped[number] = lane
        lane.highest = sequence + len(packets) - 1
        lane.held.update((sequence + at, (now, 0.0, packet)) for at, packet in enumerate(packets))
        self.held_bytes += sum(map(len, packets)) + len(packets) * PACKET_COST
        self._stats.held += len(packets)
        if self.held_bytes + self._lines.bytes > self._limit:
            self._give_up_oldest(now)

    def _pass(self, number: int, packet: bytes, due: float, now: float) -> None:
        """Deliver a packet whose turn it is, at `due` if that is still to come."""
        lines = self._lines
        if due <= now and not lines:
            self.delivered.append(packet)
            return
        lines.put(number, packet, due, now, self.delivered)
        if self.held_bytes + lines.bytes > self._limit:
            self.release_due(NEVER)

    def _start_again(self, number: int, lane: Lane, sequence: int, now: float) -> None:
        """The lane goes on so far ahead that what lies between was lost in some long outage."""
        self._stats.restarted += 1
        while lane.gaps:
            self._give_up(number, lane, now)
        lane.next, lane.highest, lane.seen = sequence, sequence - 1, 0
        lane.forwarded = RangeSet()

    def _is_new(self, lane: Lane, sequence: int) -> bool:
        """Mark a sequence as seen; False when it is a copy, or too old to tell."""
        ahead = sequence - lane.highest
        if ahead > 0:
            lane.seen = (lane.seen << ahead | 1) & _MAP_MASK if ahead < REMEMBERED else 1
            return True
        if -ahead >= REMEMBERED or lane.seen >> -ahead & 1:
            self._stats.duplicate += 1
            return False
        lane.seen |= 1 << -ahead
        return True

    def _advance(self, number: int, lane: Lane, now: float) -> None:
        """Deliver what follows `next` without a gap, and forget gaps that are behind."""
        while True:
            if lane.next in lane.held:
                self._let_go(number, lane, lane.next, now)
                lane.next += 1
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

    def _let_go(self, number: int, lane: Lane, sequence: int, now: float) -> None:
        """Deliver a packet that was held; of one that went on at once, free its place."""
        item = lane.held.pop(sequence)
        self.held_bytes -= PACKET_COST
        if item is not None:
            arrived, due, packet = item
            self.held_bytes -= len(packet)
            self._pass(number, packet, due, now)
            self._stats.note_hold(now - arrived)

    def _give_up(self, number: int, lane: Lane, now: float) -> None:
        """Skip what is missing of the first gap, delivering what came of it in order."""
        last = lane.gaps[0].last
        came = sorted(at for at in lane.held if at <= last)
        called_off = lane.forwarded.count(lane.next, last)
        called_off -= sum(at in lane.forwarded for at in came) if called_off else 0
        self._stats.skipped += last - lane.next + 1 - len(came) - called_off
        for sequence in came:
            self._let_go(number, lane, sequence, now)
        lane.next = last + 1
        self._advance(number, lane, now)

    def _give_up_oldest(self, now: float) -> None:
        number, lane = min(self._gapped.items(), key=lambda item: item[1].gaps[0].time)
        self._stats.overflow += 1
        self._give_up(number, lane, now)
