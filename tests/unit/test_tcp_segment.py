"""Segments are packets that others can read."""

import ipaddress
import struct

import pytest

from bench.sim.tcp import addresses_of, flags_of, ports_of
from bench.sim.tcp.segment import (
    ACK,
    ECT,
    PSH,
    SYN,
    Builder,
    Handshake,
    congested,
    read,
    read_handshake,
)
from tests.packets import UDP, ipv4

FAMILIES = {
    4: (ipaddress.ip_address("10.0.0.1").packed, ipaddress.ip_address("10.0.0.2").packed),
    6: (ipaddress.ip_address("fd00::1").packed, ipaddress.ip_address("fd00::2").packed),
}


@pytest.fixture(params=[4, 6])
def builder(request):
    """Segments from port 80 to port 1000 with DSCP EF."""
    local, remote = FAMILIES[request.param]
    return Builder((local, 80), (remote, 1000), tos=0xB8)


def test_data_is_read_as_it_was_built(builder):
    packet = builder.data(2**32 + 7, 2**32 - 1, ACK | PSH, 99, 5, 6, 1386)
    segment = read(packet)
    assert segment == (7, 2**32 - 1, ACK | PSH, 99, 5, 6, (), 1386)
    assert ports_of(packet) == (80, 1000)
    assert flags_of(packet) == ACK | PSH


@pytest.mark.parametrize("count", [1, 2, 3])
def test_sack_blocks_are_read_as_they_were_built(builder, count):
    blocks = [(2**32 + 10 * n, 2**32 + 10 * n + 5) for n in range(count)]
    packet = builder.selective(1, 2, ACK, 3, 4, 5, blocks)
    assert read(packet).blocks == tuple(edge % 2**32 for block in blocks for edge in block)
    assert read(packet).length == 0


def test_the_options_of_a_syn_are_read_as_they_were_built(builder):
    packet = builder.handshake(1, 0, SYN, 77, 0, Handshake(1460, 7))
    segment, options = read_handshake(packet)
    assert options == (1460, 7)
    assert (segment.sequence, segment.value, segment.flags) == (1, 77, SYN)


def test_the_ip_header_says_the_length_the_protocol_and_the_class_of_traffic(builder):
    packet = builder.data(1, 2, ACK, 3, 4, 5, 100, ECT)
    if packet[0] >> 4 == 4:
        first, tos, length, _, fragment, _, protocol, _ = struct.unpack_from(">BBHHHBBH", packet)
        assert (first, length, fragment, protocol) == (0x45, len(packet), 0x4000, 6)
    else:
        word, length, protocol, _ = struct.unpack_from(">IHBB", packet)
        tos = word >> 20 & 0xFF
        assert (length, protocol) == (len(packet) - 40, 6)
    assert tos == 0xB8 | ECT


def test_a_mark_of_congestion_is_seen(builder):
    assert congested(builder.data(1, 2, ACK, 3, 4, 5, 100, 3))
    assert not congested(builder.data(1, 2, ACK, 3, 4, 5, 100, ECT))


def test_addresses_tell_where_a_segment_comes_from_and_goes(builder):
    source, destination = addresses_of(builder.data(1, 2, ACK, 3, 4, 5, 0))
    assert (source[1], destination[1]) == (80, 1000)
    assert (source[0], destination[0]) in FAMILIES.values()


def test_what_is_no_tcp_has_no_ports():
    assert ports_of(ipv4(protocol=UDP)) is None
