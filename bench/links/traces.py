"""Traces of capacity in mahimahi's format: reading, writing, and the figures that describe one.

A file has one line for every opportunity to deliver 1,504 bytes: the time in whole milliseconds from
the start, never falling; lines repeat when there are several in one millisecond. The recording ends
with its last opportunity and repeats from there.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.links.shape import OPPORTUNITY, Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "MPBOND_TRACES"
"""The environment variable that names the directory of recorded traces."""
BESIDE = Path(__file__).resolve().parents[3] / "shared" / "traces"
"""Where they are looked for otherwise: beside the repository."""

DIGITS = 12
"""What a time may have; 30 years of milliseconds are enough."""


def directory() -> Path:
    """The directory in which recorded traces are looked for; it need not exist."""
    return Path(os.environ.get(VARIABLE) or BESIDE)


def read(path: Path, *, offset: float = 0.0, scale: float = 1.0) -> Trace:
    """Read a trace; raise BenchError with file and line when it is none."""
    try:
        lines = path.read_text("ascii", errors="replace").splitlines()
    except OSError as error:
        raise BenchError(f"cannot read the trace {path}: {error.strerror}") from error
    fault = _fault(path, lines)
    if fault is not None:
        raise BenchError(fault)
    times = tuple(map(int, lines))
    if times[-1] == 0:
        raise BenchError(f"{path}:{len(lines)}: the last opportunity of a trace comes after 0 ms")
    return Trace(times, name=path.name, offset=offset, scale=scale)


def _fault(path: Path, lines: Sequence[str]) -> str | None:
    """Say what is wrong with the first bad line, if any is."""
    if not lines:
        return f"{path}: a trace has a line with a time in milliseconds for every opportunity"
    last = 0
    for number, line in enumerate(lines, 1):
        if not line.isdigit() or not line.isascii() or len(line) > DIGITS:
            return f"{path}:{number}: expected a time in whole milliseconds, not {line[:40]!r}"
        time = int(line)
        if time < last:
            return f"{path}:{number}: times never fall, but {time} comes after {last}"
        last = time
    return None


def write(path: Path, times: Sequence[int]) -> None:
    """Write opportunities (ms) as a trace."""
    try:
        path.write_text("".join(f"{time}\n" for time in times), "ascii")
    except OSError as error:
        raise BenchError(f"cannot write the trace {path}: {error.strerror}") from error


@dataclasses.dataclass(frozen=True, slots=True)
class Statistics:
    """What a trace is like: its length and longest gap in seconds, its rates in bit/s."""

    length: float
    mean: float
    p5: float
    """The rate that 5 % of its whole seconds do not exceed."""
    p50: float
    p95: float
    longest_gap: float


def statistics(times: Sequence[int]) -> Statistics:
    """Describe a trace by its opportunities (ms)."""
    length = times[-1] / 1000
    seconds = [0] * max(1, times[-1] // 1000)
    for time in times:
        if time < 1000 * len(seconds):
            seconds[time // 1000] += OPPORTUNITY * 8
    seconds.sort()

    def quantile(share: float) -> float:
        return float(seconds[min(int(share * len(seconds)), len(seconds) - 1)])

    gaps = (b - a for a, b in itertools.pairwise((0, *times)))
    return Statistics(
        length=length,
        mean=len(times) * OPPORTUNITY * 8 / length,
        p5=quantile(0.05),
        p50=quantile(0.5),
        p95=quantile(0.95),
        longest_gap=max(gaps) / 1000,
    )
