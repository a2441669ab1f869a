"""Round trip and retransmission timeout (RFC 6298, with Linux's way of smoothing the variance).

Linux keeps the largest deviation within each round trip and lets the variance fall only once per round
trip, by a quarter of the way; and its lower bound of 200 ms is one of the variance, not of the timeout:
the timeout is never below the smoothed round trip plus 200 ms.
"""

from __future__ import annotations

from bench.sim.tcp.flow import Flow

INITIAL = 1.0
LEAST = 0.2
MOST = 120.0


class RoundTrip:
    """Smooths samples of the round trip into `flow.srtt` and `timeout`."""

    __slots__ = ("_deviation", "_flow", "_largest", "_round_end", "_variance", "timeout")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self.timeout = INITIAL
        """The retransmission timeout, without any back-off."""
        self._deviation = 0.0  # four times the mean one, as in Linux
        self._largest = LEAST
        self._variance = INITIAL
        self._round_end = 0

    def add(self, sample: float) -> None:
        """Take a sample."""
        flow = self._flow
        if not flow.srtt:
            flow.srtt = sample
            self._deviation = 2 * sample
            self._variance = self._largest = max(self._deviation, LEAST)
            self._round_end = flow.nxt
        else:
            error = sample - flow.srtt
            flow.srtt += error / 8
            if error < 0:
                change = -error - self._deviation / 4
                if change > 0:
                    change /= 8
            else:
                change = error - self._deviation / 4
            self._deviation += change
            if self._deviation > self._largest:
                self._largest = self._deviation
                self._variance = max(self._variance, self._largest)
            if flow.una > self._round_end:
                if self._largest < self._variance:
                    self._variance -= (self._variance - self._largest) / 4
                self._round_end = flow.nxt
                self._largest = LEAST
        self.timeout = min(flow.srtt + self._variance, MOST)
