"""The links that systems are measured on, as data: every scenario in a few lines, for both clocks.

`get` makes a scenario by its name; recorded traces are read only then. "fiber_lte.0+article6.3" is one put
together of links of others: the fibre, and the modem with the first spike; "cable_adsl*2" is two boxes with
such links each. Times of spikes and steps are on
the links' clock, on which traffic starts at 1 s: within any 30 s some of them occur. Rates are Mbit/s
of IP packets, times of `wire` are round trips, half of them each way. Every `queue` says why it is as
long as it is; where nothing is said it is 100 ms, what home routers and DSL lines have.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from bench.errors import BenchError, unknown
from bench.links import modems, traces
from bench.links.draws import Draws
from bench.links.shape import (
    Constant,
    LinkSpec,
    Outages,
    Policer,
    Profile,
    RandomLoss,
    Shape,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MEGA = 1_000_000
DRIVE = 9
"""The seed of generated drives, which is part of the scenario: of 16, the one most like the recordings."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Some links, and what else goes on there."""

    name: str
    title: str
    links: tuple[LinkSpec, ...]
    rival: int | None = None
    """The link that somebody else's endless CUBIC download shares; it counts as capacity."""
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A scenario that has not been made yet."""

    title: str
    make: Callable[[], tuple[LinkSpec, ...]]
    rival: int | None = None
    note: str = ""


SCENARIOS: dict[str, Entry] = {}
"""All there are, in the order in which people want to see them."""


def get(name: str) -> Scenario:
    """Make a scenario; raise BenchError when there is none of that name, or its traces are missing."""
    if name.endswith(TWICE):
        return _in_two_boxes(name)
    if JOINT in name or PLACE in name:
        return _composed(name)
    entry = SCENARIOS.get(name)
    if entry is None:
        raise unknown("scenario", name, SCENARIOS)
    return Scenario(
        name=name, title=entry.title, links=entry.make(), rival=entry.rival, note=entry.note
    )


JOINT, PLACE, TWICE = "+", ".", "*2"


def _in_two_boxes(name: str) -> Scenario:
    """Make a scenario of two boxes, each with links of its own like those of another one."""
    own = get(name.removesuffix(TWICE)).links
    further = tuple(dataclasses.replace(link, client=1) for link in own)
    return Scenario(name=name, title=f"two boxes, each with {name}", links=own + further)


def _composed(name: str) -> Scenario:
    """Make a scenario of links of others, named "SCENARIO.NUMBER+SCENARIO.NUMBER…"."""
    links = []
    for part in name.split(JOINT):
        whole, _, number = part.partition(PLACE)
        found = get(whole).links
        if not (number.isascii() and number.isdigit() and int(number) < len(found)):
            raise BenchError(
                f"{part!r} names no link of {whole}; write {whole}.0 to {whole}.{len(found) - 1}"
            )
        links.append(found[int(number)])
    return Scenario(name=name, title=" and ".join(name.split(JOINT)), links=tuple(links))


def scenario(
    title: str, *, name: str | None = None, rival: int | None = None, note: str = ""
) -> Callable[[Callable[[], tuple[LinkSpec, ...]]], Callable[[], tuple[LinkSpec, ...]]]:
    """Enter the function that makes the links of a scenario, by its own name if no other is given."""

    def enter(make: Callable[[], tuple[LinkSpec, ...]]) -> Callable[[], tuple[LinkSpec, ...]]:
        SCENARIOS[name or make.__name__] = Entry(title, make, rival, note)
        return make

    return enter


def wire(
    down: float,
    up: float,
    round_trip: float,
    *,
    queue: float = 100,
    queue_up: float | None = None,
    loss: float = 0.0,
    jitter: float = 0.0,
    reorder: bool = False,
) -> LinkSpec:
    """A steady link: rates in Mbit/s, times in ms, loss in percent of the packets each way.

    `jitter` is how far the round trip varies each way, half of it in each direction.
    """

    def shape(rate: float, queue: float) -> Shape:
        return Shape(
            rate=Constant(rate * MEGA),
            queue=queue / 1000,
            delay=round_trip / 2000,
            jitter=jitter / 2000,
            reorder=reorder,
            loss=RandomLoss(loss / 100) if loss else None,
        )

    return LinkSpec(down=shape(down, queue), up=shape(up, queue if queue_up is None else queue_up))


@scenario("4 × 8 Mbit/s both ways, 20 ms")
def equal4() -> tuple[LinkSpec, ...]:
    return (wire(8, 8, 20),) * 4


HSPA_QUEUE = 150_000
"""Bytes that wait for an HSPA modem: 0.2 s at 6 Mbit/s, 2.4 s when it falls to 0.5."""
HSPA_QUEUE_UP = 64_000
"""Bytes an HSPA modem holds: a second of 0.5 Mbit/s."""
MINUTES = 120.0


def hspa(number: int, base: float, span: float, round_trip: float, spike: float | None) -> LinkSpec:
    """A modem that wanders by steps of 2 s within `base` ± `span` Mbit/s.

    From `spike` (s) on, every two minutes, it has 8 s of 0.5 Mbit/s and a round trip of 2 s.
    """
    draws = Draws(number)

    def rate() -> float:
        return MEGA * (base - span + 2 * span * (draws.next() >> 11) / (1 << 53))

    rates = [rate() for _ in range(round(MINUTES / 2))]
    down = {2.0 * place: Step(2.0 * place, rate) for place, rate in enumerate(rates)}
    up = {0.0: Step(0.0, 0.5 * MEGA)}
    if spike is not None:
        extra = (2000 - round_trip) / 2000
        end = spike + 8
        inside = [time for time in down if spike <= time < end]
        after = dataclasses.replace(down[max(time for time in down if time <= end)], time=end)
        for time in inside:
            del down[time]
        down |= {spike: Step(spike, 0.5 * MEGA, extra), end: after}
        up |= {spike: Step(spike, 0.5 * MEGA, extra), end: Step(end, 0.5 * MEGA)}

    def shape(steps: dict[float, Step], queue_bytes: int) -> Shape:
        profile = Profile(tuple(steps[time] for time in sorted(steps)), period=MINUTES)
        return Shape(rate=profile, queue=None, queue_bytes=queue_bytes, delay=round_trip / 2000)

    return LinkSpec(down=shape(down, HSPA_QUEUE), up=shape(up, HSPA_QUEUE_UP))


def six_modems(*, spikes: bool) -> tuple[LinkSpec, ...]:
    """Three near 6 Mbit/s, three between 2 and 5; a spike begins somewhere every 20 s, first at 5 s.

    It befalls a wandering link first, so that the best one is calm in the first 25 s: short runs show
    what a spike elsewhere does, longer ones also one of its own.
    """
    modems_ = ((6.2, 0.2, 60), (6.0, 0.2, 62), (5.8, 0.2, 64))
    wandering = ((3.5, 1.5, 66), (3.5, 1.5, 68), (3.5, 1.5, 70))
    order = (1, 3, 5, 0, 2, 4)  # neighbours in time are a fast link and a wandering one
    return tuple(
        hspa(number, *modem, 5.0 + 20 * order[number] if spikes else None)
        for number, modem in enumerate(modems_ + wandering)
    )


@scenario("six HSPA modems with 8 s spikes to 2 s, three near 6 Mbit/s, three at 2 to 5; up 0.5")
def article6() -> tuple[LinkSpec, ...]:
    return six_modems(spikes=True)


@scenario("the same six modems without the spikes")
def article6_calm() -> tuple[LinkSpec, ...]:
    return six_modems(spikes=False)


@scenario("cable 30/5 at 20 ms and ADSL 20/1 at 40 ms")
def cable_adsl() -> tuple[LinkSpec, ...]:
    # A cable modem holds 250 ms of its own uplink, an ADSL modem 64 kB of it; networks hold less.
    return wire(30, 5, 20, queue=150, queue_up=250), wire(20, 1, 40, queue=150, queue_up=500)


@scenario("fibre 100/50 at 8 ms and LTE 20/10 at 60 ms with 0.1 % loss")
def fiber_lte() -> tuple[LinkSpec, ...]:
    # A shaper of fibre is short, a base station keeps what it has for a while.
    return wire(100, 50, 8, queue=40), wire(20, 10, 60, queue=300, loss=0.1)


@scenario("20/10, 20/10 and 10/5 Mbit/s that lose 1, 2 and 3 % each way")
def lossy3() -> tuple[LinkSpec, ...]:
    return wire(20, 10, 30, loss=1), wire(20, 10, 40, loss=2), wire(10, 5, 50, loss=3)


@scenario("four recorded drives: three of LTE, one of UMTS", note="needs the recorded traces")
def lte_drive() -> tuple[LinkSpec, ...]:
    try:
        return tuple(modem.recorded() for modem in modems.DRIVES)
    except BenchError as error:
        raise BenchError(
            f"lte_drive follows recordings ({error}); set {traces.VARIABLE} to their directory,"
            " or take lte_synthetic, which is generated"
        ) from error


@scenario("four generated drives, the likeness of lte_drive")
def lte_synthetic() -> tuple[LinkSpec, ...]:
    return tuple(modem.generated(DRIVE) for modem in modems.DRIVES)


@scenario("300/100 and 150/50 Mbit/s at 10 and 20 ms")
def fast2() -> tuple[LinkSpec, ...]:
    return wire(300, 100, 10, queue=40), wire(150, 50, 20, queue=40)


@scenario("Starlink, which moves every 15 s, and 5G 80/20 at 34 ms")
def starlink_5g() -> tuple[LinkSpec, ...]:
    # Satellites are changed 12, 27, 42 and 57 s into every minute: another rate and distance, and
    # nothing passes for 90 ms. Dishes and ground stations queue some 100 ms.
    rates = (110, 150, 90, 180, 130, 100, 160, 120, 110)
    farther = (0, 8, 3, 14, 6, 11, 2, 9, 0)  # ms, one way
    times = (0, *range(12, 120, 15))
    moving = tuple(zip(times, rates, farther, strict=True))

    def shape(share: float) -> Shape:
        steps = tuple(Step(time, rate * share * MEGA, ms / 1000) for time, rate, ms in moving)
        outages = Outages(((12.0, 12.09),), period=15.0)
        rate = Profile(steps, period=120.0)
        return Shape(rate=rate, delay=0.014, jitter=0.003, queue=0.1, outages=outages)

    return (
        LinkSpec(down=shape(1.0), up=shape(0.1)),
        wire(80, 20, 34, jitter=6, queue=200),
    )


@scenario("a line of 100/20 policed to 20/5 with 100 kB of burst, and 10/2 at 40 ms")
def policer() -> tuple[LinkSpec, ...]:
    policed = wire(100, 20, 20)
    return (
        dataclasses.replace(
            policed,
            down=dataclasses.replace(policed.down, policer=Policer(20 * MEGA, 100_000)),
            up=dataclasses.replace(policed.up, policer=Policer(5 * MEGA, 25_000)),
        ),
        wire(10, 2, 40),
    )


@scenario("20/5 at 30 ms and 20/5 at 50 ms, each with a buffer of 8 ms")
def shallow() -> tuple[LinkSpec, ...]:
    # 8 ms are 13 packets at 20 Mbit/s, a switch port's share; 3 at 5 Mbit/s.
    return wire(20, 5, 30, queue=8), wire(20, 5, 50, queue=8)


@scenario(
    "20/5 at 30 ms, and 20/5 at 40 ms shared with somebody else's CUBIC download",
    rival=1,
    note="what the rival takes counts as capacity, and is in the books of link 1",
)
def shared_link() -> tuple[LinkSpec, ...]:
    # The first of equals is the best link: what goes over one link alone has it to itself.
    return wire(20, 5, 30), wire(20, 5, 40)


FALLING = (9.0, 17.0)
"""When (s) the first link of `falling` falls, and rises again."""


@scenario("a link of 8 Mbit/s that falls to 0.5 from 9 to 17 s, and one of 8 that stays, 60 ms")
def falling() -> tuple[LinkSpec, ...]:
    # A modem holds bytes: 0.2 s of 8 Mbit/s are 3.2 s of 0.5.
    fall, rise = FALLING
    steps = Profile((Step(0, 8 * MEGA), Step(fall, 0.5 * MEGA), Step(rise, 8 * MEGA)))
    shape = Shape(rate=steps, queue=None, queue_bytes=200_000, delay=0.030)
    return LinkSpec(down=shape, up=shape), wire(8, 8, 60, queue=200)


@scenario(
    "three of 8 Mbit/s and 40 ms: one plain, one that loses 2 %, one whose delay varies by 20 ms each way"
)
def noisy3() -> tuple[LinkSpec, ...]:
    return wire(8, 8, 40), wire(8, 8, 40, loss=2), wire(8, 8, 40, jitter=40)


Figures = tuple[float, float, float, float]
"""A link: Mbit/s both ways, round trip (ms), how far it varies each way (ms), loss each way (%)."""

MATRIX: dict[str, tuple[Figures, Figures]] = {
    "baseline": ((50, 20, 0, 0), (50, 20, 0, 0)),
    "rtt40": ((50, 20, 0, 0), (50, 40, 0, 0)),
    "rtt70": ((50, 20, 0, 0), (50, 70, 0, 0)),
    "rtt120": ((50, 20, 0, 0), (50, 120, 0, 0)),
    "rtt320": ((50, 20, 0, 0), (50, 320, 0, 0)),
    "jit5": ((50, 20, 5, 0), (50, 20, 5, 0)),
    "jit20": ((50, 20, 20, 0), (50, 20, 20, 0)),
    "loss05": ((50, 20, 0, 0.5), (50, 20, 0, 0.5)),
    "loss2": ((50, 20, 0, 2), (50, 20, 0, 2)),
    "bw4": ((50, 20, 0, 0), (12, 20, 0, 0)),
    "bw10": ((100, 20, 0, 0), (10, 20, 0, 0)),
    "duallte": ((40, 30, 5, 0.5), (25, 45, 8, 0.5)),
    "fiberlte": ((300, 8, 0, 0), (30, 40, 8, 0.5)),
    "starlink": ((40, 35, 8, 0), (100, 50, 25, 1)),
    "geo": ((40, 35, 0, 0), (20, 320, 20, 0.5)),
    "congested": ((20, 50, 20, 2), (15, 60, 25, 2)),
}
"""The pairs of links that the makers of mqvpn measured theirs on, by netem."""


def pair(links: tuple[Figures, Figures], *, reorder: bool = False) -> tuple[LinkSpec, ...]:
    """Make the links of a row; their queues hold a round trip, at least 100 ms, as one would set it."""
    return tuple(
        wire(
            rate,
            rate,
            round_trip,
            queue=max(100, round_trip),
            loss=loss,
            jitter=jitter,
            reorder=reorder and jitter > 0,
        )
        for rate, round_trip, jitter, loss in links
    )


def _describe(link: Figures) -> str:
    rate, round_trip, jitter, loss = link
    return (
        f"{rate:g} Mbit/s {round_trip:g}"
        + (f"±{jitter:g}" if jitter else "")
        + " ms"
        + (f" {loss:g} %" if loss else "")
    )


def _enter_matrix() -> None:
    for name, links in MATRIX.items():
        title = " and ".join(_describe(link) for link in links)
        SCENARIOS[f"mq_{name}"] = Entry(title, functools.partial(pair, links))
        if any(jitter for _, _, jitter, _ in links):
            SCENARIOS[f"mq_{name}_reorder"] = Entry(
                f"{title}, jitter reorders", functools.partial(pair, links, reorder=True)
            )


_enter_matrix()
