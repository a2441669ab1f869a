"""The SYN of one end: sent, and sent again until the other end answers (RFC 6298, section 5.7)."""

from __future__ import annotations

from bench.sim.tcp.flow import NEVER, ticks
from bench.sim.tcp.receiver import SCALE
from bench.sim.tcp.segment import Builder, Handshake

TIMEOUT = 1.0
TRIES = 7


class Opening:
    """Sends SYNs, or SYN-ACKs, with doubling timeouts."""

    def __init__(self, builder: Builder, sequence: int, mss: int) -> None:
        self._builder = builder
        self._sequence = sequence
        self._mss = mss
        self._first_sent = 0.0
        self._tries = 0
        self.flags = 0
        self.at = NEVER
        """When the next one is due; never when none is."""

    @property
    def hopeless(self) -> bool:
        """Whether enough have been sent."""
        return self._tries >= TRIES

    def send(self, now: float, acknowledged: int = 0, echo: int = 0) -> bytes:
        """The next SYN; a SYN-ACK acknowledges and returns a timestamp."""
        if not self._tries:
            self._first_sent = now
        self.at = now + TIMEOUT * 2**self._tries
        self._tries += 1
        options = Handshake(self._mss, SCALE)
        return self._builder.handshake(
            self._sequence, acknowledged, self.flags, ticks(now), echo, options
        )

    def end(self, now: float) -> float | None:
        """It has been answered; returns the round trip unless that is ambiguous."""
        self.at = NEVER
        return now - self._first_sent if self._tries == 1 else None
