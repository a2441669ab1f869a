"""Is what stands in a path queue, or has its way become longer? Found out by draining it.

The minimum of the one-way delay is the measure of all queueing, and goes wrong in two ways. A sender that
always keeps some queue never sees the empty path again: so every ten seconds, unless the path was seen
empty anyway, it is drained for a round. And a route may become longer at a blow (a satellite changes, a
modem hands over): all the difference then looks like queue, the window shrinks, and no less is seen. That
shows as delay which stays flat, far above what is aimed at, and as a rate that falls, while a true queue
rises or falls, or keeps the rate up; then a
drain is tried at once, half of the former rate is believed until it has told, and when the delay is still
there with the path drained, it is the new minimum.
"""

from mpbond.core.delay import QueueingDelay

PERIOD = 9.0  # seconds without an empty path after which it is drained
LEVEL = 0.75  # of what the empty path holds stays in flight during a drain
NEAR = 0.004  # seconds of queue that count as an empty path in a drain,
EMPTY = 0.0005  # and without one: what the minimum may rise by in ten seconds
EARLY = 0.25  # seconds, and as many rounds: so long flat delay is endured
EARLY_ROUNDS = 3
FLAT = 0.3  # of its least may the most of flat delay be above that,
FLAT_MOST = 0.060  # but no more seconds: the delay of a full queue rises for long
FLAT_SLACK = 0.015  # seconds on top
SLOWER = 0.95  # of the rate before is less: a queue of our own making would keep it up


class Drain:
    """Watches over the minimum of `delay`. `active`: keep the window at LEVEL of the path's content."""

    __slots__ = (
        "_above_since",
        "_delay",
        "_doubting",
        "_empty_at",
        "_end",
        "_flat_since",
        "_least",
        "_most",
        "_rate",
        "active",
        "rate_before",
    )

    def __init__(self, delay: QueueingDelay, now: float) -> None:
        self.active = False
        self.rate_before = 0.0  # bytes/s, before the delay rose
        self._delay = delay
        self._empty_at = now
        self._doubting = False  # the drain is to tell whether the way is longer
        self._end: int | None = None  # position by which the drain shows
        self._above_since = self._flat_since = now
        self._least = self._most = self._rate = 0.0

    def see(self, queue: float, limit: float, rate: float, now: float) -> None:
        """Note a queue; up to `limit` (both seconds) it is of our making. `rate`: of now, bytes/s."""
        self._rate = rate
        if queue < (NEAR if self.active else EMPTY):
            self._empty_at = now
        if queue <= limit:
            self._above_since = self._flat_since = now
            self._least = self._most = queue
            self.rate_before = rate
            return
        self._least = min(self._least, queue)
        self._most = max(self._most, queue)
        if self._most > self._least + FLAT_SLACK + min(FLAT * self._least, FLAT_MOST):
            self._flat_since = now
            self._least = self._most = queue

    def rest(self, now: float) -> None:
        """Nothing has been sent for long: the queue is empty."""
        self.active = False
        self._empty_at = self._above_since = self._flat_since = now

    def believed(self, rate: float, feedback: float, now: float) -> float:
        """The rate to go by (bytes/s): at first, a queue may as well be a longer way."""
        if now - self._above_since < _patience(feedback) + feedback:
            return max(rate, self.rate_before / 2)
        return rate

    def begin_if_due(self, feedback: float, allowed: bool, now: float) -> None:
        """Begin a drain when it is time to; `allowed` says whether one may be made without need."""
        late = allowed and now - self._empty_at > PERIOD
        slower = self._rate < SLOWER * self.rate_before
        self._doubting = slower and now - self._flat_since > _patience(feedback)
        if late or self._doubting:
            self.active = True
            self._end = None
            self._delay.watch()

    def is_over(self, position: int, sent: int, in_flight: int, level: float, now: float) -> bool:
        """Has the drain told? `position` is acknowledged, `sent` is sent, `level` bytes are to remain."""
        if self._end is None and in_flight <= level:
            self._end = sent
        return self._empty_at == now or (self._end is not None and position > self._end)

    def end(self, serialisation: float, rate: float, now: float) -> bool:
        """End the drain; True when the way is longer. `serialisation`: seconds of a datagram."""
        self.active = False
        longer = self._doubting and self._delay.fresh() > NEAR + serialisation
        if longer:
            self._delay.rebase()
        else:
            self.rate_before = rate
        self._empty_at = self._above_since = self._flat_since = now
        return longer


def _patience(feedback: float) -> float:
    return max(EARLY, EARLY_ROUNDS * feedback)
