"""One direction of a link: what becomes of a packet, decided when it comes.

    policer -> queue -> bottleneck -> loss, damage, duplicates -> propagation
                ^ other people's traffic

Links are first in, first out, and their rates are known in advance, so all that happens to a packet is
settled at its arrival: `transmit` returns when it comes out. The same object therefore serves the
simulator, which jumps to that time, and the emulator, whose C program is a transcription of it held
against it number by number. Time is an integer of nanoseconds since the link's start and never falls;
no operation uses floats or the interpreter's own randomness, so that both get equal results from
equal seeds.

What holds always: a packet leaves the bottleneck no earlier than those before it; without `reorder` it
also arrives no earlier; the bottleneck never carries more than its capacity; every packet that came is
in exactly one of the ledger's counters `full`, `policed`, `swallowed`, `oversize`, `lost`, or delivered.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import NamedTuple

from bench.links.capacity import capacity
from bench.links.draws import MASK, Draws, threshold
from bench.links.ledger import Ledger
from bench.links.rates import BITS, Bottleneck, Steady, Stepped, bottleneck, nanoseconds
from bench.links.shape import Background, Constant, GilbertElliott, Loss, Mask, RandomLoss, Shape

SWING = 10_000_000
"""Nanoseconds for which packets in order share one draw of jitter, as in one round of a radio's schedule."""
FOREIGN = 0x5851F42D4C957F2D
"""Sets the draws of other people's traffic apart from those of the link's own packets."""


class Arrival(NamedTuple):
    """A packet comes out of the link at `time` (ns); bit `damage` of it is flipped unless -1."""

    time: int
    damage: int


class Link:
    """One direction of a link; `seed` decides all that is left to chance."""

    def __init__(self, shape: Shape | None = None, seed: int = 1, mtu: int = 1500) -> None:
        shape = shape or Shape()
        self.shape = shape
        self.mtu = mtu
        self.up = True
        """False swallows everything that comes."""
        self.ledger = Ledger()
        self._draws = Draws(seed)
        self._bottleneck: Bottleneck = bottleneck(shape.rate)
        self._adds = isinstance(self._bottleneck, Stepped)  # delay and loss of its steps
        self._place = 0
        self._standing: deque[tuple[int, int]] = deque()  # (finish, size), for the byte limit
        self._backlog = 0
        self._last_arrival = 0
        self._queue = nanoseconds(shape.queue) if shape.queue is not None else None
        self._queue_bytes = shape.queue_bytes
        self._delay = nanoseconds(shape.delay)
        self._jitter = nanoseconds(shape.jitter)
        self._swing = self._swing_end = 0
        self._duplicate = threshold(shape.duplicate)
        self._corrupt = threshold(shape.corrupt)
        self._losing = losing(shape.loss, self._draws)
        self._windows, self._outage_period = _windows(shape)
        if shape.policer is not None:
            self._police_rate = round(shape.policer.rate)
            self._police_burst = self._tokens = shape.policer.burst * BITS
            self._policed = 0
        self._others = Others(shape.background, seed) if shape.background is not None else None

    def change(
        self,
        *,
        rate: float | None = None,
        delay: float | None = None,
        jitter: float | None = None,
        loss: float | None = None,
        duplicate: float | None = None,
    ) -> None:
        """Give the link another rate, delay, jitter, random loss or duplication from now on."""
        if rate is not None:
            if not isinstance(self._bottleneck, Steady):
                raise ValueError("only a link of constant rate gets another rate")
            self.shape = dataclasses.replace(self.shape, rate=Constant(rate))
            self._bottleneck = bottleneck(self.shape.rate)
        if delay is not None:
            self._delay = nanoseconds(delay)
        if jitter is not None:
            self._jitter = nanoseconds(jitter)
        if loss is not None:
            self._losing = losing(RandomLoss(loss), self._draws)
        if duplicate is not None:
            self._duplicate = threshold(duplicate)

    def transmit(self, size: int, now: int) -> tuple[Arrival, ...]:
        """Take a packet of `size` bytes; return its arrivals: none, one, or two of a duplicate."""
        ledger = self.ledger
        ledger.packets += 1
        if self._others is not None:
            self.advance(now)
        if size > self.mtu:
            ledger.oversize += 1
            return ()
        if not self.up or (self._windows and self._out(now)):
            ledger.swallowed += 1
            return ()
        if self.shape.policer is not None and not self._conforms(size, now):
            ledger.policed += 1
            return ()
        finish = self._enqueue(size, now)
        if finish < 0:
            ledger.full += 1
            return ()
        ledger.book(finish, finish - now, size)
        if self._windows and self._out(finish):
            ledger.swallowed += 1
            return ()
        return self._propagate(size, finish)

    def _propagate(self, size: int, finish: int) -> tuple[Arrival, ...]:
        """What happens behind the bottleneck; every draw is made in this order."""
        ledger, draws = self.ledger, self._draws
        delay, extra_loss = self._delay, 0
        if self._adds:
            extra_delay, extra_loss = self._bottleneck.at(finish)
            delay += extra_delay
        if self._losing is not None and self._losing.next():
            ledger.lost += 1
            return ()
        if extra_loss and draws.next() >> 11 < extra_loss:
            ledger.lost += 1
            return ()
        damage = -1
        if self._corrupt and draws.next() >> 11 < self._corrupt:
            ledger.corrupted += 1
            damage = draws.next() % (8 * size)
        twice = self._duplicate and draws.next() >> 11 < self._duplicate
        time = finish + delay
        if self._jitter:
            if self.shape.reorder or finish >= self._swing_end:
                self._swing = draws.next() % (2 * self._jitter + 1) - self._jitter
                self._swing_end = finish + SWING
            time = max(finish, time + self._swing)
        if not self.shape.reorder:
            self._last_arrival = time = max(time, self._last_arrival)
        ledger.carried += size
        arrival = Arrival(time, damage)
        if twice:
            ledger.duplicated += 1
            return (arrival, arrival)
        return (arrival,)

    def advance(self, now: int) -> None:
        """Let other people's traffic go on until now; `transmit` does it by itself."""
        if self._others is not None:
            size = self._others.size
            for time in self._others.until(now):
                if self._windows and self._out(time):
                    continue
                finish = self._enqueue(size, time)
                if finish >= 0 and not (self._windows and self._out(finish)):
                    self.ledger.book_foreign(finish, size)

    def capacity(self, start: int, end: int) -> int:
        """Bytes this direction could have carried from `start` to `end` (ns), see `capacity`."""
        return capacity(self.shape, self.ledger, start, end)

    def _enqueue(self, size: int, now: int) -> int:
        """Return when a packet has passed the bottleneck, or -1 when there is no room for it."""
        place, finish = self._bottleneck.serve(self._place, now, size)
        if self._queue_bytes is not None:
            standing = self._standing
            while standing and standing[0][0] <= now:
                self._backlog -= standing.popleft()[1]
            if standing and self._backlog + size > self._queue_bytes:
                return -1
            standing.append((finish, size))
            self._backlog += size
        if self._queue is not None and finish - now > self._queue:
            alone = self._bottleneck.serve(0, now, size)[1]
            if finish > alone:
                if self._queue_bytes is not None:
                    self._backlog -= self._standing.pop()[1]
                return -1
        self._place = place
        return finish

    def _conforms(self, size: int, now: int) -> bool:
        """A token bucket, full at first; a byte is `BITS` tokens, so that it fills without fractions."""
        tokens = self._tokens + (now - self._policed) * self._police_rate
        if tokens > self._police_burst:
            tokens = self._police_burst
        self._policed = now
        cost = size * BITS
        if tokens < cost:
            self._tokens = tokens
            return False
        self._tokens = tokens - cost
        return True

    def _out(self, time: int) -> bool:
        if self._outage_period:
            time %= self._outage_period
        return any(start <= time < end for start, end in self._windows)


class Others:
    """When packets of other people's traffic come."""

    def __init__(self, background: Background, seed: int) -> None:
        self.size = background.size
        self._between = -(-background.size * BITS // round(background.rate))
        self._on = nanoseconds(background.on) if background.on is not None else 0
        self._off = nanoseconds(background.off) if background.off is not None else 0
        self._draws = Draws((seed ^ FOREIGN) & MASK)
        self._next = 0
        self._end = self._period(self._on) if self._on else 0

    def until(self, now: int) -> list[int]:
        """The times up to now of packets that have not been told before."""
        times = []
        while self._next <= now:
            if self._on and self._next >= self._end:
                self._next = self._end + self._period(self._off)
                self._end = self._next + self._period(self._on)
                continue
            times.append(self._next)
            self._next += self._between
        return times

    def _period(self, mean: int) -> int:
        return mean // 2 + self._draws.next() % mean


class Losing:
    """Says of one packet after the other whether it is lost."""

    def __init__(self, loss: RandomLoss, draws: Draws) -> None:
        self._threshold = threshold(loss.probability)
        self._draws = draws

    def next(self) -> bool:
        """Whether the next packet is lost."""
        return self._draws.next() >> 11 < self._threshold


class LosingBursts:
    """The chain of Gilbert and Elliott, beginning in the good state."""

    def __init__(self, loss: GilbertElliott, draws: Draws) -> None:
        self._leave = (threshold(loss.to_bad), threshold(loss.to_good))
        self._lose = (threshold(loss.good), threshold(loss.bad))
        self._bad = 0
        self._draws = draws

    def next(self) -> bool:
        """Move, then draw; always two draws, so that the states do not depend on the losses."""
        if self._draws.next() >> 11 < self._leave[self._bad]:
            self._bad ^= 1
        return self._draws.next() >> 11 < self._lose[self._bad]


class LosingMasked:
    """Exactly the packets of a mask."""

    def __init__(self, loss: Mask) -> None:
        self._lost = loss.lost
        self._period = loss.period
        self._number = 0

    def next(self) -> bool:
        """Whether the number of the next packet is in the mask."""
        number = self._number
        self._number += 1
        return (number % self._period if self._period else number) in self._lost


def losing(loss: Loss | None, draws: Draws) -> Losing | LosingBursts | LosingMasked | None:
    """Make the process that a shape names; None when nothing is ever lost."""
    if isinstance(loss, RandomLoss):
        return Losing(loss, draws) if loss.probability else None
    if isinstance(loss, GilbertElliott):
        return LosingBursts(loss, draws)
    if isinstance(loss, Mask):
        return LosingMasked(loss)
    return None


def _windows(shape: Shape) -> tuple[list[tuple[int, int]], int]:
    if shape.outages is None:
        return [], 0
    period = shape.outages.period
    return (
        [(nanoseconds(start), nanoseconds(end)) for start, end in shape.outages.windows],
        nanoseconds(period) if period is not None else 0,
    )
