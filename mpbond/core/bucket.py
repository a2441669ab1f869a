"""A token bucket: how often something may happen."""


class TokenBucket:
    """`rate` tokens per second, at most `burst` saved up; starts full."""

    __slots__ = ("_burst", "_rate", "_time", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._time = float("-inf")

    def share(self, now: float) -> float:
        """How full the bucket is, 0 to 1."""
        if self._time != float("-inf"):
            self._tokens = min(self._burst, self._tokens + (now - self._time) * self._rate)
        self._time = now
        return self._tokens / self._burst

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        if self.share(now) * self._burst < 1.0:
            return False
        self._tokens -= 1.0
        return True
