"""The links as the kernel has them, and a thread that tells when they change.

`read_links` takes one picture: interfaces whose names match the patterns, their addresses, and the
gateways somebody (a DHCP client, router advertisements, a person) has given them. Gateways are taken
from the default routes of *every* table, best metric first, except routes of our own protocol number;
so nobody needs to type them and we never learn from ourselves.

`LinkWatcher` listens with a plain netlink socket and never interprets what it hears beyond two
questions: is it about links, addresses or routes, and may it have made the kernel throw away routes
we had put in? Each burst of events (20 ms) leads to a new picture. Hence nothing can be missed by
misreading an event, and an overrun socket (ENOBUFS) is just one more reason to look again.

    netlink socket ──event──> wait 20 ms ──> read_links ──> differs, or disturbed? ──> on_change

A picture equal to the last one is delivered again only if it was *disturbed*: an interface went down
or an address was taken away, both of which silently remove routes of any table. `on_change` must
therefore be idempotent. It is called from the watcher's thread.
"""

from __future__ import annotations

import errno
import fnmatch
import logging
import os
import select
import socket
import struct
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)
from typing import TYPE_CHECKING, Any, Final

from mpbond.errors import PlatformError
from mpbond.io.routes import ROUTE_PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

logger = logging.getLogger(__name__)

DEBOUNCE: Final = 0.02
"""Seconds from the first event of a burst to the new picture."""
_RETRY: Final = 1.0
_RECEIVE_BUFFER: Final = 1 << 20

_RTN_UNICAST: Final = 1
_IFF_UP: Final = 0x1
_IFF_POINTOPOINT: Final = 0x10
_IFF_RUNNING: Final = 0x40
_IFF_NOARP: Final = 0x80
_IFF_LOWER_UP: Final = 0x10000
_IFA_F_OPTIMISTIC: Final = 0x04
_IFA_F_DADFAILED: Final = 0x08
_IFA_F_TENTATIVE: Final = 0x40

# link, IPv4 address, IPv4 route, IPv6 address, IPv6 route (RTMGRP_*)
_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_NLMSG_ERROR: Final = 2
_RTM_NEWLINK: Final = 16
_RTM_DELLINK: Final = 17
_RTM_DELADDR: Final = 21
_HEADER: Final = struct.Struct("=IHHII")
_IFINFO: Final = struct.Struct("=BxHiII")


@dataclass(frozen=True, slots=True)
class LinkState:
    """One WAN interface as it is now.

    Attributes:
        up: whether it is set up and has carrier, so that sending makes sense.
        mtu: bytes of an IP packet.
        addresses: usable ones (not tentative), link-local IPv6 included.
        gateways: default gateways of both families, best metric first.
        point_to_point: whether it needs no gateway (PPP, raw-IP modems, a default route without one).
    """

    name: str
    index: int
    up: bool
    mtu: int
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    gateways: tuple[IPv4Address | IPv6Address, ...] = ()
    point_to_point: bool = False


def read_links(patterns: Iterable[str], exclude: Collection[str] = ()) -> dict[str, LinkState]:
    """Returns the links whose names match a pattern, by name, in the kernel's order.

    Args:
        patterns: interface names or globs as of `fnmatch`.
        exclude: names that never match (the TUN); `lo` never does.

    Raises:
        PlatformError: the kernel does not answer.
    """
    patterns = tuple(patterns)
    try:
        for _ in range(5):
            picture = _read_once(patterns, exclude)
            if picture is not None:
                return picture
    except OSError as error:
        raise PlatformError(
            f"cannot ask the kernel for network interfaces: {error.strerror or error}"
        ) from None
    raise PlatformError("cannot read the network interfaces: they change faster than can be read")


class LinkWatcher:
    """A thread that calls `on_change` with all matching links whenever one may have changed.

    The first call comes right after `start`. What `on_change` raises is logged and does not end the
    watching. `close` ends the thread and waits for it; no call comes after that.
    """

    def __init__(
        self,
        patterns: Iterable[str],
        exclude: Collection[str],
        on_change: Callable[[dict[str, LinkState]], None],
    ) -> None:
        self._patterns = tuple(patterns)
        self._exclude = frozenset(exclude)
        self._on_change = on_change
        self._events: socket.socket | None = None
        self._closing = -1
        self._thread: threading.Thread | None = None
        self._last: dict[str, LinkState] | None = None

    def start(self) -> None:
        """Begins to watch.

        Raises:
            PlatformError: the netlink socket is refused.
        """
        try:
            events = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
            )
            events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            events.bind((0, _GROUPS))
        except OSError as error:
            raise PlatformError(f"cannot watch network interfaces: {error.strerror}") from None
        events.setblocking(False)
        self._events = events
        self._closing = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._watch, name="link-watcher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the watching; calling it again does nothing."""
        thread = self._thread
        if thread is None:
            return
        os.eventfd_write(self._closing, 1)
        self._thread = None
        if thread is not threading.current_thread():
            thread.join()
            self._release()

    def _release(self) -> None:
        if self._events is not None:
            self._events.close()
            os.close(self._closing)
            self._events = None

    def _watch(self) -> None:
        try:
            self._look_again_and_again()
        finally:
            if self._thread is None:  # closed by on_change itself: nobody else will
                self._release()

    def _look_again_and_again(self) -> None:
        assert self._events is not None
        poller = select.poll()
        poller.register(self._events, select.POLLIN)
        poller.register(self._closing, select.POLLIN)
        disturbed = True
        while True:
            wait: float | None = None
            try:
                self._look(disturbed=disturbed)
                disturbed = False
            except PlatformError as error:
                logger.warning("%s", error)
                wait = _RETRY
            if self._closed(poller, wait):
                return
            deadline = time.monotonic() + DEBOUNCE
            while True:
                disturbed |= self._drain()
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                if self._closed(poller, left):
                    return

    def _closed(self, poller: select.poll, wait: float | None) -> bool:
        """Waits for an event at most `wait` seconds; tells whether it was the end."""
        ready = poller.poll(None if wait is None else max(1, round(wait * 1000)))
        return any(descriptor == self._closing for descriptor, _ in ready)

    def _look(self, *, disturbed: bool) -> None:
        picture = read_links(self._patterns, self._exclude)
        if picture == self._last and not disturbed:
            return
        self._last = picture
        try:
            self._on_change(dict(picture))
        except Exception:
            logger.exception("the handler of changed links failed")

    def _drain(self) -> bool:
        """Empties the socket; tells whether our own routes may have been removed."""
        assert self._events is not None
        indices = {link.index for link in (self._last or {}).values()}
        disturbed = False
        while True:
            try:
                buffer = self._events.recv(1 << 16)
            except BlockingIOError:
                return disturbed
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                disturbed = True
                continue
            disturbed |= disturbs(buffer, indices)


def disturbs(buffer: bytes, indices: Collection[int]) -> bool:
    """Tells whether netlink messages report what makes the kernel drop routes over these links.

    That is: the link went down or away, or an address was removed. Malformed input counts as yes.
    """
    offset = 0
    while offset + _HEADER.size <= len(buffer):
        length, kind, *_ = _HEADER.unpack_from(buffer, offset)
        body = offset + _HEADER.size
        if length < _HEADER.size or offset + length > len(buffer):
            return True
        if kind == _NLMSG_ERROR:
            return True
        if kind in (_RTM_NEWLINK, _RTM_DELLINK) and length >= _HEADER.size + _IFINFO.size:
            _, _, index, flags, _ = _IFINFO.unpack_from(buffer, body)
            if index in indices and (kind == _RTM_DELLINK or not flags & _IFF_UP):
                return True
        if kind == _RTM_DELADDR and length >= _HEADER.size + 8:
            (index,) = struct.unpack_from("=I", buffer, body + 4)
            if index in indices:
                return True
        offset += (length + 3) & ~3
    return False


def _read_once(patterns: tuple[str, ...], exclude: Collection[str]) -> dict[str, LinkState] | None:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

    try:
        with IPRoute(groups=0) as netlink:
            links = [m for m in netlink.get_links() if _matches(m, patterns, exclude)]
            if not links:
                return {}
            addresses = list(netlink.get_addr())
            routes = list(netlink.get_routes(match=_is_default))
    except NetlinkDumpInterrupted:
        return None
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code)) from None
    usable = _addresses(addresses)
    gateways, gatewayless = _gateways(routes)
    return {str(m.get("ifname")): _link_state(m, usable, gateways, gatewayless) for m in links}


def _matches(message: Any, patterns: tuple[str, ...], exclude: Collection[str]) -> bool:
    name = str(message.get("ifname"))
    if name == "lo" or name in exclude:
        return False
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _link_state(
    message: Any,
    addresses: Mapping[int, list[IPv4Interface | IPv6Interface]],
    gateways: Mapping[int, list[IPv4Address | IPv6Address]],
    gatewayless: Collection[int],
) -> LinkState:
    index, flags = message["index"], message["flags"]
    running = _IFF_UP | _IFF_RUNNING | _IFF_LOWER_UP
    return LinkState(
        name=str(message.get("ifname")),
        index=index,
        up=flags & running == running,
        mtu=message.get("mtu") or 0,
        addresses=tuple(addresses.get(index, ())),
        gateways=tuple(dict.fromkeys(gateways.get(index, ()))),
        point_to_point=bool(flags & (_IFF_POINTOPOINT | _IFF_NOARP)) or index in gatewayless,
    )


def _addresses(messages: Iterable[Any]) -> dict[int, list[IPv4Interface | IPv6Interface]]:
    found = defaultdict(list)
    for message in messages:
        flags = message.get("IFA_FLAGS") or message["flags"]
        pending = flags & _IFA_F_TENTATIVE and not flags & _IFA_F_OPTIMISTIC
        # a peer's address stands in IFA_ADDRESS; ours is IFA_LOCAL where there are two
        address = message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")
        if address is None or pending or flags & _IFA_F_DADFAILED:
            continue
        found[message["index"]].append(ip_interface(f"{address}/{message['prefixlen']}"))
    return dict(found)


def _is_default(message: Mapping[str, Any]) -> bool:
    return bool(
        message["family"] in (socket.AF_INET, socket.AF_INET6)
        and message["dst_len"] == 0
        and message["proto"] != ROUTE_PROTOCOL
        and message["type"] == _RTN_UNICAST
    )


def _gateways(
    messages: Iterable[Any],
) -> tuple[dict[int, list[IPv4Address | IPv6Address]], set[int]]:
    """Returns gateways by interface, best metric first, and the interfaces that need none."""
    hops = []
    for message in messages:
        metric = message.get("RTA_PRIORITY") or 0
        version = 4 if message["family"] == socket.AF_INET else 6
        for hop in message.get("RTA_MULTIPATH") or [message]:
            index = hop["oif"] if "oif" in hop else message.get("RTA_OIF")
            gateway = hop.get("RTA_GATEWAY")
            if index is not None:
                hops.append((metric, index, version, gateway))
    gateways = defaultdict(list)
    gatewayless = set()
    for _, index, version, gateway in sorted(hops, key=lambda hop: hop[0]):
        if gateway is None:
            gatewayless.add(index)
        elif (address := ip_address(gateway)).version == version:
            gateways[index].append(address)
    return dict(gateways), gatewayless
