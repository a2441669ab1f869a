"""How BBR tells that a policer limits the path, and what rate it lets through.

A policer shows as a fifth of loss or more over four to sixteen round trips, twice in a row with about the
same rate of delivery. Then this rate is used, with no probing beyond it, for 48 round trips.
"""

from __future__ import annotations

from bench.sim.tcp.flow import Flow

LEAST_ROUNDS = 4
MOST_ROUNDS = 16
LOSS = 50 / 256
ALIKE = 1 / 8
ALIKE_BYTES = 500
USE_ROUNDS = 48


class PolicerDetector:
    """Linux's long-term sampling of bandwidth."""

    __slots__ = (
        "_at",
        "_candidate",
        "_delivered",
        "_flow",
        "_lost",
        "_rounds",
        "_sampling",
        "rate",
    )

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self.rate = 0.0
        """Packets per second that a policer lets through; 0 when none is in sight."""
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self.rate = self._candidate = 0.0
        self._sampling = False
        self._restart()

    def _restart(self) -> None:
        flow = self._flow
        self._at = flow.delivered_at
        self._delivered = flow.delivered
        self._lost = flow.lost
        self._rounds = 0

    def update(self, losses: int, app_limited: bool, round_start: bool, probing: bool) -> bool:
        """Take a sample; True when the rate has been used for long enough and is forgotten."""
        if self.rate:
            self._rounds += probing and round_start
            if self._rounds >= USE_ROUNDS:
                self.reset()
                return True
            return False
        if not self._sampling:
            if not losses:
                return False
            self._restart()
            self._sampling = True
        if app_limited:
            self.reset()
            return False
        self._rounds += round_start
        if self._rounds < LEAST_ROUNDS:
            return False
        if self._rounds > MOST_ROUNDS:
            self.reset()
            return False
        if losses:
            self._measure()
        return False

    def _measure(self) -> None:
        flow = self._flow
        delivered = flow.delivered - self._delivered
        if not delivered or flow.lost - self._lost < LOSS * delivered:
            return
        time = flow.delivered_at - self._at
        if time < 0.001:
            return
        rate = delivered / time
        if self._candidate:
            apart = abs(rate - self._candidate)
            if apart <= ALIKE * self._candidate or apart * flow.mss <= ALIKE_BYTES:
                self.rate = (rate + self._candidate) / 2
                self._rounds = 0
                return
        self._candidate = rate
        self._restart()
