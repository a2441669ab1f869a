"""One measurement in virtual time: a scenario's links, a system over them, a workload on top.

    client host ── tunnel (World) or bare link (Wire) ── server host          and a rival on a link

A tunnel comes up over calm likenesses of the links first; then the links' clock begins, traffic starts
`workloads.START` later, and the window is measured, as in namespaces. What is under way at its end is
waited for where a workload needs that: the last packets of a call, a page half there. Everything
follows from the seed, to the bit.
"""

import dataclasses
import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_interface, ip_network
from random import Random

from bench import results, workloads
from bench.errors import BenchError
from bench.links.capacity import mean_rate
from bench.links.draws import seed_of
from bench.links.ledger import Ledger
from bench.links.link import Link
from bench.links.rates import nanoseconds
from bench.links.shape import Constant, LinkSpec, RandomLoss, Shape
from bench.results import AppFigures, Result
from bench.scenarios import Scenario
from bench.sim.apps import Call, Pages, Stream, Transfers, Window
from bench.sim.gauges import TunnelGauge
from bench.sim.hosts import Host
from bench.sim.wire import Clock, Network, VirtualTime, Wire
from bench.sim.world import OVERHEAD, World
from bench.systems import BARE, MPBOND, System
from bench.workloads import DOWN, UP, Workload
from mpbond.core.client import ClientEndpoint, ClientSettings
from mpbond.core.noise import public_key
from mpbond.core.server import ServerSettings
from mpbond.core.wire import DATA_OVERHEAD, HEADER_SIZE, TAG_SIZE

WARM_UP = 5.0
"""Seconds in which the tunnel comes up, before the links' clock begins."""
GRACE = 3.0
"""Seconds after the window in which packets of calls and streams are waited for."""
PATIENCE = 30.0
"""Seconds after the window in which a page may still come."""
TIMER_STEP = 0.001
"""Seconds; how fine timers of the programs' loop are."""
STEPS = 100_000
"""Steps a second of virtual time may take; more is a livelock."""

POOLS = (ip_network("10.77.0.0/24"), ip_network("fd77::/64"))
WEB = bytes((1, 2, 3, 4))
HOME = bytes((192, 168, 8, 100))
RIVAL = bytes((192, 168, 8, 200))
BULK, BULK_UP, PAGES, OTHERS, VOICE, UDP = 80, 81, 82, 83, 4000, 5000
"""Ports."""
TCP_HEADERS = 40
MINIMUM_MTU = 1280

Pair = tuple[Link, Link]
"""Up and down."""


def simulate(
    scenario: Scenario, system: System, workload: Workload, *, seed: int, seconds: float
) -> Result:
    """Measure a system under a workload for so many seconds of virtual time."""
    if system.kind not in (BARE, MPBOND):
        raise BenchError(
            f"{system.name} is real software; it is measured in the lab, not simulated"
        )
    if "sim" not in workload.clocks:
        raise BenchError(f"{workload.name} is measured in the lab, not simulated")
    began, cpu = time.monotonic(), time.process_time()
    with _no_collections():
        stage = Stage(scenario, system, workload, seed)
        figures = stage.play(seed, seconds)
    used = stage.used
    return results.measured(
        clock="sim",
        scenario=scenario.name,
        system=system.name,
        workload=workload,
        seed=seed,
        seconds=seconds,
        window=(workloads.START, workloads.START + seconds),
        specs=scenario.links,
        ledgers=stage.ledgers(seconds),
        app=figures,
        link=used[0] if system.one_link else None,
        absences=workloads.absences(workload, seconds),
        cpu={"simulator": time.process_time() - cpu},
        wall=time.monotonic() - began,
    )


class Stage:
    """The hosts of a measurement and what lies between them, at the beginning of the links' clock."""

    def __init__(self, scenario: Scenario, system: System, workload: Workload, seed: int) -> None:
        self.workload = workload
        self.used = system.used(scenario.links, workload.leading)
        self._specs = scenario.links
        self._links = [link_pair(spec, seed, number) for number, spec in enumerate(self._specs)]
        pairs = [self._links[number] for number in self.used]
        specs = [self._specs[number] for number in self.used]
        self.world: World | None = None
        self.wire: Wire | None = None
        network: Network
        self.clock: VirtualTime
        address = HOME
        if system.kind == BARE:
            self.clock = Clock()
            self.wire = network = Wire(self.clock, *pairs[0])
            mtu = specs[0].mtu
        else:
            weights = system.weights(self._specs, workload.leading)
            used_weights = [weights[number] for number in self.used]
            self.clock = self.world = network = tunnel(
                specs, pairs, system, used_weights, seed, workload.boxes
            )
            address = ip_interface(self.world.client_endpoint.addresses[0]).ip.packed
            mtu = inner_mtu(specs)
        self.client = Host(self.clock, network, "client", address, mss=mtu - TCP_HEADERS)
        self.server = Host(self.clock, network, "server", WEB, mss=mtu - TCP_HEADERS)
        if scenario.rival is not None:
            self._let_rival_download(self._links[scenario.rival], scenario.rival)

    def play(self, seed: int, seconds: float) -> AppFigures:
        """Let the workload take its course; return what its applications saw."""
        workload, clock = self.workload, self.clock
        start = clock.epoch + workloads.START
        window = Window(start, start + seconds)
        gauge = TunnelGauge(self.world, window) if self.world is not None else None
        for event in workloads.events(workload, seconds):
            clock.at(clock.epoch + event.time, partial(self._befall, event))
        for number in self.used:
            for moment in self._specs[number].rebinds:
                clock.at(clock.epoch + moment, partial(self._rebind, number))
        transfers = self._transfers(window)
        others = [self._others(number, window) for number in range(1, workload.boxes)]
        call = Call(self.client, self.server, window, port=VOICE) if workload.voice else None
        stream = self._stream(window) if workload.kind == "udp" else None
        pages = None
        if workload.kind == "pages":
            pages = Pages(
                self.client,
                self.server,
                window,
                seed=seed,
                congestion=workload.congestion,
                port=PAGES,
            )
        clock.run(window.end, steps=round(STEPS * (seconds + 1)))
        for transfer in (*transfers.values(), *others):
            transfer.stop()
        if call is not None or stream is not None or gauge is not None:
            clock.run(window.end + GRACE, steps=round(STEPS * GRACE))
        while pages is not None and pages.unfinished and clock.now < window.end + PATIENCE:
            clock.run(clock.now + 0.1, steps=STEPS)
        figures = figures_of(transfers, call, stream, pages)
        figures.tunnel = gauge.figures() if gauge is not None else None
        _count_boxes(figures, others)
        return figures

    def ledgers(self, seconds: float) -> list[dict[str, Ledger]]:
        """Return the books of all links, other people's traffic on idle ones included."""
        end = nanoseconds(workloads.START + seconds)
        for pair in self._links:
            for link in pair:
                link.advance(end)
        return [{UP: up.ledger, DOWN: down.ledger} for up, down in self._links]

    def _transfers(self, window: Window) -> dict[str, Transfers]:
        workload = self.workload
        if workload.kind not in ("bulk", "pieces", "bursts"):
            return {}
        piece = {"pieces": workloads.PIECE, "bursts": self._burst}.get(workload.kind)
        return {
            direction: Transfers(
                self.client,
                self.server,
                window,
                direction=direction,
                flows=workload.flows,
                congestion=workload.congestion,
                port=BULK_UP if direction == UP else BULK,
                piece=piece,
                every=workloads.BURST_EVERY if workload.kind == "bursts" else None,
            )
            for direction in workload.directions
        }

    def _others(self, number: int, window: Window) -> Transfers:
        """Let one more box do the same with its own number of flows."""
        assert self.world is not None
        box = self.world.side(box_name(number)).endpoint
        assert isinstance(box, ClientEndpoint)
        address = ip_interface(box.addresses[0]).ip.packed
        return Transfers(
            Host(self.clock, self.world, box_name(number), address, mss=self.server.mss),
            self.server,
            window,
            direction=self.workload.direction,
            flows=self.workload.others,
            congestion=self.workload.congestion,
            port=OTHERS + number,
        )

    @property
    def _burst(self) -> int:
        """The bytes of a burst."""
        way = self.workload.leading
        return workloads.burst(sum(mean_rate(getattr(spec, way)) for spec in self._specs))

    def _stream(self, window: Window) -> Stream:
        way = self.workload.leading
        rate = workloads.UDP_SHARE * sum(mean_rate(getattr(spec, way)) for spec in self._specs)
        ends = (self.client, self.server) if way == UP else (self.server, self.client)
        return Stream(
            *ends,
            window,
            interval=8 * workloads.UDP_PAYLOAD / rate,
            size=workloads.UDP_PAYLOAD,
            port=UDP,
        )

    def _befall(self, event: workloads.Event) -> None:
        """Do to a link what an event says."""
        if event.action == "loss":
            spec = self._specs[event.link]
            for link, shape in zip(self._links[event.link], (spec.up, spec.down), strict=True):
                link.change(loss=own_loss(shape) if event.loss is None else event.loss)
            return
        if event.link not in self.used:
            return  # nobody sends into it, or it is a rival's, who has a cable of his own
        if self.world is not None:
            acts = {
                "pull": self.world.pull,
                "restore": self.world.restore,
                "silence": self.world.silence,
                "speak": self.world.unsilence,
            }
            acts[event.action](self.used.index(event.link))
        elif self.wire is not None:
            wire = self.wire
            {
                "pull": wire.pull,
                "restore": wire.restore,
                "silence": wire.silence,
                "speak": wire.unsilence,
            }[event.action]()

    def _rebind(self, number: int) -> None:
        if self.world is not None:
            self.world.rebind(self.used.index(number))

    def _let_rival_download(self, pair: Pair, number: int) -> None:
        """Somebody else behind the same modem downloads without end."""
        wire = Wire(self.clock, *pair)
        mss = self._specs[number].mtu - TCP_HEADERS
        client = Host(self.clock, wire, "client", RIVAL, mss=mss)
        server = Host(self.clock, wire, "server", WEB, mss=mss)
        Transfers(
            client,
            server,
            Window(self.clock.epoch, self.clock.epoch + 1.0),
            direction=DOWN,
            flows=1,
            congestion="cubic",
            port=BULK,
        )


def tunnel(
    specs: Sequence[LinkSpec],
    pairs: Sequence[Pair],
    system: System,
    weights: Sequence[float],
    seed: int,
    boxes: int = 1,
) -> World:
    """Return a world with a session that is up, over links whose clock begins now."""
    rng = Random(seed)
    server_key, client_key = rng.randbytes(32), rng.randbytes(32)
    hold = None if system.hold == "auto" else float(system.hold) / 1000
    world = World(
        [link_pair(calm(spec), seed, number) for number, spec in enumerate(specs)],
        POOLS,
        seed=seed,
        client=ClientSettings(
            private_key=client_key,
            server_key=public_key(server_key),
            scheduler=system.scheduler,
            downlink_scheduler=system.scheduler,
            hold=hold,
        ),
        server=ServerSettings(private_key=server_key, scheduler=system.scheduler, hold=hold),
        weights=weights,
        others=[box_name(number) for number in range(1, boxes)],
        timer_step=TIMER_STEP,
    )
    world.run(WARM_UP)
    for number in range(boxes):
        box = world.side(box_name(number)).endpoint
        assert isinstance(box, ClientEndpoint)
        assert box.addresses, "the session is not up over calm links"
    world.renew_links(pairs)
    return world


def box_name(number: int) -> str:
    """Return what a client box is called in a world."""
    return f"client{number or ''}"


def link_pair(spec: LinkSpec, seed: int, number: int) -> Pair:
    """Make both directions of a link, up first."""
    return (
        Link(spec.up, seed_of(seed, number, UP), spec.mtu),
        Link(spec.down, seed_of(seed, number, DOWN), spec.mtu),
    )


def calm(spec: LinkSpec) -> LinkSpec:
    """Return the likeness of a link on which nothing happens: its mean rates and its delays."""

    def steady(shape: Shape) -> Shape:
        return Shape(rate=Constant(max(1e5, mean_rate(shape))), delay=shape.delay)

    return dataclasses.replace(spec, down=steady(spec.down), up=steady(spec.up))


def inner_mtu(specs: Sequence[LinkSpec]) -> int:
    """Return the MTU that the client gives its TUN device over such links."""
    overhead = OVERHEAD + HEADER_SIZE + TAG_SIZE + DATA_OVERHEAD
    return max(MINIMUM_MTU, min(spec.mtu for spec in specs) - overhead)


def own_loss(shape: Shape) -> float:
    """Return the probability of random loss that a link has by itself."""
    if shape.loss is None:
        return 0.0
    if isinstance(shape.loss, RandomLoss):
        return shape.loss.probability
    raise BenchError("a link that is to turn bad and good again must lose at random, or nothing")


def figures_of(
    transfers: dict[str, Transfers], call: Call | None, stream: Stream | None, pages: Pages | None
) -> AppFigures:
    """Put together what the applications saw."""
    meters = {direction: transfer.meter for direction, transfer in transfers.items()}
    if pages is not None:
        meters[DOWN] = pages.meter
    if stream is not None:
        meters[DOWN] = stream.meter
    numbers = stream.numbers() if stream is not None else None
    tcp: list[Transfers | Pages] = [*transfers.values(), *([pages] if pages is not None else [])]
    return AppFigures(
        received={way: meter.bytes for way, meter in meters.items()},
        goodput_timeline={way: meter.timeline for way, meter in meters.items()},
        flows=[flow.bytes for transfer in transfers.values() for flow in transfer.flows],
        retransmits=sum(each.retransmits for each in tcp) if tcp else None,
        longest_stall=(
            max(transfer.meter.longest_stall for transfer in transfers.values())
            if transfers
            else None
        ),
        alive=all(transfer.alive for transfer in transfers.values()) if transfers else None,
        voice=call.figures() if call is not None else None,
        pages=pages.times if pages is not None else None,
        pages_failed=int(pages.unfinished) if pages is not None else 0,
        udp=(
            {
                "sent": numbers.received + numbers.lost,
                "lost": numbers.lost,
                "reordered": numbers.reordered,
            }
            if numbers is not None
            else None
        ),
    )


def _count_boxes(figures: AppFigures, others: Sequence[Transfers]) -> None:
    """Note what each box received, and what all of them did as the goodput."""
    if not others:
        return
    received = dict(figures.received)
    (way,) = (way for way, count in received.items() if count is not None)
    figures.boxes = [received[way] or 0, *(each.meter.bytes for each in others)]
    figures.received = received | {way: sum(figures.boxes)}


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the garbage collector from looking at packets again and again: they form no cycles."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
