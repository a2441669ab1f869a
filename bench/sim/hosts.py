"""Hosts on a virtual clock: an address, and behind it TCP connections and UDP ports.

    application ── Socket ── Connection          a TCP connection and what it needs of its host
    application ── on_datagram                   UDP, by local port
                      └───── Host ── Network     at the side "client" or "server"

A host takes the packets that come at one time as one batch: all connections handle theirs, then their
applications hear of it, then what all of them want to send leaves together. Timers are armed lazily:
a socket has one wake-up in the clock's queue, which looks again when what it was for has moved on.
"""

import struct
from collections.abc import Callable, Iterable

from bench.sim.tcp import Connection, addresses_of, flags_of
from bench.sim.tcp.segment import ACK, SYN
from bench.sim.wire import Network, VirtualTime

TCP, UDP = 6, 17
NEVER = float("inf")
UDP_HEADER = struct.Struct(">BBHHHBBH4s4sHHHH")
UDP_OVERHEAD = UDP_HEADER.size
"""Bytes of IPv4 and UDP headers."""
FIRST_PORT = 33_000

Remote = tuple[bytes, int]
"""Address and port."""
OnDatagram = Callable[[bytes, float], None]
"""Takes the payload of a datagram and the time."""


class Socket:
    """A TCP connection of a host. The application may set `on_data`."""

    __slots__ = ("_due", "_seen", "connection", "gone", "host", "local_port", "on_data", "remote")

    def __init__(self, host: "Host", connection: Connection, port: int, remote: Remote) -> None:
        self.host = host
        self.connection = connection
        self.local_port = port
        self.remote = remote
        self.on_data: Callable[[int], None] | None = None
        """Told how many further bytes have come, in order."""
        self.gone = False
        self._seen = 0
        self._due = NEVER

    @property
    def remote_port(self) -> int:
        """The port of the other end."""
        return self.remote[1]

    def write(self, count: int | None) -> None:
        """Send `count` more bytes; None for without end."""
        self.connection.write(count, self.host.now)
        self.host.touch(self)

    def close(self) -> None:
        """Nothing more will be written."""
        self.connection.close(self.host.now)
        self.host.touch(self)

    def tell(self) -> None:
        """Let the application know what has changed."""
        more = self.connection.received - self._seen
        if more:
            self._seen += more
            if self.on_data is not None:
                self.on_data(more)

    def arm(self) -> None:
        """See that the socket wakes when its connection needs it."""
        due = self.connection.next_timeout()
        if due < self._due:
            self._due = due
            self.host.clock.at(due, self._wake)

    def _wake(self) -> None:
        now = self.host.now
        if self.gone or now < self._due:
            return  # what it was for has moved on
        self._due = NEVER
        if self.connection.next_timeout() <= now:
            self.connection.handle_timeout(now)
            self.host.touch(self)
        else:
            self.arm()


class Host:
    """A machine at one side of a network, with an IPv4 address (4 bytes).

    `mss` is what its TCP announces: the MTU of its way out, less 40 bytes.
    """

    def __init__(
        self, clock: VirtualTime, network: Network, side: str, address: bytes, *, mss: int
    ) -> None:
        self.clock = clock
        self.address = address
        self.sockets: dict[bytes, Socket] = {}
        self._network = network
        self._side = side
        self.mss = mss
        self._listeners: dict[int, tuple[str, Callable[[Socket], None]]] = {}
        self._datagrams: dict[int, OnDatagram] = {}
        self._next_port = FIRST_PORT
        self._touched: dict[Socket, None] = {}
        self._collecting = False
        network.attach(side, self.receive)

    @property
    def now(self) -> float:
        """The clock's time."""
        return self.clock.now

    def new_port(self) -> int:
        """A local port that has not been used."""
        self._next_port += 1
        return self._next_port - 1

    def connect(self, remote: Remote, congestion: str) -> Socket:
        """Open a TCP connection."""
        local = (self.address, self.new_port())
        connection = Connection(local=local, remote=remote, congestion=congestion, mss=self.mss)
        socket = Socket(self, connection, local[1], remote)
        self.sockets[_key(remote, local[1])] = socket
        connection.connect(self.now)
        self.touch(socket)
        return socket

    def listen(self, port: int, congestion: str, on_accept: Callable[[Socket], None]) -> None:
        """Accept TCP connections."""
        self._listeners[port] = congestion, on_accept

    def forget(self, socket: Socket) -> None:
        """Drop a connection without a word; what still comes for it is passed over."""
        socket.gone = True
        self.sockets.pop(_key(socket.remote, socket.local_port), None)

    def on_datagram(self, port: int, handle: OnDatagram) -> None:
        """Hand the payloads of UDP datagrams to an application."""
        self._datagrams[port] = handle

    def send_datagrams(
        self, port: int, remote: Remote, payloads: Iterable[bytes], tos: int = 0
    ) -> None:
        """Send UDP datagrams."""
        address, remote_port = remote
        packets = []
        for payload in payloads:
            size = 8 + len(payload)
            header = UDP_HEADER.pack(
                0x45, tos, 20 + size, 0, 0, 64, UDP, 0, self.address, address,
                port, remote_port, size, 0,
            )  # fmt: skip
            packets.append(header + payload)
        self._network.send(self._side, packets)

    def receive(self, packets: list[bytes]) -> None:
        """Take the packets that come at one time."""
        self._collecting = True
        now = self.clock.now
        touched, sockets = self._touched, self.sockets
        for packet in packets:
            if packet[9] == TCP:
                socket = sockets.get(packet[12:16] + packet[20:24])
                if socket is not None:
                    socket.connection.handle(packet, now)
                    touched[socket] = None
                else:
                    self._accept(packet)
            elif packet[9] == UDP:
                handle = self._datagrams.get(packet[22] << 8 | packet[23])
                if handle is not None:
                    handle(packet[UDP_OVERHEAD:], now)
        self._collecting = False
        if touched:
            self._flush()

    def touch(self, socket: Socket) -> None:
        """Something has happened to a connection: send what it wants to, at once or with the batch."""
        self._touched[socket] = None
        if not self._collecting:
            self._flush()

    def _accept(self, packet: bytes) -> None:
        """Take a packet of no connection: the first one of a new one, or nothing to us."""
        remote, (_, port) = addresses_of(packet)
        if flags_of(packet) & (SYN | ACK) != SYN or port not in self._listeners:
            return
        congestion, on_accept = self._listeners[port]
        connection = Connection.accept(packet, self.now, congestion=congestion, mss=self.mss)
        socket = Socket(self, connection, port, remote)
        self.sockets[packet[12:16] + packet[20:24]] = socket
        self._touched[socket] = None
        on_accept(socket)

    def _flush(self) -> None:
        """Let the applications of touched connections know, then send."""
        touched, now = self._touched, self.clock.now
        self._collecting = True
        done: list[Socket] = []
        while touched:
            socket, _ = touched.popitem()
            socket.tell()
            done.append(socket)
        self._collecting = False
        packets: list[bytes] = []
        for socket in done:
            if not socket.gone:
                packets += socket.connection.poll(now)
                socket.arm()
        if packets:
            self._network.send(self._side, packets)


def _key(remote: Remote, port: int) -> bytes:
    return remote[0] + struct.pack(">HH", remote[1], port)
