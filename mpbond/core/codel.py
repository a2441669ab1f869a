"""CoDel (RFC 8289) for one flow's queue: when is it time to tell the flow that it sends too much?

Not the length of a queue is bad but a queue that does not go away. A packet's sojourn is judged as it
leaves: once every packet of a whole INTERVAL stayed longer than TARGET, one is dropped (or marked), and
further ones at intervals that shrink with the square root of their count, which makes the throughput of a
TCP fall linearly, until a packet is through in less than TARGET.

The two constants are five times those of a router. Every flow has its own queue, so a bulk flow that waits
hurts only itself; and over a bond the round trip is long and jittery, a path may stall for half a second and
what waited leaves in one go. The textbook's 20 ms and 200 ms starve a single CUBIC flow there.

Time is looked at only when packets leave. After a stall the schedule of drops may lie far in the past; the
RFC makes up for all of it at once, which here would behead every flow a stall has hurt already. What is more
than an INTERVAL overdue is forgiven.
"""

from typing import Final

TARGET: Final = 0.100  # seconds of sojourn that are fine
INTERVAL: Final = 0.500  # seconds: about the longest round trip that is to get its full throughput
SPARED: Final = 2 * 1514  # bytes: a queue this short is nobody's fault, however slowly it drains
_MEMORY: Final = 16 * INTERVAL  # seconds for which the last spell's pace of dropping is remembered


class Codel:
    """The state of one flow.

    Whoever finds a packet to be fine (in time, or among the last SPARED bytes) sets `above` to 0.0 and
    need not ask `judge`.
    """

    __slots__ = ("_count", "_dropping", "_last_count", "_next", "above")

    def __init__(self) -> None:
        self.above = 0.0  # when all of an interval will have been above target; 0.0: is not above
        self._dropping = False
        self._count = 0  # drops of this spell
        self._last_count = 0  # what `_count` began with
        self._next = 0.0  # when the next drop is due

    def judge(self, now: float) -> bool:
        """Say whether a packet that leaves at `now`, after more than TARGET, shall be dropped or marked."""
        if not self.above:
            self.above = now + INTERVAL
            self._dropping = False
            return False
        if self._dropping:
            if now < self._next:
                return False
            self._count += 1
            self._next = max(self._next, now - INTERVAL) + INTERVAL / self._count**0.5
            return True
        if now < self.above:
            return False
        dropped = self._count - self._last_count
        recent = now - self._next < _MEMORY
        self._dropping = True
        self._count = self._last_count = dropped if dropped > 1 and recent else 1
        self._next = now + INTERVAL / self._count**0.5
        return True
