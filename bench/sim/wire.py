"""A clock of its own and a link without a tunnel: what the bare link, and somebody else on it, use.

A `Wire` carries the hosts' packets over one (up, down) pair of links as they are. It lives on any clock:
on its own (`Clock`), or on a world's, where it may share links with the datagrams of a session. Pulling
it is what pulling a link of a world is: see there.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from bench.links.link import Link

Receive = Callable[[list[bytes]], None]
"""Takes the packets that come out of a network at one time."""


class VirtualTime(Protocol):
    """Whoever owns time."""

    now: float
    epoch: float
    """When the links' clock was 0."""

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something at a time."""

    def run(self, until: float, *, steps: int) -> None:
        """Let time pass; AssertionError when it takes more than `steps` steps."""


class Network(Protocol):
    """What hosts are attached to: one at "client", one at "server"."""

    def attach(self, side: str, receive: Receive) -> None:
        """Hand packets that come out at a side to a host."""

    def send(self, side: str, packets: list[bytes]) -> None:
        """Take packets from the host at a side."""


class Clock:
    """Time that jumps from action to action."""

    def __init__(self) -> None:
        self.now = 0.0
        self.epoch = 0.0
        self.steps = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._ids = count()

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something at a time."""
        heappush(self._queue, (time, next(self._ids), action))

    def run(self, until: float, *, steps: int = 1_000_000) -> None:
        """Let time pass; AssertionError when it takes more than `steps` steps."""
        limit = self.steps + steps
        queue = self._queue
        while queue and queue[0][0] <= until:
            self.steps += 1
            assert self.steps < limit, f"livelock: {steps} steps before {until} s, now {self.now} s"
            time, _, action = heappop(queue)
            if time > self.now:
                self.now = time
            action()
        self.now = until


class Wire:
    """One link, without a tunnel."""

    def __init__(self, clock: VirtualTime, up: Link, down: Link) -> None:
        self._clock = clock
        self._ways = {"client": (up, "server"), "server": (down, "client")}
        self._receive: dict[str, Receive] = {}
        self._pulled = False

    def attach(self, side: str, receive: Receive) -> None:
        """Hand packets that come out at a side to a host."""
        self._receive[side] = receive

    def pull(self) -> None:
        """Pull the cable between client and modem."""
        self._pulled = True

    def restore(self) -> None:
        """Put the cable back."""
        self._pulled = False

    def silence(self) -> None:
        """Let the link swallow everything both ways and say nothing."""
        for link, _ in self._ways.values():
            link.up = False

    def unsilence(self) -> None:
        """Let the silent link carry again."""
        for link, _ in self._ways.values():
            link.up = True

    def arrive(self, side: str, packet: bytes) -> None:
        """Hand a packet that has passed the link to the host at a side."""
        if not self._pulled or side == "server":
            self._receive[side]([packet])

    def send(self, side: str, packets: list[bytes]) -> None:
        """Put packets on the link."""
        if self._pulled and side == "client":
            return
        link, target = self._ways[side]
        clock = self._clock
        now = round((clock.now - clock.epoch) * 1e9)
        for packet in packets:
            for time, damage in link.transmit(len(packet), now):
                if damage < 0:  # the hosts' checksums find any damage
                    clock.at(clock.epoch + time / 1e9, _Arrival(self, target, packet))


class _Arrival:
    """A packet under way; calling it lets it arrive."""

    __slots__ = ("_packet", "_side", "_wire")

    def __init__(self, wire: Wire, side: str, packet: bytes) -> None:
        self._wire = wire
        self._side = side
        self._packet = packet

    def __call__(self) -> None:
        self._wire.arrive(self._side, self._packet)
