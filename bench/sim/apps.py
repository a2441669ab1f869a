"""Applications on simulated hosts: each begins at a time, and notes what it received within a window.

Both ends of an application are one object, for nothing needs to be written into the payload: what a
server shall answer with is known on both sides. Requests are `REQUEST` bytes, as short ones of HTTP are.
"""

import struct
from collections.abc import Callable
from functools import partial

from bench import workloads
from bench.lab.traffic.meter import Meter, Numbers, delays, round_trips
from bench.results import VoiceFigures
from bench.sim.hosts import Host, Socket

REQUEST = 100
"""Bytes of a request."""
TICK = 0.001
"""Seconds between two wake-ups of a sender."""
NUMBER = struct.Struct(">I")


class Window:
    """From when to when counts, in seconds of the hosts' clock."""

    def __init__(self, start: float, end: float) -> None:
        self.start = start
        self.end = end


class Transfers:
    """TCP connections in one direction, opened by the client; figures are of the receiving side.

    With `piece` each asks for that many bytes, and for as many again once they are there, with `every`
    at the next multiple of so many seconds; without, the sender never stops.
    """

    def __init__(
        self,
        client: Host,
        server: Host,
        window: Window,
        *,
        direction: str,
        flows: int,
        congestion: str,
        port: int,
        piece: int | None = None,
        every: float | None = None,
    ) -> None:
        self.meter = Meter(window.start, window.end)
        self.flows = [Meter(window.start, window.end) for _ in range(flows)]
        self.completed = 0
        self._client = client
        self._server = server
        self._direction = direction
        self._congestion = congestion
        self._port = port
        self._piece = piece
        self._every = every
        self._start = window.start
        self._senders: list[Socket] = []
        self._sockets: list[Socket] = []
        self._numbers: dict[int, int] = {}
        server.listen(port, congestion, self._accepted)
        client.clock.at(window.start, self._begin)

    @property
    def retransmits(self) -> int:
        """Segments the senders sent again."""
        return sum(socket.connection.retransmits for socket in self._senders)

    @property
    def alive(self) -> bool:
        """Whether every connection stands."""
        return all(socket.connection.established for socket in self._sockets)

    def stop(self) -> None:
        """Vanish without a word on both sides."""
        for socket in {*self._sockets, *self._senders}:
            socket.host.forget(socket)

    def _begin(self) -> None:
        for number in range(len(self.flows)):
            socket = self._client.connect((self._server.address, self._port), self._congestion)
            self._sockets.append(socket)
            self._numbers[socket.local_port] = number
            if self._direction == workloads.UP:
                self._senders.append(socket)
                socket.write(None)
            else:
                socket.on_data = self._counting(number, socket)
                socket.write(REQUEST)

    def _accepted(self, socket: Socket) -> None:
        if self._direction == workloads.UP:
            socket.on_data = self._counting(self._numbers[socket.remote_port], socket)
            return
        self._senders.append(socket)
        asked = 0

        def answer(count: int) -> None:
            nonlocal asked
            asked += count
            while asked >= REQUEST:
                asked -= REQUEST
                socket.write(self._piece)

        socket.on_data = answer

    def _counting(self, number: int, socket: Socket) -> Callable[[int], None]:
        clock, meter, flow = socket.host.clock, self.meter, self.flows[number]
        missing = self._piece

        def count(more: int) -> None:
            nonlocal missing
            meter.add(clock.now, more)
            flow.add(clock.now, more)
            if missing is not None and self._piece is not None:
                missing -= more
                if missing <= 0:
                    missing += self._piece
                    self.completed += 1
                    self._ask_again(socket)

        return count

    def _ask_again(self, socket: Socket) -> None:
        if self._every is None:
            socket.write(REQUEST)
            return
        clock, every = socket.host.clock, self._every
        turn = int((clock.now - self._start) / every + 1e-6) + 1
        clock.at(self._start + turn * every, partial(self._request, socket))

    def _request(self, socket: Socket) -> None:
        if not socket.gone:
            socket.write(REQUEST)


class Pages:
    """A browser: the HTML over one connection, then its objects over several, then the next page."""

    def __init__(
        self, client: Host, server: Host, window: Window, *, seed: int, congestion: str, port: int
    ) -> None:
        self.times: list[float] = []
        """Seconds each page took that was begun within the window."""
        self.meter = Meter(window.start, window.end)
        self.retransmits = 0
        self._client = client
        self._server = server
        self._window = window
        self._seed = seed
        self._congestion = congestion
        self._port = port
        self._number = 0
        self._began = 0.0
        self._waiting: list[int] = []
        self._missing = 0
        self._sockets: list[Socket] = []
        self._accepted: list[Socket] = []
        self._wanted: dict[int, list[int]] = {}
        server.listen(port, congestion, self._accept)
        client.clock.at(window.start, self._begin)

    @property
    def unfinished(self) -> bool:
        """Whether a page is under way."""
        return self._missing > 0

    def stop(self) -> None:
        """Vanish without a word on both sides, as after a reset."""
        for socket in (*self._sockets, *self._accepted):
            socket.host.forget(socket)

    def _begin(self) -> None:
        html, *objects = workloads.page(self._number, self._seed)
        self._number += 1
        self._began = self._client.now
        self._waiting = objects
        self._missing = html + sum(objects)
        self._open(html)

    def _open(self, size: int) -> None:
        socket = self._client.connect((self._server.address, self._port), self._congestion)
        self._sockets.append(socket)
        self._wanted[socket.local_port] = []
        missing = 0

        def ask(size: int) -> None:
            nonlocal missing
            missing = size
            self._wanted[socket.local_port].append(size)
            socket.write(REQUEST)

        def on_data(more: int) -> None:
            nonlocal missing
            missing -= more
            self._count(more)
            if missing:
                return
            first = len(self._sockets) == 1
            if self._waiting:
                ask(self._waiting.pop(0))
            if first:
                for _ in range(min(workloads.PAGE_CONNECTIONS - 1, len(self._waiting))):
                    self._open(self._waiting.pop(0))

        socket.on_data = on_data
        ask(size)

    def _count(self, more: int) -> None:
        clock = self._client.clock
        self.meter.add(clock.now, more)
        self._missing -= more
        if self._missing:
            return
        self.times.append(clock.now - self._began)
        self.retransmits += sum(one.connection.retransmits for one in self._accepted)
        self.stop()
        self._sockets, self._accepted, self._wanted = [], [], {}
        following = clock.now + workloads.PAGE_PAUSE
        if following < self._window.end:
            clock.at(following, self._begin)

    def _accept(self, socket: Socket) -> None:
        self._accepted.append(socket)
        wanted = self._wanted.get(socket.remote_port, [])
        asked = 0

        def answer(count: int) -> None:
            nonlocal asked
            asked += count
            while asked >= REQUEST:
                asked -= REQUEST
                socket.write(wanted.pop(0))

        socket.on_data = answer


class Stream:
    """Numbered UDP datagrams of one size at equal intervals, from one host to another."""

    def __init__(
        self,
        sender: Host,
        receiver: Host,
        window: Window,
        *,
        interval: float,
        size: int,
        port: int,
        tos: int = 0,
    ) -> None:
        self.sent: list[float] = []
        """When each left, in seconds since the beginning of the window."""
        self.packets: list[tuple[int, float, float]] = []
        """Number, when it left and when it came, for each that came."""
        self.meter = Meter(window.start, window.end)
        self._sender = sender
        self._receiver = receiver
        self._window = window
        self._interval = interval
        self._count = int((window.end - window.start) / interval + 1e-6)
        self._padding = bytes(size - NUMBER.size)
        self._port = port
        self._tos = tos
        receiver.on_datagram(port, self._came)
        sender.clock.at(window.start, self._send)

    def delays(self) -> list[float | None]:
        """Return the delay of every packet by number, None for one that did not come."""
        return delays(len(self.sent), self.packets)

    def numbers(self) -> Numbers:
        """Return which have come, and how."""
        numbers = Numbers(len(self.sent))
        for number, _, _ in self.packets:
            numbers.add(number)
        return numbers

    def _send(self) -> None:
        sender, start = self._sender, self._window.start
        first, passed = len(self.sent), sender.now - start
        # what is due by now goes at once
        until = min(self._count, int(passed / self._interval + 1e-6) + 1)
        self.sent += [passed] * (until - first)
        if until < self._count:
            sender.clock.at(start + max(until * self._interval, passed + TICK), self._send)
        payloads = [NUMBER.pack(number) + self._padding for number in range(first, until)]
        sender.send_datagrams(self._port, (self._receiver.address, self._port), payloads, self._tos)

    def _came(self, payload: bytes, now: float) -> None:
        (number,) = NUMBER.unpack_from(payload)
        self.packets.append((number, self.sent[number], now - self._window.start))
        self.meter.add(now, len(payload))


class Call:
    """A voice call: a stream each way."""

    def __init__(self, client: Host, server: Host, window: Window, *, port: int) -> None:
        def stream(sender: Host, receiver: Host, port: int) -> Stream:
            return Stream(
                sender,
                receiver,
                window,
                interval=workloads.VOICE_INTERVAL,
                size=workloads.VOICE_PAYLOAD,
                port=port,
                tos=workloads.VOICE_TOS,
            )

        self.up = stream(client, server, port)
        self.down = stream(server, client, port + 1)

    def figures(self) -> VoiceFigures:
        """Return how it went."""
        up, down = self.up.delays(), self.down.delays()
        return VoiceFigures(
            sent=len(up),
            up=up,
            down=down,
            round_trips=round_trips(up, self.up.sent, down, self.down.sent),
        )
