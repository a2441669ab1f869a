"""A call: both ends send a packet of 172 bytes every 20 ms, whatever happens to the network.

That is G.711 in RTP. Each packet carries its number and when it left; the receiver notes when its
kernel got it. All namespaces of a machine share the clock, so one-way delays are exact. Both ends keep
to their own rhythm through outages. The server sends to where the last packet came from, so a new
mapping of a NAT does not end the call; greetings before the agreed moment open the first one.

Neither how late the sender's timer fired nor how late the receiver's process woke up is in a delay:
packets carry the time of sending itself, and arrivals are the kernel's (SO_TIMESTAMPNS).
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from bench.lab.traffic import program

if TYPE_CHECKING:
    from bench.lab.traffic.program import Plan, Stopwatch

    Address = tuple[str, int] | tuple[str, int, int, int]

HEAD = struct.Struct("!Id")
GREETING_NUMBER = 0xFFFFFFFF
GREETING_EVERY = 0.05

SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("=qq")
BUFFER = 1 << 20


def answer(plan: Plan) -> dict[str, Any]:
    """Be the one who is called."""
    with program.udp_socket(plan, tos=plan["tos"], buffer=BUFFER) as port:
        program.listen_at(port, plan)
        return Call(port, plan, None).talk(program.meet(plan))


def call(plan: Plan) -> dict[str, Any]:
    """Be the caller."""
    program.require_route(plan)
    with program.udp_socket(plan, tos=plan["tos"], buffer=BUFFER, device=True) as port:
        peer = (plan["target"], plan["port"])
        return Call(port, plan, peer).talk(program.meet(plan))


class Call:
    """One end of a call."""

    def __init__(self, port: socket.socket, plan: Plan, peer: Address | None) -> None:
        self._port = port
        self._plan = plan
        self._peer = peer
        self._called = peer is None
        self._received: list[tuple[int, float, float]] = []
        self._refused = 0
        port.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def talk(self, watch: Stopwatch) -> dict[str, Any]:
        """Send and listen until the end, and wait for what is late."""
        program.hurry(first=True)
        self._greet(watch.start)
        watch.wait()
        interval = self._plan["interval"]
        count = round(self._plan["seconds"] / interval)
        sent: list[float] = []
        while len(sent) < count:
            due = watch.start + len(sent) * interval
            self._listen(due)
            watch.fired(due)
            sent.append(time.monotonic())
            self._send(len(sent) - 1, sent[-1])
        while len(self._received) < count and time.monotonic() < watch.end + self._plan["drain"]:
            self._listen(time.monotonic() + interval)
        return {
            "sent": [round(each - watch.start, 6) for each in sent],
            "received": [
                (number, round(left - watch.start, 6), round(came - watch.start, 6))
                for number, left, came in self._received
            ],
            "refused": self._refused,
            **watch.figures(),
        }

    def _greet(self, start: float) -> None:
        """Let the called one know where to send, and the NATs on the way know of it."""
        while (now := time.monotonic()) < start:
            if not self._called:
                self._send(GREETING_NUMBER, now)
            self._listen(min(start, now + GREETING_EVERY))

    def _send(self, number: int, now: float) -> None:
        if self._peer is None:
            return
        packet = HEAD.pack(number, now).ljust(self._plan["size"], b"\0")
        try:
            self._port.sendto(packet, self._peer)
        except OSError:  # no route just now: one more packet that does not come
            self._refused += 1

    def _listen(self, until: float) -> None:
        """Take what comes until then."""
        while (left := until - time.monotonic()) > 0:
            if select.select([self._port], (), (), left)[0]:
                self._take()

    def _take(self) -> None:
        since = time.monotonic_ns() - time.time_ns()
        with contextlib.suppress(OSError):
            while True:
                packet, ancillary, _flags, source = self._port.recvmsg(2048, 64)
                if len(packet) != self._plan["size"]:
                    continue
                if self._called:
                    self._peer = source
                number, left = HEAD.unpack_from(packet)
                if number != GREETING_NUMBER:
                    self._received.append((number, left, _arrival(ancillary, since)))


def _arrival(ancillary: list[tuple[int, int, bytes]], since: int) -> float:
    """Return when the kernel got a packet, on the monotonic clock; `since` is that minus real time."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = TIMESPEC.unpack(data[: TIMESPEC.size])
            return float(seconds * 1_000_000_000 + nanoseconds + since) / 1e9
    return time.monotonic()


if __name__ == "__main__":
    program.run({"serve": answer, "fetch": call})
