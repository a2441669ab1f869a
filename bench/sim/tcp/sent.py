"""A packet on its way, and what is believed of it.

The marks are Linux's: SACKED; LOST, taken for lost; RETRANSMITTED, its retransmission is believed to be
under way; EVER, it has been retransmitted at some time. A packet that is LOST and not RETRANSMITTED waits to
be sent again.
"""

from __future__ import annotations

from bench.sim.tcp.sample import Snapshot

SACKED, LOST, RETRANSMITTED, EVER = 1, 2, 4, 8


class Sent:
    """A packet on its way."""

    __slots__ = ("end", "marks", "sent_at", "snapshot", "start")

    def __init__(self, start: int, end: int, sent_at: float, snapshot: Snapshot) -> None:
        self.start = start
        self.end = end
        self.sent_at = sent_at
        """When it was last sent."""
        self.snapshot: Snapshot | None = snapshot
        """None once it has been used."""
        self.marks = 0

    def outstanding(self, sent_at: float) -> bool:
        """Whether the packet, as it was sent at that time, may still arrive for all one knows."""
        marks = self.marks
        if self.sent_at != sent_at or marks & SACKED:
            return False
        return not marks & LOST or bool(marks & RETRANSMITTED)
