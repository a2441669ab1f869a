"""What one acknowledgement tells: packets delivered, at what rate, in what time.

Delivery rates are sampled as in draft-cheng-iccrg-delivery-rate-estimation: every packet carries a
`Snapshot` of what had been delivered when it left, and the newest of the packets that an acknowledgement
covers yields (delivered since) / max(time it took to send, time it took to acknowledge), so that neither
bursts of data nor bunches of acknowledgements look like bandwidth.
"""

from __future__ import annotations

from typing import NamedTuple

from bench.sim.tcp.flow import NEVER, Flow


class Snapshot(NamedTuple):
    """The state of delivery when a packet left; all packets that leave at once share one."""

    first_sent_at: float
    delivered: int
    delivered_at: float
    app_limited: bool


class Sample:
    """One acknowledgement; the same object serves all of a sender, one after the other."""

    __slots__ = (
        "acked",
        "acked_data",
        "acked_original",
        "acked_retransmission",
        "advanced",
        "app_limited",
        "delayed",
        "delivered",
        "dsack",
        "dsack_of_probe",
        "ece",
        "echo",
        "first_sack_sent",
        "interval",
        "last_sack_sent",
        "losses",
        "lost_retransmission",
        "newest_end",
        "prior_at",
        "prior_delivered",
        "prior_in_flight",
        "prior_una",
        "reordered",
        "rtt",
        "sacked_data",
        "set_timer",
    )

    def start(self, flow: Flow, ack: int, echo: int) -> None:
        """Begin with an acknowledgement up to `ack` that returns the timestamp `echo`."""
        self.echo = echo
        self.prior_una = flow.una
        self.prior_in_flight = flow.in_flight
        self.prior_delivered = 0
        self.prior_at = -1.0
        self.newest_end = 0
        self.interval = -1.0
        self.delivered = -1
        self.acked = 0
        self.losses = 0
        self.rtt = -1.0
        self.app_limited = self.delayed = False
        self.first_sack_sent = self.last_sack_sent = NEVER
        self.reordered = flow.nxt
        self.advanced = ack > flow.una
        # what the acknowledgement did; Linux's FLAG_…
        self.acked_data = self.acked_original = self.acked_retransmission = False
        self.sacked_data = self.dsack = self.dsack_of_probe = self.ece = False
        self.lost_retransmission = self.set_timer = False

    def packet(self, flow: Flow, sent_at: float, end: int, snapshot: Snapshot) -> None:
        """A packet is delivered that was not known to be before."""
        if self.prior_at < 0 or (sent_at, end) > (flow.first_sent_at, self.newest_end):
            first, self.prior_delivered, self.prior_at, self.app_limited = snapshot
            self.newest_end = end
            flow.first_sent_at = sent_at
            self.interval = sent_at - first

    def finish(self, flow: Flow, delivered: int, lost: int) -> None:
        """All is known; `delivered` and `lost` are those counters of the flow as they were before."""
        self.acked = flow.delivered - delivered
        self.losses = flow.lost - lost
        if flow.app_limited and flow.delivered > flow.app_limited:
            flow.app_limited = 0
        if self.acked:
            flow.delivered_at = flow.now
        if self.prior_at < 0:
            self.interval = -1.0
            return
        self.delivered = flow.delivered - self.prior_delivered
        self.interval = max(self.interval, flow.now - self.prior_at)
        if self.interval < flow.min_rtt:
            self.interval = -1.0
