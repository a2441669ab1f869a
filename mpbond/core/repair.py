"""Repair: sending again on the best path what another has lost (design 9).

A packet is repaired when the last datagram that carries it is lost, or when its path falls silent
(`rescue`: then the first may still come, and whichever does counts). A real-time packet is repaired when any
of them is lost: a copy that has not come by then may be on a path that is far behind. Nobody wants a packet
for ever: after its lifetime, or when it has been sent three times, it is called off by a FORWARD, so that the
receiver stops waiting for it (RFC 3758 does the same for SCTP). FORWARD must arrive, so it is resent until
acknowledged.

What was sent first goes first, whichever path lost it: when several fall silent at once, their packets are
parts of the same flows, and a receiver that got one path's after the other's could go on with nothing.
"""

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import count
from typing import Final

from mpbond.core.packet import REALTIME, Packet
from mpbond.core.recovery import Sent
from mpbond.core.wire import forward_frame

LIFETIME: Final = 1.0  # seconds from the first sending in which a packet is repaired
REALTIME_LIFETIME: Final = 0.1  # seconds; at least, see `realtime_lifetime`
MAXIMUM_TRIES: Final = 3
ITEMS_PER_FRAME: Final = 32

Waiting = tuple[float, int, int, Packet]
"""A packet with its place: when it left first, its sequence, and when it was wanted, as a serial number."""


class Repair:
    """The packets that wait to be sent again, the oldest first; real-time ones before others."""

    def __init__(self, require: Callable[[bytes], None]) -> None:
        self.realtime_lifetime = REALTIME_LIFETIME
        """Seconds in which a real-time packet is worth repairing: suspicion and the best RTT."""
        self.repaired = 0
        self.given_up = 0
        self._require = require
        self._urgent: list[Waiting] = []  # heaps
        self._waiting: list[Waiting] = []
        self._serials = count()
        self._called_off: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._urgent) + len(self._waiting)

    def lost(self, sent: Sent, now: float, *, tried: bool = True) -> int:
        """A datagram is lost: note what of it must be sent again; return how many packets.

        If it never left, it was not `tried`: then it does not count as one of the times.
        """
        count = 0
        for packet in sent.packets:
            if not sent.doubtful:
                packet.flights -= 1
            alone = packet.flights <= 0
            if packet.done or not (alone or (packet.kind == REALTIME and not sent.doubtful)):
                continue
            packet.tries -= not tried
            count += self._want(packet, now)
            if alone and not packet.waiting:
                self.call_off(packet)
        return count

    def rescue(self, sents: Iterable[Sent], now: float) -> int:
        """A path is silent: send elsewhere what it alone holds; return how many packets.

        What it holds may still come, so nothing is called off.
        """
        count = 0
        for sent in sents:
            if sent.doubtful:
                continue
            sent.doubtful = True
            for packet in sent.packets:
                packet.flights -= 1
                if packet.flights <= 0 and not packet.done:
                    count += self._want(packet, now)
        return count

    def next(self, now: float) -> Packet | None:
        """The packet to be sent again now; it stays until `taken`."""
        for queue in (self._urgent, self._waiting):
            while queue:
                packet = queue[0][-1]
                if not packet.done and not self._expired(packet, now):
                    return packet
                heappop(queue)
                packet.waiting = False
                if not packet.done and packet.flights <= 0:
                    self.call_off(packet)
        return None

    def taken(self) -> None:
        """What `next` returned has been put into a datagram."""
        packet = heappop(self._urgent or self._waiting)[-1]
        packet.waiting = False
        self.repaired += 1

    def call_off(self, packet: Packet) -> None:
        """Let the peer wait for a packet no longer."""
        packet.done = True
        self.given_up += 1
        self._called_off.append((packet.lane, packet.sequence))

    @property
    def untold(self) -> bool:
        """Has something been called off that the peer has not been told of?"""
        return bool(self._called_off)

    def flush(self) -> None:
        """Tell the peer what has been called off since the last time."""
        if not self._called_off:
            return
        items: list[tuple[int, int, int]] = []
        for lane, sequence in sorted(self._called_off):
            if items and items[-1][0] == lane and items[-1][1] + items[-1][2] == sequence:
                items[-1] = (lane, items[-1][1], items[-1][2] + 1)
            else:
                items.append((lane, sequence, 1))
        self._called_off.clear()
        for at in range(0, len(items), ITEMS_PER_FRAME):
            self._require(forward_frame(items[at : at + ITEMS_PER_FRAME]))

    def _want(self, packet: Packet, now: float) -> int:
        if packet.waiting or packet.tries >= MAXIMUM_TRIES or self._expired(packet, now):
            return 0
        packet.waiting = True
        queue = self._urgent if packet.kind == REALTIME else self._waiting
        heappush(queue, (packet.sent, packet.sequence, next(self._serials), packet))
        return 1

    def _expired(self, packet: Packet, now: float) -> bool:
        lifetime = self.realtime_lifetime if packet.kind == REALTIME else LIFETIME
        return now - packet.sent > lifetime
