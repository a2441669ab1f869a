"""How much one path may have in flight, and how fast it may leave (design 6).

    window = R · (feedback + target)          R: highest delivery rate of late
    pacing = 1.25 · R

`feedback` is what passes from sending a datagram to being told of it, our own queue not counted: a slow
return path is no reason to send less.
"""

from collections.abc import Sequence
from typing import Any

from mpbond.core.delay import QueueingDelay
from mpbond.core.delivery import Delivery, Sample
from mpbond.core.minimum import WindowedMinimum
from mpbond.core.recovery import Sent

TARGET = 0.030  # seconds of queue aimed at
REALTIME_TARGET = 0.008  # seconds, while the path carries real-time packets
STANDING = 0.005  # seconds of queue above which the path counts as busy all the time
INITIAL_WINDOW = 16  # datagrams
MINIMUM_WINDOW = 2  # datagrams
SAMPLE_SPAN = 0.050  # seconds that a sample of the delivery rate spans at least
RAMP_SPAN = 0.010  # seconds, while ramping
BASE_SPAN = 10.0  # seconds
QUANTUM = 0.004  # seconds that a late wake-up may make up for
INITIAL_SPREAD = 0.1  # seconds over which a first window of unknown pace is spread
LONGEST_GAP = 0.060  # seconds between two ACKs that still count as the peer's interval
IDLE_LIMIT = 10.0  # seconds after which what is known is too old to be sent at once
BEST_ROUNDS = 3
BEST_LEAST = 0.1
DRAIN_AFTER = 9.0
DRAIN_LEVEL = 0.75
NEAR = 0.004
GROW = 1.25

Mark = tuple[int, int]
"""Kept with a datagram: bytes sent up to and with it, pauses before it."""


class RateControl:
    """One path's window and pacing, learned from ACKs. Bytes are those of datagrams, times seconds."""

    def __init__(self, now: float, size: int = 1472, remembered: float | None = None) -> None:
        self.size = size
        self.rate = remembered or 0.0
        self.window = float(INITIAL_WINDOW * size)
        self.ramping = True
        self.learned = False
        self.release = now
        self.cap = 0.0
        self.realtime = False
        self.may_drain = True
        self._half = size // 2
        self._pace = self.window / INITIAL_SPREAD
        if remembered:
            self.window = max(self.window, remembered * INITIAL_SPREAD)
            self._pace = max(self._pace, remembered)
        self._sent = 0
        self._pauses = 0
        self._paused = False
        self._last_sent = now
        self._last_ack: float | None = None
        self._feedback = 0.0
        self._gap = 0.0
        self._rtt = WindowedMinimum(BASE_SPAN)
        self._delay = QueueingDelay(size)
        self._delivery = Delivery()
        self._best = WindowedMinimum(BEST_LEAST)  # of negative rates
        self._round_end = 0
        self._round_queue = float("inf")
        self._round_limited = False
        self._floor = 0.0
        self._lost = 0
        self._kept = 0.0
        self._empty_at = now
        self._drain_end: int | None = None
        self._draining = False

    @property
    def queue(self) -> float:
        """Seconds of queue that the latest ACK told of."""
        return self._delay.queueing

    @property
    def base_owd(self) -> float:
        """The smallest one-way delay of the last 10 s plus an unknown offset common to all paths."""
        return self._delay.base

    @property
    def target(self) -> float:
        """Seconds of queue aimed at now."""
        least = REALTIME_TARGET if self.realtime else TARGET
        return max(least, 2 * self.size / self.rate) if self.rate else least

    @property
    def base_rtt(self) -> float:
        """The smallest round trip of the last 10 s, 0.0 before the first."""
        return self._rtt.value or 0.0

    def has_room(self, in_flight: int, now: float) -> bool:
        """May a datagram leave now, as far as window and pacing go?"""
        return in_flight + self._half <= self.window and now >= self.release

    def on_sent(self, size: int, in_flight: int, now: float) -> Mark:
        """Note a datagram that elicits an ACK; returns what `on_ack` wants to see again with it."""
        release = self.release
        earliest = now - QUANTUM
        self.release = (release if release > earliest else earliest) + size / self._pace
        if in_flight + self.size >= self.window:
            self._round_limited = True
        if in_flight == size and now - self._last_sent > IDLE_LIMIT:
            self._wake()
        self._last_sent = now
        self._sent += size
        self._paused = False
        return self._sent, self._pauses

    def on_limited(self, now: float) -> None:
        """There was room, but nothing to send: what is in flight now tells no rate."""
        if not self._paused:
            self._paused = True
            self._pauses += 1

    def on_ack(
        self,
        newly: Sequence[Sent],
        top: Sent | None,
        receive_time: int,
        delay: float,
        rtt: float | None,
        in_flight: int,
        now: float,
    ) -> None:
        """Take what one ACK says of the path; `top` None: no samples, only bookkeeping."""
        total = 0
        for sent in newly:
            total += sent.size
        self._delivery.total += total
        if top is None or top.mark is None:
            return
        position, pauses = top.mark
        known = self.rate if self.learned else 0.0
        queue = self._delay.update(top.time, receive_time, top.size, known, now)
        if queue < self._round_queue:
            self._round_queue = queue
        if queue < NEAR:
            self._empty_at = now
        if rtt is not None:
            self._see_rtt(rtt, delay, queue, now)
        span = self._feedback / 4 if self.ramping else self._feedback
        sample = self._delivery.point(
            receive_time,
            pauses,
            queue > STANDING,
            max(span, RAMP_SPAN if self.ramping else SAMPLE_SPAN),
        )
        if sample is not None:
            self._see_rate(sample, now)
        if position > self._round_end:
            self._end_round(now)
        self._drain(position, in_flight, now)
        self._set_window(total)

    def on_lost(self, lost: Sequence[Sent], now: float) -> None:
        """Datagrams of the path were lost."""
        self._lost += len(lost)

    def on_suspect(self, now: float) -> None:
        """The path has gone silent."""
        self._kept = max(self.rate, self._kept)

    def on_restored(self, now: float) -> None:
        """The path is back: begin with a good part of what it did."""
        if self._kept:
            self.rate = self._kept / 2
            self._best = WindowedMinimum(self._best.window)
            self._best.update(-self.rate, now)
            self._delivery.clear()
            self._kept = 0.0
            self._set_window(0)

    def queue_now(self, oldest_sent: float | None, now: float) -> float:
        """Seconds of queue now, judged also by how long the oldest datagram has been under way."""
        if oldest_sent is None:
            return self.queue
        return max(self.queue, now - oldest_sent - self._feedback - self._gap - self.target)

    def due(self, now: float) -> float | None:
        """When `on_timeout` is wanted."""
        return None

    def on_timeout(self, now: float) -> None:
        """Nothing is timed."""

    def status(self) -> dict[str, Any]:
        """Return what `mpbond status` shows; rates in bit/s."""
        return {
            "rate": self.rate * 8,
            "window": self.window,
            "target": self.target,
            "queue": self.queue,
            "base": self.base_rtt,
            "ramping": self.ramping,
        }

    def _see_rtt(self, rtt: float, delay: float, queue: float, now: float) -> None:
        self._rtt.update(rtt, now)
        feedback = max(0.001, rtt - queue) + delay
        self._feedback += (feedback - self._feedback) / 8 if self._feedback else feedback
        if self._last_ack is not None:
            gap = now - self._last_ack
            if self.rate:
                gap = max(0.0, gap - self.size / self.rate)
            self._gap += (min(LONGEST_GAP, gap) - self._gap) / 8
        self._last_ack = now

    def _see_rate(self, sample: Sample, now: float) -> None:
        if sample.limited and not sample.saturated and sample.rate < self.rate:
            return
        self._best.window = max(BEST_ROUNDS * self._feedback, BEST_LEAST)
        self._best.update(-sample.rate, now)
        best = self._best.value
        assert best is not None
        self.rate = -best

    def _end_round(self, now: float) -> None:
        self._round_end = self._sent
        if self.ramping and (self._round_queue > self.target / 2 or self._lost > 3):
            self.ramping = False
            self.learned = True
            self._best = WindowedMinimum(self._best.window)
        grow = self._round_limited and self._round_queue < self.target / 3
        self._floor = GROW * self.window if grow else 0.0
        self._round_queue = float("inf")
        self._round_limited = False
        self._lost = 0

    def _drain(self, position: int, in_flight: int, now: float) -> None:
        if not self._draining:
            if (
                self.learned
                and not self.ramping
                and self.may_drain
                and now - self._empty_at > DRAIN_AFTER
            ):
                self._draining = True
                self._drain_end = None
                self._delay.watch()
            return
        level = DRAIN_LEVEL * self.rate * self._feedback + self.size
        if self._drain_end is None and in_flight <= max(level, MINIMUM_WINDOW * self.size):
            self._drain_end = self._sent
        if self._empty_at == now or (self._drain_end is not None and position > self._drain_end):
            self._draining = False
            self._empty_at = now
            if self._delay.fresh() > NEAR:
                self._delay.rebase()

    def _set_window(self, acked: int) -> None:
        span = self._feedback + self._gap
        least = MINIMUM_WINDOW * self.size
        window = self.rate * (span + self.target)
        if self.ramping:
            if self._round_limited:
                window = max(window, self.window + acked)
            window = max(window, self.window)
        elif self._draining:
            window = max(DRAIN_LEVEL * self.rate * self._feedback, least)
        else:
            window = max(window, self._floor, least)
        if self.cap:
            window = min(window, max(least, self.cap * (span + self.target)))
        self.window = window
        pace = 2 * self.rate if self.ramping else 1.25 * self.rate
        pace = max(pace, least / max(span, 0.05))
        if self.ramping and not self.rate:
            pace = self.window / INITIAL_SPREAD
        self._pace = min(pace, self.cap) if self.cap else pace

    def _wake(self) -> None:
        self.ramping = True
        self.window = max(float(INITIAL_WINDOW * self.size), self.window / 2)
        self._delivery.clear()
