"""Emulates the delay, loss and outages of links, in one process for all links of a laboratory.

A link is a pair of TUN devices, one in the modem's namespace and one in the internet's. The kernel
limits the rate (tbf on each device); this process carries packets from one device to the other:

    modem  wan (tbf: rate up)   --read-->  line: delay, loss, outage  --write-->  internet side
    modem  wan                  <--write-  line: delay, loss, outage  <--read---  (tbf: rate down)

Each of the two lines is a queue ordered by due time. A packet gets its due time when it is read;
a delay that shrinks at run time never lets a packet overtake an earlier one. Loss is drawn from a
generator seeded by link and direction, so that one direction does not depend on what the other
carried. The queue in front of a slow link is the kernel's; the line itself holds at most
rate x delay and needs no limit.

The process wakes when packets can be read or become due, and then handles all there are. Between
two rounds it rests for `QUANTUM`, which bounds the wake-ups per second and costs as much accuracy.

Commands come as JSON lines on standard input and are answered by one JSON line each:
    {"link": 2, "direction": "down", "loss": 0.01}      also "delay" and "silent"
    {"report": true}                                    packets carried and lost, by link
End of input ends the process, so it does not outlive the laboratory, however that ends.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import dataclasses
import fcntl
import json
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time
from typing import Any

QUANTUM = 0.0005  # s; a twentieth of the shortest delay in use, and at most 2,000 rounds a second
BATCH = 64  # packets read from a device in one round, so that no device starves another
TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
CLONE_NEWNET = 0x40000000


class Emulator:
    """The emulator's process, seen from the laboratory."""

    def __init__(self, plan: dict[str, Any]) -> None:
        """Starts the process; on return its devices exist. Raises RuntimeError when it fails."""
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.order(plan)

    def order(self, message: dict[str, Any]) -> dict[str, Any]:
        """Sends one command and returns its answer; raises RuntimeError when the process died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(message), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the link emulator ended with status {self.process.wait()}")
        answered: dict[str, Any] = json.loads(line)
        return answered

    def close(self) -> None:
        """Ends the process, and with it the devices."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self.process.kill()
        self.process.wait()


@dataclasses.dataclass(slots=True, kw_only=True)
class Line:
    """One direction of one link: what is read from `source` is written to `sink` later."""

    source: int
    sink: int
    largest: int
    rng: random.Random
    delay: float = 0.0
    loss: float = 0.0
    silent: bool = False
    queue: collections.deque[tuple[float, bytes]] = dataclasses.field(
        default_factory=collections.deque
    )
    carried: int = 0
    lost: int = 0
    refused: int = 0

    def read(self, now: float) -> None:
        """Takes in what stands in the device, at most a batch."""
        due = now + self.delay
        if self.queue and self.queue[-1][0] > due:
            due = self.queue[-1][0]
        for _ in range(BATCH):
            try:
                packet = os.read(self.source, self.largest)
            except BlockingIOError:
                return
            if self.silent or (self.loss and self.rng.random() < self.loss):
                self.lost += 1
            else:
                self.queue.append((due, packet))

    def write(self, now: float) -> None:
        """Gives out what is due."""
        while self.queue and self.queue[0][0] <= now:
            try:
                os.write(self.sink, self.queue.popleft()[1])
                self.carried += 1
            except OSError:
                self.refused += 1  # the device is down: a packet on its way to nowhere


def main() -> None:
    """Opens the devices named by the first line of input, says so, and carries packets."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    plan = json.loads(sys.stdin.readline())
    lines: dict[tuple[int, str], Line] = {}
    for number, link in enumerate(plan["links"]):
        modem = open_tun(link["modem_namespace"], link["modem_device"])
        internet = open_tun(link["internet_namespace"], link["internet_device"])
        for direction, source, sink in (("up", modem, internet), ("down", internet, modem)):
            lines[number, direction] = Line(
                source=source,
                sink=sink,
                largest=link["mtu"],
                rng=random.Random(f"{plan['seed']} {number} {direction}"),
                **link[direction],
            )
    answer({"ready": True})
    carry(lines)


def open_tun(namespace: str, device: str) -> int:
    """Makes a TUN device inside a named namespace; returns its descriptor, non-blocking."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}", "rb") as inside:
        if libc.setns(inside.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {namespace}")
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN_NO_PI))
    return descriptor


def carry(lines: dict[tuple[int, str], Line]) -> None:
    """Moves packets until standard input ends."""
    commands = sys.stdin.fileno()
    by_source = {line.source: line for line in lines.values()}
    watched = [commands, *by_source]
    every = list(lines.values())
    while True:
        earliest = min((line.queue[0][0] for line in every if line.queue), default=None)
        patience = None if earliest is None else max(0.0, earliest - time.monotonic())
        ready = select.select(watched, (), (), patience)[0]
        now = time.monotonic()
        for descriptor in ready:
            if descriptor != commands:
                by_source[descriptor].read(now)
            elif not obey(lines, sys.stdin.readline()):
                return
        for line in every:
            line.write(now)
        time.sleep(QUANTUM)


def obey(lines: dict[tuple[int, str], Line], text: str) -> bool:
    """Carries out one command; False at the end of input."""
    if not text:
        return False
    order = json.loads(text)
    if "report" in order:
        counters = ("carried", "lost", "refused")
        answer(
            {
                f"{link} {direction}": {name: getattr(line, name) for name in counters}
                for (link, direction), line in lines.items()
            }
        )
        return True
    for direction in ("up", "down") if "direction" not in order else (order["direction"],):
        line = lines[order["link"], direction]
        line.delay = order.get("delay", line.delay)
        line.loss = order.get("loss", line.loss)
        line.silent = order.get("silent", line.silent)
    answer({"done": True})
    return True


def answer(message: dict[str, Any]) -> None:
    """Writes one line of JSON to standard output."""
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
