"""How much one path may have in flight, and how fast it may leave (design 6).

The window is what the path delivers during its round trip and a little queue; see `RateControl`.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from mpbond.core.minimum import WindowedMinimum
from mpbond.core.recovery import Sent

TARGET = 0.030  # seconds of queue aimed at
REALTIME_TARGET = 0.008  # seconds, while the path carries real-time packets
INITIAL_WINDOW = 16  # datagrams
MINIMUM_WINDOW = 2  # datagrams
SAMPLE_SPAN = 0.050  # seconds that a sample of the delivery rate spans at least
BASE_SPAN = 10.0  # seconds
QUANTUM = 0.004  # seconds that a late wake-up may make up for
INITIAL_SPREAD = 0.1  # seconds over which a first window of unknown pace is spread
LONGEST_GAP = 0.060  # seconds between two ACKs that still count as the peer's interval
IDLE_LIMIT = 10.0  # seconds after which what is known is too old to be sent at once

Mark = tuple[int, int, int]
"""Kept with a datagram: bytes sent up to and with it, pauses before it, bytes in flight with it."""


class RateControl:
    """One path's window and pacing, learned from ACKs. Bytes are those of datagrams, times seconds."""

    def __init__(self, now: float, size: int = 1472, remembered: float | None = None) -> None:
        self.size = size
        self.rate = remembered or 0.0
        self.window = float(INITIAL_WINDOW * size)
        if remembered:
            self.window = max(self.window, remembered * INITIAL_SPREAD)
        self.ramping = True
        self.learned = False
        self.release = now
        self.cap = 0.0
        self.realtime = False
        self.may_drain = True
        self.queue = 0.0
        self.base_owd = 0.0
        self._pace = self.window / INITIAL_SPREAD
        self._sent = 0
        self._delivered = 0
        self._pauses = 0
        self._paused = False
        self._last_sent = now
        self._last_ack: float | None = None
        self._feedback = 0.0  # seconds from sending to hearing of it, without our own queue
        self._gap = 0.0
        self._rtt = WindowedMinimum(BASE_SPAN)
        self._owd = WindowedMinimum(BASE_SPAN)
        self._best = WindowedMinimum(0.1)  # of negative rates
        self._points: deque[tuple[float, int, int, float]] = deque()
        self._epoch = -1
        self._round_end = 0
        self._round_queue = float("inf")
        self._round_limited = False
        self._floor = 0.0
        self._lost = 0
        self._kept = 0.0

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
        return in_flight < self.window and now >= self.release

    def allowance(self, in_flight: int, now: float) -> float:
        """Bytes that may leave now (the lead's sender uses this; below or at 0: nothing may)."""
        if now < self.release:
            return 0.0
        paced = min(now - self.release, QUANTUM) * self._pace + self.size
        return min(self.window - in_flight, paced)

    @property
    def speed(self) -> float:
        """Bytes per second to reckon with, never 0: while ramping, what the window could carry."""
        if not self.ramping and self.rate:
            return self.rate
        return max(self.rate, self.window / max(self.base_rtt, 0.010))

    def on_sent(self, size: int, in_flight: int, now: float) -> Mark:
        """Note a datagram that elicits an ACK; returns what `on_ack` wants to see again with it."""
        release = self.release
        earliest = now - QUANTUM
        self.release = (release if release > earliest else earliest) + size / self._pace
        if in_flight >= self.window - self.size:
            self._round_limited = True
        if in_flight == size and now - self._last_sent > IDLE_LIMIT:
            self._wake()
        self._last_sent = now
        self._sent += size
        self._paused = False
        return self._sent, self._pauses, in_flight

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
        for sent in newly:
            self._delivered += sent.size
        if top is None or top.mark is None:
            return
        position, pauses, _ = top.mark
        self._see_delay(top, receive_time, now)
        if rtt is not None:
            self._see_rtt(rtt, delay, now)
        self._see_delivery(position, pauses, receive_time, now)
        if position > self._round_end:
            self._end_round()
        self._set_window(newly)

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
            self._points.clear()
            self._kept = 0.0
            self._set_window(())

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

    def _see_delay(self, top: Sent, receive_time: int, now: float) -> None:
        difference = (receive_time - round(top.time * 1e6)) & 0xFFFFFFFF
        if difference >= 1 << 31:
            difference -= 1 << 32
        delay = difference / 1e6 - (top.size / self.rate if self.learned else 0.0)
        self._owd.update(delay, now)
        base = self._owd.value
        assert base is not None
        self.base_owd = base
        self.queue = max(0.0, delay - base)
        self._round_queue = min(self._round_queue, self.queue)

    def _see_rtt(self, rtt: float, delay: float, now: float) -> None:
        self._rtt.update(rtt, now)
        feedback = max(0.001, rtt - self.queue) + delay
        self._feedback += (feedback - self._feedback) / 8 if self._feedback else feedback
        if self._last_ack is not None:
            gap = min(LONGEST_GAP, now - self._last_ack)
            self._gap += (gap - self._gap) / 8
        self._last_ack = now

    def _see_delivery(self, position: int, pauses: int, receive_time: int, now: float) -> None:
        if self._epoch < 0:
            self._epoch = receive_time
        time = ((receive_time - self._epoch) & 0xFFFFFFFF) / 1e6
        points = self._points
        if points and time <= points[-1][0]:
            if points[-1][0] - time < 60:
                return
            points.clear()
        points.append((time, self._delivered, pauses, now))
        span = max(self._feedback, 0.010 if self.ramping else SAMPLE_SPAN)
        while len(points) > 2 and time - points[1][0] >= span:
            points.popleft()
        first = points[0]
        if time - first[0] < span:
            return
        rate = (self._delivered - first[1]) / (time - first[0])
        if first[2] == pauses or rate > self.rate:
            self._best.window = max(3 * self._feedback, 0.1)
            self._best.update(-rate, now)
            best = self._best.value
            assert best is not None
            self.rate = -best

    def _end_round(self) -> None:
        self._round_end = self._sent
        if self.ramping and (self._round_queue > self.target / 2 or self._lost > 3):
            self.ramping = False
            self.learned = True
        grow = self._round_limited and self._round_queue < self.target / 3
        self._floor = 1.25 * self.window if grow else 0.0
        self._round_queue = float("inf")
        self._round_limited = False
        self._lost = 0

    def _set_window(self, newly: Sequence[Sent]) -> None:
        span = self._feedback + self._gap
        window = self.rate * (span + self.target)
        if self.ramping:
            if self._round_limited:
                window = max(window, self.window + sum(sent.size for sent in newly))
            window = max(window, self.window)
        else:
            window = max(window, self._floor, MINIMUM_WINDOW * self.size)
        if self.cap:
            window = min(window, max(MINIMUM_WINDOW * self.size, self.cap * (span + self.target)))
        self.window = window
        pace = 2 * max(self.rate, window / max(span, 0.001)) if self.ramping else 1.25 * self.rate
        pace = max(pace, window / 4)
        self._pace = min(pace, self.cap) if self.cap else pace

    def _wake(self) -> None:
        self.ramping = True
        self.window = max(float(INITIAL_WINDOW * self.size), self.window / 2)
        self._points.clear()
