"""Inner packets and super-packets of TCP and UDP by hand, and what is wrong with one."""

import struct

from mpbond.core.unfinished import Unfinished
from tests.oracles import words_of

TCP, UDP = 6, 17
FIN, SYN, PSH, ACK, ECE, CWR = 0x01, 0x02, 0x08, 0x10, 0x40, 0x80


def super_packet(
    payload,
    size,
    *,
    version=4,
    protocol=TCP,
    flags=ACK,
    sequence=1000,
    identity=7,
    dont_fragment=True,
    options=b"",
    tcp_options=b"",
    ports=(1000, 80),
    mark=0,
    checksum=b"\xab\xcd",
):
    """A packet with right lengths and nonsense for checksums, to be cut every `size` bytes."""
    if protocol == UDP:
        body = struct.pack(">HHH", *ports, 8 + len(payload)) + checksum
    else:
        words = (5 + len(tcp_options) // 4) << 4
        body = struct.pack(">HHIIBBH", *ports, sequence & 0xFFFFFFFF, 77, words, flags, 500)
        body += checksum + b"\0\0" + tcp_options
    body += payload
    if version == 6:
        head = struct.pack(
            ">BBHHBB", 0x60 | mark >> 4, mark << 4 & 0xFF, 0, len(body), protocol, 64
        )
        head += bytes(range(32))
    else:
        length = 20 + len(options) + len(body)
        head = struct.pack(
            ">BBHHHBB",
            0x45 + len(options) // 4,
            mark,
            length,
            identity,
            0x4000 if dont_fragment else 0,
            64,
            protocol,
        )
        head += checksum + bytes(range(8)) + options
    packet = Unfinished(head + body)
    packet.segment_size = size if len(payload) > size else 0
    return packet


def transport_of(packet):
    """Where the transport header begins, and the protocol."""
    if packet[0] >> 4 == 6:
        return 40, packet[6]
    return (packet[0] & 15) * 4, packet[9]


def payload_of(packet):
    at, protocol = transport_of(packet)
    return packet[at + (8 if protocol == UDP else (packet[at + 12] >> 4) * 4) :]


def flags_of(packet):
    return packet[transport_of(packet)[0] + 13]


def sequence_of(packet):
    return struct.unpack_from(">I", packet, transport_of(packet)[0] + 4)[0]


def faults(packet):
    """What a receiver would find wrong with the lengths and checksums of a packet."""
    at, protocol = transport_of(packet)
    found = []
    if packet[0] >> 4 == 6:
        addresses = packet[8:40]
        if struct.unpack_from(">H", packet, 4)[0] != len(packet) - 40:
            found.append("payload length")
    else:
        addresses = packet[12:20]
        if struct.unpack_from(">H", packet, 2)[0] != len(packet):
            found.append("total length")
        if words_of(packet[:at]) != 0xFFFF:
            found.append("header checksum")
    pseudo = addresses + struct.pack(">II", len(packet) - at, protocol)
    if words_of(pseudo + packet[at:]) != 0xFFFF:
        found.append("checksum")
    if protocol == UDP:
        length, checksum = struct.unpack_from(">HH", packet, at + 4)
        if length != len(packet) - at:
            found.append("UDP length")
        if not checksum:
            found.append("no checksum")
    return found
