"""The one timer of a sender: retransmission, tail loss probe, or RACK's second look.

Tail loss probes (RFC 8985, section 7) come after two round trips without an acknowledgement, when nothing
is amiss; when a retransmission timeout comes sooner, it stands in their place.

Retransmission timeouts come late as on Linux's timer wheel (250 ticks a second): by up to a tick when they
are shorter than 63 ticks, and by up to an eighth or so when they are longer.
"""

from __future__ import annotations

from bench.sim.tcp.flow import CWR, NEVER, OPEN, Flow
from bench.sim.tcp.rtt import INITIAL, MOST, RoundTrip
from bench.sim.tcp.scoreboard import Scoreboard

LEAST = 0.002
DELAYED_ACK = 0.2

TICK = 1 / 250
SLOTS = 63
COARSER = 8

NOTHING, RETRANSMIT, PROBE, REORDERING = range(4)


def turned(now: float, at: float) -> float:
    """When a timer of the wheel fires that was set now for a time."""
    step = TICK
    while at - now >= SLOTS * step:
        step *= COARSER
    return -(-at // step) * step


class Timer:
    """When it fires next and what for."""

    __slots__ = ("_flow", "at", "kind", "timeout")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self.kind = NOTHING
        self.at = NEVER
        self.timeout = INITIAL
        """The retransmission timeout with its back-off."""

    @property
    def probing(self) -> bool:
        """Whether a tail loss probe comes next."""
        return self.kind == PROBE

    @property
    def reordering(self) -> bool:
        """Whether RACK's second look comes next."""
        return self.kind == REORDERING

    def take(self, round_trip: RoundTrip) -> None:
        """A round trip has been measured: its timeout applies, and the back-off ends."""
        self.timeout = round_trip.timeout

    def back_off(self) -> None:
        """Double the timeout."""
        self.timeout = min(2 * self.timeout, MOST)

    def set(self, kind: int, at: float) -> None:
        """Fire at a time."""
        self.kind = kind
        self.at = at

    def restart(self) -> None:
        """Fire a whole retransmission timeout from now."""
        now = self._flow.now
        self.set(RETRANSMIT, turned(now, now + self.timeout))

    def rearm(self, board: Scoreboard) -> None:
        """Go on with retransmission: from now, or where another kind has stood in for it."""
        flow = self._flow
        if not flow.packets_out:
            self.set(NOTHING, NEVER)
        elif self.kind in (PROBE, REORDERING):
            due = board.queue[0].sent_at + self.timeout
            self.set(RETRANSMIT, turned(flow.now, max(due, flow.now + 0.001)))
        else:
            self.restart()

    def schedule_probe(self, advancing: bool, board: Scoreboard) -> bool:
        """Set the timer for a tail loss probe if one is due next; `advancing`: an ACK has come."""
        flow = self._flow
        if not flow.packets_out or flow.state not in (OPEN, CWR):
            return False
        allowance = DELAYED_ACK if flow.packets_out == 1 else LEAST
        wait = 2 * flow.srtt + allowance if flow.srtt else INITIAL
        limit = self.timeout
        if not advancing:
            limit += board.queue[0].sent_at - flow.now
        if 0 < limit < wait:
            wait = limit
        self.kind = PROBE
        self.at = flow.now + wait
        return True
