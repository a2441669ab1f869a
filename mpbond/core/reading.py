"""When a datagram counts as received: when it arrived, or later by what waits in front of the reader.

The kernel says when a datagram arrived. It is read later, and for one of two reasons. The reader may have
been kept from running, for some milliseconds and once: that says nothing of the path, and must not look
like its queue. Or the reader is slower than what comes: then it is the bottleneck of the path, and its
socket's buffer is the queue in front of that, which the sender has to see like any other.

The two are told apart as CoDel tells a burst from a standing queue (RFC 8289, 3.1): what every datagram of
the last few milliseconds has waited stands there. A reader that was kept off reads what has come meanwhile
at one go, and the last of it is fresh; one that is too slow never comes to a fresh one.

So a datagram is dated by its arrival and the wait that stands. No date lies after the reading, and none
before the one of a datagram that was read before.
"""

SPAN = 0.005  # seconds for which all have waited what stands; up to twice that


class ReadingDelay:
    """How late the datagrams of one socket are read. `standing`: seconds that all have waited lately."""

    __slots__ = ("_before", "_began", "_least", "standing")

    def __init__(self) -> None:
        self.standing = 0.0
        self._began = float("-inf")
        self._least = 0.0  # the shortest wait since then,
        self._before = 0.0  # and in the span before

    def date(self, arrival: float, now: float) -> float:
        """Return when a datagram that is read now counts as received (seconds of one clock).

        An `arrival` in the future counts as one now.
        """
        late = max(0.0, now - arrival)
        if now - self._began >= SPAN:
            self._before = self._least
            self._least = late
            self._began = now
        elif late < self._least:
            self._least = late
        self.standing = min(self._least, self._before)
        return now - (late - self.standing)
