"""One path under rate control, alone on one link: what share it uses, and what queue it makes.

`python -m bench.drives` sends greedily over recorded drives and made-up links, one after the other, and
prints the share of the capacity that was used and how long datagrams stood in the link's queue. The path's
sender is the product's (`SentLog`, `RttEstimator`, `RateControl`), its receiver acknowledges as the product's
does; sessions, encryption and scheduling are left out, so that what is seen is the control alone.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

from bench.links import modems, traces
from bench.links.link import Arrival, Link
from bench.links.shape import (
    Constant,
    GilbertElliott,
    Outages,
    Policer,
    Profile,
    RandomLoss,
    Shape,
    Step,
)
from bench.sim.wire import Clock
from mpbond.core.rate import RateControl
from mpbond.core.recovery import Sent, SentLog
from mpbond.core.rtt import RttEstimator

SIZE = 1472
"""Bytes of UDP payload of a full datagram."""
OVERHEAD = 28
"""Bytes of IPv4 and UDP headers."""
ACK_SIZE = 90
MEGA = 1e6
TICK = 0.001
"""Seconds; a daemon's timers are no finer."""
PROBE_INTERVAL = 0.1
"""Seconds between two probes of a path that answers nothing."""
PROBE_SIZE = 64
WARM = 1.0
"""Seconds at the start that do not count."""
Demand = Callable[[float], float]
"""From the time to the time from which the application has something to send; not after now: it has."""


BACK = Shape(rate=Constant(20e6), delay=0.020)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drive:
    """A link to drive over; without `demand` there is always something to send."""

    name: str
    forward: Shape
    back: Shape = BACK
    seconds: float = 100.0
    demand: Demand | None = None
    remembered: float | None = None
    cap: float = 0.0
    realtime: bool = False
    sizes: tuple[int, ...] = (SIZE,)
    seed: int = 1


@dataclasses.dataclass
class Outcome:
    """What came of it."""

    share: float
    """Of the link's capacity, from `WARM` to the end."""
    waits: list[tuple[float, float]]
    """(time of sending, seconds between it and the passing of the bottleneck), in order."""
    rates: list[tuple[float, float, float]]
    """(time, learned rate, capacity of the 100 ms before), bit/s, every 100 ms; rates of UDP payload."""
    lost: float
    """Share of the datagrams."""
    used: list[int]
    """Bytes by 100 ms."""

    def queue(self, quantile: float, start: float = WARM, end: float = float("inf")) -> float:
        """The wait in seconds that this share of the datagrams sent in a time did not exceed."""
        waits = sorted(wait for time, wait in self.waits if start <= time < end)
        return waits[min(len(waits) - 1, int(quantile * len(waits)))] if waits else 0.0

    def learned(self, quantile: float, start: float = 2 * WARM) -> float:
        """This quantile of the learned rate as a share of the capacity of the moment."""
        shares = sorted(rate / most for time, rate, most in self.rates if time > start and most)
        return shares[int(quantile * (len(shares) - 1))] if shares else 0.0


class Watched(Link):
    """A link that tells when (ns) the latest packet passed its bottleneck."""

    passed = -1

    def _propagate(self, size: int, finish: int) -> tuple[Arrival, ...]:
        self.passed = finish
        return super()._propagate(size, finish)


class Run:
    """A drive under way."""

    def __init__(self, drive: Drive) -> None:
        self.drive = drive
        self.clock = Clock()
        self.link = Watched(drive.forward, drive.seed)
        self.back = Link(drive.back, drive.seed + 1)
        self.log = SentLog()
        self.rtt = RttEstimator()
        self.control = RateControl(0.0, SIZE, drive.remembered)
        self.control.realtime = drive.realtime
        self.control.cap = drive.cap
        self.waits: list[tuple[float, float]] = []
        self.rates: list[tuple[float, float, float]] = []
        self.lost = 0
        self.receiver = Receiver(self)
        self._wake_at = float("inf")
        self._loss_at = float("inf")
        self._turn = 0

    def run(self) -> Outcome:
        """Drive to the end."""
        drive = self.drive
        self.clock.at(0.0, self._pump)
        for number in range(1, round(drive.seconds / PROBE_INTERVAL)):
            self.clock.at(number * PROBE_INTERVAL, self._probe)
        for number in range(1, round(drive.seconds * 10) + 1):
            self.clock.at(number / 10, self._sample)
        self.clock.run(drive.seconds, steps=1 << 40)
        start, end = round(WARM * 1e9), round(drive.seconds * 1e9)
        capacity = self.link.capacity(start, end)
        used = self.link.ledger.used
        return Outcome(
            share=sum(used[round(WARM * 10) : round(drive.seconds * 10)]) / max(1, capacity),
            waits=self.waits,
            rates=self.rates,
            lost=self.lost / max(1, self.log.next_number),
            used=used,
        )

    def _sample(self) -> None:
        now = round(self.clock.now * 1e9)
        capacity = self.link.capacity(now - 100_000_000, now) * 80 * SIZE / (SIZE + OVERHEAD)
        self.rates.append((self.clock.now, self.control.rate * 8, capacity))

    def _probe(self) -> None:
        """Ask whether the path is still there, as `core.watch` does when nothing is heard of it."""
        oldest = self.log.oldest
        if oldest is not None and oldest.time < self.clock.now - self.rtt.longest - PROBE_INTERVAL:
            self._send(self.clock.now, PROBE_SIZE)

    def _give_up(self, lost: list[Sent]) -> None:
        if lost:
            self.lost += len(lost)
            self.control.on_lost(lost, self.clock.now)

    def _pump(self) -> None:
        now = self.clock.now
        control, log = self.control, self.log
        demand = self.drive.demand
        while control.allowance(log.in_flight, now) > 0:
            ready = demand(now) if demand is not None else now
            if ready > now:
                control.on_limited(now)
                self._wake(ready)
                break
            self._send_next(now)
        else:
            if control.release > now and log.in_flight < control.window:
                self._wake(control.release)

    def _send_next(self, now: float) -> None:
        sizes = self.drive.sizes
        self._send(now, sizes[self._turn % len(sizes)])
        self._turn += 1

    def _send(self, now: float, size: int) -> None:
        log = self.log
        number = log.next_number
        log.next_number += 1
        sent = Sent(now, size)
        log.add(number, sent)
        sent.mark = self.control.on_sent(size, log.in_flight, now)
        time = round(now * 1e9)
        self.link.passed = -1
        arrivals = self.link.transmit(size + OVERHEAD, time)
        if self.link.passed >= 0:
            self.waits.append((now, (self.link.passed - time) / 1e9))
        for arrival in arrivals:
            self.clock.at(arrival.time / 1e9, lambda: self.receiver.take(number))

    def _wake(self, time: float) -> None:
        time = max(time, self.clock.now + TICK)
        if time < self._wake_at - 1e-9:
            self._wake_at = time
            self.clock.at(time, self._woken)

    def _woken(self) -> None:
        if self.clock.now >= self._wake_at - 1e-9:
            self._wake_at = float("inf")
        self._pump()

    def on_ack(
        self, largest: int, ranges: tuple[tuple[int, int], ...], time: int, delay: float
    ) -> None:
        """The receiver's word arrives."""
        now = self.clock.now
        newly, top = self.log.acknowledge(largest, ranges)
        rtt = None
        if top is not None:
            rtt = now - top.time - delay
            self.rtt.update(rtt, now)
        if newly:
            self.control.on_ack(newly, top, time, delay, rtt, self.log.in_flight, now)
        self._detect()

    def _detect(self) -> None:
        now = self.clock.now
        patience = max(self.rtt.smoothed, self.rtt.latest)
        self._give_up(self.log.detect_lost(patience, now))
        due = self.log.loss_time(patience)
        if due is not None and (due < self._loss_at - 1e-9 or self._loss_at <= now):
            self._loss_at = due
            self.clock.at(max(due, now + TICK), self._detect)
        self._pump()


class Receiver:
    """Acknowledges as `core.acks` does, at the intervals of design 5."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._ranges: list[list[int]] = []  # [first, last], newest last
        self._count = 0
        self._due = float("inf")
        self._last = float("-inf")
        self._time = 0.0

    def take(self, number: int) -> None:
        """A datagram arrives."""
        clock = self._run.clock
        now = clock.now
        ranges = self._ranges
        gap = False
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        elif not ranges or number > ranges[-1][1]:
            gap = bool(ranges)
            ranges.append([number, number])
            del ranges[:-32]
        else:
            gap = True
            for place, (first, last) in enumerate(ranges):
                if first <= number <= last:
                    break
                if number < first:
                    ranges.insert(place, [number, number])
                    break
        if number == ranges[-1][1]:
            self._time = now
        self._count += 1
        interval = min(0.050, max(0.010, self._run.rtt.smoothed / 4))
        due = max(now, self._last + interval) if gap or self._count >= 2 else now + interval
        if due < self._due:
            self._due = due
            clock.at(due, self._acknowledge)

    def _acknowledge(self) -> None:
        clock = self._run.clock
        now = clock.now
        if now < self._due - 1e-9:
            return
        self._due, self._count, self._last = float("inf"), 0, now
        top = self._ranges[-1][1]
        ranges = tuple((top - last, top - first) for first, last in reversed(self._ranges))
        time = round(self._time * 1e6 + 12345) & 0xFFFFFFFF
        delay = now - self._time
        for arrival in self._run.back.transmit(ACK_SIZE, round(now * 1e9)):
            clock.at(arrival.time / 1e9, lambda: self._run.on_ack(top, ranges, time, delay))


def recorded(name: str, *, seconds: float = 100.0) -> Drive:
    """A recorded drive by the name of its file, as in the design's table: 20 ms each way, 5 ms of jitter.

    Where the recording is not there, and a modem is made in its likeness, it is driven with that.
    """
    path = traces.directory() / name
    stem, _, way = name.rpartition(".")
    likeness = next((modem for modem in modems.DRIVES if modem.recording == stem), None)
    if likeness is None or path.is_file():
        trace = traces.read(path)
    else:
        trace = likeness.trace(way, 1)
        name = f"{likeness.name} {way}, generated"
    return Drive(
        name=name,
        forward=Shape(rate=trace, queue=None, delay=0.020, jitter=0.005),
        back=Shape(rate=Constant(20e6), delay=0.020, jitter=0.005),
        seconds=seconds,
    )


RECORDED = (
    "ATT-LTE-driving-2016.down",
    "TMobile-LTE-short.down",
    "Verizon-LTE-short.down",
    "TMobile-UMTS-driving.down",
    "ATT-LTE-driving-2016.up",
    "TMobile-LTE-short.up",
)


def over(
    name: str,
    rate: float | tuple[Step, ...],
    delay: float = 0.030,
    *,
    jitter: float = 0.0,
    **more: Any,
) -> Drive:
    """A link of `rate` (Mbit/s, or steps), `delay` and `jitter` (s) each way.

    `more` are fields of its shape, or of the drive.
    """
    of_drive = {field.name for field in dataclasses.fields(Drive)}
    drive = {key: more.pop(key) for key in list(more) if key in of_drive}
    shape: dict[str, Any] = {"queue": 1.0, **more}
    shape["rate"] = Profile(rate) if isinstance(rate, tuple) else Constant(rate * MEGA)
    back = Shape(rate=Constant(20 * MEGA), delay=delay, jitter=jitter)
    forward = Shape(delay=delay, jitter=jitter, **shape)
    return Drive(**{"name": name, "seconds": 30.0, "back": back, "forward": forward, **drive})


def on_off(on: float, off: float) -> Demand:
    """An application that sends for `on` seconds and pauses for `off`."""
    period = on + off
    return lambda now: now if now % period < on else (now // period + 1) * period


def made() -> list[Drive]:
    """Made-up links, each hard in one way."""
    mega = MEGA
    return [
        over("8 Mbit/s", 8),
        over("300 Mbit/s at 5 ms", 300, 0.0025, seconds=5.0),
        over("0.5 Mbit/s", 0.5),
        over("0.5 Mbit/s, real-time", 0.5, realtime=True),
        over("8 Mbit/s, 300 ms", 8, 0.150),
        over("20 ms of jitter", 8, 0.040, jitter=0.020),
        over("2 % loss", 8, loss=RandomLoss(0.02)),
        over("30 % loss", 8, loss=RandomLoss(0.3)),
        over("losses in bursts", 8, loss=GilbertElliott(0.005, 0.2)),
        over("a queue of 10 ms", 8, queue=0.010),
        over("a queue of 5 packets", 8, queue=None, queue_bytes=7500),
        over("policed to 8 Mbit/s", 50, policer=Policer(8 * mega, 30_000)),
        over(
            "8, 0.5, 8 Mbit/s",
            (Step(0, 8 * mega), Step(10, mega / 2), Step(20, 8 * mega)),
            queue=3.0,
        ),
        over(
            "50 ms farther and back",
            (Step(0, 8 * mega), Step(10, 8 * mega, delay=0.05), Step(20, 8 * mega)),
            0.010,
        ),
        over(
            "ACKs come 200 ms late",
            8,
            back=Shape(
                rate=Profile((Step(0, 20 * mega), Step(8, mega, delay=0.2), Step(16, 20 * mega))),
                delay=0.030,
            ),
        ),
        over("out for 2 s", 8, outages=Outages(((10.0, 12.0),))),
        over("1 s of sending, 1 s of none", 8, demand=on_off(1.0, 1.0)),
        over("the same with 20 ms of jitter", 8, 0.040, jitter=0.020, demand=on_off(1.0, 1.0)),
        over("capped at 4 of 8 Mbit/s", 8, cap=4 * mega / 8),
        over("remembered 8, is 0.5 Mbit/s", 0.5, queue=3.0, remembered=mega),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.drives", description=__doc__)
    parser.add_argument(
        "files", nargs="*", help="recordings; without, six of them and made-up links"
    )
    files = parser.parse_args().files
    drives = [recorded(name) for name in files or RECORDED] + ([] if files else made())
    print(f"{'':32} share   queue p50 / p95    lost   learned / capacity p5, p50, p95")
    for drive in drives:
        outcome = Run(drive).run()
        error = [outcome.learned(quantile) for quantile in (0.05, 0.5, 0.95)]
        print(
            f"{drive.name:32} {outcome.share:.3f}  {outcome.queue(0.5) * 1e3:6.0f} /"
            f" {outcome.queue(0.95) * 1e3:4.0f} ms   {outcome.lost:.3f}   "
            + ", ".join(f"{value:.2f}" for value in error),
            flush=True,
        )


if __name__ == "__main__":
    main()
