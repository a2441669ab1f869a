"""What the load generators have in common: how they are started, agree on a moment, and report.

A generator is `python -m bench.lab.traffic.<kind> <role> <plan>`; the plan is one JSON object. It
makes its sockets, says `ready` on standard output, and reads from standard input one line: the
moment to begin, on the monotonic clock that all namespaces share. At its end it prints one line of
JSON: its figures, or {"error": "a sentence for a person"}. It always ends by itself some seconds
after the time it was given, and at once when its standard input ends before it was told to begin.

Every generator notes how late its own timers fired and the CPU time it used, so that a machine that
was too busy is not taken for a bad tunnel.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import gc
import ipaddress
import json
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

from bench.lab.traffic.meter import tardiness
from bench.lab.traffic.tcpinfo import MPTCP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Plan = Mapping[str, Any]
    Role = Callable[[Plan], dict[str, Any]]

PR_SET_TIMERSLACK = 29
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
URGENT = -15
"""Niceness of generators, which hardly use the CPU."""
MARK = 0.020
"""Seconds between two moments at which a loop that waits for the network notes how late it is."""


class TrafficError(Exception):
    """A generator cannot do what it was asked to; the message is a sentence for a person."""


class Stopwatch:
    """The agreed beginning and what a generator notes of itself from then on."""

    def __init__(self, start: float, seconds: float) -> None:
        self.start = start
        self.end = start + seconds
        self._late = array.array("d")
        self._used = time.process_time()
        self._mark = start

    def wait(self) -> None:
        """Wait until the beginning."""
        while (left := self.start - time.monotonic()) > 0:
            time.sleep(left)
        self.until_mark()

    def until_mark(self) -> float:
        """Return the seconds to the next mark, which a loop must not wait beyond.

        Marks are the beginning and moments some milliseconds apart after it; how late one is when it is
        asked for again is noted, so a loop that did not run for a while is found out, whether it was
        waiting or had work. CPU time counts from the first one.
        """
        now = time.monotonic()
        if now < self._mark:
            return self._mark - now
        if self._mark == self.start:
            self._used = time.process_time()
        self.fired(self._mark)
        self._mark = time.monotonic() + MARK
        return MARK

    def fired(self, due: float) -> None:
        """Note that a timer that was due at a time has fired now."""
        self._late.append(max(0.0, time.monotonic() - due))

    def pause(self, seconds: float) -> None:
        """Sleep, and note how much longer it took."""
        due = time.monotonic() + seconds
        time.sleep(seconds)
        self.fired(due)

    def figures(self) -> dict[str, Any]:
        """Return the CPU seconds used since the beginning, and how late timers fired."""
        used = time.process_time() - self._used
        return {"cpu": used, "lateness": tardiness(self._late)}


def run(roles: Mapping[str, Role]) -> None:
    """Do what the command line asks for; the exit status is 1 after an error."""
    role, plan = sys.argv[1:]
    # a generator lives for one measurement, whose rhythm a collection would disturb
    gc.disable()
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0)
    try:
        figures = roles[role](json.loads(plan))
    except TrafficError as failure:
        print(json.dumps({"error": str(failure)}), flush=True)
        raise SystemExit(1) from None
    print(json.dumps(figures), flush=True)


def meet(plan: Plan) -> Stopwatch:
    """Say that everything is ready, and wait to be told when to begin."""
    print("ready", flush=True)
    line = sys.stdin.readline()
    if not line.strip():
        raise SystemExit(0)  # nobody is there any more to tell us
    return Stopwatch(float(line), plan["seconds"])


def hurry(*, first: bool = False) -> None:
    """Go before other programs, where that is allowed; with `first`, before all ordinary ones.

    What generators stand for are other machines, whose time what is measured would not take.
    """
    with contextlib.suppress(PermissionError):
        if first:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        else:
            os.setpriority(os.PRIO_PROCESS, 0, URGENT)


def require_route(plan: Plan) -> None:
    """Raise TrafficError when there is no way to the target at all."""
    with socket.socket(family_of(plan["target"]), socket.SOCK_DGRAM) as probe:
        bind_to_device(probe, plan["device"])
        try:
            probe.connect((plan["target"], plan["port"]))
        except OSError as refused:
            if refused.errno != errno.ENETUNREACH:
                return  # somebody on the way says no: a finding
            raise TrafficError(
                f"there is no route to {plan['target']}; traffic needs one before it begins"
            ) from None


def require_listener(plan: Plan, outcome: int) -> None:
    """Raise TrafficError when a connection found nobody there; `outcome` is an errno or 0."""
    if outcome == errno.ECONNREFUSED:
        raise TrafficError(f"no generator serves at {plan['target']} port {plan['port']}")


def family_of(target: str) -> socket.AddressFamily:
    """Return the family of a numeric address."""
    return socket.AF_INET6 if ipaddress.ip_address(target).version == 6 else socket.AF_INET


def any_address(family: socket.AddressFamily) -> str:
    """Return the address that stands for all of a host's."""
    return "::" if family == socket.AF_INET6 else "0.0.0.0"


def tcp_socket(plan: Plan, *, device: bool = False) -> socket.socket:
    """Return a TCP or MPTCP socket with the congestion control of the plan.

    With `device`, the socket is bound to the interface that the plan names, if it names one.
    """
    family = family_of(plan["target"])
    try:
        made = socket.socket(family, socket.SOCK_STREAM, MPTCP if plan["mptcp"] else 0)
    except OSError as refused:
        if not plan["mptcp"]:
            raise
        raise TrafficError(
            f"the kernel gives no MPTCP socket ({refused.strerror}); it must be built with"
            " CONFIG_MPTCP, and net.mptcp.enabled must be 1"
        ) from None
    name = plan["congestion"]
    try:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
    except OSError as refused:
        made.close()
        raise TrafficError(_no_congestion_control(name, refused)) from None
    if device:
        bind_to_device(made, plan["device"])
    return made


def _no_congestion_control(name: str, refused: OSError) -> str:
    if refused.errno == errno.EPERM:
        return (
            f"only root may choose the congestion control {name!r}; add it to"
            " net.ipv4.tcp_allowed_congestion_control"
        )
    return (
        f"the kernel has no congestion control {name!r} ({refused.strerror});"
        f" `modprobe tcp_{name}` may load it"
    )


def udp_socket(plan: Plan, *, tos: int = 0, buffer: int = 0, device: bool = False) -> socket.socket:
    """Return a UDP socket that does not block; `buffer` is the room for what comes and goes, in bytes."""
    family = family_of(plan["target"])
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setblocking(False)
    if tos and family == socket.AF_INET:
        made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
    elif tos:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)
    if buffer:
        _make_room(made, buffer)
    if device:
        bind_to_device(made, plan["device"])
    return made


def _make_room(made: socket.socket, size: int) -> None:
    for forced, asked in (
        (SO_RCVBUFFORCE, socket.SO_RCVBUF),
        (SO_SNDBUFFORCE, socket.SO_SNDBUF),
    ):
        try:
            made.setsockopt(socket.SOL_SOCKET, forced, size)
        except PermissionError:
            made.setsockopt(socket.SOL_SOCKET, asked, size)


def bind_to_device(made: socket.socket, device: str | None) -> None:
    """Let a socket use one interface only; None leaves it to the routes."""
    if device is None:
        return
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    except OSError as refused:
        raise TrafficError(
            f"no socket can be bound to the interface {device!r} ({refused.strerror});"
            " name one that this namespace has"
        ) from None


def listen_at(made: socket.socket, plan: Plan) -> None:
    """Bind a socket to the plan's port at all addresses."""
    if made.type == socket.SOCK_STREAM:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((any_address(made.family), plan["port"]))
    except OSError as refused:
        raise TrafficError(
            f"port {plan['port']} cannot be used ({refused.strerror}); choose one that is free"
        ) from None
