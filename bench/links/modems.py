"""Modems made from a seed: traces of capacity like those recorded on LTE and HSPA, and links of them.

Per direction, the rate walks among levels as a Markov chain: it stays at a level for `dwell` seconds on
average and moves to a neighbour, so that each level is as likely as any other. The levels are spread
evenly in the square root, such that the rate is below `low` for 5 % of the time, below `middle` for
half of it and above `high` for 5 %. The base station serves the modem in turns: every `turn` ms on
average (drawn exponentially), the bytes that have gathered pass at once.

Two things befall both directions of a modem together, each after an exponential time. A stall passes
nothing for 0.2 s up to `longest` s; short ones are more frequent, twice the length half as likely (what
radio that is lost and found again looks like in the recordings). A spike lasts 2 to 8 s in which some
50 kB/s pass at most, in drips up to a second apart, so that a round trip takes up to 2 s. Whoever keeps
sending finds a deep queue on top: `queue_down` and `queue_up` bytes.

    python -m bench trace compare                              # recorded and generated side by side
    python -m bench trace write umts down umts.down --seed 7   # a trace of the preset with seed 7

The presets are fitted to the recordings of the same name by their 5th, 50th and 95th percentile of the
rate per second and the gaps that are longer than 0.2, 0.5 and 1 s; `hspa` is a stick that does not move.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
import zlib

from bench.errors import BenchError
from bench.links import traces
from bench.links.draws import Draws, seed_of
from bench.links.shape import OPPORTUNITY, LinkSpec, Shape, Trace
from bench.links.traces import Statistics

LEVELS = 8
SHORTEST_STALL = 0.2
CRAWL = 400_000.0
"""Bit/s that pass in a spike at most."""
SEEDS = range(1, 10)
"""Of the traces that stand for a modem in comparisons."""
LENGTH = 180.0
"""Seconds of a generated trace."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Radio:
    """How one direction of a modem is served: rates in bit/s, `dwell` in s, `turn` in ms."""

    low: float
    middle: float
    high: float
    dwell: float
    turn: float

    def levels(self) -> list[float]:
        """The rates among which the chain walks."""
        points = [(0.05, self.low), (0.5, self.middle), (0.95, self.high)]
        return [_spread((place + 0.5) / LEVELS, points) for place in range(LEVELS)]


def _spread(share: float, points: list[tuple[float, float]]) -> float:
    """Go through points in the square root of the rate, straight on beyond the outer ones."""
    (x0, y0), (x1, y1) = points[:2] if share < points[1][0] else points[1:]
    return (math.sqrt(y0) + (share - x0) / (x1 - x0) * (math.sqrt(y1) - math.sqrt(y0))) ** 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Modem:
    """A modem: both directions, what befalls it, and the queues in front of it."""

    name: str
    down: Radio
    up: Radio
    stalls: float
    """Seconds from one stall to the next, on average."""
    longest: float
    """Seconds of the longest stall there can be."""
    spikes: float | None
    """Seconds from one spike to the next, on average; None for none."""
    round_trip: float
    """Seconds of a round trip through empty queues."""
    queue_down: int
    queue_up: int
    recording: str | None = None
    """The recording that the modem is like, without its ending."""

    def generated(self, seed: int) -> LinkSpec:
        """A link of this kind."""
        return self._link(self.trace("down", seed), self.trace("up", seed))

    def recorded(self) -> LinkSpec:
        """The link of the recording; raise BenchError when it is not there."""
        directory = traces.directory()
        return self._link(
            traces.read(directory / f"{self.recording}.down"),
            traces.read(directory / f"{self.recording}.up"),
        )

    def trace(self, direction: str, seed: int, length: float = LENGTH) -> Trace:
        """A trace of one direction, "down" or "up", that ends after `length` s or little earlier."""
        if not 0 < length < math.inf:
            raise BenchError(f"a trace is longer than 0 s, and not endless; {length:g} s are not")
        times = opportunities(self, direction, seed, length)
        if not times or not times[-1]:
            raise BenchError(
                f"nothing passes a modem {self.name} in {length:g} s; a second is enough"
            )
        return Trace(times, name=f"{self.name}-{seed}.{direction}")

    def _link(self, down: Trace, up: Trace) -> LinkSpec:
        delay = self.round_trip / 2
        return LinkSpec(
            down=Shape(rate=down, queue=None, queue_bytes=self.queue_down, delay=delay),
            up=Shape(rate=up, queue=None, queue_bytes=self.queue_up, delay=delay),
        )


class Chance:
    """Draws as the distributions that modems need."""

    def __init__(self, seed: int) -> None:
        self._draws = Draws(seed)

    def share(self) -> float:
        """Uniform, from 0 to below 1."""
        return (self._draws.next() >> 11) / (1 << 53)

    def after(self, mean: float) -> float:
        """The time until something that happens at any moment with equal chance."""
        return -mean * math.log(1.0 - self.share())


@dataclasses.dataclass(frozen=True, slots=True)
class Mishap:
    """From `start` to `end` (s) a modem stalls, or only drips."""

    start: float
    end: float
    drips: bool


def mishaps(modem: Modem, seed: int, length: float) -> list[Mishap]:
    """Draw the stalls and spikes of a modem, in order and apart."""
    chance = Chance(_seed(modem, seed))
    never = math.inf
    stall = chance.after(modem.stalls)
    spike = never if modem.spikes is None else chance.after(modem.spikes)
    found: list[Mishap] = []
    while min(stall, spike) < length:
        start = min(stall, spike)
        if stall <= spike:
            least = SHORTEST_STALL / modem.longest
            end = start + SHORTEST_STALL / (least + (1 - least) * chance.share())
            found.append(Mishap(start, end, drips=False))
            stall = end + chance.after(modem.stalls)
            spike = max(spike, end)
        else:
            end = start + 2 + 6 * chance.share()
            found.append(Mishap(start, end, drips=True))
            spike = end + chance.after(modem.spikes or never)
            stall = max(stall, end)
    return found


def _seed(modem: Modem, seed: int) -> int:
    """Sets modems of one seed apart, which would stall together otherwise."""
    return seed ^ zlib.crc32(modem.name.encode()) << 32


@functools.lru_cache(maxsize=16)
def opportunities(modem: Modem, direction: str, seed: int, length: float) -> tuple[int, ...]:
    """Generate the delivery opportunities (ms) of one direction of a modem."""
    radio: Radio = getattr(modem, direction)
    chance = Chance(seed_of(_seed(modem, seed), 0, direction))
    ahead = mishaps(modem, seed, length)[::-1]
    levels = radio.levels()
    level = int(chance.share() * LEVELS)
    move = chance.after(radio.dwell)
    time = gathered = 0.0
    times: list[int] = []
    while True:
        while ahead and ahead[-1].end <= time:
            ahead.pop()
        gap, rate = chance.after(radio.turn / 1000), levels[level]
        if ahead and time + gap > ahead[-1].start:
            if ahead[-1].drips:
                gap, rate = 0.4 + 0.6 * chance.share(), min(rate, CRAWL)
            else:
                gap, rate = ahead[-1].end - time, 0.0
        time += gap
        if time >= length:
            break
        gathered += rate * gap / 8
        count = int(gathered // OPPORTUNITY)
        gathered -= count * OPPORTUNITY
        times += [int(time * 1000)] * count
        while move <= time:
            move += chance.after(radio.dwell)
            step = 1 if chance.share() < 0.5 else -1
            level = min(max(level + step, 0), LEVELS - 1)
    return tuple(times)


PRESETS = {
    modem.name: modem
    for modem in (
        Modem(
            name="att",
            recording="ATT-LTE-driving-2016",
            down=Radio(low=0.52e6, middle=4.0e6, high=12.1e6, dwell=0.25, turn=2.5),
            up=Radio(low=0.02e6, middle=1.75e6, high=5.5e6, dwell=0.3, turn=5),
            stalls=9,
            longest=4.0,
            spikes=None,
            round_trip=0.050,
            queue_down=1_000_000,
            queue_up=500_000,
        ),
        Modem(
            name="tmobile",
            recording="TMobile-LTE-short",
            down=Radio(low=3.8e6, middle=14.5e6, high=39.5e6, dwell=0.35, turn=2.5),
            up=Radio(low=2.3e6, middle=12.8e6, high=28.5e6, dwell=1.2, turn=1.6),
            stalls=22,
            longest=1.5,
            spikes=None,
            round_trip=0.050,
            queue_down=4_000_000,
            queue_up=2_000_000,
        ),
        Modem(
            name="umts",
            recording="TMobile-UMTS-driving",
            down=Radio(low=0.01e6, middle=1.9e6, high=5.6e6, dwell=0.7, turn=6.5),
            up=Radio(low=0.055e6, middle=1.35e6, high=1.46e6, dwell=0.8, turn=9.5),
            stalls=10,
            longest=8.0,
            spikes=120,
            round_trip=0.090,
            queue_down=500_000,
            queue_up=250_000,
        ),
        Modem(
            name="verizon",
            recording="Verizon-LTE-short",
            down=Radio(low=1.03e6, middle=4.1e6, high=11.6e6, dwell=0.6, turn=2.6),
            up=Radio(low=1.1e6, middle=6.4e6, high=11.9e6, dwell=0.5, turn=2.6),
            stalls=35,
            longest=3.0,
            spikes=None,
            round_trip=0.060,
            queue_down=1_250_000,
            queue_up=1_000_000,
        ),
        Modem(
            name="hspa",
            down=Radio(low=2.5e6, middle=5.5e6, high=6.5e6, dwell=2, turn=6),
            up=Radio(low=0.3e6, middle=0.5e6, high=0.55e6, dwell=2, turn=10),
            stalls=60,
            longest=2.0,
            spikes=120,
            round_trip=0.065,
            queue_down=400_000,
            queue_up=64_000,
        ),
    )
}
"""Modems by name. The first four are like the recordings they name, `hspa` is a stick that stays put.

Round trips and queues are not in the recordings: 50 to 60 ms on LTE and 90 on UMTS while nothing is
queued, and some 2 s at the mean rate, as measured behind base stations. `hspa` holds 0.4 MB for the
modem (half a second at 6 Mbit/s) and a second of its uplink.
"""

DRIVES = tuple(modem for modem in PRESETS.values() if modem.recording is not None)


def comparison_table() -> str:
    """Recorded and generated traces in Markdown: a recording if it is there, and what is like it.

    The figures of generated ones are medians over several seeds.
    """
    lines = [
        "| trace | | length | mean Mbit/s | p5 / p50 / p95 per second | longest gap |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for modem in PRESETS.values():
        for direction in ("down", "up"):
            path = traces.directory() / f"{modem.recording}.{direction}"
            if path.is_file():
                what = traces.statistics(traces.read(path).times)
                lines.append(_row(path.name, "recorded", what))
            lines.append(
                _row(f"`{modem.name}` {direction}", "generated", typical(modem, direction))
            )
    return "\n".join(lines) + "\n"


def typical(modem: Modem, direction: str) -> Statistics:
    """What traces of a modem are like: the median of every figure over several seeds."""
    drawn = [traces.statistics(modem.trace(direction, seed).times) for seed in SEEDS]
    return Statistics(
        *(
            statistics.median(figures)
            for figures in zip(*map(dataclasses.astuple, drawn), strict=True)
        )
    )


def _row(name: str, kind: str, what: Statistics) -> str:
    rates = " / ".join(f"{rate / 1e6:.2f}" for rate in (what.p5, what.p50, what.p95))
    return (
        f"| {name} | {kind} | {what.length:.0f} s | {what.mean / 1e6:.2f} | {rates} |"
        f" {what.longest_gap:.1f} s |"
    )
