"""A token bucket: how often something may happen."""


class TokenBucket:
    """`rate` tokens per second, at most `burst` saved up; starts full."""

    __slots__ = ("_burst", "_time", "_tokens", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self._burst = burst
        self._tokens = burst
        self._time = float("-inf")

    def share(self, now: float) -> float:
        """How full the bucket is, 0 to 1."""
        if self._time != float("-inf"):
            self._tokens = min(self._burst, self._tokens + (now - self._time) * self.rate)
        self._time = now
        return self._tokens / self._burst

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take so many tokens if they are there."""
        if self.share(now) * self._burst < amount:
            return False
        self._tokens -= amount
        return True
