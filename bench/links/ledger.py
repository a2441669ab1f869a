"""What a link did and could have done: counters, a timeline, and how long packets stood in its queue.

Bytes are booked in the bin of the time at which they have passed the bottleneck.
"""

from __future__ import annotations

import dataclasses

BIN = 100_000_000
"""Nanoseconds of one bin of the timeline."""
WAIT = 1_000_000
"""Nanoseconds of one step of the histogram of waits."""
WAITS = 16_384
"""Steps of the histogram; the last one has all that is longer."""

COUNTERS = (
    "packets",
    "carried",
    "full",
    "policed",
    "lost",
    "swallowed",
    "oversize",
    "corrupted",
    "duplicated",
)


@dataclasses.dataclass(slots=True)
class Ledger:
    """The books of one direction of a link."""

    packets: int = 0
    """Packets that came."""
    carried: int = 0
    """Bytes that came out behind the link, duplicates counted once."""
    full: int = 0
    """Packets dropped because the queue was full."""
    policed: int = 0
    """Packets the policer dropped."""
    lost: int = 0
    """Packets lost behind the bottleneck."""
    swallowed: int = 0
    """Packets an outage swallowed."""
    oversize: int = 0
    """Packets above the MTU."""
    corrupted: int = 0
    duplicated: int = 0
    used: list[int] = dataclasses.field(default_factory=list)
    """Bytes that passed the bottleneck, by bin; lost ones included, other people's not."""
    foreign: list[int] = dataclasses.field(default_factory=list)
    """Bytes of other people's traffic that passed the bottleneck, by bin."""
    longest: list[int] = dataclasses.field(default_factory=list)
    """The longest wait (ns) of a packet, its transmission included, by bin of its leaving."""
    waits: dict[int, int] = dataclasses.field(default_factory=dict)
    """How many packets waited so many whole milliseconds."""

    def book(self, finish: int, wait: int, size: int) -> None:
        """A packet has passed the bottleneck at `finish` after `wait`."""
        number = finish // BIN
        if number >= len(self.used):
            more = [0] * (number + 1 - len(self.used))
            self.used += more
            self.longest += more
        self.used[number] += size
        if wait > self.longest[number]:
            self.longest[number] = wait
        step = min(wait // WAIT, WAITS - 1)
        self.waits[step] = self.waits.get(step, 0) + 1

    def book_foreign(self, finish: int, size: int) -> None:
        """A packet of other people's has passed the bottleneck."""
        number = finish // BIN
        if number >= len(self.foreign):
            self.foreign += [0] * (number + 1 - len(self.foreign))
        self.foreign[number] += size

    def wait_quantile(self, share: float) -> float:
        """The wait (s) that this share of the packets did not exceed; 0 when there were none."""
        rest = share * sum(self.waits.values())
        for step in sorted(self.waits):
            rest -= self.waits[step]
            if rest <= 0:
                return (step + 1) * WAIT / 1e9
        return 0.0
