"""Round-trip time of a path, as in RFC 6298 and RFC 9002, section 5.

`RttEstimator` keeps the smoothed RTT and its mean deviation, with the peer's own delay taken off. It
depends on the return path an ACK took; queueing in our own direction is `core.delay`'s matter.
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
