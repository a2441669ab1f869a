"""The send queue of a session: packets wait here, not in a modem, until they are bound to a path.

For now a bounded first-in first-out queue that refuses what does not fit; it stands where managed
queueing (RFC 8290) will, and a path is chosen only when a packet leaves it.
"""

from collections import deque
from collections.abc import Iterable

LIMIT = 1 << 20  # bytes


class SendQueue:
    """Packets that wait for a path."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.bytes = 0
        self._limit = limit
        self._packets: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._packets)

    def extend(self, packets: Iterable[bytes]) -> int:
        """Append packets; return how many did not fit."""
        refused = 0
        for packet in packets:
            if self.bytes + len(packet) > self._limit:
                refused += 1
                continue
            self._packets.append(packet)
            self.bytes += len(packet)
        return refused

    def clear(self) -> None:
        """Drop everything."""
        self._packets.clear()
        self.bytes = 0

    def pop(self) -> bytes:
        """Take the next packet; IndexError when empty."""
        packet = self._packets.popleft()
        self.bytes -= len(packet)
        return packet
