"""RACK: what was sent long enough before something that has arrived is lost (RFC 8985).

A packet is taken for lost once a packet that left later has arrived, and the packet has had that one's
round trip plus a reordering window. The window is 0 until reordering has been seen, provided that three
packets were sacked or recovery is on; else it is a quarter of the least round trip, times a number of
steps that grows with every round trip in which a DSACK told of a spurious retransmission, and falls back
to 1 after 16 recoveries without one. It never exceeds the smoothed round trip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.sim.tcp.flow import NEVER, RECOVERY, Flow

if TYPE_CHECKING:
    from bench.sim.tcp.sample import Sample
    from bench.sim.tcp.scoreboard import Scoreboard
    from bench.sim.tcp.sent import Sent

PERSISTENCE = 16
MOST_STEPS = 255


class Rack:
    """The most recent delivery, and the window for reordering."""

    __slots__ = (
        "_flow",
        "_last_delivered",
        "_steps",
        "advanced",
        "dsack_seen",
        "end",
        "persistence",
        "round_trip",
        "sent_at",
    )

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self.sent_at = -1.0
        """When the packet was sent that, of those delivered, was sent last."""
        self.end = 0
        self.round_trip = 0.0
        self.advanced = False
        """Whether there is reason to look for losses."""
        self.dsack_seen = False
        self.persistence = 0
        """Recoveries after which the window shrinks again."""
        self._steps = 1
        self._last_delivered = 0

    def advance(self, sent_at: float, end: int, resent: int) -> None:
        """A packet has arrived."""
        flow = self._flow
        round_trip = flow.now - sent_at
        if resent and round_trip < flow.min_rtt:
            return  # it was not the retransmission that arrived
        self.advanced = True
        self.round_trip = round_trip
        if sent_at > self.sent_at or (sent_at == self.sent_at and end > self.end):
            self.sent_at = sent_at
            self.end = end

    def window(self, board: Scoreboard) -> float:
        """How much later than expected a packet may come, in s."""
        flow = self._flow
        if not board.reorderings and (
            flow.state >= RECOVERY or flow.sacked_out >= board.reordering
        ):
            return 0.0
        return min(flow.min_rtt / 4 * self._steps, flow.srtt)

    def adapt(self, sample: Sample) -> None:
        """Adapt the window to the DSACKs of the last round trip."""
        if not sample.prior_delivered:
            return
        if sample.prior_delivered < self._last_delivered:
            self.dsack_seen = False
        if self.dsack_seen:
            self._steps = min(MOST_STEPS, self._steps + 1)
            self.dsack_seen = False
            self._last_delivered = self._flow.delivered
            self.persistence = PERSISTENCE
        elif not self.persistence:
            self._steps = 1

    def detect(self, board: Scoreboard) -> float:
        """Mark what is lost; return when to look again, which is never if nothing is in doubt."""
        now = self._flow.now
        by_time = board.by_time
        newest, end = self.sent_at, self.end
        patience = -1.0
        while by_time:
            sent_at, packet = by_time[0]
            if not packet.outstanding(sent_at):
                by_time.popleft()
                continue
            if sent_at > newest or (sent_at == newest and packet.end >= end):
                break
            if patience < 0:
                patience = self.round_trip + self.window(board)
            if sent_at + patience > now:
                # all that were sent before the newest are due then, so one look is enough
                return newest + patience
            by_time.popleft()
            board.lose(packet)
        return NEVER

    def overdue(self, packet: Sent) -> bool:
        """Whether a packet has had more than the latest round trip to arrive."""
        return packet.sent_at + self.round_trip <= self._flow.now
