"""Many clients in one process: the core's own endpoints, a socket each, and no packets.

`python -m bench.fast.clients PLAN` reads a file of JSON, the server's address and public key and the clients'
private keys (in hexadecimal):

    {"server": [host, port], "server_key": KEY, "keys": [KEY, …]}

Then it takes orders from standard input, a line each, and answers every one by a line of JSON, a `Count`:

    up N        bring clients up, `RATE` a second, until there are N
    tell        nothing but that

When its input ends every client says goodbye. What clients would give to their TUN devices is thrown away,
as they get nothing from there: all that goes over the wire is what sessions need to live.
"""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import json
import os
import resource
import selectors
import socket
import sys
import time
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from mpbond.core.client import ClientEndpoint, ClientSettings
from mpbond.core.link import Link, Target
from mpbond.core.transmit import SessionStarted
from mpbond.core.wire import CLOSE_SHUTDOWN
from mpbond.runtime.ciphers import preferred_ciphers

if TYPE_CHECKING:
    from collections.abc import Mapping

RATE = 40.0
"""Handshakes a second: less than a server answers without asking for cookies."""
LONGEST = 1.0
"""Seconds between two looks at the clients that are still to come."""
DATAGRAM = 2048
SPARE = 64
"""Descriptors for other things than clients."""


@dataclasses.dataclass(frozen=True, slots=True)
class Count:
    """What the clients have seen since they began."""

    connected: int
    """Clients with a session of which a path is up."""
    begun: int
    """Sessions: more than clients if any was lost and came back."""
    sent: int
    received: int
    """Datagrams, by all clients together."""


class Client:
    """One client with one path; `count` is taken of the datagrams by `Crowd`."""

    def __init__(self, settings: ClientSettings, server: tuple[str, int]) -> None:
        self.endpoint = ClientEndpoint(settings, SystemRandom())
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.connect(server)
        self.begun = self.sent = self.received = 0
        self._server = server
        self.endpoint.add_link(Link("wire", [Target(0, server)]), time.monotonic())

    @property
    def connected(self) -> bool:
        """Is there a session, and its path up?"""
        session = self.endpoint.session
        return session is not None and session.connected

    def read(self) -> None:
        """Take what has come."""
        now = time.monotonic()
        with contextlib.suppress(OSError):  # nothing more, or an ICMP error: sessions know better
            while True:
                datagram = self.socket.recv(DATAGRAM)
                self.received += 1
                self.endpoint.handle_datagrams(0, self._server, datagram, None, now, now)

    def turn(self) -> float:
        """Do what is due and send what is there; return when that is to be done again."""
        now = time.monotonic()
        endpoint = self.endpoint
        if endpoint.next_timeout(now) <= now:
            endpoint.handle_timeout(now)
        while (transmit := endpoint.poll_transmit(now)) is not None:
            data = b"".join(transmit.buffers)
            step = transmit.segment_size or len(data)
            for at in range(0, len(data), step):
                with contextlib.suppress(OSError):  # lost, as on any wire
                    self.socket.send(data[at : at + step])
                    self.sent += 1
        endpoint.poll_packets()
        while (event := endpoint.poll_event()) is not None:
            self.begun += isinstance(event, SessionStarted)
        return endpoint.next_timeout(now)

    def close(self) -> None:
        """Say goodbye."""
        self.endpoint.close(CLOSE_SHUTDOWN, "the crowd goes home", time.monotonic())
        self.turn()
        self.socket.close()


class Crowd:
    """The clients of a plan, and the loop that they share."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        host, port = plan["server"]
        self._server = (str(host), int(port))
        self._server_key = bytes.fromhex(plan["server_key"])
        self._keys = [bytes.fromhex(key) for key in plan["keys"]]
        self._ciphers = preferred_ciphers()
        self._clients: list[Client] = []
        self._wanted = 0
        self._next = 0.0  # when the next client comes
        self._due: list[tuple[float, int]] = []  # a heap: when a client wants its turn
        self._latest: list[float] = []  # what of the heap still counts, by client
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Serve orders until the input ends."""
        orders = sys.stdin.fileno()
        os.set_blocking(orders, False)
        self._selector.register(orders, selectors.EVENT_READ)
        text = b""
        try:
            while True:
                for key, _ in self._selector.select(self._patience()):
                    if key.data is not None:
                        self._clients[key.data].read()
                        self._turn(key.data)
                        continue
                    more = os.read(orders, DATAGRAM)
                    if not more:
                        return
                    *lines, text = (text + more).split(b"\n")
                    for line in lines:
                        self._obey(line.decode().split())
                self._run_due()
        finally:
            for client in self._clients:
                client.close()

    def count(self) -> Count:
        """Count what has come about so far."""
        return Count(
            connected=sum(client.connected for client in self._clients),
            begun=sum(client.begun for client in self._clients),
            sent=sum(client.sent for client in self._clients),
            received=sum(client.received for client in self._clients),
        )

    def _obey(self, order: list[str]) -> None:
        if order[0] == "up":
            self._wanted = min(int(order[1]), len(self._keys))
        print(json.dumps(dataclasses.asdict(self.count())), flush=True)

    def _patience(self) -> float:
        due = self._due[0][0] if self._due else float("inf")
        if len(self._clients) < self._wanted:
            due = min(due, self._next)
        return min(LONGEST, max(0.0, due - time.monotonic()))

    def _run_due(self) -> None:
        now = time.monotonic()
        if len(self._clients) < self._wanted and now >= self._next:
            self._next = max(self._next + 1 / RATE, now)
            self._add(len(self._clients))
        while self._due and self._due[0][0] <= now:
            due, number = heapq.heappop(self._due)
            if self._latest[number] == due:
                self._latest[number] = float("inf")
                self._turn(number)

    def _add(self, number: int) -> None:
        settings = ClientSettings(
            private_key=self._keys[number], server_key=self._server_key, ciphers=self._ciphers
        )
        client = Client(settings, self._server)
        self._clients.append(client)
        self._latest.append(float("inf"))
        self._selector.register(client.socket, selectors.EVENT_READ, number)
        self._turn(number)

    def _turn(self, number: int) -> None:
        due = self._clients[number].turn()
        if due != self._latest[number]:
            self._latest[number] = due
            heapq.heappush(self._due, (due, number))


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    descriptors = len(plan["keys"]) + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, max(hard, descriptors)))
    Crowd(plan).run()


if __name__ == "__main__":
    main()
