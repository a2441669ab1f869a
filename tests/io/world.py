"""A client with three equal modems, a LAN, and a server two hops behind the modems.

    lan host ── client ──┬─ modem1 (192.168.8.1, fe80::1) ──┐
    192.168.1.2          ├─ modem2 (the same)              ─┼─ router ── server 203.0.113.10
                         └─ modem3 (the same)              ─┘            2001:db8:ff::10

Each link m1, m2, m3 of the client has the same hardware address (sticks of one make often do), the
same 192.168.8.100/24, the same gateway, and a default route in main with a metric of its own, as a
DHCP client leaves it. All modems advertise the same IPv6 prefix. They NAT to their public addresses
100.64.<n>.2 and 2001:db8:f0<n>::2; so what the server sees as the source tells which modem was
passed. The client starts with the strictest rp_filter.
"""

import concurrent.futures
import contextlib
import ctypes
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.lab.namespaces import Namespaces

SERVER = "203.0.113.10"
SERVER6 = "2001:db8:ff::10"
LAN_HOST = "192.168.1.2"
PORT = 4510
PREFIX6 = "fd00:8::"
HARDWARE = "0c:5b:8f:27:9a:64"
MODEMS = (1, 2, 3)
_CLONE_NEWNET = 0x40000000


class Inside:
    """A thread that lives in a network namespace and runs functions there, one after another."""

    def __init__(self, full_name: str) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(
            max_workers=1, initializer=enter, initargs=(full_name,)
        )

    def __call__(self, function: Callable[..., Any], *args: Any, **keys: Any) -> Any:
        return self._pool.submit(function, *args, **keys).result(timeout=120)

    def close(self) -> None:
        self._pool.shutdown()


def enter(full_name: str) -> None:
    """Moves the calling thread into a namespace."""
    with open(f"/run/netns/{full_name}") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {full_name}")


class World:
    """The namespaces, a thread in the client's, and echo servers that answer with the source."""

    def __init__(self) -> None:
        self.spaces = Namespaces()
        self.spaces.open()
        self._servers: list[tuple[threading.Thread, socket.socket]] = []
        self._threads: list[Inside] = []

    def build(self) -> None:
        for name in ("client", "lan", "router", "server", *(f"modem{n}" for n in MODEMS)):
            self.spaces.add(name)
        strict = {"net/ipv4/conf/all/rp_filter": 1, "net/ipv4/conf/default/rp_filter": 1}
        self.spaces.sysctl("client", strict)
        forwarding = {"net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1}
        for name in ("router", *(f"modem{n}" for n in MODEMS)):
            self.spaces.sysctl(name, forwarding)
        self._wire("client", "lan0", "lan", "eth0")
        self.spaces.ip("client", "addr add 192.168.1.1/24 dev lan0")
        self.spaces.ip(
            "lan", f"addr add {LAN_HOST}/24 dev eth0", "route add default via 192.168.1.1"
        )
        self._wire("router", "srv", "server", "eth0")
        self.spaces.ip(
            "router", "addr add 203.0.113.1/24 dev srv", "addr add 2001:db8:ff::1/64 dev srv"
        )
        self.spaces.ip(
            "server",
            f"addr add {SERVER}/24 dev eth0",
            f"addr add {SERVER6}/64 dev eth0",
            "route add default via 203.0.113.1",
            "route add default via 2001:db8:ff::1",
        )
        for number in MODEMS:
            self._modem(number)
        for name, address in (("server", SERVER), ("server", SERVER6), ("lan", LAN_HOST)):
            self._echo(name, address)

    def inside(self, name: str) -> Inside:
        """A new thread in a namespace; ended with the world at the latest."""
        thread = Inside(self.spaces.full(name))
        self._threads.append(thread)
        return thread

    def connect_modem(self, number: int) -> None:
        """What a USB modem and the DHCP client do to the router when it is plugged in."""
        self._wire("client", f"m{number} address {HARDWARE}", f"modem{number}", "usb")
        self.spaces.ip(
            f"modem{number}",
            "addr flush dev usb scope link",
            "addr add 192.168.8.1/24 dev usb",
            "addr add fe80::1/64 dev usb",
            f"addr add {PREFIX6}1/64 dev usb",
        )
        self.lease(number)

    def lease(self, number: int) -> None:
        self.spaces.ip(
            "client",
            f"addr replace 192.168.8.100/24 dev m{number}",
            f"route replace default via 192.168.8.1 dev m{number} metric {100 + number} proto dhcp",
        )

    def advertise(self, number: int) -> None:
        """Sends one router advertisement from a modem."""
        inside = Inside(self.spaces.full(f"modem{number}"))
        try:
            inside(send_advertisement, "usb", PREFIX6)
        finally:
            inside.close()

    def close(self) -> None:
        for thread, endpoint in self._servers:
            endpoint.close()
            thread.join()
        for inside in self._threads:
            inside.close()
        self.spaces.close()

    def _modem(self, number: int) -> None:
        modem = f"modem{number}"
        self._wire("router", f"up{number}", modem, "wan")
        self.spaces.ip(
            "router",
            f"addr add 100.64.{number}.1/24 dev up{number}",
            f"addr add 2001:db8:f0{number}::1/64 dev up{number}",
        )
        self.spaces.ip(
            modem,
            f"addr add 100.64.{number}.2/24 dev wan",
            f"addr add 2001:db8:f0{number}::2/64 dev wan",
            f"route add default via 100.64.{number}.1",
            f"route add default via 2001:db8:f0{number}::1",
        )
        self.spaces.nft(
            modem,
            "add table inet nat; add chain inet nat post { type nat hook postrouting priority 100; };"
            'add rule inet nat post oifname "wan" masquerade',
        )
        self.connect_modem(number)

    def _wire(self, a: str, a_device: str, b: str, b_device: str) -> None:
        self.spaces.ip(
            a, f"link add {a_device} type veth peer name {b_device} netns {self.spaces.full(b)}"
        )
        self.spaces.ip(a, f"link set {a_device.split()[0]} up")
        self.spaces.ip(b, f"link set {b_device} up")

    def _echo(self, name: str, address: str) -> None:
        inside = Inside(self.spaces.full(name))
        try:
            endpoint = inside(bound_udp, address)
        finally:
            inside.close()
        thread = threading.Thread(target=answer_with_source, args=(endpoint,), daemon=True)
        thread.start()
        self._servers.append((thread, endpoint))


def bound_udp(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    endpoint = socket.socket(family, socket.SOCK_DGRAM)
    endpoint.bind((address, PORT))
    endpoint.settimeout(0.2)
    return endpoint


def answer_with_source(endpoint: socket.socket) -> None:
    """Answers each datagram with the address it came from, until the socket is closed."""
    while endpoint.fileno() >= 0:
        try:
            _, source = endpoint.recvfrom(2048)
            endpoint.sendto(source[0].encode(), source)
        except TimeoutError:
            continue
        except OSError:
            return


def ask(
    address: str,
    *,
    device: str | None = None,
    source: str | None = None,
    connected: bool = False,
    timeout: float = 2.0,
) -> str | None:
    """Asks an echo server for the source address it sees; None if no answer comes in time."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as endpoint:
        if device is not None:
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        if source is not None:
            endpoint.bind((source, 0))
        endpoint.settimeout(timeout)
        try:
            if connected:
                endpoint.connect((address, PORT))
                endpoint.send(b"?")
            else:
                endpoint.sendto(b"?", (address, PORT))
            return endpoint.recv(64).decode()
        except OSError:
            return None


def send_advertisement(device: str, prefix: str, lifetime: int = 1800) -> None:
    """Sends a router advertisement with one on-link prefix for stateless addresses (RFC 4861)."""
    head = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, lifetime, 0, 0)
    option = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        index = socket.if_nametoindex(device)
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        # of the addresses on the device only a link-local one may send this
        raw.bind(("fe80::1", 0, 0, index))
        packet = head + option + socket.inet_pton(socket.AF_INET6, prefix)
        raw.sendto(packet, ("ff02::1", 0, 0, index))


def until(condition: Callable[[], Any], what: str, timeout: float = 10.0) -> Any:
    """Polls until the condition holds and returns its value."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        pause.wait(0.01)


def picture(spaces: Namespaces, name: str) -> dict[str, str]:
    """Everything SystemState may change in a namespace, as text; running timers left out."""
    found = {}
    for command in (
        "ip rule",
        "ip -6 rule",
        "ip route show table all",
        "ip -6 route show table all",
        "nft list ruleset",
    ):
        text = spaces.run(name, *command.split()).stdout
        found[command] = re.sub(r" expires \d+sec", "", text)
    script = "cd /proc/sys/net && grep -s . -r ipv4/conf ipv6/conf ipv4/ip_forward || true"
    found["sysctls"] = "\n".join(sorted(spaces.run(name, "sh", "-c", script).stdout.splitlines()))
    return found


@contextlib.contextmanager
def open_descriptors_unchanged() -> Iterator[None]:
    """Fails if more descriptors are open afterwards than before."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    after = len(list(Path("/proc/self/fd").iterdir()))
    assert after <= before, f"{after - before} descriptors leaked (process {os.getpid()})"
