"""Measures items: nanoseconds per packet, medians of repetitions.

What needs nothing before each call is called in a tight loop, and timed by the processor time of the
process, which other programs do not disturb. Of what does, each call is timed by itself, and a repetition is
the median of its calls.
"""

from __future__ import annotations

import dataclasses
import gc
import statistics
import time
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.micro.items import Item, Running

CALLS = 20
"""The fewest calls of a repetition."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was found of an item; all None but `skipped` where it could not be measured."""

    item: str
    batch: int
    made: str
    """What was compiled: see bench.micro.makes."""
    nanoseconds: float | None = None
    """For a packet."""
    spread: float | None = None
    """Half of what lies between the smallest and the largest repetition."""
    instructions: float | None = None
    skipped: str | None = None

    def text(self) -> str:
        """Return it as one line."""
        line = f"{self.item:<14} {self.batch:>3}  {self.made:<9}"
        if self.skipped is not None:
            return f"{line} skipped: {self.skipped}"
        line += f" {self.nanoseconds:>9,.0f} ns ±{self.spread:<7,.0f}"
        return line + ("" if self.instructions is None else f" {self.instructions:>10,.0f} instr.")


def measure(
    item: Item, *, repetitions: int, seconds: float, clock: Callable[[], int] | None = None
) -> Figure:
    """Measure an item in repetitions of so many seconds each; `clock` stands in for both clocks."""
    from bench.micro.items import NotThereError

    try:
        running = item.make()
    except NotThereError as error:
        return Figure(item=item.name, batch=item.batch, made=item.made, skipped=str(error))
    calls = _calls(running, seconds, clock or time.perf_counter_ns)
    gc.collect()
    gc.freeze()  # what is there stays: a collection should cost what it costs in a daemon
    try:
        found = [repetition(running, calls, clock) for _ in range(repetitions)]
    finally:
        gc.unfreeze()
    return Figure(
        item=item.name,
        batch=item.batch,
        made=item.made,
        nanoseconds=statistics.median(found),
        spread=(max(found) - min(found)) / 2,
    )


def repetition(running: Running, calls: int, clock: Callable[[], int] | None = None) -> float:
    """Return the nanoseconds for a packet over so many calls."""
    call, before = running.call, running.before
    packets = 0
    if before is None:
        now = clock or time.process_time_ns
        start = now()
        for _ in range(calls):
            packets += call()
        if not packets:
            raise BenchError("nothing was done")
        return (now() - start) / packets
    now = clock or time.perf_counter_ns
    each = []
    for _ in range(calls):
        before()
        start = now()
        done = call()
        took = now() - start
        if done:
            each.append(took / done)
    if not each:
        raise BenchError("nothing was done")
    return statistics.median(each)


def _calls(running: Running, seconds: float, now: Callable[[], int]) -> int:
    """Return how many calls take about so long, what is before them included."""
    call, before = running.call, running.before
    start = now()
    for _ in range(CALLS):
        if before is not None:
            before()
        call()
    took = max(1, now() - start)
    return max(CALLS, int(seconds * 1e9 / took * CALLS))
