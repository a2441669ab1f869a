"""What is measured by itself, and how each is set up.

    aes          AESGCM.encrypt and nothing else: what no tunnel of this library can do without
    seal, open   frames into datagrams and back (a batch is that many datagrams)
    cut, join    a super-packet into segments, and segments into one again
    schedule     Outbound.bind: packets from the queue into datagrams of 1, 2 or 6 paths, by `adaptive`
    lanes        packets that come in order; `lanes swapped`: every second one before the first
    ack          an ACK of 40 datagrams over two paths, both copies: opened, parsed, and taken to heart
    core         the whole core, from the client's TUN device to the server's: see bench.micro.loop
    core super   the same with super-packets, if the core takes any

Figures are for one inner packet; for one datagram acknowledged in `ack`.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.errors import unknown
from bench.micro.loop import DELAY, PAYLOAD, RATE, SIZE, Flying, Loop, super_packet
from bench.micro.makes import IN_USE, functions
from mpbond.core.batch import Batch
from mpbond.core.keys import Keypair
from mpbond.core.lanes import Lanes
from mpbond.core.stats import OrderStats
from mpbond.core.unfinished import Unfinished
from mpbond.core.wire import DATA_OVERHEAD, SEQUENCE_SPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CIPHER = "AES-256-GCM"
BATCHES = (1, 44)
PATHS = (1, 2, 6)
ACKED = 40
WAITING = 128 * 1024
"""Bytes that wait in the core's queue from which on nothing more is handed in: it never drops."""
WARM_UP = 0.15
"""Virtual seconds in which rate control learns that there is no limit."""
ADDRESS = bytes((10, 77, 0, 2))


class NotThereError(Exception):
    """The core does not do that; the words say what."""


@dataclasses.dataclass(frozen=True, slots=True)
class Running:
    """An item that is set up."""

    call: Callable[[], int]
    """Does the work once, and returns for how many packets."""
    before: Callable[[], None] | None = None
    """What each call needs and is not measured."""


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """One thing to measure."""

    name: str
    batch: int
    made: str
    make: Callable[[], Running]
    """Sets it up; NotThereError where the core cannot do it."""
    prepared: bool = False
    """Whether each call needs something before it; see `Running`."""

    @property
    def key(self) -> str:
        """How it is asked for: name/batch/make."""
        return f"{self.name}/{self.batch}/{self.made}"


def items() -> list[Item]:
    """Return all there are, of the make that this process runs."""
    return list(_items())


def select(names: Iterable[str]) -> list[Item]:
    """Return those of these names, or beginnings of keys; all without any."""
    wanted, there = list(names), items()
    for name in wanted:
        if not any(item.key.startswith(name) for item in there):
            raise unknown("item", name, dict.fromkeys(item.name for item in there))
    return [
        item for item in there if not wanted or any(item.key.startswith(name) for name in wanted)
    ]


def _items() -> Iterator[Item]:
    for batch in BATCHES:
        yield Item("aes", batch, IN_USE, functools.partial(_aes, batch))
    makes: dict[str, tuple[str, Callable[[Any, int], Running]]] = {
        "seal": ("seal", _seal),
        "open": ("unseal", _open),
        "cut": ("cut", _cut),
        "join": ("join", _join),
    }
    there = functions()
    for name, (function, make) in makes.items():
        for batch in BATCHES:
            yield Item(name, batch, IN_USE, functools.partial(make, there[function], batch))
    for paths in PATHS:
        for batch in BATCHES:
            make_one = functools.partial(_schedule, paths, batch)
            yield Item(f"schedule {paths}", batch, IN_USE, make_one, prepared=True)
    for batch in BATCHES:
        yield Item("lanes", batch, IN_USE, functools.partial(_lanes, batch, swapped=False))
    yield Item("lanes swapped", BATCHES[1], IN_USE, functools.partial(_lanes, 44, swapped=True))
    yield Item("ack", ACKED, IN_USE, _ack, prepared=True)
    for batch in BATCHES:
        yield Item("core", batch, IN_USE, functools.partial(_core, batch, whole=False))
    yield Item("core super", BATCHES[1], IN_USE, functools.partial(_core, 44, whole=True))


def _pairs() -> tuple[Keypair, Keypair]:
    """Both sides' keys."""
    there, back = bytes(range(32)), bytes(range(32, 64))
    return Keypair(CIPHER, there, back, 1, 2, 0.0), Keypair(CIPHER, back, there, 2, 1, 0.0)


def _frames(count: int) -> list[tuple[int, int, bytes]]:
    """Path, packet number and plaintext of datagrams with a packet each."""
    return [(0, number, bytes(DATA_OVERHEAD + SIZE)) for number in range(count)]


def _aes(batch: int) -> Running:
    encrypt = AESGCM(bytes(range(32))).encrypt
    nonce, plain, head = bytes(12), bytes(DATA_OVERHEAD + SIZE), bytes(10)

    def call() -> int:
        for _ in range(batch):
            encrypt(nonce, plain, head)
        return batch

    return Running(call)


def _seal(seal: Any, batch: int) -> Running:
    pair, frames = _pairs()[0], _frames(batch)

    def call() -> int:
        seal(pair, frames)
        return batch

    return Running(call)


def _open(unseal: Any, batch: int) -> Running:
    ours, theirs = _pairs()
    frames = _frames(batch)
    sealed = functions()["seal"](ours, frames)
    datagrams = [
        (path, number, data) for (path, number, _), data in zip(frames, sealed, strict=True)
    ]
    if None in unseal(theirs, datagrams):
        raise NotThereError("it does not open what was sealed")

    def call() -> int:
        unseal(theirs, datagrams)
        return batch

    return Running(call)


def _cut(cut: Any, batch: int) -> Running:
    packet = super_packet(ADDRESS, batch)

    def call() -> int:
        cut(packet)
        return batch

    return Running(call)


def _join(join: Any, batch: int) -> Running:
    whole = super_packet(ADDRESS, batch)
    segments = [Unfinished(part) for part in functions()["cut"](whole)]
    if len(join(segments)) != 1:
        raise NotThereError("it does not put together what was cut")

    def call() -> int:
        join(segments)
        return batch

    return Running(call)


def _schedule(paths: int, batch: int) -> Running:
    loop = Loop(paths)
    warm_up(loop)
    sender = loop.session.sender
    outbound, candidates = sender.outbound, sender.candidates()
    packets = loop.packets(batch)

    def before() -> None:
        outbound.queue.clear()
        for path in candidates:
            path.planned = 0
        outbound.enqueue(packets, loop.now)

    def call() -> int:
        waiting = len(outbound)
        outbound.bind(Batch(), candidates, loop.now)
        return waiting - len(outbound)

    return Running(call, before)


def _lanes(batch: int, *, swapped: bool) -> Running:
    lanes = Lanes(OrderStats())
    packets = [bytes(SIZE)] * batch
    places = list(range(batch))
    if swapped:
        places[::2], places[1::2] = places[1::2], places[::2]
    first = 0

    def call() -> int:
        nonlocal first
        for place, packet in zip(places, packets, strict=True):
            sequence = (first + place) % SEQUENCE_SPACE
            lanes.insert(7, sequence, packet, order=first, ordered=True, now=1.0)
        lanes.delivered.clear()
        first += batch
        return batch

    return Running(call)


def _ack() -> Running:
    loop = Loop(2)
    warm_up(loop)
    packets = loop.packets(ACKED)
    session = loop.session
    acks: list[Flying] = []

    def acknowledged() -> int:
        return sum(path.sent.acked_count for path in session.paths.values())

    def before() -> None:
        """Send, let the server hear of it, and keep its ACK when it is due."""
        acks.clear()
        settle(loop)
        loop.client.handle_packets(packets, loop.now)
        loop.turn(loop.client)
        while any(len(path.sent) for path in session.paths.values()) and not acks:
            loop.now += DELAY / 5
            loop.arrive()
            loop.turn(loop.client)
            if loop.server.next_timeout(loop.now) <= loop.now:
                loop.server.handle_timeout(loop.now)
            while (transmit := loop.server.poll_transmit(loop.now)) is not None:
                acks.append(loop.flying(loop.server, transmit))
            loop.server.poll_packets()

    def call() -> int:
        count = acknowledged()
        for ack in acks:
            loop.client.handle_datagrams(
                ack.socket, ack.source, ack.data, ack.segment_size, loop.now, loop.now
            )
        return acknowledged() - count

    return Running(call, before)


def _core(batch: int, *, whole: bool) -> Running:
    loop = Loop()
    if whole:
        made: list[bytes] = [loop.super_packet(batch)]
        before = loop.delivered
        loop.hand_in(made)
        settle(loop)
        if loop.delivered - before != batch * PAYLOAD:
            raise NotThereError("this core takes no super-packets")
    else:
        made = loop.packets(batch)
    length = batch * SIZE * 8 / RATE
    queue = loop.session.sender.outbound.queue

    def call() -> int:
        before = loop.delivered
        if queue.bytes < WAITING:
            loop.hand_in(made)
        loop.step(length)
        return (loop.delivered - before) // PAYLOAD

    for _ in range(round(WARM_UP / length)):
        call()
    return Running(call)


def warm_up(loop: Loop) -> None:
    """Let rate control learn, and let everything come to rest."""
    packets = loop.packets(BATCHES[1])
    length = len(packets) * SIZE * 8 / RATE
    for _ in range(round(WARM_UP / length)):
        loop.hand_in(packets)
        loop.step(length)
    settle(loop)


def settle(loop: Loop) -> None:
    """Let everything under way arrive and be acknowledged."""
    session = loop.session
    for _ in range(1000):
        loop.step(DELAY)
        if not len(session.sender.outbound) and not any(
            len(path.sent) for path in session.paths.values()
        ):
            return
