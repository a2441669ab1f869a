"""TCP segments as bytes of IP packets, built and read.

Everything a segment says is real (addresses, ports, numbers, flags, window, options), since tunnels and
flow hashes read it; payload is zeros and checksums are left at zero, which nobody here checks: who damages
a packet on its way must drop it in front of the connection, as a checksum would make the kernel do.

After the handshake there are two forms only: the header with timestamps (32 bytes), and the same with SACK
blocks behind them. Their constant parts are made once per connection, and those of each length once.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

FIN, SYN, RST, PSH, ACK, ECE, CWR = 1, 2, 4, 8, 16, 64, 128

MASK = 0xFFFFFFFF
HALF = 1 << 31
TCP = 6
TIMESTAMPS = 12
"""Bytes that timestamps take from the payload of every segment."""
CONGESTION_EXPERIENCED = 3
ECT = 2

FIXED = struct.Struct(">IIHHIIII")
"""A header with timestamps, from the sequence number on."""
PLAIN = 9
"""Header of timestamps alone, in words of 4 bytes, and one word of SACK's preamble."""
_HANDSHAKE = struct.Struct(">HHIIHHIHHHHIIBBBB")
_PORTS = struct.Struct(">HH")
_TIMESTAMP = 0x0101080A  # two no-ops, kind 8, length 10
_SACK = 0x0101
BLOCKS = [struct.Struct(f">{2 * count}I") for count in range(4)]
_ZEROS = bytes(1 << 16)

Address = tuple[bytes, int]
"""A packed address of 4 or 16 bytes, and a port."""


class Segment(NamedTuple):
    """What a connection reads from a packet; numbers as on the wire."""

    sequence: int
    acknowledged: int
    flags: int
    window: int
    value: int
    """The sender's timestamp."""
    echo: int
    """The timestamp that it returns."""
    blocks: tuple[int, ...]
    """Edges of SACK blocks, left and right in turn."""
    length: int
    """Bytes of payload."""


class Handshake(NamedTuple):
    """The options of a SYN."""

    mss: int
    scale: int
    """Power of two by which windows are scaled."""


def headers_size(packet: bytes) -> int:
    """Bytes of the IP header of a packet as made here."""
    return 20 if packet[0] >> 4 == 4 else 40


def ports_of(packet: bytes) -> tuple[int, int] | None:
    """Source and destination port, or None when the packet is no TCP segment as made here."""
    if packet[0] == 0x45:
        if packet[9] == TCP:
            return _PORTS.unpack_from(packet, 20)
    elif packet[0] >> 4 == 6 and packet[6] == TCP:
        return _PORTS.unpack_from(packet, 40)
    return None


def addresses_of(packet: bytes) -> tuple[Address, Address]:
    """Source and destination of a segment."""
    if packet[0] >> 4 == 4:
        source, destination = _PORTS.unpack_from(packet, 20)
        return (packet[12:16], source), (packet[16:20], destination)
    source, destination = _PORTS.unpack_from(packet, 40)
    return (packet[8:24], source), (packet[24:40], destination)


def flags_of(packet: bytes) -> int:
    """The flags of a segment."""
    return packet[headers_size(packet) + 13]


def congested(packet: bytes) -> bool:
    """Whether a router has marked the packet (RFC 3168)."""
    if packet[0] >> 4 == 4:
        return packet[1] & 3 == CONGESTION_EXPERIENCED
    return packet[1] >> 4 & 3 == CONGESTION_EXPERIENCED


def read(packet: bytes) -> Segment:
    """Read a segment that has timestamps, as all have here."""
    at = 20 if packet[0] >> 4 == 4 else 40
    sequence, acknowledged, bits, window, _, _, value, echo = FIXED.unpack_from(packet, at + 4)
    words = bits >> 12
    blocks: tuple[int, ...] = ()
    if words > 8 and not bits & SYN:
        blocks = BLOCKS[(words - 9) >> 1].unpack_from(packet, at + 36)
    return Segment(
        sequence,
        acknowledged,
        bits & 0xFF,
        window,
        value,
        echo,
        blocks,
        len(packet) - at - words * 4,
    )


def read_handshake(packet: bytes) -> tuple[Segment, Handshake]:
    """Read a SYN or SYN-ACK."""
    at = headers_size(packet)
    fields = _HANDSHAKE.unpack_from(packet, at)
    sequence, acknowledged, bits, window = fields[2:6]
    segment = Segment(sequence, acknowledged, bits & 0xFF, window, fields[11], fields[12], (), 0)
    return segment, Handshake(fields[8], fields[16])


class Builder:
    """Makes the packets of one direction of a connection."""

    def __init__(self, local: Address, remote: Address, tos: int = 0) -> None:
        self._addresses = local[0] + remote[0]
        self._ports = _PORTS.pack(local[1], remote[1])
        self._tos = tos
        self._ip = 20 if len(local[0]) == 4 else 40
        self._prefixes: dict[tuple[int, int], bytes] = {}

    def data(
        self,
        sequence: int,
        acknowledged: int,
        flags: int,
        window: int,
        value: int,
        echo: int,
        length: int,
        tos: int = 0,
    ) -> bytes:
        """A segment with `length` bytes of payload, which may be none."""
        prefix = self._prefixes.get((length, tos))
        if prefix is None:
            prefix = self._prefixes[length, tos] = self._prefix(32 + length, tos)
        head = FIXED.pack(
            sequence & MASK,
            acknowledged & MASK,
            0x8000 | flags,
            window,
            0,
            _TIMESTAMP,
            value,
            echo,
        )
        return prefix + head + _ZEROS[:length] if length else prefix + head

    def selective(
        self,
        sequence: int,
        acknowledged: int,
        flags: int,
        window: int,
        value: int,
        echo: int,
        blocks: list[tuple[int, int]],
    ) -> bytes:
        """An acknowledgement with one to three SACK blocks."""
        edges = [edge & MASK for block in blocks for edge in block]
        words = 9 + len(edges)
        head = FIXED.pack(
            sequence & MASK,
            acknowledged & MASK,
            words << 12 | flags,
            window,
            0,
            _TIMESTAMP,
            value,
            echo,
        )
        option = struct.pack(f">HBB{len(edges)}I", _SACK, 5, 2 + 4 * len(edges), *edges)
        return self._prefix(4 * words, 0) + head + option

    def handshake(
        self,
        sequence: int,
        acknowledged: int,
        flags: int,
        value: int,
        echo: int,
        options: Handshake,
    ) -> bytes:
        """A SYN or SYN-ACK: MSS, SACK permitted, timestamps, window scale."""
        rest = struct.pack(
            ">IIHHIHHHHIIBBBB",
            sequence & MASK,
            acknowledged & MASK,
            0xA000 | flags,
            0xFFFF,
            0,
            0x0204,
            options.mss,
            0x0402,
            0x080A,
            value,
            echo,
            1,
            3,
            3,
            options.scale,
        )
        return self._prefix(40, 0) + rest

    def _prefix(self, size: int, ecn: int) -> bytes:
        """IP header and ports of a packet with `size` bytes behind the IP header."""
        tos = self._tos | ecn
        if self._ip == 20:
            ip = struct.pack(">BBHHHBBH", 0x45, tos, 20 + size, 0, 0x4000, 64, TCP, 0)
        else:
            ip = struct.pack(">IHBB", 6 << 28 | tos << 20, size, TCP, 64)
        return ip + self._addresses + self._ports
