"""Bottlenecks: when the last byte of a packet has passed, in integer nanoseconds.

Each kind answers two questions. `serve(place, now, size)` returns the new place and the time at which
a packet that arrives at `now` behind everything up to `place` has passed. What a place is, is the
bottleneck's own affair: the time at which a steady one is free again, or the byte of a recording that
is used up. Whoever asks keeps the place, and may drop the packet by not taking over the new one.
`capacity(start, end)` returns the bytes it could have carried between two times.

The arithmetic is exact and without floats, because the emulator's C program must do the same.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Protocol

from bench.links.draws import threshold
from bench.links.shape import OPPORTUNITY, Constant, Profile, Rate, Trace

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
BITS = 8 * SECOND
NEVER = 1 << 62


def nanoseconds(seconds: float) -> int:
    """Seconds as a whole number of nanoseconds."""
    return round(seconds * SECOND)


class Bottleneck(Protocol):
    """What the kinds of bottleneck have in common."""

    def serve(self, place: int, now: int, size: int) -> tuple[int, int]:
        """Return the place behind a packet of `size` bytes, and when it has passed."""

    def capacity(self, start: int, end: int) -> int:
        """Return how many bytes fit between two times."""

    def at(self, time: int) -> tuple[int, int]:
        """Return the delay (ns) and the loss (of 2^53) that come on top at a time."""


class Steady:
    """One rate for ever."""

    def __init__(self, rate: int) -> None:
        self.rate = rate

    def serve(self, place: int, now: int, size: int) -> tuple[int, int]:
        """A place is the time at which the bottleneck is free."""
        start = now if now > place else place
        finish = start + -(-size * BITS // self.rate)
        return finish, finish

    def capacity(self, start: int, end: int) -> int:
        """Rate times time."""
        return max(0, end - start) * self.rate // BITS

    def at(self, time: int) -> tuple[int, int]:
        """Nothing comes on top."""
        return 0, 0


class Stepped:
    """A rate that follows steps; what is half sent when one begins goes on at its rate."""

    def __init__(self, profile: Profile) -> None:
        self.offset = nanoseconds(profile.offset)
        self.period = nanoseconds(profile.period) if profile.period is not None else None
        self.times = [nanoseconds(step.time) for step in profile.steps]
        self.rates = [round(step.rate) for step in profile.steps]
        self._on_top = [(nanoseconds(step.delay), threshold(step.loss)) for step in profile.steps]
        self.delays = [delay for delay, _ in self._on_top]
        self.losses = [loss for _, loss in self._on_top]

    def _locate(self, time: int) -> tuple[int, int]:
        """Return the number of the step at a time, and when it ends."""
        time += self.offset
        base = 0
        if self.period is not None:
            base = time - time % self.period
        number = bisect_right(self.times, time - base) - 1
        if number + 1 < len(self.times):
            end = base + self.times[number + 1]
        else:
            end = NEVER if self.period is None else base + self.period
        return number, end - self.offset

    def serve(self, place: int, now: int, size: int) -> tuple[int, int]:
        """A place is the time at which the bottleneck is free."""
        time = now if now > place else place
        need = size * BITS
        while True:
            number, end = self._locate(time)
            rate = self.rates[number]
            if rate:
                possible = (end - time) * rate
                if possible >= need:
                    finish = time + -(-need // rate)
                    return finish, finish
                need -= possible
            time = end

    def capacity(self, start: int, end: int) -> int:
        """The sum over the steps."""
        bits = 0
        while start < end:
            number, until = self._locate(start)
            until = min(until, end)
            bits += (until - start) * self.rates[number]
            start = until
        return bits // BITS

    def at(self, time: int) -> tuple[int, int]:
        """What the step at that time adds."""
        return self._on_top[self._locate(time)[0]]


class Recorded:
    """Delivery opportunities of a trace: bytes pass in lumps at its times, unused ones are gone."""

    def __init__(self, trace: Trace) -> None:
        self.times = trace.times
        self.lump = max(1, round(OPPORTUNITY * trace.scale))
        self.period = self.times[-1] * MILLISECOND
        self.offset = nanoseconds(trace.offset) % self.period
        self._first = bisect_left(self.times, -(-self.offset // MILLISECOND))

    def _time(self, number: int) -> int:
        """When an opportunity comes, counted from the first one at or after time 0."""
        rounds, number = divmod(number + self._first, len(self.times))
        return rounds * self.period + self.times[number] * MILLISECOND - self.offset

    def _number(self, time: int) -> int:
        """The first opportunity at or after a time."""
        time += self.offset
        if time <= 0:
            return 0
        rounds, rest = divmod(time - 1, self.period)  # the last opportunity is at the period
        number = bisect_left(self.times, rest // MILLISECOND + 1)
        return rounds * len(self.times) + number - self._first

    def serve(self, place: int, now: int, size: int) -> tuple[int, int]:
        """A place is the number of bytes used or gone since time 0."""
        start = self._number(now) * self.lump
        place = max(place, start) + size
        return place, self._time((place - 1) // self.lump)

    def capacity(self, start: int, end: int) -> int:
        """The opportunities from `start` until before `end`."""
        if end <= start:
            return 0
        return (self._number(end) - self._number(start)) * self.lump

    def at(self, time: int) -> tuple[int, int]:
        """Nothing comes on top."""
        return 0, 0


def bottleneck(rate: Rate) -> Bottleneck:
    """Make the bottleneck that a shape names."""
    if isinstance(rate, Constant):
        return Steady(round(rate.rate))
    if isinstance(rate, Profile):
        return Stepped(rate)
    return Recorded(rate)
