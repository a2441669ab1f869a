"""The maximum of recent samples, kept by three of them (Kathleen Nichols; Linux's lib/win_minmax.c).

The best sample, the best since it, and the best since that: when the first leaves the window, the second
takes its place. Samples and memory are constant; the price is that a maximum can be slightly low.
"""

from __future__ import annotations


class Maximum:
    """The largest value of the last `window` units of time."""

    __slots__ = ("_samples", "_window")

    def __init__(self, window: int) -> None:
        self._window = window
        self._samples = [(0, 0.0)] * 3

    @property
    def value(self) -> float:
        """The maximum; 0 before the first sample."""
        return self._samples[0][1]

    def add(self, time: int, value: float) -> None:
        """Take a sample; times never fall."""
        samples = self._samples
        new = (time, value)
        if value >= samples[0][1] or time - samples[2][0] > self._window:
            self._samples = [new] * 3
            return
        if value >= samples[1][1]:
            samples[1] = samples[2] = new
        elif value >= samples[2][1]:
            samples[2] = new
        age = time - samples[0][0]
        if age > self._window:
            samples[:] = [samples[1], samples[2], new]
            if time - samples[0][0] > self._window:
                samples[:] = [samples[1], samples[2], new]
        elif samples[1][0] == samples[0][0] and age > self._window // 4:
            samples[1] = samples[2] = new
        elif samples[2][0] == samples[1][0] and age > self._window // 2:
            samples[2] = new
