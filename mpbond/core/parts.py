"""Two parts of a packet that is too big for the path it must use.

Both parts carry the packet's lane and sequence and leave on one path, one after the other; the receiver
joins them before the lane sees the packet, so ordering and the detection of copies know nothing of it: of
a packet that comes in parts and whole, the lane drops what comes second. A half whose other half never
comes is pushed out by newer ones, and joined with nothing after 5 s: by then nobody sends the other any
more, and some day the lane's numbers come round again.
"""

from mpbond.core.wire import FIRST_PART, DataFrame

LIMIT = 256  # waiting halves of one session
LIFETIME = 5.0  # seconds that a half waits; what is repaired comes within less than two


def split(packet: bytes, room: int) -> tuple[bytes, bytes] | None:
    """Cut a packet in two parts of about equal length, each of at most `room` bytes; None if it cannot."""
    half = (len(packet) + 1) // 2
    if half > room:
        return None
    return packet[:half], packet[half:]


class Parts:
    """The halves of a session that wait for their other half."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, int], tuple[int, bytes, float]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, part: DataFrame, now: float) -> bytes | None:
        """Take a part; return the whole packet once both have come."""
        key = (part.lane, part.sequence)
        waiting = self._waiting.pop(key, None)
        kind = part.flags & FIRST_PART
        if waiting is None or waiting[0] == kind or now - waiting[2] > LIFETIME:
            self._waiting[key] = (kind, part.packet, now)
            if len(self._waiting) > LIMIT:
                del self._waiting[next(iter(self._waiting))]
            return None
        return part.packet + waiting[1] if kind else waiting[1] + part.packet
