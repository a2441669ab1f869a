"""Frames what one end sends: fills in what its receiving half has to say, and congestion marks (RFC 3168).

Every packet carries the acknowledgement, the window and the timestamps of its moment. With ECN, data is sent
as capable of being marked; a mark seen is echoed until the other end says that it has reduced its window.
"""

from __future__ import annotations

from bench.sim.tcp.flow import ticks
from bench.sim.tcp.receiver import SCALE, Receiver
from bench.sim.tcp.segment import ACK, CWR, ECE, ECT, Builder, congested


class Framer:
    """Makes the packets of an end whose other end is known."""

    __slots__ = ("_builder", "_echo", "_ecn", "_receiver", "now", "reduced")

    def __init__(self, builder: Builder, receiver: Receiver, ecn: bool) -> None:
        self._builder = builder
        self._receiver = receiver
        self._ecn = ecn
        self._echo = 0
        self.now = 0.0
        self.reduced = False
        """Whether the next data must say that the window has been reduced."""

    def see(self, packet: bytes, flags: int) -> None:
        """Look at the marks of a packet with data."""
        if flags & CWR:
            self._echo = 0
        if congested(packet):
            self._echo = ECE

    def data(self, start: int, length: int, flags: int) -> bytes:
        """A packet with `length` bytes of payload from number `start` on."""
        receiver = self._receiver
        tos = 0
        if self._ecn:
            tos = ECT
            flags |= self._echo
            if self.reduced:
                self.reduced = False
                flags |= CWR
        return self._builder.data(
            start,
            receiver.next,
            flags,
            receiver.window.offered >> SCALE,
            ticks(self.now),
            receiver.recent,
            length,
            tos,
        )

    def acknowledgement(self, sequence: int) -> bytes:
        """A packet that acknowledges, at number `sequence`; its receiver has been told."""
        receiver = self._receiver
        receiver.acknowledged()
        head = (
            sequence,
            receiver.next,
            ACK | self._echo,
            receiver.window.offered >> SCALE,
            ticks(self.now),
            receiver.recent,
        )
        if receiver.selective:
            return self._builder.selective(*head, receiver.blocks())
        return self._builder.data(*head, 0)
