"""Pages: many short connections, as browsers make them, and how long each page takes.

A visitor opens one connection and asks for the HTML; when that is there it opens the others, and every
connection fetches one object after the other until none is left. A page's time is from its first SYN
to its last byte. Nothing is reused: the next page, a pause later, opens new connections. What lies on
a page is `bench.workloads.page`. The server is that of `bench.lab.traffic.tcp`, which sends as many
bytes as it is asked for. There is no TLS: its round trips would come on top.

A page fails when a connection of it breaks or when it takes longer than its visitor's patience. Pages
begun within the time are waited for.
"""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import time
from typing import TYPE_CHECKING, Any

from bench.lab.traffic import program
from bench.lab.traffic.meter import Meter
from bench.lab.traffic.tcp import HEADER, RESET, SINK, serve
from bench.workloads import page

if TYPE_CHECKING:
    from bench.lab.traffic.program import Plan


class Visitor:
    """Somebody who opens one page after the other."""

    def __init__(self, plan: Plan, poll: select.epoll, number: int, meter: Meter) -> None:
        self._plan = plan
        self._poll = poll
        self._number = number
        self._meter = meter
        self._waiting: list[int] = []
        self._missing: dict[int, int] = {}
        self._connections: dict[int, socket.socket] = {}
        self._began = 0.0
        self._alone = True
        self.open = False
        self.times: list[float] = []
        self.failed = 0
        self.error: str | None = None
        self.due = meter.start
        """When to begin the next page, or to give up on the open one."""

    def descriptors(self) -> list[int]:
        """Return the file descriptors of the connections of the open page."""
        return list(self._connections)

    def begin(self, now: float) -> None:
        """Open the next page."""
        self._waiting = list(reversed(page(self._number, self._plan["seed"])))
        self._number += self._plan["visitors"]
        self._began = now
        self.open = True
        self.due = now + self._plan["patience"]
        self._alone = True
        try:
            self._connect()
        except OSError as failure:
            self.give_up(now, failure.strerror or str(failure))

    def give_up(self, now: float, reason: str) -> None:
        """Count the open page as failed."""
        self.failed += 1
        self.error = reason
        self._close(now)

    def serve(self, descriptor: int, now: float) -> None:
        """Go on with a connection on which something has happened."""
        connection = self._connections.get(descriptor)
        if connection is None:
            return  # closed with its page a moment ago
        try:
            if descriptor not in self._missing:
                self._connected(descriptor, connection)
            else:
                self._receive(descriptor, connection, now)
        except OSError as failure:
            self.give_up(now, failure.strerror or str(failure))

    def _connect(self) -> None:
        connection = program.tcp_socket(self._plan, device=True)
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._connections[connection.fileno()] = connection
        outcome = connection.connect_ex((self._plan["target"], self._plan["port"]))
        if outcome not in (0, errno.EINPROGRESS):
            raise OSError(outcome, os.strerror(outcome))
        self._poll.register(connection, select.EPOLLOUT)

    def _connected(self, descriptor: int, connection: socket.socket) -> None:
        if outcome := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            program.require_listener(self._plan, outcome)
            raise OSError(outcome, os.strerror(outcome))
        self._missing[descriptor] = 0
        self._poll.modify(connection, select.EPOLLIN)
        self._ask(descriptor, connection)

    def _ask(self, descriptor: int, connection: socket.socket) -> None:
        if self._waiting:
            self._missing[descriptor] = self._waiting.pop()
            connection.send(HEADER.pack(0, self._missing[descriptor]))

    def _receive(self, descriptor: int, connection: socket.socket, now: float) -> None:
        count = connection.recv_into(SINK, len(SINK), socket.MSG_TRUNC)
        if not count:
            raise ConnectionResetError(errno.ECONNRESET, "the server has closed a connection")
        self._meter.add(now, count)
        self._missing[descriptor] -= count
        if self._missing[descriptor]:
            return
        self._ask(descriptor, connection)
        if self._alone:
            self._alone = False
            for _ in range(min(self._plan["connections"] - 1, len(self._waiting))):
                self._connect()
        if not self._waiting and not any(self._missing.values()):
            self.times.append(now - self._began)
            self._close(now)

    def _close(self, now: float) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._missing.clear()
        self.open = False
        self.due = now + self._plan["pause"]


def fetch(plan: Plan) -> dict[str, Any]:
    """Open pages until the time is over."""
    program.hurry()
    program.require_route(plan)
    program.tcp_socket(plan, device=True).close()  # says at once what is not possible
    watch = program.meet(plan)
    poll = select.epoll()
    watch.wait()
    meter = Meter(watch.start, watch.end)
    visitors = [Visitor(plan, poll, number, meter) for number in range(plan["visitors"])]
    while True:
        now = time.monotonic()
        for visitor in visitors:
            if now < visitor.due:
                continue
            if visitor.open:
                visitor.give_up(now, "it took too long")
            elif now < watch.end:
                watch.fired(visitor.due)
                visitor.begin(now)
        busy = [each for each in visitors if each.open or each.due < watch.end]
        if not busy:
            break
        wake = min(each.due for each in busy)
        left = min(wake - time.monotonic(), watch.until_mark())
        ready = poll.poll(max(0.0, math.ceil(left * 1e3) / 1e3))
        now = time.monotonic()
        owners = {each: visitor for visitor in visitors for each in visitor.descriptors()}
        for descriptor, _happened in ready:
            if descriptor in owners:
                owners[descriptor].serve(descriptor, now)
    return {
        "pages": [time for visitor in visitors for time in visitor.times],
        "failed": sum(visitor.failed for visitor in visitors),
        "bytes": meter.bytes,
        "timeline": meter.timeline,
        "error": next((each.error for each in visitors if each.error), None),
        **watch.figures(),
    }


if __name__ == "__main__":
    program.run({"serve": serve, "fetch": fetch})
