"""Keeping a flood of handshake messages out of the process (design 4 asks for cookies; this comes before).

Even a message refused by its first mac costs a read and a few microseconds, and 100,000 a second would
take a core. So when more come than a server could ever want, the kernel is told to let only a random
share through, aimed at `TARGET` a second; datagrams of sessions are not touched. A legitimate client
sends its message on every link and repeats it, so it still gets in, only later.
"""

TARGET = 1000.0  # handshake messages a second that are looked at during a flood
BEGIN = 2000.0  # messages a second that make a flood
END = 500.0  # messages a second, as sent, that end it
SMALLEST_SHARE = 0.001


class FloodGuard:
    """Decides the share of handshake messages to admit; `share` is None while all are."""

    def __init__(self) -> None:
        self.share: float | None = None
        self._time: float | None = None
        self._seen = 0

    def update(self, seen: int, now: float) -> bool:
        """Take the number of messages looked at so far; True when `share` has changed.

        Call it a few times a second.
        """
        if self._time is None or now <= self._time:
            self._time, self._seen = now, seen
            return False
        rate = (seen - self._seen) / (now - self._time) / (self.share or 1.0)
        self._time, self._seen = now, seen
        before = self.share
        if self.share is None:
            self.share = self._share_of(rate) if rate > BEGIN else None
        elif rate < END:
            self.share = None
        elif not 0.5 < rate * self.share / TARGET < 2.0:
            self.share = self._share_of(rate)
        return self.share != before

    def _share_of(self, rate: float) -> float:
        return min(1.0, max(SMALLEST_SHARE, TARGET / rate))
