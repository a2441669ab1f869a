"""The minimum of a stream of samples over a sliding window of time, in constant space.

Three candidates (best, second, third), each the smallest since the one before it was taken: Kathleen
Nichols' windowed filter, as in Linux lib/minmax.c and BBR.
"""


class WindowedMinimum:
    """The smallest sample of about the last `window` seconds; `value` is None before the first."""

    __slots__ = ("_candidates", "window")

    def __init__(self, window: float) -> None:
        self.window = window
        self._candidates: list[tuple[float, float]] = []

    @property
    def value(self) -> float | None:
        """The minimum, or None without a sample."""
        return self._candidates[0][1] if self._candidates else None

    def update(self, sample: float, now: float) -> None:
        """Take a sample; a minimum older than the window gives way to the next best."""
        best = self._candidates
        new = (now, sample)
        if not best or sample <= best[0][1] or now - best[2][0] > self.window:
            self._candidates = [new, new, new]
            return
        if sample <= best[1][1]:
            best[1] = best[2] = new
        elif sample <= best[2][1]:
            best[2] = new
        age = now - best[0][0]
        if age > self.window:
            self._candidates = best = [best[1], best[2], new]
            if now - best[0][0] > self.window:
                self._candidates = [best[1], best[2], new]
        elif best[1][0] == best[0][0] and age > self.window / 4:
            best[1] = best[2] = new
        elif best[2][0] == best[1][0] and age > self.window / 2:
            best[2] = new
