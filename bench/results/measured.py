"""Puts a result together from the links' books and from what the applications saw.

Both clocks end a measurement with the same things: the specs of the links, their ledgers, and the
figures of the applications. What they could have carried, shares of it, and quantiles are computed
here and nowhere else, so that "efficiency" is the same word in simulator and namespaces.

The capacity offered is that of all links in the window, by `bench.links.capacity`, less the time a link was
pulled. Efficiency is goodput over that, whatever a system did with the links.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

from bench.links.capacity import capacity, timeline
from bench.links.ledger import BIN, COUNTERS, Ledger
from bench.links.rates import nanoseconds
from bench.results.provenance import machine, now, versions
from bench.results.record import Lateness, Pages, Quantiles, Result, Timeline, Tunnel, Udp, Voice
from bench.voice import mean_opinion
from bench.workloads import VOICE_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.links.shape import LinkSpec, Shape
    from bench.workloads import Workload

DIRECTIONS = ("down", "up")
T = TypeVar("T")


@dataclasses.dataclass(slots=True, kw_only=True)
class VoiceFigures:
    """A call, by packet in the order of sending: delays in seconds, None for a lost one."""

    sent: int
    up: list[float | None]
    down: list[float | None]
    round_trips: list[float | None]


@dataclasses.dataclass(slots=True, kw_only=True)
class AppFigures:
    """What the applications of a workload saw within the window."""

    received: Mapping[str, int | None]
    """Bytes of payload by direction, None where nothing was sent."""
    goodput_timeline: Mapping[str, list[int] | None] = dataclasses.field(default_factory=dict)
    """The same by 100 ms from the beginning of the window."""
    flows: list[int] = dataclasses.field(default_factory=list)
    retransmits: int | None = None
    longest_stall: float | None = None
    alive: bool | None = None
    voice: VoiceFigures | None = None
    pages: list[float] | None = None
    """Seconds that each page took."""
    pages_failed: int = 0
    udp: Mapping[str, int] | None = None
    """sent, lost, reordered: packets."""
    tunnel: Tunnel | None = None
    boxes: list[int] = dataclasses.field(default_factory=list)
    """Bytes by client box, where there are several."""


def measured(
    *,
    clock: str,
    scenario: str,
    system: str,
    workload: Workload,
    seed: int,
    seconds: float,
    window: tuple[float, float],
    specs: Sequence[LinkSpec],
    ledgers: Sequence[Mapping[str, Ledger]],
    app: AppFigures,
    repetition: int = 0,
    link: int | None = None,
    absences: Sequence[tuple[int, float, float]] = (),
    cpu: Mapping[str, float] | None = None,
    lateness: Lateness | None = None,
    wall: float | None = None,
    valid: bool = True,
    reason: str | None = None,
    started: str | None = None,
) -> Result:
    """Return the result of a measurement.

    `window` (s) and `absences` (link, from, to: when a link was pulled or silent) are on the links' clock;
    `ledgers` has "down" and "up" for each of `specs`; `link` is the one link that a system used, None
    for all; `cpu` are seconds by process. `reason` says why a result is not valid.
    """
    offers = _offers(specs, ledgers, absences)
    start, end = (nanoseconds(time) for time in window)
    by_link = {
        direction: [offer.bytes(start, end) for offer in offers[direction]]
        for direction in DIRECTIONS
    }
    received = {direction: app.received.get(direction) for direction in DIRECTIONS}
    goodput = {
        direction: None if count is None else count * 8 / (window[1] - window[0])
        for direction, count in received.items()
    }
    total = sum(count or 0 for count in received.values())
    return Result(
        clock=clock,
        scenario=scenario,
        system=system,
        workload=workload.name,
        seed=seed,
        repetition=repetition,
        seconds=seconds,
        started=started or now(),
        versions=versions(),
        machine=machine(),
        window=window,
        link=link,
        capacity={direction: sum(parts) for direction, parts in by_link.items()},
        capacity_by_link=by_link,
        goodput=goodput,
        efficiency={way: _share(received[way], sum(by_link[way])) for way in DIRECTIONS},
        efficiency_of_link=(
            None
            if link is None
            else {way: _share(received[way], by_link[way][link]) for way in DIRECTIONS}
        ),
        **_told(app),
        cpu=dict(cpu or {}),
        cpu_per_gb={name: used / total * 1e9 for name, used in (cpu or {}).items() if total},
        links=[
            {direction: _books(ledger[direction]) for direction in DIRECTIONS} for ledger in ledgers
        ],
        timeline=_timeline(window, offers, app),
        lateness=lateness,
        wall=wall,
        valid=valid,
        reason=reason,
    )


def _told(app: AppFigures) -> dict[str, Any]:
    """Return the fields of a result that applications know by themselves."""
    return {
        "flows": app.flows,
        "retransmits": app.retransmits,
        "longest_stall": app.longest_stall,
        "alive": app.alive,
        "voice": call(app.voice) if app.voice is not None else None,
        "pages": _pages(app.pages, app.pages_failed) if app.pages is not None else None,
        "udp": Udp(**app.udp) if app.udp is not None else None,
        "tunnel": app.tunnel,
        "boxes": app.boxes,
    }


def failed(
    *,
    clock: str,
    scenario: str,
    system: str,
    workload: str,
    seed: int,
    repetition: int,
    seconds: float,
    reason: str,
    wall: float | None = None,
) -> Result:
    """Return the record of a measurement that did not come to its end."""
    return Result(
        clock=clock,
        scenario=scenario,
        system=system,
        workload=workload,
        seed=seed,
        repetition=repetition,
        seconds=seconds,
        started=now(),
        versions=versions(),
        machine=machine(),
        wall=wall,
        valid=False,
        reason=reason,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """What one direction of a link could have carried; `absent` (ns) is when it was away."""

    shape: Shape
    ledger: Ledger
    absent: Sequence[tuple[int, int]] = ()

    def bytes(self, start: int, end: int) -> int:
        """Return the bytes from `start` to `end` (ns)."""
        total = capacity(self.shape, self.ledger, start, end)
        for low, high in self.absent:
            if max(low, start) < min(high, end):
                total -= capacity(self.shape, self.ledger, max(low, start), min(high, end))
        return max(0, total)

    def bins(self, start: int, end: int) -> list[int]:
        """Return the bytes of every bin from `start` to `end` (ns)."""
        series = timeline(self.shape, self.ledger, start, end)
        for number, begin in enumerate(range(start, end, BIN)):
            if any(low < begin + BIN and begin < high for low, high in self.absent):
                series[number] = self.bytes(begin, begin + BIN)
        return series


def _offers(
    specs: Sequence[LinkSpec],
    ledgers: Sequence[Mapping[str, Ledger]],
    absences: Sequence[tuple[int, float, float]],
) -> dict[str, list[Offer]]:
    return {
        direction: [
            Offer(getattr(spec, direction), books[direction], _absent(absences, number))
            for number, (spec, books) in enumerate(zip(specs, ledgers, strict=True))
        ]
        for direction in DIRECTIONS
    }


def call(figures: VoiceFigures) -> Voice:
    """Return how a call fared."""
    up, down = mean_opinion(figures.up), mean_opinion(figures.down)
    scores = [one for one in (up, down) if one is not None]
    back = sorted(one for one in figures.round_trips if one is not None)
    return Voice(
        sent=figures.sent,
        lost_up=_lost(figures.up),
        lost_down=_lost(figures.down),
        lost_round_trip=_lost(figures.round_trips),
        delay_up=quantiles(figures.up),
        delay_down=quantiles(figures.down),
        round_trip=quantiles(figures.round_trips),
        later_than_150=max(_later(figures.up, 0.150), _later(figures.down, 0.150)),
        later_than_300=max(_later(figures.up, 0.300), _later(figures.down, 0.300)),
        mos_up=up,
        mos_down=down,
        mos=min(scores) if scores else None,
        longest_gap=max(_gap(figures.up), _gap(figures.down)),
        cdf={"round_trip": [round(quantile(back, n / 100), 6) for n in range(101)] if back else []},
    )


def _rounded(time: float | None) -> float | None:
    return None if time is None else round(time, 6)


def quantile(ordered: Sequence[T], share: float) -> T:
    """Return the smallest of some ordered values that `share` of them do not exceed."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def quantiles(times: Sequence[float | None]) -> Quantiles:
    """Return the quantiles of all, where None is later than anything: a quantile of lost ones is None.

    `max` is that of the ones that came.
    """
    came = sorted(time for time in times if time is not None)
    ordered = [*came, *(None for _ in range(len(times) - len(came)))]
    if not came:
        return Quantiles(p50=None, p95=None, p99=None, max=None)
    p50, p95, p99 = (_rounded(quantile(ordered, share)) for share in (0.5, 0.95, 0.99))
    return Quantiles(p50=p50, p95=p95, p99=p99, max=_rounded(came[-1]))


def _absent(absences: Sequence[tuple[int, float, float]], number: int) -> list[tuple[int, int]]:
    return [
        (nanoseconds(start), nanoseconds(end)) for link, start, end in absences if link == number
    ]


def _share(count: int | None, of: int) -> float | None:
    return None if count is None or not of else count / of


def _books(ledger: Ledger) -> dict[str, Any]:
    return {
        **{name: getattr(ledger, name) for name in COUNTERS},
        "wait_p50": ledger.wait_quantile(0.5),
        "wait_p95": ledger.wait_quantile(0.95),
    }


def _pages(times: list[float], failed: int) -> Pages:
    spread = quantiles(times)
    return Pages(
        count=len(times),
        failed=failed,
        p50=spread.p50,
        p95=spread.p95,
        mean=sum(times) / len(times) if times else None,
    )


def _lost(delays: Sequence[float | None]) -> float:
    return delays.count(None) / len(delays) if delays else 0.0


def _later(delays: Sequence[float | None], limit: float) -> float:
    if not delays:
        return 0.0
    return sum(delay is None or delay > limit for delay in delays) / len(delays)


def _gap(delays: Sequence[float | None]) -> float:
    """Return the longest time between two arrivals, the call's end counting as one."""
    times = sorted(
        number * VOICE_INTERVAL + delay for number, delay in enumerate(delays) if delay is not None
    )
    end = len(delays) * VOICE_INTERVAL
    if not times:
        return end
    times.append(max(end, times[-1]))
    return max(later - earlier for earlier, later in zip([0.0, *times], times, strict=False))


def _timeline(
    window: tuple[float, float], offers: Mapping[str, list[Offer]], app: AppFigures
) -> Timeline:
    first, last = (round(nanoseconds(time) / BIN) for time in window)

    def of(series: Sequence[int]) -> list[int]:
        part = list(series[first:last])
        return part + [0] * (last - first - len(part))

    def carried(way: str) -> list[list[int]]:
        return [of(offer.ledger.used) for offer in offers[way]]

    def offered(way: str) -> list[list[int]]:
        return [offer.bins(first * BIN, last * BIN) for offer in offers[way]]

    def wait(way: str) -> list[list[float]]:
        return [
            [round(time / 1e9, 4) for time in of(offer.ledger.longest)] for offer in offers[way]
        ]

    return Timeline(
        step=BIN / 1e9,
        start=first * BIN / 1e9,
        down=carried("down"),
        up=carried("up"),
        capacity_down=offered("down"),
        capacity_up=offered("up"),
        wait_down=wait("down"),
        wait_up=wait("up"),
        goodput_down=app.goodput_timeline.get("down"),
        goodput_up=app.goodput_timeline.get("up"),
    )
