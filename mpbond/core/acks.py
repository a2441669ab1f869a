"""What has been received, and when to say so (design 5; compare RFC 9000, 13.2).

`Received` is one path's record: the ranges of packet numbers, and the arrival of the largest.
`AckTimer` is the session's one clock for all paths: an ACK is due once two datagrams that elicit one
have come, or a gap has shown, or the session is idle, but not sooner than `interval` after the last; any
other lone datagram is acknowledged one interval after it came. The interval is a quarter of the smallest
RTT, between 10 and 50 ms, and long enough that ACKs stay a small share of what the return links carry.

`return_paths` chooses where an ACK goes: the two paths with the least delay among those that answer. Each of
them carries something eliciting ten times a second, so a return path that stalls shows by an answer
overdue, long before it is suspect; then the ACKs take other paths, before the peer, who hears nothing,
takes all its own paths for dead.
"""

from typing import TYPE_CHECKING

from mpbond.core.ranges import RangeSet
from mpbond.core.rtt import INITIAL_RTT
from mpbond.core.wire import MAXIMUM_RANGES, AckBlock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mpbond.core.path import Path

MINIMUM_INTERVAL = 0.010  # seconds
MAXIMUM_INTERVAL = 0.050  # seconds
ACK_SHARE = 0.02  # of the return rate that ACKs may take
ACK_BYTES, ACK_BYTES_PER_PATH = (
    64,
    20,
)  # of a datagram with an ACK, IP and UDP headers not forgotten
UNLEARNED_RATE = 250_000.0  # bytes per second
SLOW_RATE = 62_500.0  # bytes per second: the slowest uplinks of modems
GUESSED_PART = 0.61  # of a round trip passes between two ACKs for the sake of a guess, at most
LOPSIDED = 10  # times as fast may a link be in the other direction
RETURN_PATHS = 2  # an ACK goes out on as many
LAST_RESORT = 2  # the tier of paths for when no other is up
DOUBTFUL_RETURN_PATHS = 4  # or on as many, while none of them answers in time
TOO_LATE = 0.2  # seconds after the first copy of an ACK a second one is worth nothing
OVERDUE_MARGIN = 0.010  # seconds
NEVER = float("inf")
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
        return self.add_run(number, number, eliciting, time)

    def add_run(self, first: int, last: int, eliciting: bool, time: float) -> bool:
        """Note that `first` to `last` have come together; True as in `add`."""
        in_order = first == self.largest + 1
        self._ranges.add(first, last)
        if len(self._ranges) > 2 * MAXIMUM_RANGES:
            self._ranges.keep_newest(MAXIMUM_RANGES)
        if last > self.largest:
            self.largest = last
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

    def on_eliciting(self, urgent: bool, interval: float, now: float, count: int = 1) -> None:
        """Note eliciting datagrams; `interval` from `ack_interval`, `urgent`: wait for no other."""
        self._count += count
        if urgent or self._count >= ELICITING_THRESHOLD:
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


def ack_interval(smallest_rtt: float, ack_bytes: int = 0, return_rate: float = 0.0) -> float:
    """Return the least time between two ACKs, in seconds, for the smallest smoothed RTT.

    `ack_bytes` is what one ACK takes, all its copies together; `return_rate` what the return paths carry,
    in bytes per second (0: not known).
    """
    interval = max(MINIMUM_INTERVAL, smallest_rtt / 4)
    if return_rate > 0:
        interval = max(interval, ack_bytes / (ACK_SHARE * return_rate))
    return min(MAXIMUM_INTERVAL, interval)


def interval_for(paths: "Collection[Path]", now: float) -> float:
    """Return `ack_interval` for ACKs that report `paths` and go out on some of them.

    How much a return path carries is not known while only ACKs go there. Then it is taken for a tenth of
    what comes the other way, since the most lopsided links have a twelfth; while nothing comes, for no slow
    one. A guess leaves a round trip more than one ACK: the peer's rate control needs them.
    """
    smallest = NEVER
    rate = 0.0
    guessed = False
    for path in paths:
        rtt = path.rtt
        if rtt.samples and rtt.smoothed < smallest:
            smallest = rtt.smoothed
        if path.up:
            learned = path.rate.rate
            if not path.rate.learned:
                received = path.stats.received.rate(now) / 8
                guess = max(SLOW_RATE, received / LOPSIDED) if received else UNLEARNED_RATE
                learned = max(learned, guess)
                guessed = True
            rate += learned
    size = RETURN_PATHS * (ACK_BYTES + ACK_BYTES_PER_PATH * len(paths))
    if smallest == NEVER:
        smallest = INITIAL_RTT
    interval = ack_interval(smallest, size, rate)
    return min(interval, max(MINIMUM_INTERVAL, GUESSED_PART * smallest)) if guessed else interval


def return_paths(
    candidates: "Iterable[Path]", everyone: "Iterable[Path]", now: float
) -> "list[Path]":
    """Return the paths that an ACK should go out on now.

    Of the `candidates` for packets, those that answer in time. Without two of them, doubtful ones of
    `everyone` are added, the least bad first: an ACK that is lost with its path costs little, one that
    does not come at all stops the peer.
    """
    trusted = [path for path in candidates if path.up and not is_overdue(path, now)]
    if len(trusted) >= RETURN_PATHS:
        trusted.sort(key=lambda path: path.present_delay)
        worst = trusted[0].present_delay + TOO_LATE
        return [path for path in trusted[:RETURN_PATHS] if path.present_delay <= worst]
    usable = [path for path in everyone if path.usable and path.may_send(path.mtu // 4)]
    if trusted:  # what costs money is not spent on a second copy
        usable = [path for path in usable if path.tier < LAST_RESORT]
    doubtful = [path for path in usable if path not in trusted]
    doubtful.sort(key=lambda path: (path.badness[0], path.present_delay))
    count = RETURN_PATHS if trusted else DOUBTFUL_RETURN_PATHS
    return trusted + doubtful[: count - len(trusted)]


def is_overdue(path: "Path", now: float) -> bool:
    """Has a path, judged by half of what makes it suspect, not answered in time?"""
    oldest = path.sent.oldest
    if oldest is None:
        return False
    rtt = path.rtt
    wait = rtt.smoothed + 2 * rtt.variation + ack_interval(rtt.smoothed) + OVERDUE_MARGIN
    return now - max(oldest.time, path.last_answer - rtt.smoothed) > wait
