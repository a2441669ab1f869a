"""Marking inner packets CE."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpbond.core.ecn import mark_ce
from tests.packets import ipv4, ipv6

NOT_ECT, ECT_1, ECT_0, CE = range(4)


def checksum(header):
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, len(header), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ipv4_with(service, identification=1, options=b""):
    packet = bytearray(ipv4(options=options))
    packet[1] = service
    packet[4:6] = identification.to_bytes(2, "big")
    packet[10:12] = bytes(2)
    packet[10:12] = checksum(packet[: (packet[0] & 15) * 4]).to_bytes(2, "big")
    return bytes(packet)


def ipv6_with(traffic_class):
    packet = bytearray(ipv6())
    packet[0] = 6 << 4 | traffic_class >> 4
    packet[1] = (traffic_class & 15) << 4 | 0x0A  # and something of the flow label
    return bytes(packet)


@given(
    service=st.integers(0, 255).filter(lambda value: value & 3),
    identification=st.integers(0, 0xFFFF),
    options=st.sampled_from([b"", bytes(4), b"\x44\x04\x05\0"]),
)
def test_a_marked_ipv4_packet_is_ce_has_a_right_checksum_and_nothing_else_changed(
    service, identification, options
):
    before = ipv4_with(service, identification, options)
    after = mark_ce(before)
    assert after == ipv4_with(service | CE, identification, options)


def test_every_ipv4_checksum_is_mended():
    for identification in range(0x10000):
        packet = ipv4_with(0xB8 | ECT_0, identification)
        marked = mark_ce(packet)
        assert checksum(marked[:20]) == 0, identification
        assert marked[1] == 0xB8 | CE


def test_a_wrong_ipv4_checksum_stays_wrong():
    packet = bytearray(ipv4_with(ECT_1))
    packet[10] ^= 0x40
    assert checksum(mark_ce(bytes(packet))[:20]) == checksum(packet[:20]) != 0


@given(st.integers(0, 255).filter(lambda value: value & 3))
def test_a_marked_ipv6_packet_is_ce_and_nothing_else_changed(traffic_class):
    assert mark_ce(ipv6_with(traffic_class)) == ipv6_with(traffic_class | CE)


@pytest.mark.parametrize("make", [ipv4_with, ipv6_with])
@pytest.mark.parametrize("rest", [0, 0xB8, 0xFC])
def test_ends_that_do_not_know_marks_get_none(make, rest):
    assert mark_ce(make(rest | NOT_ECT)) is None


@pytest.mark.parametrize("make", [ipv4_with, ipv6_with])
def test_what_is_marked_already_stays_as_it_is(make):
    packet = make(0xB8 | CE)
    assert mark_ce(packet) == packet


@given(st.binary(max_size=60))
def test_any_bytes_are_marked_in_place_or_refused(data):
    marked = mark_ce(data)
    assert marked is None or (len(marked) == len(data) and marked[12:] == data[12:])


@pytest.mark.parametrize("packet", [ipv4_with(CE)[:19], ipv6_with(CE)[:39], b"", b"\x55" * 40])
def test_what_is_no_whole_header_is_not_touched(packet):
    assert mark_ce(packet) is None
