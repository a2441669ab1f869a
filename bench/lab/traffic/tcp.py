"""TCP in bulk: both ends of any number of connections that begin at one moment.

A client opens every connection at the moment to begin and asks on it for bytes: a header of 12 bytes
holds the number of the flow and how many it wants. One that asks for none sends, without end, itself.
A client that fetches pieces asks for the next one, on the same connection, when it has the last: what
download managers do with ranges of a file; or, as players do, at the next multiple of some time. At the end
of the time both sides stop counting, read what the kernel knows of their connections, and reset them.

Bytes are thrown away by the kernel (MSG_TRUNC), never copied. A receiver that has read pauses for a
millisecond, as an interrupt-moderated one does: at 500 Mbit/s that leaves a few hundred wake-ups a
second. Payload is random, so that nothing on the way can make it smaller.

A connection that does not come about, or breaks, is a finding about the network. That there is no
route before the beginning, or nobody who serves, is an error.
"""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import select
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

from bench.lab.traffic import program, tcpinfo
from bench.lab.traffic.meter import Meter

if TYPE_CHECKING:
    from bench.lab.traffic.program import Plan, Stopwatch

HEADER = struct.Struct("!IQ")
ENDLESS = 1 << 62
PAUSE = 0.001
LINGER = 0.2
"""Seconds for which both ends keep still before they reset connections: no end comes too early."""

AT_ONCE = 1 << 20
SINK = mmap.mmap(-1, 4 << 20)
"""Where bytes are said to go that are not kept; no page of it is ever touched."""

RESET = struct.pack("ii", 1, 0)


class Flow:
    """One connection."""

    def __init__(self, connection: socket.socket, number: int = -1) -> None:
        self.connection = connection
        self.number = number
        self.connected = False
        self.receives = False
        self.request = b""
        self.owed = 0
        """Bytes of payload still to be sent."""
        self.missing = 0
        """Bytes asked for that have not come yet."""
        self.received = 0
        self.sent = 0
        self.error: str | None = None
        connection.setblocking(False)
        # unsent data of one measurement must not disturb the next
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def send(self, source: memoryview) -> None:
        """Send what is owed, as much as there is room for."""
        with contextlib.suppress(BlockingIOError):
            while self.owed:
                part = min(self.owed, len(source))
                gone = self.connection.send(source[:part])
                self.sent += gone
                self.owed -= gone
                if gone < part:
                    return

    def figures(self) -> dict[str, Any]:
        """Return what the flow has done, and what the kernel says of it."""
        info = None
        if self.sent:
            info = tcpinfo.read(self.connection)
        return {
            "number": self.number,
            "received": self.received,
            "sent": self.sent,
            "connected": self.connected,
            "error": self.error,
            "info": info,
        }


class Exchange:
    """The connections of one end, and the loop that serves them."""

    def __init__(self, plan: Plan, watch: Stopwatch) -> None:
        self._plan = plan
        self._watch = watch
        self._poll = select.epoll()
        self._flows: dict[int, Flow] = {}
        self._source = memoryview(os.urandom(AT_ONCE))
        self._piece: int | None = plan["piece"]
        self._every: float | None = plan.get("every")
        self._asking: dict[Flow, float] = {}
        """When which flow asks for its next piece."""
        self._listener: socket.socket | None = None
        self._living = 0
        self.meter = Meter(watch.start, watch.end)
        self.completed = 0
        self.ended = False

    # Beginning

    def accept_from(self, listener: socket.socket) -> None:
        """Take connections from a listening socket, and end when standard input does."""
        self._listener = listener
        self._poll.register(listener, select.EPOLLIN)
        self._poll.register(sys.stdin, select.EPOLLIN)

    def open(self, flow: Flow) -> None:
        """Begin to connect; the flow asks or sends when it is connected."""
        self._flows[flow.connection.fileno()] = flow
        outcome = flow.connection.connect_ex((self._plan["target"], self._plan["port"]))
        if outcome not in (0, errno.EINPROGRESS):
            flow.error = os.strerror(outcome)
            return
        self._living += 1
        self._poll.register(flow.connection, select.EPOLLOUT)

    # The loop

    def run(self, until: float) -> None:
        """Serve all connections until then.

        A server ends early with its standard input, a client with the last of its connections.
        """
        while not self.ended and (left := until - time.monotonic()) > 0:
            if self._listener is None and not self._living:
                return
            before = self.meter.bytes
            left = min(left, self._watch.until_mark(), self._ask_due())
            for descriptor, happened in self._poll.poll(left):
                if descriptor == sys.stdin.fileno():
                    self.ended = True
                elif self._listener is not None and descriptor == self._listener.fileno():
                    self._accept()
                else:
                    self._serve(self._flows[descriptor], happened)
            if self.meter.bytes != before:
                self._watch.pause(PAUSE)

    def finish(self) -> dict[str, Any]:
        """Return the figures of this end, and close every connection a little later."""
        figures = {
            "flows": [flow.figures() for flow in self._flows.values()],
            "bytes": self.meter.bytes,
            "timeline": self.meter.timeline,
            "longest_stall": self.meter.longest_stall,
            "first": None if self.meter.first is None else self.meter.first - self.meter.start,
            "completed": self.completed,
            **self._watch.figures(),
        }
        time.sleep(LINGER)
        for flow in self._flows.values():
            flow.connection.close()
        return figures

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has gone again already
            return
        flow = Flow(connection)
        flow.connected = True
        self._flows[connection.fileno()] = flow
        self._poll.register(connection, select.EPOLLIN)

    def _serve(self, flow: Flow, happened: int) -> None:
        try:
            if not flow.connected:
                self._connected(flow)
            elif happened & select.EPOLLIN:
                self._receive(flow)
            elif happened & (select.EPOLLERR | select.EPOLLHUP):
                flow.connection.recv(1)  # says why
                raise EOFError
            if happened & select.EPOLLOUT:
                flow.send(self._source)
                self._listen_to(flow)
        except (OSError, EOFError) as failure:
            self._drop(flow, failure)

    def _connected(self, flow: Flow) -> None:
        if outcome := flow.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            program.require_listener(self._plan, outcome)
            raise OSError(outcome, os.strerror(outcome))
        flow.connected = True
        if flow.receives:
            self._ask(flow)
        else:
            flow.connection.send(HEADER.pack(flow.number, 0))
            flow.owed = ENDLESS
        self._listen_to(flow)

    def _ask(self, flow: Flow) -> None:
        flow.missing = self._piece or ENDLESS
        flow.connection.send(HEADER.pack(flow.number, flow.missing))

    def _ask_later(self, flow: Flow) -> None:
        if self._every is None:
            self._ask(flow)
            return
        turn = int((time.monotonic() - self._watch.start) / self._every) + 1
        self._asking[flow] = self._watch.start + turn * self._every

    def _ask_due(self) -> float:
        """Let flows ask whose time has come, and return how long the next one has."""
        now, least = time.monotonic(), math.inf
        for flow, moment in list(self._asking.items()):
            if moment > now:
                least = min(least, moment - now)
                continue
            del self._asking[flow]
            try:
                self._ask(flow)
            except OSError as failure:
                self._drop(flow, failure)
        return least

    def _receive(self, flow: Flow) -> None:
        if not flow.receives:
            self._read_request(flow)
            return
        count = flow.connection.recv_into(SINK, len(SINK), socket.MSG_TRUNC)
        if not count:
            raise EOFError
        counted = self.meter.add(time.monotonic(), count)
        flow.received += count if counted else 0
        if self._piece is not None:
            flow.missing -= count
            if not flow.missing:
                self.completed += counted
                self._ask_later(flow)

    def _read_request(self, flow: Flow) -> None:
        part = flow.connection.recv(HEADER.size - len(flow.request))
        if not part:
            raise EOFError
        flow.request += part
        if len(flow.request) < HEADER.size:
            return
        flow.number, wanted = HEADER.unpack(flow.request)
        flow.request = b""
        flow.receives = wanted == 0
        flow.owed += wanted
        if wanted:
            flow.send(self._source)
        self._listen_to(flow)

    def _listen_to(self, flow: Flow) -> None:
        wanted = select.EPOLLIN | (select.EPOLLOUT if flow.owed else 0)
        self._poll.modify(flow.connection, wanted)

    def _drop(self, flow: Flow, failure: Exception) -> None:
        self._poll.unregister(flow.connection)
        self._living -= 1
        if time.monotonic() < self._watch.end:
            reason = failure.strerror if isinstance(failure, OSError) else None
            flow.error = reason or "the far side has closed it"


def serve(plan: Plan) -> dict[str, Any]:
    """Accept connections and do on each what it asks for."""
    program.hurry()
    with program.tcp_socket(plan) as listener:
        program.listen_at(listener, plan)
        listener.listen(1024)
        listener.setblocking(False)
        watch = program.meet(plan)
        exchange = Exchange(plan, watch)
        exchange.accept_from(listener)
        exchange.run(watch.end + plan.get("grace", 0))
        return exchange.finish()


def fetch(plan: Plan) -> dict[str, Any]:
    """Open the connections and fill them."""
    program.hurry()
    program.require_route(plan)
    down, up = plan["down"], plan["up"]
    flows = [Flow(program.tcp_socket(plan, device=True), number) for number in range(down + up)]
    watch = program.meet(plan)
    exchange = Exchange(plan, watch)
    watch.wait()
    for flow in flows:
        flow.receives = flow.number < down
        exchange.open(flow)
    exchange.run(watch.end)
    return exchange.finish()


if __name__ == "__main__":
    program.run({"serve": serve, "fetch": fetch})
