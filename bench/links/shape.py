"""What a link is like, as data: rates, queues, delay, jitter, loss, and what else happens to packets.

A `Shape` describes one direction of a link, a `LinkSpec` both directions and the modem around them.
They are plain values in human units (seconds, bits per second, bytes, probabilities), written down by
scenarios and tests, and read by `bench.links.link.Link`, which turns them into integers once.
Everything counts bytes of IP packets: the outer headers, not Ethernet's.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Self

OPPORTUNITY = 1504
"""Bytes of one delivery opportunity of a trace in the format of mahimahi."""


class ShapeError(ValueError):
    """A shape that cannot be; the message names the field and what would be right."""


def _probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ShapeError(f"{name} is a probability between 0 and 1, not {value:g}")


@dataclasses.dataclass(frozen=True, slots=True)
class Constant:
    """A bottleneck that always has the same rate, in bit/s."""

    rate: float

    def __post_init__(self) -> None:
        if self.rate < 1:
            raise ShapeError(f"a constant rate is at least 1 bit/s, not {self.rate:g}")


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """From `time` (s) on: `rate` bit/s, `delay` s on top of the shape's, `loss` beside the shape's."""

    time: float
    rate: float
    delay: float = 0.0
    loss: float = 0.0

    def __post_init__(self) -> None:
        _probability("the loss of a step", self.loss)
        if self.time < 0 or self.rate < 0 or self.delay < 0:
            raise ShapeError("time, rate and delay of a step are not negative")


@dataclasses.dataclass(frozen=True, slots=True)
class Profile:
    """A bottleneck whose rate follows steps, the first at time 0; repeated every `period` s if given.

    `offset` (s) is where in the period time 0 falls, so that links with one profile are out of step.
    """

    steps: tuple[Step, ...]
    period: float | None = None
    offset: float = 0.0

    def __post_init__(self) -> None:
        times = [step.time for step in self.steps]
        if not times or times[0] != 0 or times != sorted(set(times)):
            raise ShapeError("the steps of a profile begin at time 0 and rise")
        if self.period is not None and self.period <= times[-1]:
            raise ShapeError("the period of a profile is longer than the time of its last step")
        if self.period is None and self.steps[-1].rate < 1:
            raise ShapeError("the last step of a profile without a period has a rate above 0")
        if all(step.rate < 1 for step in self.steps):
            raise ShapeError("a profile has a rate above 0 in some step")
        if self.offset < 0 or (self.offset and self.period is None):
            raise ShapeError("the offset of a profile is not negative, and needs a period")


@dataclasses.dataclass(frozen=True, slots=True)
class Trace:
    """A bottleneck that follows a recording: `times` are delivery opportunities, in ms, rising.

    The recording repeats from its end, which is its last time. It begins at `offset` (s) into the
    recording; each opportunity carries `scale` times 1,504 bytes. `name` is for people.
    """

    times: tuple[int, ...] = dataclasses.field(repr=False)
    name: str = ""
    offset: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.times or self.times[0] < 0 or self.times[-1] <= 0:
            raise ShapeError("a trace has opportunities, the last of them after 0 ms")
        if any(a > b for a, b in itertools.pairwise(self.times)):
            raise ShapeError("the times of a trace never fall")
        if self.scale <= 0 or self.offset < 0:
            raise ShapeError("scale of a trace is above 0, its offset not negative")


Rate = Constant | Profile | Trace


@dataclasses.dataclass(frozen=True, slots=True)
class RandomLoss:
    """Every packet is lost with the same probability."""

    probability: float

    def __post_init__(self) -> None:
        _probability("loss", self.probability)


@dataclasses.dataclass(frozen=True, slots=True)
class GilbertElliott:
    """Loss in bursts: a chain of a good and a bad state that moves before every packet.

    `to_bad` and `to_good` are the probabilities of leaving the good and the bad state, `good` and
    `bad` those of losing a packet there (Gilbert 1960, Elliott 1963).
    """

    to_bad: float
    to_good: float
    bad: float = 1.0
    good: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _probability(f"{field.name} of a Gilbert-Elliott loss", getattr(self, field.name))

    @property
    def mean(self) -> float:
        """The share of packets lost in the long run."""
        if self.to_bad + self.to_good == 0:
            return self.good
        share = self.to_bad / (self.to_bad + self.to_good)
        return share * self.bad + (1 - share) * self.good


@dataclasses.dataclass(frozen=True, slots=True)
class Mask:
    """Exactly these packets are lost, counted from 0 behind the bottleneck.

    With `period`, the numbers count within it: (3,) with period 10 loses packets 3, 13, 23, …
    """

    lost: frozenset[int]
    period: int | None = None

    def __post_init__(self) -> None:
        if any(number < 0 for number in self.lost):
            raise ShapeError("a mask numbers packets from 0")
        if self.period is not None and self.period <= max(self.lost, default=0):
            raise ShapeError("the period of a mask is above the largest number in it")


Loss = RandomLoss | GilbertElliott | Mask


@dataclasses.dataclass(frozen=True, slots=True)
class Policer:
    """A token bucket in front of the queue: what exceeds `rate` bit/s by `burst` bytes is dropped."""

    rate: float
    burst: int

    def __post_init__(self) -> None:
        if self.rate < 1 or self.burst < 1500:
            raise ShapeError("a policer has a rate of at least 1 bit/s and a burst of 1500 bytes")


@dataclasses.dataclass(frozen=True, slots=True)
class Background:
    """Other people's traffic through the same queue: `rate` bit/s in packets of `size` bytes.

    With `on` and `off` (s) it comes and goes, in periods drawn between half and one and a half of
    these means, beginning with one of traffic; without them it never stops.
    """

    rate: float
    size: int = 1500
    on: float | None = None
    off: float | None = None

    def __post_init__(self) -> None:
        if self.rate < 1 or self.size < 1:
            raise ShapeError("other people's traffic has a rate and packets of some size")
        if (self.on is None) != (self.off is None) or min(self.on or 1, self.off or 1) < 0.001:
            raise ShapeError("other people's traffic has on and off of 1 ms or more, or neither")


@dataclasses.dataclass(frozen=True, slots=True)
class Outages:
    """While the link is out it swallows what enters its queue and what leaves it.

    `windows` are (start, end) in s, apart and rising; they repeat every `period` s if given.
    """

    windows: tuple[tuple[float, float], ...]
    period: float | None = None

    def __post_init__(self) -> None:
        flat = [time for window in self.windows for time in window]
        if not flat or flat[0] < 0 or any(a >= b for a, b in itertools.pairwise(flat)):
            raise ShapeError("outages are windows of (start, end), apart and rising")
        if self.period is not None and self.period < flat[-1]:
            raise ShapeError("the period of outages is no shorter than the end of the last")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One direction of a link.

    A packet passes, in this order: the policer; the queue, which drops at its tail; the bottleneck;
    loss, damage and duplication behind it, as on radio; propagation.
    """

    rate: Rate = Constant(8e6)
    queue: float | None = 0.2
    """Seconds a packet may stand in the queue, its own transmission included; None for no limit.

    This is judged when a packet comes, knowing the rate to come: before a stall longer than the queue
    nothing is let in. The buffers of modems hold bytes, which is what `queue_bytes` is for.
    """
    queue_bytes: int | None = None
    """Bytes the queue holds, what is being transmitted included; None for no limit."""
    delay: float = 0.010
    """Seconds of propagation, one way."""
    jitter: float = 0.0
    """Seconds the delay varies each way, uniformly; drawn anew every 10 ms, or by packet with `reorder`.

    Were each packet of a dense stream in order given a delay of its own, all would share the longest.
    """
    reorder: bool = False
    """Whether jitter lets packets overtake each other; modems do not (False)."""
    loss: Loss | None = None
    policer: Policer | None = None
    background: Background | None = None
    outages: Outages | None = None
    duplicate: float = 0.0
    """Probability that a packet arrives twice, one right behind the other."""
    corrupt: float = 0.0
    """Probability that one bit of a packet is flipped."""

    def __post_init__(self) -> None:
        _probability("duplicate", self.duplicate)
        _probability("corrupt", self.corrupt)
        if self.delay < 0 or self.jitter < 0:
            raise ShapeError("delay and jitter are not negative")
        if self.queue is not None and self.queue <= 0:
            raise ShapeError(f"a queue holds more than 0 s, not {self.queue:g}")
        if self.queue_bytes is not None and self.queue_bytes < 1:
            raise ShapeError(f"a queue holds at least 1 byte, not {self.queue_bytes}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinkSpec:
    """A link: both directions, and the modem it hangs on."""

    down: Shape = Shape()
    """From the internet to the client."""
    up: Shape = Shape()
    """From the client to the internet."""
    mtu: int = 1500
    nat_timeout: int = 30
    """Seconds after which the modem forgets a mapping that never saw an answer."""
    nat_timeout_stream: int = 120
    """Seconds after which the modem forgets a mapping that is in use both ways."""
    rebinds: tuple[float, ...] = ()
    """Times (s) at which the modem's NAT forgets its mappings and gets another public address."""
    ipv6: bool = False
    client: int = 0
    """The box the modem is plugged into."""

    @classmethod
    def plain(
        cls,
        *,
        rate_down: float = 8e6,
        rate_up: float = 8e6,
        delay: float = 0.010,
        loss: float = 0.0,
        queue: float = 0.2,
        mtu: int = 1500,
        nat_timeout: int = 30,
        nat_timeout_stream: int = 120,
        ipv6: bool = False,
        client: int = 0,
    ) -> Self:
        """A steady link that differs in nothing but its rates both ways; `loss` is at random."""
        lossy = RandomLoss(loss) if loss else None
        down, up = (
            Shape(rate=Constant(rate), queue=queue, delay=delay, loss=lossy)
            for rate in (rate_down, rate_up)
        )
        return cls(
            down=down,
            up=up,
            mtu=mtu,
            nat_timeout=nat_timeout,
            nat_timeout_stream=nat_timeout_stream,
            ipv6=ipv6,
            client=client,
        )
