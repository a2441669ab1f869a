"""A client, a server and the links between them, driven from event to event.

    client endpoint ──up[i]──▶ NAT i ──▶ server endpoint
                    ◀─down[i]──

The world owns time. `run` jumps to the next arrival, timer or scheduled action, hands in all that comes
at that very time, and lets each side that something happened to take a turn, as the daemon's driver
does. The links' clock is the world's, in nanoseconds since `epoch`. The number of steps is bounded, so
that a livelock fails.

A pulled link is one whose cable between client and modem is out. The client sends nothing into it, and
what comes down to the modem meanwhile ends there; what the modem already holds still goes up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import NamedTuple

from bench.links.link import Link
from mpbond.core.client import ClientEndpoint, ClientSettings
from mpbond.core.endpoint import Endpoint
from mpbond.core.link import Link as ClientLink
from mpbond.core.link import Target
from mpbond.core.noise import public_key
from mpbond.core.path import DEFAULT_OVERHEAD, Address
from mpbond.core.peers import IPNetwork, Peer, Peers
from mpbond.core.reading import ReadingDelay
from mpbond.core.server import ServerEndpoint, ServerSettings
from mpbond.core.transmit import Event, Transmit

SERVER_ADDRESS = "concentrator"
SERVER_SOCKET = 0
OVERHEAD = DEFAULT_OVERHEAD
"""Bytes of IPv4 and UDP headers around a datagram; a link carries them too."""
NEVER = float("inf")


@dataclass(eq=False)
class Side:
    """What a test looks at: the packets that came out, with their times, and the events.

    `name` is "client" or "server", or what a further box was called. Where a host lives behind the
    side's TUN device, `on_packets` takes the packets instead. `entered` and `left` count those that
    were handed in and came out. With `reading` it takes so many seconds to read a datagram, and those that
    come meanwhile wait in their sockets' buffers; `waited` is for how long the last one did.
    """

    endpoint: Endpoint
    name: str
    packets: list[tuple[float, bytes]] = field(default_factory=list)
    events: list[tuple[float, Event]] = field(default_factory=list)
    nat_ports: list[int] = field(default_factory=list)  # of a client, by link
    on_packets: Callable[[list[bytes]], None] | None = None
    due: float = 0.0  # when its endpoint wants its next timeout
    alarm: float = 0.0  # when its timer fires
    turning: bool = False
    reading: float = 0.0
    waited: float = 0.0
    free: float = 0.0  # when all has been read that has come
    delays: dict[int, ReadingDelay] = field(default_factory=dict)  # by socket
    entered: int = 0
    left: int = 0


class Coming(NamedTuple):
    """A datagram under way to a side, or since its `arrival` in the buffer of a socket there."""

    side: Side
    socket: int
    source: Address
    datagram: bytes
    arrival: float | None = None


class World:
    """One client and one server over `links`, each an (up, down) pair; `weights` are the links'.

    `others` are further clients, boxes with keys of their own on the same links. `timer_step` (s) is how
    fine the timers of the sides' loops are: they fire no sooner than that after a turn, and half of it
    late, as the driver's do; 0 for timers that are exact.
    """

    def __init__(
        self,
        links: Sequence[tuple[Link, Link]],
        pools: Sequence[IPNetwork],
        *,
        seed: int = 1,
        scheduler: str = "rr",
        client: ClientSettings | None = None,
        server: ServerSettings | None = None,
        weights: Sequence[float] = (),
        others: Sequence[str] = (),
        timer_step: float = 0.0,
    ) -> None:
        self.rng = Random(seed)
        self.now = 0.0
        self.epoch = 0.0
        """When the links' clock was 0."""
        self.links = list(links)
        self.weights = list(weights) or [1.0] * len(links)
        self._pulled: set[int] = set()
        self.steps = 0
        self._timer_step = timer_step
        self.on_transmit: Callable[[Side, Transmit], None] | None = None
        self.refuses: Callable[[Side, Transmit], str | None] | None = None
        """Says for which drop reason the system refuses to send a datagram, None when it does not."""
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
        self._queue: list[tuple[float, int, Coming | Callable[[], None]]] = []
        self._ids = count()
        self._settings = {"client": self._client_settings}
        for name in others:
            key = self.rng.randbytes(32)
            self._settings[name] = replace(self._client_settings, private_key=key)
        self.server = Side(self._make_server(), "server")
        self.client = self._make_client("client", self._client_settings)
        self._sides = [self.client, self.server]
        self._sides += [self._make_client(name, self._settings[name]) for name in others]
        self._by_name = {side.name: side for side in self._sides}

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
        sender = self._by_name[side]
        sender.entered += len(packets)
        sender.endpoint.handle_packets(packets, self.now)
        if not sender.turning:
            self._turn(sender)

    def attach(self, side: str, receive: Callable[[list[bytes]], None]) -> None:
        """Hand packets that come out at a side to a host instead of keeping them."""
        self._by_name[side].on_packets = receive

    def side(self, name: str) -> Side:
        """Return the side of that name."""
        return self._by_name[name]

    def run(self, until: float, *, steps: int = 1_000_000) -> None:
        """Let time pass; AssertionError when it takes more than `steps` steps."""
        limit = self.steps + steps
        queue, sides = self._queue, self._sides
        for side in sides:
            self._turn(side)
        while True:
            due = queue[0][0] if queue else NEVER
            for side in sides:
                if side.alarm < due:
                    due = side.alarm
            if due > until:
                self.now = until
                return
            self.steps += 1
            assert self.steps < limit, f"livelock: {steps} steps before {until} s, now {self.now} s"
            if due > self.now:
                self.now = due
            touched = self._happen()
            for side in sides:
                if side in touched or side.alarm <= self.now:
                    self._turn(side)

    def renew_links(self, links: Sequence[tuple[Link, Link]]) -> None:
        """Put others in the place of the links now; these begin with their time 0."""
        self.links = list(links)
        self.epoch = self.now

    def pull(self, index: int) -> None:
        """Pull the cable between client and modem; the client sees its carrier go."""
        self._pulled.add(index)
        self._tell_carrier(index)

    def restore(self, index: int) -> None:
        """Put a pulled cable back."""
        self._pulled.discard(index)
        self._tell_carrier(index)

    def silence(self, index: int) -> None:
        """Let a link swallow everything both ways and say nothing."""
        for link in self.links[index]:
            link.up = False

    def unsilence(self, index: int) -> None:
        """Let a silent link carry again."""
        for link in self.links[index]:
            link.up = True

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
        side = self._make_client(name, self._client_settings)
        self._sides.append(side)
        self._by_name[name] = side
        return side

    def rebind(self, index: int) -> None:
        """The NAT of a link maps the client to another port, and forgets the old one."""
        self.nat_ports[index] += 1

    def _make_server(self) -> ServerEndpoint:
        peers = [
            Peer(name, public_key(settings.private_key))
            for name, settings in self._settings.items()
        ]
        return ServerEndpoint(self._server_settings, Peers(self._pools, peers), self.rng)

    def _make_client(self, name: str, settings: ClientSettings) -> Side:
        side = Side(ClientEndpoint(settings, self.rng), name)
        for index in range(len(self.links)):
            side.nat_ports.append(40000 + index)
            self._add_client_link(side, index)
        return side

    def _add_client_link(self, side: Side, index: int) -> None:
        assert isinstance(side.endpoint, ClientEndpoint)
        target = Target(index, SERVER_ADDRESS, self.links[index][0].mtu - OVERHEAD)
        link = ClientLink(f"wwan{index}", (target,), self.weights[index])
        side.endpoint.add_link(link, self.now)

    def _tell_carrier(self, index: int) -> None:
        for side in self._sides:
            if isinstance(side.endpoint, ClientEndpoint):
                side.endpoint.set_link_usable(f"wwan{index}", index not in self._pulled, self.now)
                self._turn(side)

    def _happen(self) -> Sequence[Side]:
        """Let everything happen that is due; return the sides it may have touched."""
        queue, now, pulled = self._queue, self.now, self._pulled
        touched: list[Side] = []
        everybody = False
        while queue and queue[0][0] <= now:
            coming = heappop(queue)[2]
            if isinstance(coming, Coming):
                side, socket, source, datagram, arrival = coming
                if arrival is None:
                    if socket in pulled and side is not self.server:
                        continue
                    if side.reading:
                        side.free = max(side.free, now) + side.reading
                        waiting = coming._replace(arrival=now)
                        heappush(queue, (side.free, next(self._ids), waiting))
                        continue
                    date = now
                else:
                    side.waited = now - arrival
                    date = side.delays.setdefault(socket, ReadingDelay()).date(arrival, now)
                side.endpoint.handle_datagrams(socket, source, datagram, None, date, now)
                touched.append(side)
            else:
                coming()
                everybody = True
        return self._sides if everybody else touched

    def _turn(self, side: Side) -> None:
        """Run what is due at a side and drain it, in the driver's order, until nothing is left.

        What a host answers to the packets it is handed goes through the same turn.
        """
        endpoint, now = side.endpoint, self.now
        side.turning = True
        if side.due <= now:
            endpoint.handle_timeout(now)
        while True:
            while (transmit := endpoint.poll_transmit(now)) is not None:
                for single in _singles(transmit):
                    if self.on_transmit is not None:
                        self.on_transmit(side, single)
                    reason = self.refuses(side, single) if self.refuses is not None else None
                    if reason is None:
                        self._carry(side, single)
                    else:
                        endpoint.handle_refused(single, reason, now)
            packets = endpoint.poll_packets()
            if not packets:
                break
            side.left += len(packets)
            if side.on_packets is not None:
                side.on_packets(packets)
            else:
                side.packets += [(now, packet) for packet in packets]
        while (event := endpoint.poll_event()) is not None:
            side.events.append((now, event))
        side.due = side.alarm = endpoint.next_timeout(now)
        step = self._timer_step
        if step:
            side.alarm = max(now + step, side.due + step / 2)
        side.turning = False

    def _carry(self, side: Side, transmit: Transmit) -> None:
        """Put a datagram on its link."""
        (datagram,) = transmit.buffers
        if side is not self.server:
            index = transmit.socket
            if index in self._pulled:
                return
            link = self.links[index][0]
            source: Address = (side.name, index, side.nat_ports[index])
            target, socket = self.server, SERVER_SOCKET
        else:
            assert isinstance(transmit.address, tuple)
            name, index, port = transmit.address
            target = self._by_name[name]
            if port != target.nat_ports[index]:
                return
            link = self.links[index][1]
            source, socket = SERVER_ADDRESS, index
        moment = round((self.now - self.epoch) * 1e9)
        for time, damage in link.transmit(len(datagram) + OVERHEAD, moment):
            came = datagram if damage < 0 else damaged(datagram, damage - 8 * OVERHEAD)
            if came:
                coming = Coming(target, socket, source, came)
                heappush(self._queue, (self.epoch + time / 1e9, next(self._ids), coming))


def _singles(transmit: Transmit) -> list[Transmit]:
    """Cut a batch up, as a kernel does on its way to a link."""
    if transmit.segment_size is None:
        return [transmit]
    assert transmit.numbers is not None
    path_id, numbers = transmit.numbers
    whole, size = b"".join(transmit.buffers), transmit.segment_size
    datagrams = [whole[at : at + size] for at in range(0, len(whole), size)]
    return [
        transmit._replace(buffers=[datagram], segment_size=None, numbers=(path_id, (number,)))
        for datagram, number in zip(datagrams, numbers, strict=True)
    ]


def damaged(datagram: bytes, bit: int) -> bytes:
    """Flip a bit of a datagram; nothing is left of one whose headers before it were hit."""
    if bit < 0:
        return b""
    changed = bytearray(datagram)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
