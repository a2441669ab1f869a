"""UDP at a constant rate: numbered datagrams, sent evenly, and which of them come.

The client makes itself known by greetings, from shortly before the agreed moment, so that a server
behind which data goes down knows where to; it goes on greeting once a second, which keeps NATs open.
What is due is sent every millisecond, or datagram by datagram at lower rates. A datagram that the
sender's own kernel refuses is sent and lost, as for any program; how many is noted. So is how many the
receiver's kernel threw away because the receiver did not read in time: those are the generator's fault.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from bench.lab.traffic import program
from bench.lab.traffic.meter import Meter, Numbers

if TYPE_CHECKING:
    from bench.lab.traffic.program import Plan, Stopwatch

    Address = tuple[str, int] | tuple[str, int, int, int]

NUMBER = struct.Struct("!I")
GREETING = b"hello"
GREETING_EVERY = 0.05
"""Seconds between greetings until something comes back."""
KEEPALIVE = 1.0

TICK = 0.001
PAUSE = 0.001
BUFFER = 16 << 20
SO_MEMINFO = 55
MEMINFO = struct.Struct("=9I")
LARGEST = 65536
NOBODY = ("127.0.0.1", 9)
"""Whom a server sends to that was not greeted yet: what is due then is lost."""


def count_of(plan: Plan) -> int:
    """Return how many datagrams are sent in all."""
    return max(1, int(plan["rate"] * plan["seconds"] / 8 / plan["size"]))


def serve(plan: Plan) -> dict[str, Any]:
    """Be the server: send to whoever greets, or take what comes."""
    program.hurry()
    with program.udp_socket(plan, tos=plan["tos"], buffer=BUFFER) as port:
        program.listen_at(port, plan)
        watch = program.meet(plan)
        if plan["direction"] == "down":
            return send(port, plan, watch, None)
        return receive(port, plan, watch, None)


def fetch(plan: Plan) -> dict[str, Any]:
    """Be the client: greet and take what comes, or send."""
    program.hurry()
    program.require_route(plan)
    # not connected: after a change of routes, what is sent next has the new source address
    with program.udp_socket(plan, tos=plan["tos"], buffer=BUFFER, device=True) as port:
        watch = program.meet(plan)
        server = (plan["target"], plan["port"])
        if plan["direction"] == "up":
            return send(port, plan, watch, server)
        return receive(port, plan, watch, server)


def send(port: socket.socket, plan: Plan, watch: Stopwatch, peer: Address | None) -> dict[str, Any]:
    """Send every datagram when it is due; without a peer, to whoever has greeted last."""
    greeted = peer is None
    count = count_of(plan)
    interval = plan["size"] * 8 / plan["rate"]
    step = max(TICK, interval)
    datagram = bytearray(plan["size"])
    number = refused = 0
    watch.wait()
    for tick in itertools.count():
        due = watch.start + tick * step
        if (left := due - time.monotonic()) > 0:
            time.sleep(left)
        watch.fired(due)
        if greeted:
            peer = _last_source(port) or peer
        until = min(count, int(tick * step / interval + 1e-6) + 1)
        while number < until:
            NUMBER.pack_into(datagram, 0, number)
            number += 1
            try:
                port.sendto(datagram, peer or NOBODY)
            except OSError:
                refused += 1
        if number == count:
            return {"sent": count, "refused": refused, **watch.figures()}
    raise AssertionError("ticks never end")


def receive(
    port: socket.socket, plan: Plan, watch: Stopwatch, greeted: Address | None
) -> dict[str, Any]:
    """Take datagrams until all are there, or until it is too late for more."""
    numbers = Numbers(count_of(plan))
    meter = Meter(watch.start, watch.end)
    buffer = bytearray(LARGEST)
    greet_at = time.monotonic()
    while (now := time.monotonic()) < watch.end + plan["drain"] and (
        numbers.lost or now < watch.end
    ):
        if greeted is not None and now >= greet_at:
            with contextlib.suppress(OSError):
                port.sendto(GREETING, greeted)
            greet_at = now + (KEEPALIVE if numbers.received else GREETING_EVERY)
        if not select.select([port], (), (), min(GREETING_EVERY, watch.until_mark()))[0]:
            continue
        now = time.monotonic()
        with contextlib.suppress(OSError):
            while True:
                count = port.recv_into(buffer)
                if count == plan["size"] and numbers.add(NUMBER.unpack_from(buffer)[0]):
                    meter.add(now, count)
        if now >= watch.start:
            watch.pause(PAUSE)
    return {
        "received": numbers.received,
        "duplicates": numbers.duplicates,
        "reordered": numbers.reordered,
        "bytes": meter.bytes,
        "timeline": meter.timeline,
        "longest_stall": meter.longest_stall,
        "overrun": _overrun(port),
        **watch.figures(),
    }


def _last_source(port: socket.socket) -> Address | None:
    source: Address | None = None
    with contextlib.suppress(OSError):
        while True:
            _, source = port.recvfrom(LARGEST)
    return source


def _overrun(port: socket.socket) -> int:
    """Return how many datagrams the kernel threw away because there was no room for them."""
    told = port.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size)
    return int(MEMINFO.unpack(told)[8])


if __name__ == "__main__":
    program.run({"serve": serve, "fetch": fetch})
