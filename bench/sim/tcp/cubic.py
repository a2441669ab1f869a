"""CUBIC (RFC 9438) as Linux has it: the window grows with the cube of the time since the last loss.

    target(t) = C (t - K)^3 + W_max,   K = cbrt((W_max - window at the loss) / C),   C = 0.4, beta = 0.7

The window comes to rest at W_max, where the last loss was, and then probes beyond. It never grows slower
than what Reno would have with the same share of loss (the region friendly to Reno), nor faster than by half
a packet per packet acknowledged. Slow start ends by HyStart.
"""

from __future__ import annotations

from bench.sim.tcp.flow import LOSS, Flow
from bench.sim.tcp.hystart import LEAST_WINDOW, HyStart
from bench.sim.tcp.sample import Sample

C = 410 / 1024
BETA = 717 / 1024
RENO = 15 / 8
"""Packets per packet of window that Reno, with CUBIC's beta, needs for its next increase."""
TICK = 1 / 250
PATIENCE = 1 / 32
LEAST_WINDOW_AFTER_LOSS = 2


class Cubic:
    """The state of CUBIC for one flow."""

    name = "cubic"
    steers = False

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self.hystart = HyStart(flow)
        self._reset()

    def _reset(self) -> None:
        self._epoch: float | None = None
        """When the present period of growth began."""
        self._wmax = 0
        self._origin = 0
        self._k = 0.0
        self._per_increase = 0.0
        self._acked = 0
        self._reno = 0.0
        self._last_window = 0
        self._last_time = -1.0
        self._least = 0.0

    def reduce(self) -> int:
        """Remember where the loss was, a little lower if the window had not even got there again."""
        window = self._flow.cwnd
        self._epoch = None
        self._wmax = int(window * (1 + BETA) / 2) if window < self._wmax else window
        return max(int(window * BETA), LEAST_WINDOW_AFTER_LOSS)

    def undo(self, before: int) -> int:
        """Go back to the window from before."""
        return max(self._flow.cwnd, before)

    def enter(self, state: int) -> None:
        """After a timeout nothing is known any more."""
        if state == LOSS:
            self._reset()
            self.hystart.reset()

    def acknowledged(self, sample: Sample) -> None:
        """Keep the least round trip; see whether slow start is over."""
        flow = self._flow
        round_trip = sample.rtt
        if round_trip < 0 or (self._epoch is not None and flow.now - self._epoch < 1):
            return
        if not self._least or round_trip < self._least:
            self._least = round_trip
        if flow.cwnd < flow.ssthresh and flow.cwnd >= LEAST_WINDOW and not self.hystart.found:
            self.hystart.update(round_trip, self._least)

    def avoid(self, packets: int) -> None:
        """Slow start below the threshold, and the cubic function above."""
        flow = self._flow
        slow = flow.cwnd < flow.ssthresh
        if not flow.cwnd_limited and not (slow and flow.cwnd < 2 * flow.max_packets_out):
            return
        if slow:
            window = min(flow.cwnd + packets, flow.ssthresh)
            packets -= window - flow.cwnd
            flow.cwnd = window
            if not packets:
                return
        self._update(packets)
        needed = int(self._per_increase)
        if flow.cwnd_count >= needed:
            flow.cwnd_count = 0
            flow.cwnd += 1
        flow.cwnd_count += packets
        if flow.cwnd_count >= needed:
            flow.cwnd += flow.cwnd_count // needed
            flow.cwnd_count %= needed

    def _update(self, packets: int) -> None:
        """Find how many packets must be acknowledged for the window to grow by one."""
        flow = self._flow
        window, now = flow.cwnd, flow.now
        self._acked += packets
        if window == self._last_window and now - self._last_time <= PATIENCE:
            return
        if self._epoch is None or now - self._last_time >= TICK:
            self._last_window = window
            self._last_time = now
            self._follow(window, now, packets)
        # what Reno would have by now
        per_packet = window * RENO
        if self._acked > per_packet:
            grown = int(self._acked / per_packet)
            self._acked -= int(grown * per_packet)
            self._reno += grown
        if self._reno > window:
            self._per_increase = min(self._per_increase, window // (self._reno - window))
        self._per_increase = max(self._per_increase, 2)

    def _follow(self, window: int, now: float, packets: int) -> None:
        if self._epoch is None:
            self._epoch = now
            self._acked = packets
            self._reno = window
            below = self._wmax - window
            self._k = (below / C) ** (1 / 3) if below > 0 else 0.0
            self._origin = max(window, self._wmax)
        time = now - self._epoch + self._least - self._k
        ahead = int(self._origin + C * time**3) - window
        self._per_increase = window // ahead if ahead > 0 else 100 * window
        if not self._wmax:
            self._per_increase = min(self._per_increase, 20)

    def control(self, sample: Sample) -> None:
        """CUBIC leaves the window in recovery to the sender."""

    def burst(self) -> int:
        """CUBIC does not pace."""
        return self._flow.cwnd

    def resume(self, idle: float) -> None:
        """Time with nothing in flight does not count as time of growth."""
        if self._epoch is not None and idle > 0:
            self._epoch = min(self._epoch + idle, self._flow.now)
