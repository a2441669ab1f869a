"""The link emulator, seen from the laboratory: its process, its orders, and what it reports.

The emulator itself is a C program (`native/emulator.c`), a transcription of `bench.links` that carries
packets between TUN devices. This module turns shapes into its orders and its answers into ledgers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.lab.native import program
from bench.links.draws import seed_of, threshold
from bench.links.ledger import COUNTERS, Ledger
from bench.links.rates import BITS, Recorded, Stepped, nanoseconds
from bench.links.shape import (
    Background,
    Constant,
    GilbertElliott,
    Loss,
    Mask,
    Outages,
    Profile,
    RandomLoss,
    Rate,
    Shape,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIRECTIONS = ("down", "up")
UNLIMITED = -1
LATE = 0.002
"""Seconds: a packet, or a timer of a load generator, that is later than this counts as late."""
ANSWERS = 1 << 20
"""Bytes of answers that the emulator may write before anybody reads, so that it need not wait."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """How long after their time packets left the emulator, since its links were started."""

    count: int
    """Packets that left."""
    p50: float
    """Seconds."""
    p99: float
    longest: float
    share_late: float
    """Share of the packets that left more than `LATE` after their time."""
    longest_round: float
    """Seconds of the longest stretch of work in which no device was looked at twice."""
    refused: int
    """Packets a device did not take, because it was down."""
    overrun: int
    """Packets dropped because the emulator's memory was full."""
    unread: int = 0
    """Packets dropped in front of the emulator because it did not read them in time."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The devices of a link: namespace and name on the modem's side, and on the internet's."""

    modem: tuple[str, str]
    internet: tuple[str, str]


class Emulator:
    """The emulator's process."""

    def __init__(
        self, shapes: Sequence[tuple[Shape, Shape, int]], ends: Sequence[Ends], seed: int
    ) -> None:
        """Starts the process; on return its devices exist and its links carry.

        `shapes` are (down, up, MTU) by link. Raises BenchError when it fails.
        """
        self.count = len(shapes)
        self.process = subprocess.Popen(
            [str(program("emulator"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pipesize=ANSWERS,
        )
        try:
            lines = list(description(shapes, ends))
            self.order(*lines, *seeds(self.count, seed), "start")
        except BaseException:
            self.close()
            raise

    def order(self, *lines: str) -> list[Any]:
        """Gives orders and returns the answers.

        Raises BenchError for the first one that is refused, when all have been answered.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("".join(f"{line}\n" for line in lines))
            self.process.stdin.flush()
        answers = []
        for _ in lines:
            told = self.process.stdout.readline()
            if not told:
                raise BenchError(f"the link emulator ended with status {self.process.wait()}")
            answers.append(json.loads(told))
        for line, answer in zip(lines, answers, strict=True):
            if "error" in answer:
                raise BenchError(f"{answer['error']} (asked of the emulator: {line[:200]!r})")
        return answers

    def set(self, link: int, direction: str | None, *orders: str) -> None:
        """Gives orders about one direction of a link, or about both (None)."""
        both = DIRECTIONS if direction is None else (direction,)
        self.order(*(f"set {link} {each} {order}" for each in both for order in orders))

    def restart(self, seed: int) -> float:
        """Begins the links' lives again, as they were described; returns when (s, monotonic)."""
        zero: int = self.order(*seeds(self.count, seed), "restart")[-1]["zero"]
        return zero / 1e9

    def ledger(self, link: int, direction: str) -> Ledger:
        """Returns the books of one direction."""
        return ledger_of(self.order(f"ledger {link} {direction}")[0])

    def traffic(self) -> dict[str, dict[str, int]]:
        """Returns packets delivered, lost, refused and overrun, by link and direction ("0 up")."""
        told = self.order("traffic")[0]
        names = [f"{link} {each}" for link in range(self.count) for each in DIRECTIONS]
        return dict(zip(names, told, strict=True))

    def lateness(self) -> Lateness:
        """Returns how punctual the emulator was."""
        told, traffic = self.order("lateness", "traffic")
        return lateness_of(told, traffic)

    def close(self) -> None:
        """Ends the process, and with it the devices."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def description(
    shapes: Sequence[tuple[Shape, Shape, int]], ends: Sequence[Ends] | None
) -> Iterator[str]:
    """Yields the orders that make the links; without ends they are for replaying only."""
    for number, (down, up, mtu) in enumerate(shapes):
        devices = ""
        if ends is not None:
            devices = " ".join(("", *ends[number].modem, *ends[number].internet))
        yield f"link {mtu}{devices}"
        for direction, shape in zip(DIRECTIONS, (down, up), strict=True):
            for order in shape_orders(shape):
                yield f"set {number} {direction} {order}"


def seeds(count: int, seed: int) -> list[str]:
    """Returns the orders that seed all links for their next start."""
    return [
        f"set {link} {direction} seed {seed_of(seed, link, direction)}"
        for link in range(count)
        for direction in DIRECTIONS
    ]


def shape_orders(shape: Shape) -> Iterator[str]:
    """Yields the orders for one direction, in the integers that `bench.links.link.Link` makes."""
    yield rate_order(shape.rate)
    queue = UNLIMITED if shape.queue is None else nanoseconds(shape.queue)
    yield f"queue {queue} {UNLIMITED if shape.queue_bytes is None else shape.queue_bytes}"
    yield f"delay {nanoseconds(shape.delay)}"
    yield f"jitter {nanoseconds(shape.jitter)}"
    yield f"reorder {int(shape.reorder)}"
    yield loss_order(shape.loss)
    yield f"duplicate {threshold(shape.duplicate)}"
    yield f"corrupt {threshold(shape.corrupt)}"
    if shape.policer is not None:
        yield f"policer {round(shape.policer.rate)} {shape.policer.burst}"
    if shape.background is not None:
        yield others_order(shape.background)
    if shape.outages is not None:
        yield outages_order(shape.outages)


def changes(
    *,
    delay: float | None = None,
    jitter: float | None = None,
    loss: float | None = None,
    duplicate: float | None = None,
) -> Iterator[str]:
    """Yields the orders for what `bench.links.link.Link.change` does, but for the rate."""
    if delay is not None:
        yield f"delay {nanoseconds(delay)}"
    if jitter is not None:
        yield f"jitter {nanoseconds(jitter)}"
    if loss is not None:
        yield loss_order(RandomLoss(loss))
    if duplicate is not None:
        yield f"duplicate {threshold(duplicate)}"


def rate_order(rate: Rate) -> str:
    """Returns the order for a bottleneck."""
    if isinstance(rate, Constant):
        return f"steady {round(rate.rate)}"
    if isinstance(rate, Profile):
        stepped = Stepped(rate)
        numbers = [
            number
            for step in zip(
                stepped.times, stepped.rates, stepped.delays, stepped.losses, strict=True
            )
            for number in step
        ]
        return _order("stepped", stepped.offset, stepped.period or 0, *numbers)
    recorded = Recorded(rate)
    return _order("recorded", recorded.offset, recorded.lump, *recorded.times)


def loss_order(loss: Loss | None) -> str:
    """Returns the order for what loses packets."""
    if isinstance(loss, RandomLoss):
        return f"random {threshold(loss.probability)}" if loss.probability else "lossless"
    if isinstance(loss, GilbertElliott):
        shares = (loss.to_bad, loss.to_good, loss.good, loss.bad)
        return _order("bursts", *map(threshold, shares))
    if isinstance(loss, Mask):
        return _order("mask", loss.period or 0, *sorted(loss.lost))
    return "lossless"


def others_order(background: Background) -> str:
    """Returns the order for other people's traffic."""
    between = -(-background.size * BITS // round(background.rate))
    on, off = (nanoseconds(mean or 0) for mean in (background.on, background.off))
    return _order("others", background.size, between, on, off)


def outages_order(outages: Outages) -> str:
    """Returns the order for outage windows."""
    times = [nanoseconds(time) for window in outages.windows for time in window]
    return _order("outages", nanoseconds(outages.period or 0), *times)


def ledger_of(told: dict[str, Any]) -> Ledger:
    """Reads a ledger as the emulator tells it."""
    return Ledger(
        **dict(zip(COUNTERS, told["counters"], strict=True)),
        used=told["used"],
        foreign=told["foreign"],
        longest=told["longest"],
        waits=dict(told["waits"]),
    )


def lateness_of(told: dict[str, Any], traffic: list[dict[str, int]]) -> Lateness:
    """Reads lateness as the emulator tells it; quantiles are the ends of its steps of 10 us."""
    count: int = told["count"]
    step: int = told["step"]
    steps: list[tuple[int, int]] = told["steps"]
    longest: int = told["longest"]

    def quantile(share: float) -> float:
        rest = share * count
        for number, packets in steps:
            rest -= packets
            if rest <= 0:
                return min((number + 1) * step, longest) / 1e9
        return 0.0

    late = sum(packets for number, packets in steps if number * step >= LATE * 1e9)
    return Lateness(
        count=count,
        p50=quantile(0.5),
        p99=quantile(0.99),
        longest=longest / 1e9,
        share_late=late / count if count else 0.0,
        longest_round=told["longest_round"] / 1e9,
        refused=sum(each["refused"] for each in traffic),
        overrun=sum(each["overrun"] for each in traffic),
    )


def _order(verb: str, *numbers: int) -> str:
    return " ".join((verb, *map(str, numbers)))
