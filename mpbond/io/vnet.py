"""Packets in and out of a TUN descriptor, up to 64 KB of a flow at a time where the device has offloads.

With IFF_VNET_HDR each read and write carries a header of 10 bytes before the packet (core.segments), and
with TUNSETOFFLOAD the kernel hands over super-packets and leaves checksums out. Taking those from us needs
no ioctl: a write with a header may fail, though, and then it is a question whether offloads are at fault. So
the packet is written again, finished in software. If that goes, the kernel does not know this offload: it
is given up for good, reading included. If that fails as well, the packet is what is refused, or the device
is down, and nothing is given up.

Segments of a batch that follow each other are put together first (`segments.join`), so that a run of a flow
is one write. Without a header everything is cut and finished, and one write is one packet.
"""

import errno
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from mpbond.core.flow import UDP
from mpbond.core.kernel import join, to_vnet
from mpbond.core.segments import (
    VNET,
    Cut,
    finish,
    from_vnet,
    place_of,
)
from mpbond.core.unfinished import Unfinished
from mpbond.errors import PlatformError

LONGEST_READ = 65536  # bytes of a packet, the header before it aside
CSUM, TSO4, TSO6, TSO_ECN, USO4, USO6 = 0x01, 0x02, 0x04, 0x08, 0x20, 0x40  # TUN_F_…
TSO, USO = TSO4 | TSO6 | TSO_ECN, USO4 | USO6
OFFERS = (CSUM | TSO | USO, CSUM | TSO, CSUM, 0)
"""What is asked of a device, from most to least."""
NAMES = {CSUM: "csum", TSO4: "tso4", TSO6: "tso6", TSO_ECN: "tso_ecn", USO4: "uso4", USO6: "uso6"}

_PLAIN = bytes(VNET.size)
_NOT_KNOWN = (errno.EINVAL, errno.EIO)  # how a kernel refuses an offload

_log = logging.getLogger(__name__)


class VnetPort:
    """The packets of a descriptor that gives and takes one, or a super-packet, each time.

    `offers` are the TUN_F_ bits in force; None: there is no header before the packets. `set_offers` changes
    them on the device and may raise OSError. `unreadable` counts super-packets that cannot be cut.
    """

    def __init__(
        self, fd: int, name: str, offers: int | None, set_offers: Callable[[int], object]
    ) -> None:
        self.unreadable = 0
        self._fd = fd
        self._name = name
        self._offers = offers or 0
        self._set_offers = set_offers
        vnet = offers is not None
        self._header = bytearray(VNET.size if vnet else 0)
        body = bytearray(LONGEST_READ)
        self._body = memoryview(body)
        self._buffers = [self._header, body] if vnet else [body]

    @property
    def offloads(self) -> tuple[str, ...]:
        """The names of the offloads in use."""
        return tuple(name for bit, name in NAMES.items() if self._offers & bit)

    def read(self, budget: int) -> list[bytes]:
        """Return about `budget` packets that are there now; a super-packet counts as many as it is.

        Raises PlatformError if the device is gone.
        """
        packets: list[bytes] = []
        readv, fd, buffers = os.readv, self._fd, self._buffers
        header, body, taken = self._header, self._body, len(self._header)
        while budget > 0:
            try:
                size = readv(fd, buffers) - taken
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EIO:  # the device is down
                    break
                if error.errno == errno.EINVAL and self._offers:  # of a kind that has no header
                    self._give_up(self._offers, "of what it wants to send", error)
                    continue
                raise PlatformError(
                    f"The TUN device {self._name} has gone: somebody deleted it."
                ) from error
            if not taken or header == _PLAIN:
                packets.append(bytes(body[:size]))
                budget -= 1
                continue
            packet = from_vnet(bytes(header), bytes(body[:size]))
            if packet is None:
                self.unreadable += 1
                budget -= 1
                continue
            packets.append(packet)
            budget -= count(packet)
        return packets

    def write(self, packets: Sequence[bytes]) -> int:
        """Write packets; return how many the system refused (malformed, or the device is down)."""
        refused = 0
        for packet in join(packets) if self._offers and len(packets) > 1 else packets:
            if type(packet) is Unfinished:
                refused += self._write_unfinished(packet)
                continue
            try:
                self._put(packet)
            except OSError:
                refused += 1
        return refused

    def _put(self, packet: bytes) -> None:
        """Write one finished packet."""
        if self._header:
            os.writev(self._fd, (_PLAIN, packet))
        else:
            os.write(self._fd, packet)  # writev would not even ask the device about an empty one

    def _write_unfinished(self, packet: Unfinished) -> int:
        """Write a packet or super-packet by an offload, or without if there is none."""
        needed = _needed(packet)
        if needed & ~self._offers:
            if packet.segment_size and self._offers & CSUM:
                cut = Cut(packet)
                segments = (Unfinished(cut.segment(index)) for index in range(cut.count))
                return sum(map(self._write_unfinished, segments))
            return self._write_finished(packet)
        try:
            os.writev(self._fd, to_vnet(packet))
        except OSError as error:
            if error.errno not in _NOT_KNOWN:
                return count(packet)
            refused = self._write_finished(packet)
            if refused < count(packet):
                self._give_up(_blamed(needed), "of what is written to it", error)
            return refused
        return 0

    def _write_finished(self, packet: Unfinished) -> int:
        refused = 0
        for each in finish(packet):
            try:
                self._put(each)
            except OSError:
                refused += 1
        return refused

    def _give_up(self, offers: int, which: str, error: OSError) -> None:
        before = self.offloads
        self._offers &= ~offers
        with suppress(OSError):
            self._set_offers(self._offers)
        lost = ", ".join(name for name in before if name not in self.offloads)
        _log.warning(
            "%s: the kernel refuses an offload %s (%s): goes on without %s",
            self._name,
            which,
            error.strerror,
            lost,
        )


def count(packet: bytes) -> int:
    """Return how many packets a packet or super-packet stands for."""
    size = packet.segment_size if isinstance(packet, Unfinished) else 0
    place = place_of(packet) if size else None
    return 1 if place is None else -(-(len(packet) - place.payload) // size)


def _needed(packet: Unfinished) -> int:
    """Return the bits that writing a packet as it is needs."""
    if not packet.segment_size:
        return CSUM
    place = place_of(packet)
    version6 = packet[0] >> 4 == 6
    if place is not None and place.protocol == UDP:
        return CSUM | (USO6 if version6 else USO4)
    return CSUM | (TSO6 if version6 else TSO4)


def _blamed(needed: int) -> int:
    """Return the bits that a refusal costs: offloads of one kind come and go together."""
    if needed & USO:
        return USO
    return TSO if needed & TSO else CSUM | TSO | USO
