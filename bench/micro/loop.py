"""The whole core without I/O: a client's endpoint and a server's, on a virtual clock, with nothing between.

Datagrams arrive DELAY later, in order, and none is lost; there is no limit to the rate. Each step of the
clock lets a side to which something has happened take a turn as the driver does it: what has come in, what is
due, datagrams out, packets out. What a step costs is therefore the core's own time, and that of a deque.
"""

from __future__ import annotations

import struct
from collections import deque
from ipaddress import ip_interface, ip_network
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import BenchError
from mpbond.core.client import ClientEndpoint, ClientSettings
from mpbond.core.link import Link, Target
from mpbond.core.noise import public_key
from mpbond.core.path import DEFAULT_MTU
from mpbond.core.peers import Peer, Peers
from mpbond.core.server import ServerEndpoint, ServerSettings
from mpbond.core.unfinished import Unfinished

if TYPE_CHECKING:
    from mpbond.core.endpoint import Endpoint
    from mpbond.core.path import Address
    from mpbond.core.session import Session
    from mpbond.core.transmit import Transmit

DELAY = 0.0005
"""Seconds one way."""
SIZE = 1348
"""Bytes of an inner packet: what a path of 1,500 bytes carries, and a round number less than that."""
HEADERS = 40
PAYLOAD = SIZE - HEADERS
RATE = 1e9
"""bit/s at which packets are handed in."""
CONNECTING = 2.0
"""Seconds by which all paths must be up."""
SERVER = "server"
WEB = bytes((198, 51, 100, 80))


class Flying(NamedTuple):
    """What one sendmsg has sent, under way."""

    due: float
    endpoint: Endpoint
    socket: int
    source: Address
    data: bytes
    segment_size: int | None


class Loop:
    """Both endpoints, connected over so many paths. `delivered` is what came out at the server, in bytes."""

    def __init__(self, paths: int = 1, scheduler: str = "adaptive") -> None:
        """Connects them; BenchError when that fails."""
        rng = Random(1)
        server_key, client_key = rng.randbytes(32), rng.randbytes(32)
        self.now = 0.0
        self.delivered = 0
        self.server = ServerEndpoint(
            ServerSettings(private_key=server_key, scheduler=scheduler),
            Peers((ip_network("10.77.0.0/24"),), [Peer("box", public_key(client_key))]),
            rng,
        )
        self.client = ClientEndpoint(
            ClientSettings(
                private_key=client_key,
                server_key=public_key(server_key),
                scheduler=scheduler,
                downlink_scheduler=scheduler,
            ),
            rng,
        )
        self._air: deque[Flying] = deque()
        self._touched: dict[Endpoint, None] = {}
        self._due: dict[Endpoint, float] = {self.client: 0.0, self.server: 0.0}
        for index in range(paths):
            link = Link(f"wwan{index}", (Target(index, SERVER, DEFAULT_MTU),), 1.0)
            self.client.add_link(link, self.now)
        while not self._connected(paths):
            self.step(0.001)
            if self.now > CONNECTING:
                raise BenchError(f"the core does not connect {paths} paths by itself")

    @property
    def session(self) -> Session:
        """The client's."""
        assert self.client.session is not None
        return self.client.session

    def hand_in(self, packets: list[bytes]) -> None:
        """Give packets to the client; they leave with the next step."""
        self.client.handle_packets(packets, self.now)
        self._touched[self.client] = None

    def step(self, length: float) -> None:
        """Let so many seconds pass, and each side take a turn that has a reason to."""
        self.now += length
        self.arrive()
        for endpoint in (self.client, self.server):
            if endpoint in self._touched or self._due[endpoint] <= self.now:
                self.turn(endpoint)
        self._touched.clear()

    def arrive(self) -> None:
        """Hand over what has been under way long enough."""
        air, now = self._air, self.now
        while air and air[0].due <= now:
            _, endpoint, socket, source, data, segment_size = air.popleft()
            endpoint.handle_datagrams(socket, source, data, segment_size, now, now)
            self._touched[endpoint] = None

    def turn(self, endpoint: Endpoint) -> None:
        """Run what is due and drain an endpoint, as the driver does."""
        now = self.now
        if endpoint.next_timeout(now) <= now:
            endpoint.handle_timeout(now)
        while (transmit := endpoint.poll_transmit(now)) is not None:
            self._air.append(self.flying(endpoint, transmit))
        for packet in endpoint.poll_packets():
            self.delivered += len(packet) - HEADERS
        while endpoint.poll_event() is not None:
            pass
        self._due[endpoint] = endpoint.next_timeout(now)

    def flying(self, endpoint: Endpoint, transmit: Transmit) -> Flying:
        """Return what a Transmit is once it has been sent."""
        buffers = transmit.buffers
        data = buffers[0] if len(buffers) == 1 else b"".join(buffers)
        size, due = transmit.segment_size, self.now + DELAY
        if endpoint is self.client:
            return Flying(due, self.server, 0, ("client", transmit.socket), data, size)
        assert isinstance(transmit.address, tuple)
        return Flying(due, self.client, transmit.address[1], SERVER, data, size)

    def packets(self, count: int) -> list[bytes]:
        """Return so many packets of one TCP flow from the client to the web."""
        return [segment(self._address, number) for number in range(count)]

    def super_packet(self, count: int) -> Unfinished:
        """Return one packet that stands for so many."""
        return super_packet(self._address, count)

    @property
    def _address(self) -> bytes:
        return ip_interface(self.client.addresses[0]).ip.packed

    def _connected(self, paths: int) -> bool:
        session = self.client.session
        up = [] if session is None else [path for path in session.paths.values() if path.up]
        return len(up) == paths and bool(self.client.addresses)


def segment(source: bytes, number: int) -> bytes:
    """Return one packet of a TCP flow; its checksums are not right, which nobody looks at."""
    return headers(source, SIZE, number * PAYLOAD) + bytes(PAYLOAD)


def super_packet(source: bytes, count: int) -> Unfinished:
    """Return the packet that stands for the first `count` of them."""
    payload = count * PAYLOAD
    made = Unfinished(headers(source, HEADERS + payload, 0) + bytes(payload))
    made.segment_size = PAYLOAD
    return made


def headers(source: bytes, length: int, sequence: int) -> bytes:
    """Return an IPv4 and a TCP header."""
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 64, 6, 0, source, WEB)
    return head + struct.pack(">HHIIBBHHH", 50000, 80, sequence, 1, 0x50, 0x10, 512, 0, 0)
