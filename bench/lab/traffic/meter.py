"""What a receiver notes of the bytes and packets that come in, as pure arithmetic on given times.

Times are seconds on any one clock. A `Meter` counts bytes within a window and nothing outside of it;
its timeline has one sum per 100 ms from the beginning of the window.
"""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING, TypedDict

from bench.lab.emulator import LATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STEP = 0.1
"""Seconds of one sum of a timeline."""


class Tardiness(TypedDict):
    """How late timers fired, in seconds; `share` is that of those more than 2 ms late."""

    count: int
    p50: float
    p99: float
    max: float
    share: float


class Meter:
    """Bytes that came within the window from `start` to `end`."""

    def __init__(self, start: float, end: float) -> None:
        self.start = start
        self.end = end
        self.bytes = 0
        self.timeline = [0] * math.ceil((end - start) / STEP - 1e-6)
        self.first: float | None = None
        self._last = start
        self._stall = 0.0

    def add(self, time: float, count: int) -> bool:
        """Count bytes that came at a time; False, and nothing counted, outside of the window."""
        if not self.start <= time < self.end:
            return False
        self.bytes += count
        # the last sum takes what rounding would put behind it
        self.timeline[min(int((time - self.start) / STEP), len(self.timeline) - 1)] += count
        if self.first is None:
            self.first = time
        elif time - self._last > self._stall:
            self._stall = time - self._last
        self._last = time
        return True

    @property
    def longest_stall(self) -> float:
        """The longest time without a new byte between the first one and the end of the window.

        The whole window when nothing came at all.
        """
        if self.first is None:
            return self.end - self.start
        return max(self._stall, self.end - self._last)


def tardiness(late: Sequence[float]) -> Tardiness:
    """Summarise by how many seconds timers fired late."""
    ordered = sorted(late)
    if not ordered:
        return Tardiness(count=0, p50=0.0, p99=0.0, max=0.0, share=0.0)
    over = sum(each > LATE for each in ordered)
    return Tardiness(
        count=len(ordered),
        p50=_quantile(ordered, 0.50),
        p99=_quantile(ordered, 0.99),
        max=ordered[-1],
        share=over / len(ordered),
    )


def worst(several: Sequence[Tardiness]) -> Tardiness:
    """Return the largest of each figure; the count is of all together."""
    return Tardiness(
        count=sum(each["count"] for each in several),
        p50=max((each["p50"] for each in several), default=0.0),
        p99=max((each["p99"] for each in several), default=0.0),
        max=max((each["max"] for each in several), default=0.0),
        share=max((each["share"] for each in several), default=0.0),
    )


class Numbers:
    """Which numbered packets of a stream have come: losses, duplicates, reordering (RFC 4737).

    A packet is reordered when one with a larger number came before it.
    """

    def __init__(self, sent: int) -> None:
        """Expects the numbers from 0 to `sent` - 1; others are not counted."""
        self._seen = bytearray(sent)
        self._next = 0
        self.received = 0
        self.duplicates = 0
        self.reordered = 0

    def add(self, number: int) -> bool:
        """Count a packet; True when it came for the first time."""
        if not 0 <= number < len(self._seen):
            return False
        if self._seen[number]:
            self.duplicates += 1
            return False
        self._seen[number] = 1
        self.received += 1
        if number >= self._next:
            self._next = number + 1
        else:
            self.reordered += 1
        return True

    @property
    def lost(self) -> int:
        """How many have not come."""
        return len(self._seen) - self.received


Packet = tuple[int, float, float]
"""Number, time it was sent, time it came."""


def delays(sent: int, packets: Iterable[Packet]) -> list[float | None]:
    """Return the delay of every packet by number; None for one that did not come."""
    found: list[float | None] = [None] * sent
    for number, left, came in packets:
        if 0 <= number < sent and found[number] is None:
            found[number] = came - left
    return found


def round_trips(
    there: list[float | None],
    there_sent: Sequence[float],
    back: list[float | None],
    back_sent: Sequence[float],
) -> list[float | None]:
    """Return the round trip of every packet sent there: its delay and that of its answer.

    The answer is the first packet that the far side sends after it came; how long the far side's own
    rhythm makes it wait does not count. None when either was lost, or none was sent any more.
    """
    found: list[float | None] = []
    for delay, sent in zip(there, there_sent, strict=True):
        answer = None
        if delay is not None:
            at = bisect.bisect_left(back_sent, sent + delay)
            answer = back[at] if at < len(back) else None
        found.append(None if delay is None or answer is None else delay + answer)
    return found


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
