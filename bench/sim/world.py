"""A client, a server and the links between them, driven from event to event.

    client endpoint ──up[i]──▶ NAT i ──▶ server endpoint
                    ◀─down[i]──

The world owns time. `run` jumps to the next arrival, timer or scheduled action, hands it in, and drains
what comes out, as the daemon's driver does. The number of steps is bounded, so that a livelock fails.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random

from bench.sim.link import Link
from mpbond.core.client import ClientEndpoint, ClientSettings, Target
from mpbond.core.client import Link as ClientLink
from mpbond.core.endpoint import Endpoint
from mpbond.core.noise import public_key
from mpbond.core.path import Address
from mpbond.core.peers import IPNetwork, Peer, Peers
from mpbond.core.server import ServerEndpoint, ServerSettings
from mpbond.core.transmit import Event, Transmit

SERVER_ADDRESS = "concentrator"
SERVER_SOCKET = 0


@dataclass
class Side:
    """What a test looks at: the packets that came out, with their times, and the events.

    `name` is "client" or "server", or what a further box was called.
    """

    endpoint: Endpoint
    name: str
    packets: list[tuple[float, bytes]] = field(default_factory=list)
    events: list[tuple[float, Event]] = field(default_factory=list)
    nat_ports: list[int] = field(default_factory=list)  # of a client, by link


class World:
    """One client and one server over `links`, each an (up, down) pair."""

    def __init__(
        self,
        links: Sequence[tuple[Link, Link]],
        pools: Sequence[IPNetwork],
        *,
        seed: int = 1,
        scheduler: str = "rr",
        client: ClientSettings | None = None,
        server: ServerSettings | None = None,
    ) -> None:
        self.rng = Random(seed)
        self.now = 0.0
        self.links = list(links)
        self.steps = 0
        self.on_packet: dict[str, Callable[[bytes], None]] = {}
        self.on_transmit: Callable[[Side, Transmit], None] | None = None
        self.duplicate = 0.0  # probability that a datagram comes twice
        server_key, client_key = self.rng.randbytes(32), self.rng.randbytes(32)
        self._server_settings = server or ServerSettings(
            private_key=server_key, scheduler=scheduler
        )
        self._client_settings = client or ClientSettings(
            private_key=client_key,
            server_key=public_key(server_key),
            scheduler=scheduler,
            downlink_scheduler=scheduler,
        )
        self._pools = tuple(pools)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._ids = count()
        self.server = Side(self._make_server(), "server")
        self.client = self._make_client("client")
        self._sides = [self.client, self.server]

    @property
    def client_endpoint(self) -> ClientEndpoint:
        assert isinstance(self.client.endpoint, ClientEndpoint)
        return self.client.endpoint

    @property
    def server_endpoint(self) -> ServerEndpoint:
        assert isinstance(self.server.endpoint, ServerEndpoint)
        return self.server.endpoint

    @property
    def nat_ports(self) -> list[int]:
        """The client's ports as the server sees them, by link."""
        return self.client.nat_ports

    @property
    def server_private_key(self) -> bytes:
        return self._server_settings.private_key

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something at a time."""
        heappush(self._queue, (time, next(self._ids), action))

    def send(self, side: str, packets: list[bytes]) -> None:
        """Hand packets to a side's TUN device now."""
        (self.client if side == "client" else self.server).endpoint.handle_packets(
            packets, self.now
        )
        self._drain()

    def run(self, until: float, *, steps: int = 1_000_000) -> None:
        """Let time pass; AssertionError when it takes more than `steps` steps."""
        limit = self.steps + steps
        self._drain()
        while True:
            due = min(
                self._queue[0][0] if self._queue else float("inf"),
                *(side.endpoint.next_timeout(self.now) for side in self._sides),
            )
            if due > until:
                self.now = until
                return
            self.steps += 1
            assert self.steps < limit, f"livelock: {steps} steps before {until} s, now {self.now} s"
            self.now = max(self.now, due)
            while self._queue and self._queue[0][0] <= self.now:
                heappop(self._queue)[2]()
            for side in self._sides:
                if side.endpoint.next_timeout(self.now) <= self.now:
                    side.endpoint.handle_timeout(self.now)
            self._drain()

    def restart_server(self) -> None:
        """The server process dies and comes back with the same keys and nothing else."""
        self.server.endpoint = self._make_server()

    def restart_client(self) -> None:
        """The client process dies and comes back."""
        self.client.endpoint = ClientEndpoint(self._client_settings, self.rng)
        for index in range(len(self.links)):
            self.nat_ports[index] += 1000
            self._add_client_link(self.client, index)

    def add_box(self, name: str) -> Side:
        """Another box with the client's key, on the same links, behind ports of its own."""
        side = self._make_client(name)
        self._sides.append(side)
        return side

    def rebind(self, index: int) -> None:
        """The NAT of a link maps the client to another port, and forgets the old one."""
        self.nat_ports[index] += 1

    def _make_server(self) -> ServerEndpoint:
        peer = Peer("client", public_key(self._client_settings.private_key))
        return ServerEndpoint(self._server_settings, Peers(self._pools, [peer]), self.rng)

    def _make_client(self, name: str) -> Side:
        side = Side(ClientEndpoint(self._client_settings, self.rng), name)
        for index in range(len(self.links)):
            side.nat_ports.append(40000 + index)
            self._add_client_link(side, index)
        return side

    def _add_client_link(self, side: Side, index: int) -> None:
        assert isinstance(side.endpoint, ClientEndpoint)
        link = ClientLink(f"wwan{index}", (Target(index, SERVER_ADDRESS),))
        side.endpoint.add_link(link, self.now)

    def _drain(self) -> None:
        for side in self._sides:
            endpoint = side.endpoint
            while (transmit := endpoint.poll_transmit(self.now)) is not None:
                if self.on_transmit is not None:
                    self.on_transmit(side, transmit)
                self._carry(side, transmit)
            for packet in endpoint.poll_packets():
                side.packets.append((self.now, packet))
                if side.name in self.on_packet:
                    self.on_packet[side.name](packet)
            while (event := endpoint.poll_event()) is not None:
                side.events.append((self.now, event))

    def _carry(self, side: Side, transmit: Transmit) -> None:
        datagram = b"".join(transmit.buffers)
        if side is not self.server:
            index = transmit.socket
            arrival = self.links[index][0].transmit(len(datagram), self.now, self.rng)
            source: Address = (side.name, index, side.nat_ports[index])
            target = self.server
            socket = SERVER_SOCKET
        else:
            assert isinstance(transmit.address, tuple)
            name, index, port = transmit.address
            target = next(other for other in self._sides if other.name == name)
            if port != target.nat_ports[index]:
                return
            arrival = self.links[index][1].transmit(len(datagram), self.now, self.rng)
            source = SERVER_ADDRESS
            socket = index
        if arrival is None:
            return
        copies = 2 if self.duplicate and self.rng.random() < self.duplicate else 1
        for copy in range(copies):
            self.at(
                arrival + copy * 0.001,
                lambda: target.endpoint.handle_datagrams(
                    socket, source, datagram, None, self.now, self.now
                ),
            )
