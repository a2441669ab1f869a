"""One direction of a link: a bottleneck, a queue that drops at its tail, propagation, loss behind it."""

from dataclasses import dataclass
from random import Random


@dataclass(slots=True, kw_only=True)
class Link:
    """First in, first out. `rate` in bits per second, `delay` and `jitter` in seconds, `queue` in bytes.

    Jitter never reorders, as on a modem: a datagram leaves no earlier than the one before it. `up` False
    swallows everything.
    """

    rate: float = 8e6
    delay: float = 0.030
    queue: int = 200_000
    loss: float = 0.0
    jitter: float = 0.0
    overhead: int = 28
    up: bool = True
    busy_until: float = 0.0
    last_arrival: float = 0.0
    carried: int = 0
    dropped: int = 0

    def transmit(self, size: int, now: float, rng: Random) -> float | None:
        """Take a datagram of `size` bytes; return when it arrives, or None if it is lost."""
        start = max(now, self.busy_until)
        if not self.up or (start - now) * self.rate / 8 + size > self.queue:
            self.dropped += 1
            return None
        self.busy_until = start + (size + self.overhead) * 8 / self.rate
        if self.loss and rng.random() < self.loss:
            self.dropped += 1
            return None
        self.carried += size
        arrival = (
            self.busy_until + self.delay + (rng.random() * self.jitter if self.jitter else 0.0)
        )
        self.last_arrival = max(arrival, self.last_arrival)
        return self.last_arrival
