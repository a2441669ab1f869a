"""How fast a path delivers, from the points that ACKs give of the curve of what has arrived.

An ACK says that all it newly acknowledges had arrived by the receive time of its largest datagram: a
point (receiver's time, bytes) of the path's arrival curve, which a congested return path cannot shift.
The slope between two points is a sample of the delivery rate. A sample is limited when the application
left a gap between the datagrams of its two ends, and saturated when all through it a queue stood: then
it is the path's capacity, whatever the application did.
"""

from collections import deque
from typing import NamedTuple

LEAST = 3000  # bytes; the slope over fewer says more about when they were sent
LATE = 60.0  # seconds; a receiver's clock that falls back further has begun anew
WRAP = 1 << 32


class Sample(NamedTuple):
    """A delivery rate in bytes/s, what it is worth, and how long it was measured (seconds)."""

    rate: float
    limited: bool
    saturated: bool
    span: float


class Delivery:
    """The arrival curve of a path and its slopes."""

    __slots__ = ("_low", "_origin", "_points", "total")

    def __init__(self) -> None:
        self.total = 0  # bytes
        self._points: deque[tuple[float, int, int]] = deque()  # (time, bytes, pauses)
        self._origin: int | None = None
        self._low = 0.0  # the receiver's time when no queue stood

    def point(self, received: int, pauses: int, queued: bool, span: float) -> Sample | None:
        """Take a point (`received`: µs mod 2**32) and return the slope over at least `span` seconds.

        `pauses` counts the gaps the application left before its datagram; `queued`: it found a queue.
        """
        if self._origin is None:
            self._origin = received
        time = ((received - self._origin) % WRAP) / 1e6
        points = self._points
        if points and time <= points[-1][0]:
            if points[-1][0] - time < LATE:
                return None
            self.clear()  # the clock has wrapped
        if not queued or not points:
            self._low = time
        points.append((time, self.total, pauses))
        while (
            len(points) > 2 and time - points[1][0] >= span and self.total - points[1][1] >= LEAST
        ):
            points.popleft()
        start, total, before = points[0]
        if time - start < span or self.total - total < LEAST:
            return None
        rate = (self.total - total) / (time - start)
        return Sample(rate, before != pauses, self._low <= start, time - start)

    def clear(self) -> None:
        """Begin a new curve."""
        self._points.clear()
