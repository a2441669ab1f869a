"""Turns a workload into generators of traffic in the laboratory, and what they say into figures.

A load may be several generators at once: TCP and a call, and beside them, on a scenario with a rival,
somebody else's endless download through the same link, from the first moment of the links on. The rival
counts for nothing but its effect: there is doubt about a measurement in which it had none.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Self

from bench import workloads
from bench.lab import topology
from bench.lab.namespaces import LabError
from bench.lab.systems import BOX
from bench.lab.traffic import PageLoads, QuicTransfer, Transfer, UdpStream, VoiceCall
from bench.results import AppFigures, VoiceFigures
from bench.systems import mean_rates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from bench.lab.lab import Lab
    from bench.lab.systems import Carrier
    from bench.lab.traffic.figures import Machine, QuicResult, TransferResult, UdpResult
    from bench.scenarios import Scenario
    from bench.workloads import Workload

WEB = topology.WEB[0]
HEARD = 0.1
"""Seconds after which a rival begins: programs need some to hear of it."""
OVERRUN_SHARE = 0.001
"""Share of UDP datagrams that may be thrown away because the generator did not read them in time."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the generators said at their end."""

    figures: AppFigures
    cpu: float
    """Seconds that all of them used together, a rival's not counted."""
    late: float
    """By how many seconds 1 % of the timers of one of them were late, or more, a rival's too."""
    doubt: str | None = None
    """Why the figures tell of a generator rather than of the network."""


class Load:
    """The generators of a workload. A context manager: those that are left over are ended."""

    def __init__(
        self,
        lab: Lab,
        scenario: Scenario,
        workload: Workload,
        carrier: Carrier,
        seconds: float,
        seed: int,
    ) -> None:
        """Describes the load; entering starts the programs."""
        self._lab = lab
        self._scenario = scenario
        self._workload = workload
        self._carrier = carrier
        self._seconds = seconds
        self._seed = seed
        self._running = contextlib.ExitStack()
        self._main: Transfer | PageLoads | UdpStream | QuicTransfer | None = None
        self._call: VoiceCall | None = None
        self._others: list[Transfer] = []
        self._rival: Transfer | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.close()

    def begin(self, epoch: float) -> None:
        """Tell all of them when the links began (s, monotonic); traffic is due from then on."""
        if self._rival is not None:
            self._rival.begin(epoch + HEARD)
        for each in (self._main, self._call, *self._others):
            if each is not None:
                each.begin(epoch + workloads.START)

    def told(self) -> Told:
        """Wait for the end and put the figures together."""
        figures = AppFigures(received={"down": None, "up": None})
        machines: list[Machine] = []
        doubts: list[str | None] = []
        if self._main is not None:
            machine, doubt = _note(figures, self._main)
            machines.append(machine)
            doubts.append(doubt)
        machines += [_note_box(figures, other.result()) for other in self._others]
        if self._call is not None:
            call = self._call.result()
            figures.voice = VoiceFigures(
                sent=call["sent"],
                up=call["up"]["delays"],
                down=call["down"]["delays"],
                round_trips=call["round_trips"],
            )
            machines.append(call)
        late = [each["lateness"]["p99"] for each in machines] or [0.0]
        if self._rival is not None:
            rival = self._rival.result()
            late.append(rival["lateness"]["p99"])
            if not rival["bytes"]:
                doubts.append("somebody else's download carried nothing")
            elif not rival["alive"]:
                doubts.append("somebody else's download broke off")
        return Told(
            figures=figures,
            cpu=sum(sum(each["cpu"].values()) for each in machines),
            late=max(late),
            doubt=next(filter(None, doubts), None),
        )

    def _start(self) -> None:
        workload, device = self._workload, self._carrier.device
        if workload.kind in ("bulk", "pieces", "bursts"):
            rate = sum(mean_rates(self._scenario.links, workload.leading))
            pieces = {"pieces": workloads.PIECE, "bursts": workloads.burst(rate)}
            self._main = Transfer(
                self._lab,
                target=WEB,
                client=BOX,
                direction=workload.direction,
                flows=workload.flows,
                congestion=workload.congestion,
                mptcp=self._carrier.mptcp,
                device=device,
                seconds=self._seconds,
                pieces=pieces.get(workload.kind),
                every=workloads.BURST_EVERY if workload.kind == "bursts" else None,
            )
        elif workload.kind == "pages":
            self._main = PageLoads(
                self._lab,
                target=WEB,
                client=BOX,
                connections=workloads.PAGE_CONNECTIONS,
                pause=workloads.PAGE_PAUSE,
                seed=self._seed,
                congestion=workload.congestion,
                mptcp=self._carrier.mptcp,
                device=device,
                seconds=self._seconds,
            )
        elif workload.kind == "udp":
            self._main = UdpStream(
                self._lab,
                rate=workloads.UDP_SHARE * sum(mean_rates(self._scenario.links, "down")),
                target=WEB,
                client=BOX,
                size=workloads.UDP_PAYLOAD,
                device=device,
                seconds=self._seconds,
            )
        elif workload.kind == "quic":
            self._main = QuicTransfer(
                self._lab,
                target=WEB,
                client=BOX,
                congestion=workload.congestion,
                device=device,
                seconds=self._seconds,
            )
        elif workload.kind not in ("voice", "idle"):
            raise LabError(f"the laboratory has no traffic of the kind {workload.kind!r}")
        if self._main is not None:
            self._running.callback(self._main.cancel)
        for number in range(1, workload.boxes):
            other = Transfer(
                self._lab,
                target=WEB,
                client=topology.box_name(number),
                direction=workload.direction,
                flows=workload.others,
                congestion=workload.congestion,
                seconds=self._seconds,
            )
            self._others.append(other)
            self._running.callback(other.cancel)
        if workload.voice:
            self._call = VoiceCall(
                self._lab, target=WEB, client=BOX, device=device, seconds=self._seconds
            )
            self._running.callback(self._call.cancel)
        if self._scenario.rival is not None:
            self._rival = Transfer(
                self._lab,
                target=WEB,
                client=f"rival{self._scenario.rival}",
                seconds=workloads.START + self._seconds,
            )
            self._running.callback(self._rival.cancel)


def _note(
    figures: AppFigures, main: Transfer | PageLoads | UdpStream | QuicTransfer
) -> tuple[Machine, str | None]:
    """Wait for a generator and note what it says; return what of it is about the machine, and a doubt."""
    if isinstance(main, Transfer):
        by_way = main.results()
        _note_transfers(figures, by_way)
        return next(iter(by_way.values())), None
    if isinstance(main, PageLoads):
        pages = main.result()
        figures.received = {"down": pages["bytes"], "up": None}
        figures.pages, figures.pages_failed = pages["pages"], pages["failed"]
        return pages, None
    doubt = None
    if isinstance(main, UdpStream):
        udp = main.result()
        _note_stream(figures, udp)
        figures.udp = {name: udp[name] for name in ("sent", "lost", "reordered")}
        if udp["overrun"] > OVERRUN_SHARE * udp["sent"]:
            doubt = f"the UDP generator was too slow to read {udp['overrun']} datagrams"
        return udp, doubt
    quic = main.result()
    _note_stream(figures, quic)
    figures.flows, figures.alive = [quic["bytes"]], quic["alive"]
    if quic["saturated"]:
        doubt = "the QUIC generator used nearly all of a core, and was itself the limit"
    return quic, doubt


def _note_box(figures: AppFigures, one: TransferResult) -> Machine:
    """Note what one more box did, beside those before, and return what of it is about the machine."""
    received = dict(figures.received)
    (way,) = (way for way, count in received.items() if count is not None)
    before = received[way] or 0
    figures.boxes = [*(figures.boxes or [before]), one["bytes"]]
    figures.received = received | {way: before + one["bytes"]}
    return one


def _note_stream(figures: AppFigures, one: UdpResult | QuicResult) -> None:
    figures.received = {"down": one["bytes"], "up": None}
    figures.goodput_timeline = {"down": one["timeline"], "up": None}
    figures.longest_stall = one["longest_stall"]


def _note_transfers(figures: AppFigures, by_way: dict[str, TransferResult]) -> None:
    found: Sequence[TransferResult] = list(by_way.values())
    ways = ("down", "up")
    figures.received = {way: by_way[way]["bytes"] if way in by_way else None for way in ways}
    figures.goodput_timeline = {
        way: by_way[way]["timeline"] if way in by_way else None for way in ways
    }
    figures.flows = [count for each in found for count in each["per_flow"]]
    figures.retransmits = sum(each["retransmits"] for each in found)
    figures.longest_stall = max(each["longest_stall"] for each in found)
    figures.alive = all(each["alive"] for each in found)
