"""A steady stream of small numbered UDP datagrams with an echo, to see what a change costs.

The sender notes when each datagram left and when its echo came, on the machine's monotonic clock,
which all namespaces share: times can be compared with `time.monotonic()` anywhere. It writes one
line per echo to standard output, so that a test can look on while it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import ipaddress
import itertools
import select
import signal
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.lab.lab import Lab

PORT = 7007
HEAD = struct.Struct("!Id")
_serial = itertools.count()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """One answered datagram; times on the monotonic clock, in seconds."""

    number: int
    sent: float
    received: float


class Probe:
    """A running stream from one namespace to an address in another."""

    def __init__(
        self,
        lab: Lab,
        target: str,
        *,
        client: str = "client",
        server: str = "server",
        interval: float = 0.01,
        length: int = 200,
        source: str | None = None,
    ) -> None:
        """Starts an echo in `server` and the stream from `client`, and waits for the first echo."""
        self._lab = lab
        port = str(PORT + next(_serial))
        self._file = lab.directory / f"probe-{port}"
        python = (sys.executable, "-m", "bench.lab.probe")
        self._echo = lab.popen(server, *python, "echo", port)
        assert self._echo.stdout is not None
        self._echo.stdout.readline()
        argv = [*python, "send", port, target, str(interval), str(length)]
        with self._file.open("w") as out:
            self._sender = lab.popen(client, *argv, *([source] if source else ()), stdout=out)
        lab.wait_until(self.echoes, what="the probe's first echo")

    def echoes(self) -> list[Echo]:
        """Returns the echoes so far, in the order they came."""
        listed = []
        for line in self._file.read_text().splitlines():
            with contextlib.suppress(ValueError):  # the last line may be half written
                number, sent, received = line.split()
                listed.append(Echo(number=int(number), sent=float(sent), received=float(received)))
        return listed

    def wait_for(self, more: int, timeout: float = 20) -> None:
        """Waits until `more` datagrams that left after now have been answered."""
        asked = time.monotonic()
        self._lab.wait_until(
            lambda: sum(echo.sent > asked for echo in self.echoes()) >= more,
            timeout,
            f"{more} more echoes",
        )

    def finish(self) -> Trace:
        """Stops sending, waits for the last echoes and returns what was seen."""
        self._sender.terminate()
        self._sender.wait()
        self._lab.stop(self._echo)
        *_, end = self._file.read_text().splitlines()
        word, sent = end.split()
        assert word == "end"
        self._file.rename(self._file.with_suffix(".done"))
        self._file = self._file.with_suffix(".done")
        return Trace(sent=int(sent), echoes=tuple(self.echoes()))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What a finished probe saw."""

    sent: int
    echoes: tuple[Echo, ...]

    @property
    def lost(self) -> int:
        """How many datagrams were never answered."""
        return self.sent - len({echo.number for echo in self.echoes})

    @property
    def duplicates(self) -> int:
        """How many echoes came a second time."""
        return len(self.echoes) - len({echo.number for echo in self.echoes})

    @property
    def longest_gap(self) -> float:
        """The longest time without an echo, in seconds."""
        times = [echo.received for echo in self.echoes]
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)


def main() -> None:
    """Runs one end, in a namespace."""
    parser = argparse.ArgumentParser()
    ends = parser.add_subparsers(dest="end", required=True)
    echoing = ends.add_parser("echo")
    echoing.add_argument("port", type=int)
    sending = ends.add_parser("send")
    sending.add_argument("port", type=int)
    sending.add_argument("target", type=ipaddress.ip_address)
    sending.add_argument("interval", type=float)
    sending.add_argument("length", type=int)
    sending.add_argument("source", nargs="?", default="")
    options = parser.parse_args()
    if options.end == "echo":
        echo(options.port)
    else:
        family = socket.AF_INET6 if options.target.version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as out:
            out.bind((options.source, 0))
            send(out, (str(options.target), options.port), options.interval, options.length)


def echo(port: int) -> None:
    """Sends every datagram back to where it came from."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", port))
        print("ready", flush=True)
        while True:
            datagram, source = both.recvfrom(65535)
            with contextlib.suppress(OSError):
                both.sendto(datagram, source)


def send(out: socket.socket, target: tuple[str, int], interval: float, length: int) -> None:
    """Sends until SIGTERM, and then listens for one more second."""
    stopping = _until_terminated()
    number, due = 0, time.monotonic()
    while not stopping:
        now = time.monotonic()
        if now >= due:
            datagram = HEAD.pack(number, now).ljust(length, b"\0")
            with contextlib.suppress(OSError):  # no route just now: one more that was not answered
                out.sendto(datagram, target)
            number, due = number + 1, max(due + interval, now)
        _listen(out, due - time.monotonic())
    end = time.monotonic() + 1
    while (left := end - time.monotonic()) > 0:
        _listen(out, left)
    print("end", number, flush=True)


def _listen(out: socket.socket, patience: float) -> None:
    if not select.select([out], (), (), max(0.0, patience))[0]:
        return
    with contextlib.suppress(OSError):
        number, sent = HEAD.unpack_from(out.recv(65535))
        print(number, repr(sent), repr(time.monotonic()), flush=True)


def _until_terminated() -> list[int]:
    caught: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: caught.append(number))
    return caught


if __name__ == "__main__":
    main()
