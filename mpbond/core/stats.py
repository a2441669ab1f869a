"""Plain counters: what was dropped and why, what order cost, how fast bytes go.

A drop reason is a short word that stands alike in the code, in `mpbond status --json` and in
docs/operations.md. Counting never allocates more than one integer per reason: reasons are named by the
code, never by what came from the network.
"""

from collections import Counter
from typing import Any

HOLD_BOUNDS = (0.001, 0.002, 0.005, 0.010, 0.020, 0.050, 0.100, 0.200, 0.500)  # seconds

Drops = Counter[str]


class OrderStats:
    """What the receiver's ordering did: packet counts, and a histogram of seconds held."""

    def __init__(self) -> None:
        self.held = 0
        self.late = 0
        self.duplicate = 0
        self.skipped = 0
        self.overflow = 0
        self.restarted = 0
        self._histogram = [0] * (len(HOLD_BOUNDS) + 1)

    def note_hold(self, seconds: float, count: int = 1) -> None:
        """Count packets that were held for `seconds`."""
        at = 0
        for bound in HOLD_BOUNDS:
            if seconds <= bound:
                break
            at += 1
        self._histogram[at] += count

    def as_dict(self) -> dict[str, Any]:
        """Return the counters as `status` shows them; the last histogram bucket is above all bounds."""
        return {
            "held": self.held,
            "late": self.late,
            "duplicate": self.duplicate,
            "skipped": self.skipped,
            "overflow": self.overflow,
            "restarted": self.restarted,
            "hold_seconds": {"le": list(HOLD_BOUNDS), "count": list(self._histogram)},
        }


class Meter:
    """Datagrams or packets and their bytes, with a rate over about the last second."""

    __slots__ = ("_mark_bytes", "_mark_time", "_rate", "bytes", "count")

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0
        self._mark_bytes = 0
        self._mark_time: float | None = None
        self._rate = 0.0

    def add(self, size: int, count: int = 1) -> None:
        """Count things of `size` bytes together."""
        self.count += count
        self.bytes += size

    @property
    def last(self) -> float:
        """What `rate` returned last."""
        return self._rate

    def rate(self, now: float) -> float:
        """Return bits per second since the call before the last, which was at least 1 s ago.

        Call it regularly (the session does, once a second); in between it answers with what it knew.
        """
        if self._mark_time is None:
            self._mark_time, self._mark_bytes = now, self.bytes
        elapsed = now - self._mark_time
        if elapsed >= 1.0:
            self._rate = (self.bytes - self._mark_bytes) * 8 / elapsed
            self._mark_time, self._mark_bytes = now, self.bytes
        return self._rate


class LossMeter:
    """The share of datagrams lost, over about the last ten seconds."""

    __slots__ = ("_acked", "_last", "_lost", "_time")

    def __init__(self) -> None:
        self._acked = 0.0
        self._lost = 0.0
        self._last = (0, 0)
        self._time: float | None = None

    def fraction(self, acked: int, lost: int, now: float) -> float:
        """Return lost / (lost + acked) from ever-growing counters, older seconds weighing less."""
        if self._time is None:
            self._time = now
        elapsed = now - self._time
        if elapsed >= 1.0:
            keep = 0.5 ** (elapsed / 5.0)
            self._acked = self._acked * keep + acked - self._last[0]
            self._lost = max(0.0, self._lost * keep + lost - self._last[1])
            self._last = (acked, lost)
            self._time = now
        total = self._acked + self._lost
        return self._lost / total if total > 0 else 0.0
