"""How long it takes to hear of a datagram, apart from the queue in front of it, and how evenly.

An ACK's way back may be slow, its queue may come and go, and the peer may acknowledge rarely: none of that
is a reason to have less in flight. `time` is the mean of what passes from sending a datagram to hearing of
it on an empty path; `gap` is what passes between two ACKs more than the path needs for a datagram;
`uneven` is the mean deviation of the way back, since an ACK that is late leaves the path as idle as one that
is rare.
"""

from mpbond.core.minimum import WindowedMinimum

BASE_SPAN = 10.0  # seconds
LONGEST_GAP = 0.060  # seconds between two ACKs that still count as the peer's interval
UNEVEN = 0.5  # times the deviation is in flight on top,
LONGEST_UNEVEN = 0.040  # seconds at most


class Feedback:
    """Learned from ACKs; all in seconds, 0.0 before the first."""

    __slots__ = ("_back", "_last", "_rtt", "gap", "time", "uneven")

    def __init__(self) -> None:
        self.time = 0.0
        self.gap = 0.0
        self.uneven = 0.0
        self._back = 0.0  # the empty path and the way back, without what the peer waited
        self._last: float | None = None  # the last ACK
        self._rtt = WindowedMinimum(BASE_SPAN)

    @property
    def least(self) -> float:
        """The smallest round trip of the last 10 s."""
        return self._rtt.value or 0.0

    @property
    def slack(self) -> float:
        """For how long more than `time + gap` a path has to be kept busy because ACKs come unevenly."""
        return min(LONGEST_UNEVEN, UNEVEN * self.uneven)

    def update(self, rtt: float, delay: float, queue: float, datagram: float, now: float) -> None:
        """Take an ACK: its round trip without the `delay` the peer waited, `queue` of it in the path.

        `datagram` is what a full one takes on the path.
        """
        self._rtt.update(rtt, now)
        back = max(0.001, rtt - queue)
        if self.time:
            self.uneven += (abs(back - self._back) - self.uneven) / 32
            self._back += (back - self._back) / 8
            self.time += (back + delay - self.time) / 8
        else:
            self._back = back
            self.time = back + delay
        if self._last is not None:
            gap = max(0.0, now - self._last - datagram)
            self.gap += (min(LONGEST_GAP, gap) - self.gap) / 8
        self._last = now
