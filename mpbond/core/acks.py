"""What has been received, and when to say so (design 5; compare RFC 9000, 13.2).

`Received` is one path's record: the ranges of packet numbers, and the arrival of the largest.
`AckTimer` is the session's one clock for all paths: an ACK is due once two datagrams that elicit one
have come, or a gap has shown, but not sooner than `interval` after the last; a lone datagram is
acknowledged one interval after it came. The interval is a quarter of the smallest RTT, between 10 and
50 ms, so that ACKs stay a small share of the return links.
"""

from mpbond.core.ranges import RangeSet
from mpbond.core.wire import MAXIMUM_RANGES, AckBlock

MINIMUM_INTERVAL = 0.010  # seconds
MAXIMUM_INTERVAL = 0.050  # seconds
ELICITING_THRESHOLD = 2  # datagrams


class Received:
    """The packet numbers received on one path and not yet known to be reported."""

    __slots__ = ("_largest_time", "_ranges", "fresh", "largest")

    def __init__(self) -> None:
        self._ranges = RangeSet()
        self._largest_time = 0.0
        self.largest = -1
        self.fresh = False  # something eliciting has come since the last ACK was built

    def add(self, number: int, eliciting: bool, time: float) -> bool:
        """Note an arrival (`time`: seconds, our clock); True when it shows or fills a gap."""
        in_order = number == self.largest + 1
        self._ranges.add(number, number)
        if len(self._ranges) > 2 * MAXIMUM_RANGES:
            self._ranges.keep_newest(MAXIMUM_RANGES)
        if number > self.largest:
            self.largest = number
            self._largest_time = time
        if eliciting:
            self.fresh = True
        return not in_order

    def block(self, path_id: int, now: float, limit: int = MAXIMUM_RANGES) -> AckBlock | None:
        """Describe the path's newest `limit` ranges for an ACK sent now; None when all is reported."""
        if not len(self._ranges):
            return None
        self._ranges.keep_newest(MAXIMUM_RANGES)
        top = self._ranges.largest
        ranges = tuple((top - last, top - first) for first, last in self._ranges.newest(limit))
        time = self._largest_time if top == self.largest else now
        return AckBlock(path_id, top, round(time * 1e6) & 0xFFFFFFFF, max(0.0, now - time), ranges)

    def forget_reported(self, largest: int) -> None:
        """An ACK that named `largest` has been acknowledged: stop repeating what it covered."""
        self._ranges.drop_below(largest + 1)


class AckTimer:
    """When the session's next ACK is due; None while nothing elicits one."""

    __slots__ = ("_count", "_last_sent", "due")

    def __init__(self) -> None:
        self.due: float | None = None
        self._count = 0
        self._last_sent = float("-inf")

    def on_eliciting(self, gap: bool, interval: float, now: float) -> None:
        """Note an eliciting datagram; `interval` from `ack_interval`."""
        self._count += 1
        if gap or self._count >= ELICITING_THRESHOLD:
            due = max(now, self._last_sent + interval)
        else:
            due = now + interval
        if self.due is None or due < self.due:
            self.due = due

    def on_sent(self, now: float) -> None:
        """An ACK of everything so far leaves now."""
        self.due = None
        self._count = 0
        self._last_sent = now


def ack_interval(smallest_rtt: float) -> float:
    """Return the least time between two ACKs, in seconds, for the smallest smoothed RTT."""
    return min(MAXIMUM_INTERVAL, max(MINIMUM_INTERVAL, smallest_rtt / 4))
