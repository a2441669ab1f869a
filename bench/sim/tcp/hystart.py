"""HyStart: leaving slow start before the queue is full (Ha and Rhee 2011, as in Linux; compare RFC 9406).

Two signs, looked for from a window of 16 packets on, round by round (a round ends when everything is
acknowledged that had been sent at its start): a train of acknowledgements, each within 2 ms of the last, that
has become longer than half the least round trip; or a round whose least round trip, of at least eight
samples, exceeds the least of all by an eighth, though at least 4 and at most 16 ms.
"""

from __future__ import annotations

from bench.sim.tcp.flow import NEVER, Flow

LEAST_WINDOW = 16
LEAST_SAMPLES = 8
TRAIN_GAP = 0.002
TRAIN_SLACK = 0.001
LEAST_RISE, MOST_RISE = 0.004, 0.016


class HyStart:
    """The state of one round."""

    __slots__ = ("_end", "_flow", "_last_ack", "_least", "_samples", "_start", "found")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.found = False
        """Whether slow start is over."""
        self._new_round()

    def _new_round(self) -> None:
        flow = self._flow
        self._start = self._last_ack = flow.now
        self._end = flow.nxt
        self._least = NEVER
        self._samples = 0

    def update(self, round_trip: float, least: float) -> None:
        """Take a sample; `least` is the least round trip known."""
        flow = self._flow
        if flow.una > self._end:
            self._new_round()
        now = flow.now
        if now - self._last_ack <= TRAIN_GAP:
            self._last_ack = now
            if now - self._start > (least + TRAIN_SLACK) / 2:
                self.found = True
        self._least = min(self._least, round_trip)
        if self._samples < LEAST_SAMPLES:
            self._samples += 1
        elif self._least > least + min(max(least / 8, LEAST_RISE), MOST_RISE):
            self.found = True
        if self.found:
            flow.ssthresh = flow.cwnd
