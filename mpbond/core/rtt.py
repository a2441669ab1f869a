"""Round-trip time and relative one-way delay of a path.

`RttEstimator` is RFC 6298/RFC 9002 section 5: smoothed RTT and its mean deviation, with the peer's own
delay taken off. `OneWayDelay` compares the receiver's clock with ours: receive time minus send time has
an unknown constant offset, which cancels against the smallest value of the last 10 s, so what remains
is the path's queueing delay in that direction, undisturbed by the return path.
"""

from mpbond.core.minimum import WindowedMinimum

INITIAL_RTT = 0.333  # seconds, RFC 9002, 6.2.2
SETTLED_AFTER = 8  # samples; the first guess of the variation has faded to a tenth by then
MINIMUM_WINDOW = 10.0  # seconds; Starlink moves every 15 s and clocks drift


class RttEstimator:
    """Smoothed RTT in seconds; before the first sample `smoothed` is INITIAL_RTT."""

    __slots__ = ("_minimum", "latest", "samples", "smoothed", "variation")

    def __init__(self) -> None:
        self.samples = 0
        self.latest = INITIAL_RTT
        self.smoothed = INITIAL_RTT
        self.variation = INITIAL_RTT / 2
        self._minimum = WindowedMinimum(MINIMUM_WINDOW)

    @property
    def has_sample(self) -> bool:
        """Has anything been measured yet?"""
        return self.samples > 0

    @property
    def longest(self) -> float:
        """The longest round trip to expect: four deviations above the mean.

        The first samples' deviation is a guess of half the RTT; until it has faded, half as much again
        as the mean must do.
        """
        if self.samples < SETTLED_AFTER:
            return 1.5 * self.smoothed
        return self.smoothed + 4 * self.variation

    @property
    def minimum(self) -> float:
        """The smallest sample of the last 10 s, or `smoothed` without one."""
        value = self._minimum.value
        return self.smoothed if value is None else value

    def update(self, sample: float, now: float) -> None:
        """Take one RTT sample (seconds, the peer's delay already taken off)."""
        sample = max(sample, 1e-6)
        self.latest = sample
        self._minimum.update(sample, now)
        self.samples += 1
        if self.samples == 1:
            self.smoothed = sample
            self.variation = sample / 2
            return
        self.variation += (abs(self.smoothed - sample) - self.variation) / 4
        self.smoothed += (sample - self.smoothed) / 8


class OneWayDelay:
    """Queueing delay (seconds) of one direction, from the peer's receive times."""

    __slots__ = ("_epoch", "_minimum", "latest")

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._minimum = WindowedMinimum(MINIMUM_WINDOW)
        self.latest = 0.0

    @property
    def queueing(self) -> float:
        """Seconds by which the latest one-way delay exceeds the smallest of the last 10 s."""
        value = self._minimum.value
        return 0.0 if value is None else max(0.0, self.latest - value)

    def update(self, sent: float, received: int, now: float) -> None:
        """Take a datagram's send time (our seconds) and receive time (their µs, modulo 2**32)."""
        difference = (received - round(sent * 1e6)) & 0xFFFFFFFF
        if self._epoch is None:
            self._epoch = difference
        relative = (difference - self._epoch) & 0xFFFFFFFF
        if relative >= 1 << 31:
            relative -= 1 << 32
        self.latest = relative / 1e6
        self._minimum.update(self.latest, now)
