"""What a direction of a link could have carried: the measure that every result is stated against.

Capacity is the bottleneck's, less what nobody could have used: outages, what a policer would drop, and
what a `Background` took, which gives way to nobody. What is lost behind the bottleneck counts, because
it passed it; so does what a scenario's rival takes, whose packets are those of any host to the link and
which would give way. Background bytes are known in the ledger's whole bins, each of which belongs to the
window that contains its start; windows of whole bins are therefore exact.
"""

from __future__ import annotations

from bench.links.ledger import BIN, Ledger
from bench.links.rates import BITS, SECOND, Bottleneck, bottleneck, nanoseconds
from bench.links.shape import Outages, Shape

HOUR = 3600 * SECOND


def capacity(shape: Shape, ledger: Ledger, start: int, end: int) -> int:
    """Bytes a direction could have carried from `start` to `end` (ns)."""
    return _between(bottleneck(shape.rate), shape, ledger, start, end)


def timeline(shape: Shape, ledger: Ledger, start: int, end: int, step: int = BIN) -> list[int]:
    """The capacity (bytes) of every `step` (ns) from `start` to `end`; the last may be shorter."""
    passage = bottleneck(shape.rate)
    return [
        _between(passage, shape, ledger, low, min(low + step, end))
        for low in range(start, end, step)
    ]


def mean_rate(shape: Shape) -> float:
    """What a direction carries in the long run, in bit/s: its capacity over the first hour."""
    rate = capacity(shape, Ledger(), 0, HOUR) * BITS / HOUR
    others = shape.background
    if others is not None:
        share = 1.0
        if others.on is not None and others.off is not None:
            share = others.on / (others.on + others.off)
        rate = max(0.0, rate - others.rate * share)
    return rate


def _between(passage: Bottleneck, shape: Shape, ledger: Ledger, start: int, end: int) -> int:
    live = _live(shape.outages, start, end)
    total = sum(passage.capacity(low, high) for low, high in live)
    total -= sum(ledger.foreign[-(-start // BIN) : -(-end // BIN)])
    if shape.policer is not None:
        allowed = sum(high - low for low, high in live) * round(shape.policer.rate) // BITS
        total = min(total, allowed)
    return max(0, total)


def _live(outages: Outages | None, start: int, end: int) -> list[tuple[int, int]]:
    """The parts of a window in which the link is not out."""
    if outages is None:
        return [(start, end)]
    live = []
    period = nanoseconds(outages.period) if outages.period is not None else end + 1
    base = start // period * period
    while base < end:
        for window in outages.windows:
            low, high = (base + nanoseconds(time) for time in window)
            if high > start and start < end:
                if low > start:
                    live.append((start, min(low, end)))
                start = max(start, high)
        base += period
    if start < end:
        live.append((start, end))
    return live
