"""A long run at full load: is memory flat, are no descriptors lost, and does the loop keep its time?

Eight flows of TCP fill the tunnel while every few seconds the programs are looked at: resident memory and
descriptors from /proc, and the driver's counts of late timers from their status. Memory is flat when its
median over the last quarter exceeds that over the second one by no more than a small share; what a program
allocates while it warms up is no leak.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.fast.tunnels import MPBOND, Tunnel, carrying
from bench.fast.wires import CLIENT, SERVER, Wires
from bench.lab.processes import resident
from bench.lab.traffic import Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FLOWS = 8
GROWTH = 0.02
"""Share by which memory may grow between the second and the last quarter, or SLACK if that is more."""
SLACK = 1 << 20
LATE = 0.005
"""Seconds that 99 % of the driver's timers may be late."""
SHARE_LATE = 0.01
SAMPLES = 8
"""The fewest looks that tell anything."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was seen of one program at one time."""

    time: float
    """Seconds since the load began."""
    memory: int
    """Resident bytes."""
    descriptors: int
    late: tuple[int, ...]
    """How many timers fired, by how late they were; see `bounds` of the status."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of one program."""

    side: str
    first: Sample
    last: Sample
    growth: float
    """Share by which memory grew from the second to the last quarter."""
    flat: bool
    descriptors: bool
    """Whether there are no more of them in the last quarter than in the second, control connections aside:
    those come and go, so the fewest count."""
    share_late: float
    """Of the timers, those more than LATE late."""

    @property
    def good(self) -> bool:
        """Whether nothing grows and the loop keeps its time."""
        return self.flat and self.descriptors and self.share_late <= SHARE_LATE

    def text(self) -> str:
        """Return it as one line."""
        return (
            f"mpbond {self.side}: memory {self.first.memory / 1e6:.1f} to {self.last.memory / 1e6:.1f} MB, "
            f"{self.growth:+.1%} from the second quarter to the last: {'flat' if self.flat else 'NOT flat'}; "
            f"descriptors {self.first.descriptors} to {self.last.descriptors}: "
            f"{'none lost' if self.descriptors else 'LOST'}; "
            f"{self.share_late:.2%} of the timers more than {LATE * 1e3:.0f} ms late: "
            f"{'in time' if self.share_late <= SHARE_LATE else 'LATE'}"
        )


def find(side: str, samples: Sequence[Sample], bounds: Sequence[float]) -> Finding:
    """Judge the samples of one program; `bounds` (s) are those of its counts of late timers."""
    if len(samples) < SAMPLES:
        raise BenchError(f"{len(samples)} looks tell nothing; soak longer")
    quarter = len(samples) // 4
    second, fourth = samples[quarter : 2 * quarter], samples[-quarter:]
    kept = min(one.descriptors for one in fourth) <= min(one.descriptors for one in second)
    before = statistics.median(one.memory for one in second)
    after = statistics.median(one.memory for one in fourth)
    first, last = samples[0], samples[-1]
    fired = [now - then for then, now in zip(first.late, last.late, strict=True)]
    return Finding(
        side=side,
        first=first,
        last=last,
        growth=after / before - 1,
        flat=after - before <= max(SLACK, GROWTH * before),
        descriptors=kept,
        share_late=share_late(fired, bounds),
    )


def share_late(fired: Sequence[int], bounds: Sequence[float]) -> float:
    """Return the share of timers more than LATE late, of so many up to each of the bounds (s) and beyond."""
    within = sum(count for bound, count in zip(bounds, fired, strict=False) if bound <= LATE + 1e-9)
    total = sum(fired)
    return (total - within) / total if total else 0.0


def soak(
    seconds: float, paths: int, say: Callable[[str], None], every: float | None = None
) -> tuple[list[Finding], dict[str, Any]]:
    """Load a tunnel for so long; return what was found, and all samples for keeping."""
    pause = every or max(0.5, min(5.0, seconds / 100))
    samples: dict[str, list[Sample]] = {CLIENT: [], SERVER: []}
    tunnel = Tunnel(MPBOND, paths)
    with Wires(paths) as wires, carrying(wires, tunnel) as carrier:
        running = Transfer(
            wires,
            target=carrier.inner[SERVER],
            client=CLIENT,
            server=SERVER,
            flows=FLOWS,
            congestion="cubic",
            seconds=seconds,
        )
        start = time.monotonic() + 0.3
        running.begin(start)
        looks = max(SAMPLES, int(seconds / pause))
        for look in range(looks):
            time.sleep(max(0.0, start + (look + 1) * seconds / (looks + 1) - time.monotonic()))
            for side, listed in samples.items():
                pid = carrier.processes[f"mpbond {side}"]
                held = descriptors(pid)  # before we ask for one more
                status = wires.status(side)
                listed.append(sample(time.monotonic() - start, pid, held, status))
                bounds = status["loop_lateness"]["le"]
            if look % max(1, looks // 10) == 0:
                told = ", ".join(
                    f"{side} {listed[-1].memory / 1e6:.1f} MB" for side, listed in samples.items()
                )
                say(f"{samples[CLIENT][-1].time:6.0f} s  {told}")
        moved = running.result()
    rate = moved["bytes"] * 8 / seconds
    say(f"{FLOWS} flows of TCP: {rate / 1e6:,.0f} Mbit/s for {seconds:g} s")
    findings = [find(side, listed, bounds) for side, listed in samples.items()]
    kept = {side: [dataclasses.asdict(one) for one in listed] for side, listed in samples.items()}
    return findings, {"seconds": seconds, "rate": rate, "bounds": bounds, "samples": kept}


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def sample(moment: float, pid: int, held: int, status: Mapping[str, Any]) -> Sample:
    """Look at a running program of mpbond that holds so many descriptors."""
    return Sample(
        time=moment,
        memory=resident(pid),
        descriptors=held,
        late=tuple(status["loop_lateness"]["count"]),
    )
