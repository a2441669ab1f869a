"""What has been sent and not yet been acknowledged, and what is known of each packet.

The counters of the flow follow the marks of the packets at any time:

    sacked_out, lost_out, retransmitted_out = packets with SACKED, LOST, RETRANSMITTED

There are four views of the packets, so that the work for an acknowledgement is proportional to what is new
in it: by order (`queue`), by first byte, by the time they were last sent (`by_time`, for RACK; stale entries
go when they come to the front), and a heap of the lost ones. Which bytes are sacked stands in a set of
ranges, whose `add` tells the new parts of a block.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from bench.sim.tcp.flow import LOSS, Flow, ticks
from bench.sim.tcp.rack import Rack
from bench.sim.tcp.sample import Sample, Snapshot
from bench.sim.tcp.sent import EVER, LOST, RETRANSMITTED, SACKED, Sent
from mpbond.core.ranges import RangeSet

NORMAL_REORDERING = 3
MOST_REORDERING = 300


class Scoreboard:
    """The packets between `flow.una` and `flow.nxt`."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self.queue: deque[Sent] = deque()
        self.by_time: deque[tuple[float, Sent]] = deque()
        self.reordering = NORMAL_REORDERING
        """The largest distance in packets by which one was seen to be overtaken."""
        self.reorderings = 0
        """How often that was seen."""
        self.undo_marker: int | None = None
        """`una` at the start of the recovery that may be undone."""
        self.undo_retransmits = 0
        """Retransmissions since then that no DSACK has told to be spurious; -1 before the first."""
        self.dsacks = 0
        self._by_start: dict[int, Sent] = {}
        self._sacked = RangeSet()
        self._seen: list[tuple[int, int]] = []
        self._lost: list[int] = []

    def highest(self) -> int:
        """The end of the highest packet that is sacked; `una` when there is none."""
        return self._sacked.largest + 1 if self._sacked else self._flow.una

    def send(self, start: int, end: int, snapshot: Snapshot) -> None:
        """A new packet leaves."""
        now = self._flow.now
        packet = Sent(start, end, now, snapshot)
        self.queue.append(packet)
        self.by_time.append((now, packet))
        self._by_start[start] = packet
        self._flow.packets_out += 1

    def resend(self, packet: Sent, snapshot: Snapshot) -> None:
        """A packet leaves again."""
        flow = self._flow
        packet.sent_at = flow.now
        packet.snapshot = snapshot
        if not packet.marks & RETRANSMITTED:
            flow.retransmitted_out += 1
        packet.marks |= RETRANSMITTED | EVER
        self.by_time.append((flow.now, packet))
        flow.retransmits += 1
        self.undo_retransmits = max(self.undo_retransmits, 0) + 1

    def next_lost(self) -> Sent | None:
        """The first packet that is lost and waits to be sent again."""
        heap = self._lost
        while heap:
            packet = self._by_start.get(heap[0])
            if packet is not None and packet.marks & (LOST | RETRANSMITTED | SACKED) == LOST:
                return packet
            heappop(heap)
        return None

    def lose(self, packet: Sent) -> None:
        """Take a packet that is not sacked for lost, or its retransmission if there was one."""
        flow = self._flow
        marks = packet.marks
        if not marks & LOST:
            packet.marks = marks | LOST
            flow.lost_out += 1
            flow.lost += 1
        elif marks & RETRANSMITTED:
            packet.marks = marks & ~RETRANSMITTED
            flow.retransmitted_out -= 1
            flow.lost += 1
        heappush(self._lost, packet.start)

    def find_lost(self) -> None:
        """Believe that no packet is lost, and leave it to RACK to look at all of them again."""
        for packet in self.queue:
            packet.marks &= ~LOST
        self._flow.lost_out = 0
        self._lost.clear()
        unsacked = [(each.sent_at, each) for each in self.queue if not each.marks & SACKED]
        self.by_time = deque(sorted(unsacked, key=lambda entry: entry[0]))

    def forget_sacks(self) -> None:
        """The receiver has gone back on what it sacked; take everything for lost."""
        self._sacked = RangeSet()
        self._seen = []
        for packet in self.queue:
            packet.marks &= ~SACKED
            self.lose(packet)
        self._flow.sacked_out = 0

    def sack(self, blocks: list[tuple[int, int]], sample: Sample, rack: Rack) -> None:
        """Mark the packets that lie in blocks, which are no DSACKs."""
        flow = self._flow
        seen = self._seen
        self._seen = blocks
        new = [block for block in blocks if block not in seen]
        if len(new) > 1:
            new.sort()
        for start, end in new:
            if end <= flow.una or end > flow.nxt or start >= end:
                continue
            highest = self.highest()
            for first, last in self._sacked.add(max(start, flow.una), end - 1):
                while first <= last:
                    packet = self._by_start.get(first)
                    if packet is None:
                        break
                    first = packet.end
                    self._sack(packet, sample, rack, highest)
        if flow.state != LOSS or self.undo_marker is not None:
            self.see_reordering(sample.reordered)
        sample.reordered = flow.nxt

    def _sack(self, packet: Sent, sample: Sample, rack: Rack, highest: int) -> None:
        flow = self._flow
        marks = packet.marks
        rack.advance(packet.sent_at, packet.end, marks & EVER)
        if marks & RETRANSMITTED:
            if marks & LOST:
                marks &= ~(LOST | RETRANSMITTED)
                flow.lost_out -= 1
                flow.retransmitted_out -= 1
        else:
            if not marks & EVER:
                if packet.start < highest and packet.start < sample.reordered:
                    sample.reordered = packet.start
                if packet.end <= flow.high:
                    sample.acked_original = True
                sample.first_sack_sent = min(sample.first_sack_sent, packet.sent_at)
                sample.last_sack_sent = packet.sent_at
            if marks & LOST:
                marks &= ~LOST
                flow.lost_out -= 1
        packet.marks = marks | SACKED
        flow.sacked_out += 1
        flow.delivered += 1
        sample.sacked_data = True
        if packet.snapshot is not None:
            sample.packet(flow, packet.sent_at, packet.end, packet.snapshot)
            packet.snapshot = None

    def dsack(self, start: int, end: int, sample: Sample, probe: int, rack: Rack) -> None:
        """The receiver says that bytes came twice; `probe` is the end of an outstanding probe or 0."""
        flow = self._flow
        duplicates = max(1, -(-(end - start) // flow.mss))
        if duplicates == 1 and probe and probe == end:
            sample.dsack_of_probe = True
        self.dsacks += duplicates
        if self.dsacks > flow.retransmits:
            return  # the network has duplicated something
        if self.reorderings and not sample.dsack_of_probe:
            rack.dsack_seen = True
        sample.dsack = True
        flow.delivered += duplicates
        marker = self.undo_marker
        if end <= sample.prior_una:
            if marker is not None and self.undo_retransmits > 0 and end > marker:
                self.undo_retransmits = max(0, self.undo_retransmits - duplicates)
            return
        packet = self._by_start.get(start)
        while packet is not None and packet.end <= end:
            self._dsack(packet, sample)
            packet = self._by_start.get(packet.end)

    def _dsack(self, packet: Sent, sample: Sample) -> None:
        marker = self.undo_marker
        if packet.marks & EVER:
            if marker is not None and self.undo_retransmits > 0 and packet.end > marker:
                self.undo_retransmits -= 1
            if packet.marks & SACKED:
                sample.reordered = min(sample.reordered, packet.start)
        if packet.end > self._flow.una and packet.marks & RETRANSMITTED:
            packet.marks &= ~RETRANSMITTED
            self._flow.retransmitted_out -= 1

    def acknowledge(self, ack: int, sample: Sample, rack: Rack) -> tuple[int, float, float]:
        """Forget what lies below `ack`, which is already the flow's `una`.

        Returns how many packets that were, and when the first and last of them were sent that have
        neither been sacked nor retransmitted (negative when there is none).
        """
        flow = self._flow
        queue, by_start = self.queue, self._by_start
        count = 0
        first = last = -1.0
        high = flow.high
        while queue and queue[0].end <= ack:
            packet = queue.popleft()
            del by_start[packet.start]
            count += 1
            marks = packet.marks
            if marks:
                self._forget_marks(marks, sample)
            if not marks & (EVER | SACKED):
                last = packet.sent_at
                if first < 0:
                    first = last
                if packet.start < sample.reordered:
                    sample.reordered = packet.start
                if packet.end <= high:
                    sample.acked_original = True
            if not marks & SACKED:
                flow.delivered += 1
                sent_at = packet.sent_at
                if not marks & EVER or sample.echo >= ticks(sent_at):
                    rack.advance(sent_at, packet.end, marks & EVER)
                packet.marks = marks | SACKED  # whoever still has it knows that it has arrived
                if packet.snapshot is not None:
                    sample.packet(flow, sent_at, packet.end, packet.snapshot)
        flow.packets_out -= count
        if self._sacked:
            self._sacked.drop_below(ack)
        return count, first, last

    def _forget_marks(self, marks: int, sample: Sample) -> None:
        flow = self._flow
        if marks & RETRANSMITTED:
            flow.retransmitted_out -= 1
        if marks & EVER:
            sample.acked_retransmission = True
        if marks & SACKED:
            flow.sacked_out -= 1
        if marks & LOST:
            flow.lost_out -= 1

    def see_reordering(self, start: int) -> None:
        """The packet at `start` came, for the first time, behind the highest one sacked."""
        highest = self.highest()
        if start < highest:
            distance = -(-(highest - start) // self._flow.mss)
            self.reordering = min(max(self.reordering, distance), MOST_REORDERING)
            self.reorderings += 1

    @property
    def any_resent(self) -> bool:
        """Whether a retransmission is under way, as far as the head of the queue can tell."""
        if self._flow.retransmitted_out:
            return True
        return bool(self.queue) and bool(self.queue[0].marks & EVER)
