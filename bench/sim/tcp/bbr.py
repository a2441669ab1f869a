"""BBR, version 1, as in Linux (Cardwell and others 2016; draft-cardwell-iccrg-bbr-congestion-control-00).

The model of the path is the largest delivery rate of the last ten round trips and the least round trip of
the last ten seconds; packets leave at the former times a gain, and at most their product times another may
be in flight. Loss by itself changes nothing but the first round trip of recovery.

    STARTUP    gain 2.89, until three rounds have not brought a quarter more
    DRAIN      gain 1/2.89, until only one product is in flight
    PROBE_BW   cycles of eight phases of one least round trip: 1.25, 0.75, six times 1
    PROBE_RTT  four packets in flight for 200 ms, when the least round trip is ten seconds old

Linux begins the cycle at a random phase; here the phase comes from a counter, so that runs repeat. What
looks like a policer is in `policer`.
"""

from __future__ import annotations

from bench.sim.tcp.flow import INFINITE, INITIAL_WINDOW, LOSS, NEVER, RECOVERY, Flow
from bench.sim.tcp.maximum import Maximum
from bench.sim.tcp.policer import PolicerDetector
from bench.sim.tcp.sample import Sample

STARTUP, DRAIN, PROBE_BW, PROBE_RTT = range(4)
HIGH = 2.8867
CYCLE = (1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
CWND_GAIN = 2.0
MARGIN = 0.99
ROUNDS = 10
LEAST_WINDOW = 4
MIN_RTT_AGE = 10.0
PROBE_RTT_TIME = 0.2
GROWTH = 1.25
GROWTH_ROUNDS = 3
AGGREGATION_ROUNDS = 5
AGGREGATION_TIME = 0.1
SLOW = 150_000
"""Bytes per second below which packets leave singly."""
BURST_TIME = 1 / 1024


class Bbr:
    """The state of BBR for one flow; rates are packets per second."""

    name = "bbr"
    steers = True

    def __init__(self, flow: Flow, phase: int = 0) -> None:
        self._flow = flow
        self._phase = phase
        self.mode = STARTUP
        self.min_rtt = NEVER
        self._min_rtt_at = 0.0
        self.bandwidth = Maximum(ROUNDS)
        self.policer = PolicerDetector(flow)
        self._rounds = 0
        self._round_start = False
        self._next_round = 0
        self.pacing_gain = self._window_gain = HIGH
        self._cycle = 0
        self._cycle_at = 0.0
        self._full = 0.0
        self._full_rounds = 0
        self.full_reached = False
        self._prior_window = 0
        self._prior_state = 0
        self._conserve = False
        self._probe_rtt_done: float | None = None
        self._probe_rtt_round = False
        self._idle = False
        self._seen_rtt = False
        self._extra = [0, 0]
        self._extra_rounds = 0
        self._epoch_at = 0.0
        self._epoch_acked = 0
        flow.ssthresh = INFINITE
        self._pace_from_rtt()

    # What a sender asks

    def reduce(self) -> int:
        """A loss has begun: only the window is remembered."""
        self._save_window()
        return self._flow.ssthresh

    def undo(self, before: int) -> int:
        """The loss was none: look again whether the pipe is full."""
        self._full = 0.0
        self._full_rounds = 0
        self.policer.reset()
        return self._flow.cwnd

    def enter(self, state: int) -> None:
        """A timeout ends a round."""
        if state == LOSS:
            self._prior_state = LOSS
            self._full = 0.0
            self._round_start = True
            self._sample_policer(1, False)

    def acknowledged(self, sample: Sample) -> None:
        """All is done in `control`."""

    def avoid(self, packets: int) -> None:
        """BBR steers."""

    def resume(self, idle: float) -> None:
        """After a pause of the application, go on at the rate known."""
        flow = self._flow
        if not flow.app_limited:
            return
        self._idle = True
        self._epoch_at = flow.now
        self._epoch_acked = 0
        if self.mode == PROBE_BW:
            self._pace(self.rate, 1.0)
        elif self.mode == PROBE_RTT:
            self._end_probe_rtt()

    def control(self, sample: Sample) -> None:
        """Update the model, then pace and window."""
        self._update_bandwidth(sample)
        self._update_aggregation(sample)
        if self.mode == PROBE_BW and self._phase_over(sample):
            self._next_phase()
        self._check_full(sample)
        self._check_drain()
        self._update_min_rtt(sample)
        self._set_gains()
        self._pace(self.rate, self.pacing_gain)
        self._set_window(sample)

    # The model

    @property
    def rate(self) -> float:
        """The rate of the path, in packets per second."""
        return self.policer.rate or self.bandwidth.value

    def _update_bandwidth(self, sample: Sample) -> None:
        self._round_start = False
        if sample.delivered < 0 or sample.interval <= 0:
            return
        if sample.prior_delivered >= self._next_round:
            self._next_round = self._flow.delivered
            self._rounds += 1
            self._round_start = True
            self._conserve = False
        self._sample_policer(sample.losses, sample.app_limited)
        rate = sample.delivered / sample.interval
        if not sample.app_limited or rate >= self.bandwidth.value:
            self.bandwidth.add(self._rounds, rate)

    def _sample_policer(self, losses: int, app_limited: bool) -> None:
        was = self.policer.rate
        probing = self.mode == PROBE_BW
        if self.policer.update(losses, app_limited, self._round_start, probing):
            self._enter_probe_bw()
        elif self.policer.rate and not was:
            self.pacing_gain = 1.0

    def _update_aggregation(self, sample: Sample) -> None:
        """Measure how many more acknowledgements come at once than the rate lets expect."""
        if sample.acked <= 0 or sample.delivered < 0 or sample.interval <= 0:
            return
        if self._round_start:
            self._extra_rounds += 1
            if self._extra_rounds >= AGGREGATION_ROUNDS:
                self._extra_rounds = 0
                self._extra = [0, self._extra[0]]
        flow = self._flow
        expected = self.rate * (flow.delivered_at - self._epoch_at)
        if self._epoch_acked <= expected:
            self._epoch_acked = 0
            self._epoch_at = flow.delivered_at
            expected = 0.0
        self._epoch_acked += sample.acked
        extra = min(int(self._epoch_acked - expected), flow.cwnd)
        self._extra[0] = max(self._extra[0], extra)

    def _phase_over(self, sample: Sample) -> bool:
        full_length = self._flow.delivered_at - self._cycle_at > self.min_rtt
        if self.pacing_gain == 1:
            return full_length
        inflight = self._inflight_at_departure(sample.prior_in_flight)
        maximum = self.bandwidth.value
        if self.pacing_gain > 1:
            return full_length and (
                sample.losses > 0 or inflight >= self._inflight(maximum, self.pacing_gain)
            )
        return full_length or inflight <= self._inflight(maximum, 1.0)

    def _next_phase(self) -> None:
        self._cycle = (self._cycle + 1) % len(CYCLE)
        self._cycle_at = self._flow.delivered_at

    def _enter_probe_bw(self) -> None:
        self.mode = PROBE_BW
        self._phase = (self._phase + 3) % 7
        self._cycle = len(CYCLE) - 1 - self._phase  # never the phase of 0.75 comes first
        self._next_phase()

    def _check_full(self, sample: Sample) -> None:
        if self.full_reached or not self._round_start or sample.app_limited:
            return
        if self.bandwidth.value >= self._full * GROWTH:
            self._full = self.bandwidth.value
            self._full_rounds = 0
            return
        self._full_rounds += 1
        self.full_reached = self._full_rounds >= GROWTH_ROUNDS

    def _check_drain(self) -> None:
        flow = self._flow
        if self.mode == STARTUP and self.full_reached:
            self.mode = DRAIN
            flow.ssthresh = self._inflight(self.bandwidth.value, 1.0)
        if self.mode == DRAIN:
            in_flight = self._inflight_at_departure(flow.in_flight)
            if in_flight <= self._inflight(self.bandwidth.value, 1.0):
                self._enter_probe_bw()

    def _update_min_rtt(self, sample: Sample) -> None:
        flow = self._flow
        expired = flow.now > self._min_rtt_at + MIN_RTT_AGE
        if sample.rtt >= 0 and (sample.rtt < self.min_rtt or (expired and not sample.delayed)):
            self.min_rtt = sample.rtt
            self._min_rtt_at = flow.now
        if expired and not self._idle and self.mode != PROBE_RTT:
            self.mode = PROBE_RTT
            self._save_window()
            self._probe_rtt_done = None
        if self.mode == PROBE_RTT:
            flow.app_limited = max(1, flow.delivered + flow.in_flight)
            if self._probe_rtt_done is None:
                if flow.in_flight <= LEAST_WINDOW:
                    self._probe_rtt_done = flow.now + PROBE_RTT_TIME
                    self._probe_rtt_round = False
                    self._next_round = flow.delivered
            else:
                self._probe_rtt_round |= self._round_start
                if self._probe_rtt_round:
                    self._end_probe_rtt()
        if sample.delivered > 0:
            self._idle = False

    def _end_probe_rtt(self) -> None:
        flow = self._flow
        if self._probe_rtt_done is None or flow.now <= self._probe_rtt_done:
            return
        self._min_rtt_at = flow.now
        flow.cwnd = max(flow.cwnd, self._prior_window)
        if self.full_reached:
            self._enter_probe_bw()
        else:
            self.mode = STARTUP

    def _set_gains(self) -> None:
        if self.mode == STARTUP:
            self.pacing_gain = self._window_gain = HIGH
        elif self.mode == DRAIN:
            self.pacing_gain, self._window_gain = 1 / HIGH, HIGH
        elif self.mode == PROBE_BW:
            self.pacing_gain = 1.0 if self.policer.rate else CYCLE[self._cycle]
            self._window_gain = CWND_GAIN
        else:
            self.pacing_gain = self._window_gain = 1.0

    # What follows from it

    def _pace_from_rtt(self) -> None:
        flow = self._flow
        self._seen_rtt = flow.srtt > 0
        flow.pacing_rate = HIGH * flow.cwnd * flow.mss * MARGIN / (flow.srtt or 0.001)

    def _pace(self, rate: float, gain: float) -> None:
        flow = self._flow
        if not self._seen_rtt and flow.srtt:
            self._pace_from_rtt()
        pace = rate * gain * flow.mss * MARGIN
        if self.full_reached or pace > flow.pacing_rate:
            flow.pacing_rate = pace

    def burst(self) -> int:
        """How many packets leave at once."""
        flow = self._flow
        least = 1 if flow.pacing_rate < SLOW else 2
        most = int(min(flow.pacing_rate * BURST_TIME, 65_000)) // flow.mss
        return max(least, most)

    def _inflight(self, rate: float, gain: float) -> int:
        """The product of rate and round trip with a gain, and room for bursts."""
        return self._room(self._product(rate, gain))

    def _product(self, rate: float, gain: float) -> int:
        if self.min_rtt == NEVER:
            return INITIAL_WINDOW
        return -int(-(rate * self.min_rtt * gain) // 1)

    def _room(self, window: int) -> int:
        window += 3 * self.burst()
        window = (window + 1) & ~1
        return window + 2 if self.mode == PROBE_BW and self._cycle == 0 else window

    def _inflight_at_departure(self, in_flight: int) -> float:
        """What will be in flight when the pacer lets the next packet out."""
        wait = max(0.0, self._flow.paced_until - self._flow.now)
        if self.pacing_gain > 1:
            in_flight += self.burst()
        return max(0.0, in_flight - int(self.rate * wait))

    def _save_window(self) -> None:
        window = self._flow.cwnd
        if self._prior_state < RECOVERY and self.mode != PROBE_RTT:
            self._prior_window = window
        else:
            self._prior_window = max(self._prior_window, window)

    def _set_window(self, sample: Sample) -> None:
        flow = self._flow
        if sample.acked and not self._recovering(sample):
            target = self._product(self.rate, self._window_gain)
            if self.full_reached:
                target += int(min(max(self._extra), self.rate * AGGREGATION_TIME))
            target = self._room(target)
            if self.full_reached:
                flow.cwnd = min(flow.cwnd + sample.acked, target)
            elif flow.cwnd < target or flow.delivered < INITIAL_WINDOW:
                flow.cwnd += sample.acked
            flow.cwnd = max(flow.cwnd, LEAST_WINDOW)
        if self.mode == PROBE_RTT:
            flow.cwnd = min(flow.cwnd, LEAST_WINDOW)

    def _recovering(self, sample: Sample) -> bool:
        """Conserve packets in the first round of recovery; go back to the old window behind it."""
        flow = self._flow
        state, before = flow.state, self._prior_state
        window = flow.cwnd
        if sample.losses > 0:
            window = max(window - sample.losses, 1)
        if state == RECOVERY and before != RECOVERY:
            self._conserve = True
            self._next_round = flow.delivered
            window = flow.in_flight + sample.acked
        elif before >= RECOVERY and state < RECOVERY:
            window = max(window, self._prior_window)
            self._conserve = False
        self._prior_state = state
        if self._conserve:
            window = max(window, flow.in_flight + sample.acked)
        flow.cwnd = window
        return self._conserve
