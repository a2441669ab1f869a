"""The receiving half of a connection: putting bytes in order, and when and how to acknowledge them.

Acknowledgements follow Linux: at once for the first packets, for every second full packet, for pushed data,
for duplicates (with a DSACK, RFC 2883) and when a gap closes; up to 40 ms late otherwise. While there
are gaps, three go out at once and further ones are compressed into one a millisecond (or a twentieth of
the round trip). SACK blocks come with the newest first (RFC 2018). The application reads at once, and the
window follows it (`window`).
"""

from __future__ import annotations

from bench.sim.tcp.flow import NEVER, ticks
from bench.sim.tcp.segment import FIN, PSH
from bench.sim.tcp.window import MOST, Window
from mpbond.core.ranges import RangeSet

SCALE = 7
QUICK = 16
DELAY = 0.04
COMPRESSED = 44
COMPRESSION = 0.001
PROMPT_DUPLICATES = 3
BLOCKS = 3
REMEMBERED = 4


class Receiver:
    """Receives one stream of bytes whose first has the number `sequence`."""

    def __init__(self, sequence: int, mss: int) -> None:
        self.next = sequence
        """The number of the byte that must come next."""
        self.received = 0
        """Bytes that have come in order."""
        self.ack_now = False
        self.ack_at = NEVER
        """When an acknowledgement must leave that may still wait."""
        self.recent = 0
        """The timestamp to return."""
        self.fin: int | None = None
        """The number of the FIN, once it has been seen."""
        self.finished = False
        """Whether everything up to the FIN has come."""
        self.round_trip = 0.0
        """The connection's, for the compression of acknowledgements."""
        self.window = Window(mss)
        self._acked = sequence
        self._mss = mss
        self._ahead = RangeSet()
        self._blocks: list[tuple[int, int]] = []
        self._dsack: tuple[int, int] | None = None
        self._quick = QUICK
        self._last = NEVER
        self._compressed = 0
        self._prompt = 0
        self._prompt_at = sequence

    def arrive(self, start: int, end: int, value: int, echo: int, flags: int, now: float) -> None:
        """Payload `start` to `end` has come, and perhaps a FIN; `value` and `echo` are timestamps."""
        if end > start:
            if now >= self.window.due and echo:
                self.window.measure(self.received, max(0.001, (ticks(now) - echo) / 1000), now)
            self._take(start, end, value, flags & PSH > 0, now)
        if flags & FIN:
            self._finish(end)

    def _take(self, start: int, end: int, value: int, pushed: bool, now: float) -> None:
        if end <= self.next:
            self._duplicate(start, end)
            return
        if start <= self._acked and value >= self.recent:
            self.recent = value
        if end - self.next > MOST:
            self.ack_now = True
            return
        if start > self.next:
            self._out_of_order(start, end, now)
            return
        if start < self.next:
            self._dsack = (start, self.next)
            self.ack_now = True
        before = self.next
        self.next = end
        if self._ahead:
            self._close_gap(end)
        if self.fin is not None and self.next == self.fin:
            self.next += 1
            self.received -= 1
            self.finished = True
            self.ack_now = True
        self.received += self.next - before
        if self.window.open(end - start):
            self._quick |= 1
        self._schedule(pushed, now)

    def _finish(self, end: int) -> None:
        if self.finished:
            self.ack_now = True
            return
        self.fin = end
        self.ack_now = True
        if self.next == end:
            self.next += 1
            self.finished = True

    def due(self, now: float) -> bool:
        """Whether an acknowledgement must leave."""
        return self.ack_now or self.ack_at <= now

    @property
    def selective(self) -> bool:
        """Whether the next acknowledgement has something to say beyond a number."""
        return bool(self._blocks) or self._dsack is not None

    def blocks(self) -> list[tuple[int, int]]:
        """The SACK blocks to send now; a DSACK is told once."""
        if self._dsack is None:
            return self._blocks[:BLOCKS]
        told = [self._dsack, *self._blocks[: BLOCKS - 1]]
        self._dsack = None
        return told

    def acknowledged(self) -> None:
        """An acknowledgement up to `next` is leaving."""
        self._acked = self.next
        self.ack_now = False
        self.ack_at = NEVER
        self._compressed = 0
        if self._quick:
            self._quick -= 1

    def _duplicate(self, start: int, end: int) -> None:
        self._dsack = (start, end)
        self._quick = max(self._quick, QUICK)
        self.ack_now = True

    def _out_of_order(self, start: int, end: int, now: float) -> None:
        new = self._ahead.add(start, end - 1)
        if not new:
            self._duplicate(start, end)
        left, right = start, end
        others = []
        for block in self._blocks:  # forgotten blocks are not looked up, nor does Linux
            if block[0] <= right and left <= block[1]:
                left, right = min(left, block[0]), max(right, block[1])
            else:
                others.append(block)
        self._blocks = [(left, right), *others[: REMEMBERED - 1]]
        self._compress(now)

    def _close_gap(self, end: int) -> None:
        ahead = self._ahead
        last = ahead.end_of(end)
        if last is not None:
            self.next = last + 1
        ahead.drop_below(self.next)
        if self._blocks:
            reached = self.next
            self._blocks = [each for each in self._blocks if each[1] > reached]
        if not ahead:
            self.ack_now = True

    def _schedule(self, pushed: bool, now: float) -> None:
        """Bytes have come in order: decide when to say so."""
        if now - self._last > DELAY * 5:
            self._quick = max(self._quick, QUICK)
        self._last = now
        if pushed or self._quick or self.next - self._acked > self._mss:
            self.ack_now = True
        elif self._ahead:
            self._compress(now)
        else:
            self.ack_at = min(self.ack_at, now + DELAY)

    def _compress(self, now: float) -> None:
        if self._prompt_at != self.next:
            self._prompt_at = self.next
            self._prompt = 0
        if self._prompt < PROMPT_DUPLICATES or self._compressed >= COMPRESSED:
            self._prompt += 1
            self.ack_now = True
            return
        self._compressed += 1
        wait = min(COMPRESSION, self.round_trip / 20) if self.round_trip else COMPRESSION
        self.ack_at = min(self.ack_at, now + wait)
