"""Two hosts and a link between them, in virtual time: as little as TCP connections need to run."""

from heapq import heappop, heappush
from itertools import count

from bench.links.link import Link
from bench.links.shape import Constant, Shape
from bench.sim.tcp import Connection, flags_of, ports_of
from bench.sim.tcp.segment import SYN

CLIENT, SERVER = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
SECOND = 1_000_000_000


class Network:
    """Connections from clients to servers that send down to them as much as they can.

    `down` and `up` are links, or lists of links over which packets go in turn.
    """

    def __init__(self, down, up=None):
        self.now = 0.0
        self.links = {
            "down": down if isinstance(down, list) else [down],
            "up": (up if isinstance(up, list) else [up]) if up is not None else [link()],
        }
        self.ends = {"client": {}, "server": {}}
        self.steps = 0
        self.log = []
        self.options = {}
        self.logging = False
        self.tamper = None
        self._turn = {"down": count(), "up": count()}
        self._events = []
        self._ids = count()
        self._timers = {}

    def flow(self, congestion="cubic", *, port=1000, size=None, at=0.0, **options):
        """A download; returns the client's end. The server writes when it has been connected."""
        self.options[port] = dict(congestion=congestion, size=size, **options)
        shared = {name: options[name] for name in ("mss", "ecn") if name in options}
        client = Connection(local=(CLIENT, port), remote=(SERVER, 80), **shared)
        self.ends["client"][port] = client
        self.at(at, lambda: (client.connect(self.now), self.drive("client", port)))
        return client

    def server(self, port=1000):
        return self.ends["server"][port]

    def at(self, time, action):
        heappush(self._events, (time, next(self._ids), action))

    def drive(self, side, port):
        """Send what an end has to send, and see to its timer."""
        end = self.ends[side][port]
        for packet in end.poll(self.now):
            self._send(side, packet)
        due = end.next_timeout()
        if due != self._timers.get((side, port)):
            self._timers[side, port] = due
            if due < float("inf"):
                self.at(due, lambda: self._fire(side, port, due))

    def run(self, until, steps=5_000_000):
        """Let time pass; AssertionError when it takes too many steps."""
        while self._events and self._events[0][0] <= until:
            self.steps += 1
            assert self.steps < steps, f"livelock at {self.now} s"
            self.now, _, action = heappop(self._events)
            action()
        self.now = until

    def _fire(self, side, port, due):
        if self._timers.get((side, port)) == due:
            self._timers[side, port] = None
            end = self.ends[side][port]
            end.handle_timeout(self.now)
            self.drive(side, port)

    def _send(self, side, packet):
        direction = "down" if side == "server" else "up"
        if self.tamper is not None:
            fate = self.tamper(direction, packet)  # true: gone; bytes: another one in its place
            if isinstance(fate, bytes):
                packet = fate
            elif fate:
                return
        links = self.links[direction]
        chosen = links[next(self._turn[direction]) % len(links)]
        for arrival in chosen.transmit(len(packet), round(self.now * SECOND)):
            self.at(
                arrival.time / SECOND,
                lambda: self._arrive("client" if direction == "down" else "server", packet),
            )

    def _arrive(self, side, packet):
        if self.logging:
            self.log.append((self.now, side, packet))
        source, destination = ports_of(packet)
        port = destination if side == "client" else source
        end = self.ends[side].get(port)
        if end is None:
            if side == "client" or not flags_of(packet) & SYN:
                return
            options = dict(self.options[port])
            size = options.pop("size")
            end = self.ends[side][port] = Connection.accept(packet, self.now, **options)
            end.write(size, self.now)
            if size is not None:
                end.close(self.now)
        else:
            end.handle(packet, self.now)
        self.drive(side, port)


def link(rate=8e6, delay=0.010, queue=0.1, seed=1, **shape):
    """One direction of a link."""
    return Link(Shape(rate=Constant(rate), delay=delay, queue=queue, **shape), seed)


def goodput(network, client, start, end):
    """bit/s that the client's application got between two times."""
    network.run(start)
    before = client.received
    network.run(end)
    return (client.received - before) * 8 / (end - start)
