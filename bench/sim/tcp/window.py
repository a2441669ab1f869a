"""The window that a receiver offers, grown as the application keeps up (dynamic right-sizing, as in Linux).

The limit follows what the application has read in the last round trip: twice that, and more while it still
grows, so that the sender's slow start is never in want. Up to the limit, every full packet opens the window
by two, and is acknowledged at once to say so: this, and not only the size of the window, is what a sender
sees of it.
"""

from __future__ import annotations

MOST = 6 << 20
FIRST = 64240
FIRST_LIMIT = 80 << 10
LEAST_PACKET = 128


class Window:
    """What one receiver offers."""

    __slots__ = ("_begun", "_limit", "_read", "_space", "due", "offered", "round_trip")

    def __init__(self, mss: int) -> None:
        self.offered = FIRST
        """Bytes beyond what has come in order."""
        self.round_trip = 0.0
        """As the receiver sees it; 0 before the first sample."""
        self.due = 0.0
        """When to look again at what has been read."""
        self._limit = FIRST_LIMIT
        self._space = 10 * mss
        self._read = 0
        self._begun = 0.0

    def open(self, length: int) -> bool:
        """A packet with `length` bytes has come in order; whether the window opens for it."""
        room = self._limit - self.offered
        if room <= 0 or length < LEAST_PACKET:
            return False
        self.offered += min(room, 2 * length)
        return True

    def measure(self, received: int, sample: float, now: float) -> None:
        """Look at how much has been read since the last look; `sample` is the latest round trip."""
        self.round_trip += (sample - self.round_trip) / 8 if self.round_trip else sample
        if now - self._begun < self.round_trip:
            self.due = self._begun + self.round_trip
            return
        copied = received - self._read
        if copied > self._space:
            room = 2 * copied
            room += 2 * (room * (copied - self._space) // self._space)
            self._limit = max(self._limit, min(room, MOST))
            self._space = copied
        self._read = received
        self._begun = now
        self.due = now + self.round_trip / 8
