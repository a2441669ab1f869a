"""How much one path may have in flight, and how fast it may leave (design 6).

    window = R · (feedback + target)    R: the highest delivery rate of the last three rounds
    pacing = gain · R                   gain: 1.25, while ramping 2

`feedback` is what passes from sending a datagram to hearing of it, without our own queue but with the
peer's ACK interval: neither a slow return path nor rare ACKs are a reason to send less. `target` follows
how unsteady the queue is: on a steady link 8 ms keep it busy, on a radio drive it takes 40. With much
more queue than that, samples are the capacity, and only the latest count.

A round that was limited by the window and saw next to no queue raises the window for the next (`floor`),
round by round faster; without, the formula has a neutral fixed point as soon as jitter reaches `target`.
The ramp doubles until three ACKs running tell of a queue. After ten idle seconds, or with a rate
remembered from another day, the ramp begins at a quarter of what is known. Samples taken
while the application had nothing to send may raise R, never lower it (core.delivery), unless a queue stood
all the while; and that a datagram sent after a pause has met a queue is believed only if it is later than
jitter could make it. Where ACKs come unevenly, more is in flight (core.feedback), but not beside real-time
packets. Whether loss is ours is tried out (core.caution), and so is whether delay is queue (core.drain).

`rate`, which the scheduler goes by, is an average of samples over two rounds, or longer where ACKs come
unevenly: under 20 ms of jitter the highest of several is too high by a quarter, each wrong by a tenth.
"""

from collections.abc import Sequence

from mpbond.core.caution import Caution
from mpbond.core.delay import QueueingDelay
from mpbond.core.delivery import Delivery
from mpbond.core.drain import LEVEL, Drain
from mpbond.core.feedback import Feedback
from mpbond.core.minimum import WindowedMinimum
from mpbond.core.recovery import Sent

TARGET = 0.040  # seconds of queue aimed at where the path is unsteady
STEADY_TARGET = 0.008  # seconds, where it is steady
STEADY = 0.005  # seconds; SPREADS times the queue's mean deviation come on top
SPREADS = 1.5
SPREAD_UP, SPREAD_DOWN = 128, 64  # ACKs: one sudden queue does not make a path unsteady
DATAGRAMS, REALTIME_DATAGRAMS = 1.5, 1.0  # full datagrams' time on the link is aimed at, at least
REALTIME_TARGET = 0.008  # seconds, while the path carries real-time packets
STANDING = 0.005  # seconds of queue, and as SPREADS more, above which the path counts as busy,
PAUSED_SPREADS = 4.0  # or that many after a pause: jitter may be all of it
INITIAL_WINDOW = 16  # datagrams
MINIMUM_WINDOW = 2  # datagrams
INITIAL_SPREAD = 0.1  # seconds over which a first window of unknown pace is spread
SAMPLE_SPAN = 0.050  # seconds that a sample of the delivery rate spans at least
RAMP_SPAN = 0.010  # seconds, while ramping
BEST_ROUNDS, BEST_LEAST = 3, 0.1  # rounds and seconds that the highest rate is remembered
RATE_ROUNDS, RATE_LEAST = 2, 0.15  # rounds and seconds that the shown rate is an average of,
RATE_UNEVEN, RATE_MOST = 30.0, 0.3  # or times the way back's deviation, up to so many seconds
COMPRESSED = 2.0  # times that deviation may the span of a sample be too short by jitter
FAST = 3.0  # times the target: with so much queue only the last round's rate counts
GAINS = (1.25, 1.25, 1.5, 2.0)  # of one round of growth after the other
STOP = 1.5  # times the target ends growth within the round
RAMP_QUEUE, RAMP_LIMIT = 0.015, 3  # seconds of queue in as many ACKs running end the ramp,
RISING, FLAT_ROUNDS = 1.15, 4  # and so do full rounds without so much more rate
QUANTUM = 0.004  # seconds that a late wake-up may make up for
IDLE_LIMIT = 10.0  # seconds after which what is known is too old to be sent at once
UNBROKEN = 1.5  # times the span it is to have, a sample contains a gap in which nothing was sent
STALE = 1 / 4  # of such a rate is begun with
LOSS_IGNORED, LOSS_ADDED = 0.05, 0.4  # background loss that is sent on top: from, at most


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
        self._pace = self.window / INITIAL_SPREAD
        self._sent = 0
        self._pauses = self._pauses_seen = 0
        self._paused = False
        self._peak = self.rate
        self._caution = Caution()
        self._last_sent = now
        self._feedback = Feedback()
        self._delay = QueueingDelay(size)
        self._drain = Drain(self._delay, now)
        self._delivery = Delivery()
        self._limited = 0.0  # rate of the latest sample if the application limited it, else 0.0
        self._best = WindowedMinimum(BEST_LEAST)  # of negative rates
        self._stale = bool(remembered)  # the rate is from another time
        self._flat = 0  # rounds of the ramp in which the rate did not rise
        self._ramp_rate = 0.0
        self._round_end = 0
        self._round_queue = float("inf")
        self._round_limited = False
        self._floor = 0.0
        self._kept = 0.0
        self._mean = 0.0
        self._spread = TARGET / 2
        self._queued = 0
        self._sampled = now
        self._grown = 0
        self._gain = GAINS[0]
        if remembered:
            self._best.update(-remembered, now)
            self._wake()

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
        least = self._least
        if not self.rate:
            return least
        datagrams = REALTIME_DATAGRAMS if self.realtime else DATAGRAMS
        return max(least, datagrams * self.size / self.rate)

    @property
    def _least(self) -> float:
        if self.realtime:
            return REALTIME_TARGET
        return min(TARGET, max(STEADY_TARGET, STEADY + SPREADS * self._spread))

    @property
    def base_rtt(self) -> float:
        """The smallest round trip of the last 10 s, 0.0 before the first."""
        return self._feedback.least

    @property
    def speed(self) -> float:
        """Bytes per second to reckon with, never 0.

        While ramping, what the window could carry; and never less than the least window in a round trip,
        or a path that was slow once would never be tried again.
        """
        if not self.ramping and self.rate:
            return max(self.rate, MINIMUM_WINDOW * self.size / max(self.base_rtt, 0.050))
        return max(self.rate, self.window / max(self.base_rtt, 0.010))

    def allowance(self, in_flight: int, now: float) -> float:
        """Bytes that window and pacing let leave now; nothing may at 0 or below."""
        if now < self.release:
            return 0.0
        paced = min(now - self.release, QUANTUM) * self._pace + self.size
        return min(self.window - in_flight, paced)

    @property
    def mark(self) -> Mark:
        """Kept with a datagram that elicits no ACK."""
        return self._sent, self._pauses

    def on_sent(self, size: int, in_flight: int, now: float) -> Mark:
        """Note a datagram that elicits an ACK; returns what `on_ack` wants to see again with it."""
        release = self.release
        earliest = now - QUANTUM
        self.release = (release if release > earliest else earliest) + size / self._pace
        if in_flight + self.size >= self.window:
            self._round_limited = True
        if in_flight == size and now - self._last_sent > IDLE_LIMIT:
            self._drain.rest(now)
            self._wake()
        self._last_sent = now
        self._sent += size
        self._paused = False
        return self._sent, self._pauses

    def on_train(self, size: int, total: int, in_flight: int, now: float) -> Mark:
        """Note datagrams that leave together, the first of `size` bytes, `in_flight` bytes before them."""
        self.on_sent(size, in_flight + size, now)
        more = total - size
        self._sent += more
        self.release += more / self._pace
        if in_flight + total + self.size >= self.window:
            self._round_limited = True
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
        believed = self._drain.believed(self._peak, self._feedback.time, now)
        known = believed if self.learned else 0.0
        queue = self._delay.update(top.time, receive_time, top.size, known, now)
        self._see_queue(queue, now)
        if rtt is not None:
            datagram = self.size / self.rate if self.rate else 0.0
            self._feedback.update(rtt, delay, queue, datagram, now)
        self._see_rate(receive_time, pauses, queue if in_flight >= self.size else 0.0, now)
        after = self._sent + int(self.window)
        limited = self._limited
        trial = self._caution.on_acked(len(newly), position, after, self.rate, now, limited)
        if trial and self.ramping:
            self._end_ramp()
        if position > self._round_end:
            self._end_round()
        self._watch_way(position, in_flight, now)
        self._set_window(total, now)

    def on_lost(self, lost: Sequence[Sent], now: float) -> None:
        """Datagrams of the path were lost."""
        self._caution.on_lost(sent.mark[0] for sent in lost if sent.mark is not None)

    def on_spurious(self) -> None:
        """What seemed to be lost was not: datagrams overtake each other here."""
        self._caution.acquit(self._sent)

    def on_suspect(self, now: float) -> None:
        """The path has gone silent."""
        self._kept = max(self.rate, self._kept)

    def on_restored(self, now: float) -> None:
        """The path is back: begin with a good part of what it did."""
        if self._kept:
            self._peak = self.rate = max(self._peak, self._kept / 2)
            self._best = WindowedMinimum(self._best.window)
            self._best.update(-self.rate, now)
            self._delivery.clear()
            self._caution.forget(self._sent)
            self._kept = 0.0
            self._grown = len(GAINS) // 2
            self._stale = False
            self._set_window(0, now)

    def queue_now(self, oldest_sent: float | None, now: float) -> float:
        """Seconds of queue now, judged also by how long the oldest datagram has been under way."""
        if oldest_sent is None:
            return self.queue
        usual = self._feedback.time + self._feedback.gap + self.target
        return max(self.queue, now - oldest_sent - usual)

    def _see_queue(self, queue: float, now: float) -> None:
        if queue < self._round_queue:
            self._round_queue = queue
        deviation = min(abs(queue - self._mean), TARGET) - self._spread
        self._spread += deviation / (SPREAD_UP if deviation > 0 else SPREAD_DOWN)
        self._mean += (queue - self._mean) / 16
        if self.ramping:
            self._queued = self._queued + 1 if queue > RAMP_QUEUE else 0
            if self._queued >= RAMP_LIMIT:
                self._end_ramp()
        elif self._grown and queue > STOP * self.target:
            self._stop_growing()
        longest = max(self._least, 2 * self.size / max(self._drain.rate_before, 1.0))
        rate = STALE * self._peak if self._stale else self._peak
        self._drain.see(queue, 2 * longest, rate, now)

    def _see_rate(self, receive_time: int, pauses: int, queue: float, now: float) -> None:
        ramping = self.ramping
        spreads = SPREADS if pauses == self._pauses_seen else PAUSED_SPREADS
        self._pauses_seen = pauses
        standing = STANDING + spreads * self._spread
        feedback = self._feedback.time
        span = max(feedback / 4, RAMP_SPAN) if ramping else max(feedback, SAMPLE_SPAN)
        self._limited = 0.0
        sample = self._delivery.point(receive_time, pauses, queue > standing, span)
        if sample is None:
            return
        if sample.limited and sample.span < UNBROKEN * span:
            self._limited = sample.rate
        least = max(RATE_LEAST, min(RATE_MOST, RATE_UNEVEN * self._feedback.uneven))
        share = min(1.0, (now - self._sampled) / max(RATE_ROUNDS * feedback, least))
        self._sampled = now
        if sample.limited and not sample.saturated and sample.rate < self._peak:
            # where only the better samples count, what jitter may have added does not
            certain = sample.rate * max(0.5, 1 - COMPRESSED * self._feedback.uneven / span)
            self.rate += max(0.0, certain - self.rate) * share
            return
        if sample.saturated and queue > FAST * self.target:
            self._best.window = max(feedback, SAMPLE_SPAN)
        else:
            self._best.window = max(BEST_ROUNDS * feedback, BEST_LEAST)
        self._best.update(-sample.rate, now)
        best = self._best.value
        assert best is not None
        self._peak = -best
        if self.ramping or self._grown:
            self.rate = self._peak
        else:
            self.rate += (sample.rate - self.rate) * share

    def _end_round(self) -> None:
        self._round_end = self._sent
        self._stale = False
        if self.ramping and self._round_limited:
            if self._peak > RISING * self._ramp_rate:
                self._ramp_rate = self._peak
                self._flat = 0
            else:
                self._flat += 1
                if self._flat >= FLAT_ROUNDS:
                    self._end_ramp()
        bold = self._caution.level == 1.0 and not self._drain.active
        grow = bold and self._round_limited and self._round_queue < self.target / 3
        if grow:
            self._gain = GAINS[min(self._grown, len(GAINS) - 1)]
            self._grown += 1
            self._floor = self._gain * self.window
        elif self._round_limited:
            self._stop_growing()
        self._round_queue = float("inf")
        self._round_limited = False

    def _end_ramp(self) -> None:
        self.ramping = self._stale = False
        self.learned = True
        self._flat = 0
        self._ramp_rate = 0.0
        self._best = WindowedMinimum(self._best.window)
        self._stop_growing()

    def _stop_growing(self) -> None:
        self._gain = GAINS[0]
        self._floor = 0.0
        self._grown = 0

    def _watch_way(self, position: int, in_flight: int, now: float) -> None:
        drain = self._drain
        if self.ramping or not self.learned:
            return
        if not drain.active:
            drain.begin_if_due(self._feedback.time, self.may_drain, now)
            return
        rate = max(1.0, drain.believed(self._peak, self._feedback.time, now))
        level = max(LEVEL * rate * self._feedback.time + self.size, MINIMUM_WINDOW * self.size)
        if drain.is_over(position, self._sent, in_flight, level, now):
            before = drain.rate_before
            if drain.end(self.size / rate, self._peak, now) and before > self._peak:
                self._peak = self.rate = before
                self._best.update(-before, now)

    def _set_window(self, acked: int, now: float) -> None:
        span = self._feedback.time + self._feedback.gap
        if not self.realtime:
            span += self._feedback.slack
        least = MINIMUM_WINDOW * self.size
        caution = self._caution
        rate = (
            STALE * self._peak
            if self._stale
            else self._drain.believed(self._peak, self._feedback.time, now)
        )
        target = self.target
        gain = 2.0 if self.ramping else self._gain
        if caution.level < 1.0:
            # what a trial loses lowers what is delivered, but is no reason to try less and less
            rate = min(max(rate, caution.least), caution.safe)
            target *= caution.level
            gain = 1 + (gain - 1) * caution.level
        elif caution.background > LOSS_IGNORED:
            rate /= 1 - min(caution.background, LOSS_ADDED)
        window = rate * (span + target)
        if self.ramping:
            if self._round_limited and not self._queued:
                window = max(window, self.window + acked)
            window = max(window, self.window)
        elif self._drain.active:
            window = max(LEVEL * rate * self._feedback.time, least)
        else:
            if caution.level == 1.0:
                window = max(window, self._floor)
            window = max(window, least)
        if self.cap:
            window = min(window, max(least, self.cap * (span + target)))
        self.window = window
        pace = max(gain * rate, least / max(span, 0.05))
        if self.ramping:
            # a rate found while next to nothing was sent is no reason to begin slowly
            pace = max(pace, window / (max(span, INITIAL_SPREAD) if self._peak else INITIAL_SPREAD))
        self._pace = min(pace, self.cap) if self.cap else pace

    def _wake(self) -> None:
        """Begin again with a part of what is remembered, ramping."""
        self.ramping = self._stale = True
        self._queued = 0
        span = self._feedback.time + self._feedback.gap or INITIAL_SPREAD
        self.window = max(
            float(INITIAL_WINDOW * self.size), STALE * self._peak * (span + self.target)
        )
        self._pace = max(2 * STALE * self._peak, INITIAL_WINDOW * self.size / INITIAL_SPREAD)
        if self.cap:
            self._pace = min(self._pace, self.cap)
        self._round_end = self._sent + int(self.window)
        self._delivery.clear()
