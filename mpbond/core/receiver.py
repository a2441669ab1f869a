"""The receiving half of a session: what came, in what order it goes on, what is acknowledged.

It owns the lanes, the parts, the send-order frontier and the one ACK for all paths; the paths' records of
received packet numbers are theirs.
"""

from collections.abc import Mapping

from mpbond.core.acks import MINIMUM_INTERVAL, AckTimer
from mpbond.core.even import Evened
from mpbond.core.lanes import Lanes
from mpbond.core.parts import Parts
from mpbond.core.path import Path
from mpbond.core.stats import Drops, OrderStats
from mpbond.core.unfinished import Unfinished
from mpbond.core.wire import (
    CSUM_PARTIAL,
    FIRST_PART,
    LAST_PART,
    MAXIMUM_RANGES,
    ORDER_SPACE,
    SEGMENT,
    SEQUENCE_SPACE,
    UNORDERED,
    AckFrame,
    DataFrame,
    LoneRun,
    ack_frame,
    recover,
)

HEARD = 1.0  # seconds of packets without a datagram after which a path does not count
IDLE = 0.2  # seconds without packets after which they count as flowing anew
RANGE_LIMITS = (MAXIMUM_RANGES, 8, 2, 1)  # ranges per path, tried until an ACK fits
DEFAULT_HOLD = 0.1  # seconds, until the peer has told what to use


class Receiver:
    """Receiving state of a session. `hold` is in seconds; 0 switches ordering off."""

    def __init__(self, paths: Mapping[int, Path], drops: Drops) -> None:
        self.hold = DEFAULT_HOLD
        self.repaired = False  # the peer repairs what is lost: a proof of loss says nothing
        self.stats = OrderStats()
        self.lanes = Lanes(self.stats)
        self.ack_timer = AckTimer()
        self.even = Evened()
        self.data_since_ping = False
        self.unfinished = False
        """Segments are among what was delivered: neighbours may be put together."""
        self._paths = paths
        self._drops = drops
        self._parts = Parts()
        self._highest_order = 0
        self._last_data = float("-inf")
        self._flowing_since = float("-inf")
        self._ack_number = 0

    @property
    def delivered(self) -> list[bytes]:
        """Packets ready for the TUN device; the reader empties the list."""
        return self.lanes.delivered

    def on_data(self, path: Path, order: int, data: list[DataFrame], now: float) -> None:
        """Take the packets of one datagram; `order` has 24 bits."""
        order = self._begin(path, order, now)
        even = self._evened
        for part in data:
            self._insert(path, order, part, even, now)

    def on_run(self, path: Path, run: LoneRun, now: float) -> None:
        """Take the packets of datagrams that carried one each."""
        even = self._evened
        order = self._begin(path, run.order, now)
        self.on_order(path, run.order + len(run.packets) - 1)
        taken = run.flags == SEGMENT and even is None and self.hold > 0
        if taken and self.lanes.insert_run(
            run.lane, run.sequence, run.packets, order=order, now=now
        ):
            self.unfinished = True
            return
        for at, packet in enumerate(run.packets):
            sequence = (run.sequence + at) % SEQUENCE_SPACE
            part = DataFrame(run.flags, run.lane, sequence, packet)
            self._insert(path, order + at, part, even, now)

    def _begin(self, path: Path, order: int, now: float) -> int:
        """A datagram with packets has come; return its send order recovered."""
        order = self.on_order(path, order)
        self.data_since_ping = True
        if now - self._last_data > IDLE:
            self._flowing_since = now
        self._last_data = now
        return order

    @property
    def _evened(self) -> Evened | None:
        return self.even if self.even.lanes and self.repaired else None

    def _insert(
        self, path: Path, order: int, part: DataFrame, even: Evened | None, now: float
    ) -> None:
        flags, lane, sequence, packet = part
        if flags & CSUM_PARTIAL:
            self._drops["offload_not_agreed"] += 1
            return
        if flags & (FIRST_PART | LAST_PART):
            whole = self._parts.join(part, now)
            if whole is None:
                return
            packet = whole
        if flags & SEGMENT:
            packet = packet if type(packet) is Unfinished else Unfinished(packet)
            self.unfinished = True
        ordered = self.hold > 0 and not flags & UNORDERED
        due = 0.0
        if even is not None and ordered:
            due = now + even.wait(lane, path.id)
        self.lanes.insert(lane, sequence, packet, order=order, ordered=ordered, now=now, due=due)

    def on_order(self, path: Path, order: int) -> int:
        """Note the send order a path has delivered; return it recovered to its full width."""
        order = recover(order & ORDER_SPACE - 1, self._highest_order + 1, ORDER_SPACE)
        self._highest_order = max(self._highest_order, order)
        if path.order_received is None or order > path.order_received:
            path.order_received = order
        return order

    def on_forward(self, items: list[tuple[int, int, int]], now: float) -> None:
        """Take a FORWARD frame."""
        for lane, first, count in items:
            self.lanes.forward(lane, first, count, now)

    def release(self, now: float) -> None:
        """Give up gaps that are proven lost or whose hold has expired; let go what has waited enough."""
        if self.lanes.has_gaps:
            frontier = None if self.repaired else self._frontier(now)
            if frontier is not None:
                self.lanes.release_proven(frontier, now)
            self.lanes.release_expired(self.hold, now)
        self.lanes.release_due(now)

    def next_timeout(self) -> float | None:
        """When the first hold expires, or the first packet has waited enough."""
        return self.lanes.next_timeout(self.hold)

    def build_ack(
        self, hold: float | None, room: int, now: float, *, repairs: bool = False
    ) -> tuple[bytes, dict[int, int]] | None:
        """Build the ACK of all paths in at most `room` bytes; and what it reports.

        It tells the peer to use `hold`, and whether we repair what is lost. When not everything fits,
        the paths with news come first, with fewer ranges; what was left out follows in the next one.
        """
        paths = sorted(self._paths.values(), key=lambda path: not path.received.fresh)
        self.ack_timer.on_sent(now)
        for limit in RANGE_LIMITS:
            made = [path.received.block(path.id, now, limit) for path in paths]
            blocks = [block for block in made if block is not None]
            body = ack_frame(AckFrame(self._ack_number + 1, hold, tuple(blocks), repairs))
            if len(body) <= room:
                break
        while len(body) > room and blocks:
            left_out = blocks.pop()
            body = ack_frame(AckFrame(self._ack_number + 1, hold, tuple(blocks), repairs))
            if self._paths[left_out.path_id].received.fresh:
                self.ack_timer.on_eliciting(False, MINIMUM_INTERVAL, now)
        if not blocks:
            return None
        self._ack_number += 1
        for block in blocks:
            self._paths[block.path_id].received.fresh = False
        return body, {block.path_id: block.largest for block in blocks}

    def _frontier(self, now: float) -> int | None:
        """The send order that every path which may still bring packets has passed.

        Whether a path is up says only that our datagrams arrive. While packets flow, a living path
        brings at least an ORDER every 10 ms, so one that has brought nothing for a while, although
        they have flowed for as long, counts no more. One that counts but has told no order yet may be
        bringing the very first packets: then nothing is proven. None when no path can tell.
        """
        orders = []
        for path in self._paths.values():
            last = path.last_received
            if not path.usable or (last is None and not path.up):
                continue
            if now - max(self._flowing_since, last or 0.0) < HEARD:
                orders.append(path.order_received or 0)
        return min(orders, default=None)
