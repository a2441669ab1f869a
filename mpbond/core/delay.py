"""Queueing delay of one direction of a path, by the clocks of both ends.

Receive time minus send time has an unknown constant offset, which cancels against the smallest value of
the last 10 s: what remains is queue, undisturbed by the return path. A datagram's own serialisation is
taken off (1,500 bytes take 24 ms at 500 kbit/s), so that large and small ones can be compared. For the
minimum, raw delays are kept by size and valued by the highest rate of the same 10 s: a rate that was not
yet, or no longer, right when a sample came does not spoil the minimum for long.
"""

SPAN = 10  # seconds, one bucket each; Starlink moves every 15 s and clocks drift
WRAP = 1 << 32
NEVER = float("inf")


class _Bucket:
    """The smallest raw delays of a second, of large and of small datagrams, and its highest rate."""

    __slots__ = ("large", "large_size", "small", "small_size", "top")

    def __init__(self) -> None:
        self.large = self.small = NEVER
        self.large_size = self.small_size = 0
        self.top = 0.0

    def take(self, raw: float, size: int, large: bool) -> bool:
        """Note a raw delay; True when it is the smallest."""
        if large:
            if raw >= self.large:
                return False
            self.large, self.large_size = raw, size
        else:
            if raw >= self.small:
                return False
            self.small, self.small_size = raw, size
        return True

    def value(self, top: float) -> float:
        """The smallest delay without serialisation at a rate (bytes/s)."""
        if not top:
            return min(self.large, self.small)
        return min(self.large - self.large_size / top, self.small - self.small_size / top)


class QueueingDelay:
    """Seconds by which datagrams are late; `base` (s) contains the unknown offset of the clocks."""

    __slots__ = ("_buckets", "_fresh", "_large", "_second", "_top", "base", "latest", "queueing")

    def __init__(self, size: int) -> None:
        """`size`: bytes of a full datagram."""
        self.base = 0.0
        self.latest = 0.0
        self.queueing = 0.0
        self._large = size // 2
        self._buckets: list[_Bucket] = []  # newest first, at most SPAN + 1
        self._fresh: _Bucket | None = None  # since `watch`
        self._second = 0
        self._top = 0.0

    def update(self, sent: float, received: int, size: int, rate: float, now: float) -> float:
        """Take a datagram's send time (our s) and receive time (their µs mod 2**32); return the queue.

        `rate` is what the path drains now (bytes/s), 0.0 if unknown.
        """
        raw = ((received - round(sent * 1e6) + (WRAP >> 1)) % WRAP - (WRAP >> 1)) / 1e6
        second = int(now)
        stale = not self._buckets
        if stale or second != self._second:
            gone = SPAN if stale else min(second - self._second, SPAN)
            self._buckets[:0] = [_Bucket() for _ in range(max(1, gone))]
            del self._buckets[SPAN + 1 :]
            self._second = second
            stale = True
        bucket = self._buckets[0]
        if rate > bucket.top:
            bucket.top = rate
            stale = stale or rate > 1.02 * self._top
        large = size > self._large
        if bucket.take(raw, size, large):
            stale = True
        if self._fresh is not None:
            self._fresh.take(raw, size, large)
        if stale:
            self._top = top = max(bucket.top for bucket in self._buckets)
            self.base = min(bucket.value(top) for bucket in self._buckets)
        self.latest = raw - size / rate if rate else raw
        self.queueing = max(0.0, self.latest - self.base)
        return self.queueing

    def watch(self) -> None:
        """Begin to watch what is smallest from now on."""
        self._fresh = _Bucket()

    def fresh(self) -> float:
        """The smallest delay since `watch`, above the base, in seconds."""
        return self._fresh.value(self._top) - self.base if self._fresh is not None else NEVER

    def rebase(self) -> None:
        """The propagation delay is another: believe only what came since `watch`."""
        if self._fresh is not None and self._fresh.value(0.0) < NEVER:
            self._fresh.top = self._top
            self._buckets = [self._fresh]
            self.base = self._fresh.value(self._top)
        self._fresh = None
