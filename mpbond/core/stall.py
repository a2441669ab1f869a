"""A path that brings datagrams densely stops: said and heard at once, for its link may have become slow.

ACKs are rare where nobody knows what the way back carries; until one tells of a slower link, all that the
window holds is put before it. Yet the receiver sees after a few of the usual spacings that something is
wrong (`Arrivals`): then an ACK goes out without waiting for its turn. What it says is what it does not
name: the datagram after the newest it names was sent, and did not come when it should have. If that is
more than usual for the path's ACKs, the sender stops at once (`Brake`), until an ACK tells what the path
delivers now, or that it was a false alarm. Where such gaps are usual, as on radio, none is noticed.
"""

from mpbond.core.delay import QueueingDelay
from mpbond.core.delivery import Delivery
from mpbond.core.recovery import Sent

NEVER = float("inf")
DENSE = 16  # large datagrams with no pause between them, before silence means anything
PAUSE = 0.010  # seconds without one end such a run
LEAST_SILENCE = (
    0.0045  # seconds, and so many usual spacings and mean deviations of them, are a stall
)
SPACINGS, DEVIATIONS = 3.0, 3.0
LATE, USUAL = 0.002, 4.0  # seconds, and mean deviations, later than usual stop the sender
UNKNOWN = 0.005  # seconds: that deviation at first
LONGEST = 0.3  # seconds of the receiver's clock that a sender stops, if no ACK tells a rate
SLOWER = 0.5  # of the rate before is a slower link; more is a false alarm


class Arrivals:
    """How densely large datagrams come on a path; `due` is when their silence will mean something."""

    __slots__ = ("_count", "_deviation", "_last", "_spacing", "due")

    def __init__(self) -> None:
        self.due = NEVER
        self._last = 0.0
        self._count = 0
        self._spacing = self._deviation = 0.0

    def add(self, time: float) -> None:
        """Note a large datagram; `time` in seconds of our clock."""
        gap = max(0.0, time - self._last)
        self._last = time
        if gap > PAUSE:
            self.forget()
            return
        self._count += 1
        weight = 1 / min(self._count, DENSE)
        self._deviation += (abs(gap - self._spacing) - self._deviation) * weight
        self._spacing += (gap - self._spacing) * weight
        if self._count >= DENSE:
            wait = SPACINGS * self._spacing + DEVIATIONS * self._deviation
            self.due = time + max(LEAST_SILENCE, wait)

    def forget(self) -> None:
        """Begin a new run with the next datagram: of one silence is told once."""
        self.due = NEVER
        self._count = 0
        self._spacing = self._deviation = 0.0


class Brake:
    """Whether a path's sender has to stop. `active`: nothing new may leave.

    `slow`: the link has become slow for certain; what is late is queue, and not a longer way.
    """

    __slots__ = (
        "_delay",
        "_delivery",
        "_deviation",
        "_got",
        "_rate",
        "_since",
        "_usual",
        "active",
        "slow",
    )

    def __init__(self, delay: QueueingDelay, delivery: Delivery) -> None:
        self.active = False
        self.slow = False
        self._delay = delay
        self._delivery = delivery
        self._rate = 0.0
        self._since = 0  # µs of the receiver's clock
        self._got = 0  # bytes
        self._usual = 0.0
        self._deviation = UNKNOWN

    def on_silence(self, missing: Sent, received: int, delay: float, rate: float) -> bool:
        """Judge an ACK by the datagram after the newest it names; True if that is late as never.

        The newest came at `received` (their µs mod 2**32), `delay` seconds before the ACK was made; the
        path drained `rate` bytes/s. Late is what comes neither when it should nor soon after the one before.
        """
        if self.active or self.slow:
            return False
        made = received + round(delay * 1e6)
        behind = delay - missing.size / rate
        late = max(0.0, min(behind, self._delay.above(missing.time, made, missing.size, rate)))
        limit = LATE + self._usual + USUAL * self._deviation
        self._deviation += (abs(late - self._usual) - self._deviation) / 32
        self._usual += (late - self._usual) / 16
        return late > limit

    def stop(self, received: int, rate: float, pauses: int) -> None:
        """Nothing more is to leave; `received` and `rate` as before, `pauses` as for Delivery."""
        self.active = True
        self._rate, self._since, self._got = rate, received, self._delivery.total
        self._delivery.clear()  # how fast it was tells nothing of how fast it is
        self._delivery.point(received, pauses, True, 0.0)

    def on_ack(self, received: int, queued: bool) -> None:
        """Something came: at a good part of the rate before, it was a false alarm.

        `queued`: more queue stands than is aimed at.
        """
        self.slow = self.slow and queued
        if self.active:
            elapsed = ((received - self._since) & 0xFFFFFFFF) / 1e6
            got = self._delivery.total - self._got
            self.active = elapsed <= LONGEST and got < SLOWER * self._rate * elapsed

    def on_rate(self) -> bool:
        """What the path delivers is known; True if it was waited for, and what was known is void."""
        waited = self.active
        self.slow = self.slow or waited
        self.active = False
        return waited
