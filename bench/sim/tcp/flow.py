"""The numbers of one sender that all its parts look at.

Names and meanings follow Linux's `struct tcp_sock`, because the parts transcribe what Linux does with
them: sequence numbers count bytes and never wrap here, the window `cwnd` counts packets, and at any time

    in flight = packets out - sacked - lost + retransmitted

Times are seconds.
"""

from __future__ import annotations

OPEN, DISORDER, CWR, RECOVERY, LOSS = range(5)
"""States of congestion avoidance: nothing amiss; something out of order; the window is being reduced
(CWR), also to recover from loss (RECOVERY); a retransmission timeout has fired (LOSS)."""

STATES = ("open", "disorder", "cwr", "recovery", "loss")

INITIAL_WINDOW = 10
INFINITE = 1 << 30
NEVER = float("inf")


def ticks(time: float) -> int:
    """A time as the timestamps of segments tell it: in ms, and never 0."""
    return int(time * 1000) + 1000


class Flow:
    """State shared by the parts of a sender."""

    __slots__ = (
        "app_limited",
        "cwnd",
        "cwnd_count",
        "cwnd_limited",
        "delivered",
        "delivered_at",
        "first_sent_at",
        "high",
        "lost",
        "lost_out",
        "max_packets_out",
        "max_packets_until",
        "min_rtt",
        "mss",
        "now",
        "nxt",
        "paced_until",
        "pacing_rate",
        "packets_out",
        "retransmits",
        "retransmitted_out",
        "sacked_out",
        "srtt",
        "ssthresh",
        "state",
        "una",
    )

    def __init__(self, mss: int, sequence: int) -> None:
        self.now = 0.0
        self.mss = mss
        """Bytes of payload in a full segment."""
        self.una = sequence
        """The first byte that is not acknowledged."""
        self.nxt = sequence
        """The first byte that has not been sent."""
        self.state = OPEN
        self.high = sequence
        """`nxt` when the present state was entered: once acknowledged, it ends."""
        self.cwnd = INITIAL_WINDOW
        self.cwnd_count = 0
        """Packets acknowledged towards the next increase of the window."""
        self.ssthresh = INFINITE
        self.packets_out = 0
        self.sacked_out = 0
        self.lost_out = 0
        self.retransmitted_out = 0
        self.delivered = 0
        """Packets that have ever arrived, spurious retransmissions too."""
        self.delivered_at = 0.0
        self.first_sent_at = 0.0
        """When the packet was sent that was delivered last."""
        self.lost = 0
        """Packets that were ever taken for lost."""
        self.app_limited = 0
        """`delivered` at which a time without enough to send has passed; 0 when there is none."""
        self.cwnd_limited = False
        self.max_packets_out = 0
        self.max_packets_until = sequence
        self.retransmits = 0
        self.srtt = 0.0
        """Smoothed round trip; 0 before the first sample."""
        self.min_rtt = NEVER
        """Linux forgets it after 300 s; here it is for life."""
        self.pacing_rate = 0.0
        """Bytes per second; 0 when packets are not paced."""
        self.paced_until = 0.0
        """Before this time the pacer lets nothing out."""

    @property
    def in_flight(self) -> int:
        """Packets believed to be in the network."""
        return self.packets_out - self.sacked_out - self.lost_out + self.retransmitted_out
