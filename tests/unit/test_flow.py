"""Which flow a packet belongs to. Bytes are made by hand in tests/packets.py."""

import pytest

from mpbond.core.flow import flow_hash, mix
from mpbond.core.wire import LANE_COUNT
from tests.packets import FRAGMENT, ICMP, SCTP, TCP, UDP, extension, ipv4, ipv6

SEED = 0x1234


@pytest.mark.parametrize("protocol", [TCP, UDP, SCTP])
@pytest.mark.parametrize("make", [ipv4, ipv6])
def test_ports_tell_flows_apart(make, protocol):
    one = make(protocol=protocol, ports=(1000, 80))
    other = make(protocol=protocol, ports=(1001, 80))
    assert flow_hash(one, SEED) != flow_hash(other, SEED)


@pytest.mark.parametrize("make", [ipv4, ipv6])
def test_both_directions_are_one_flow(make):
    there = make(source=5, destination=9, ports=(1000, 80))
    back = make(source=9, destination=5, ports=(80, 1000))
    assert flow_hash(there, SEED) == flow_hash(back, SEED)


@pytest.mark.parametrize("make", [ipv4, ipv6])
def test_what_is_not_in_the_flow_does_not_count(make):
    assert flow_hash(make(payload=b"one"), SEED) == flow_hash(make(payload=b"another"), SEED)


@pytest.mark.parametrize("make", [ipv4, ipv6])
def test_addresses_tell_flows_apart(make):
    assert flow_hash(make(source=5), SEED) != flow_hash(make(source=6), SEED)


@pytest.mark.parametrize("make", [ipv4, ipv6])
def test_a_protocol_without_ports_goes_by_its_addresses(make):
    ping = make(protocol=ICMP, ports=(0x0800, 7))
    pong = make(protocol=ICMP, ports=(0x0000, 9))
    assert flow_hash(ping, SEED) == flow_hash(pong, SEED)
    assert flow_hash(ping, SEED) != flow_hash(make(protocol=ICMP, source=99), SEED)


@pytest.mark.parametrize("size", [0, 100])
def test_all_ipv4_fragments_of_a_datagram_are_one_flow_the_first_included(size):
    content = bytes(size)
    first = ipv4(fragment=0x2000, ports=(1000, 80), payload=content)
    second = ipv4(fragment=0x2001, ports=(0x1111, 0x2222), payload=content)
    last = ipv4(fragment=0x0002, ports=(0x3333, 0x4444), payload=content)
    assert flow_hash(first, SEED) == flow_hash(second, SEED) == flow_hash(last, SEED)


def test_dont_fragment_makes_no_fragment():
    whole = ipv4(fragment=0x4000, ports=(1000, 80))
    assert flow_hash(whole, SEED) == flow_hash(ipv4(ports=(1000, 80)), SEED)


def test_all_ipv6_fragments_of_a_datagram_are_one_flow_the_first_included():
    first = ipv6(extensions=[(FRAGMENT, extension(b"\0\0\0\1"))], ports=(1000, 80))
    later = ipv6(extensions=[(FRAGMENT, extension(b"\0\5\0\x08"))], ports=(0x1111, 0x2222))
    assert flow_hash(first, SEED) == flow_hash(later, SEED)


@pytest.mark.parametrize("kinds", [(0,), (43,), (60,), (0, 43, 60), (60,) * 8])
def test_ipv6_extension_headers_are_walked(kinds):
    plain = ipv6(ports=(1000, 80))
    wrapped = ipv6(extensions=[(kind, extension(bytes(20))) for kind in kinds], ports=(1000, 80))
    assert flow_hash(wrapped, SEED) == flow_hash(plain, SEED)


def test_an_authentication_header_counts_its_length_in_words_of_four_bytes():
    plain = ipv6(ports=(1000, 80))
    wrapped = ipv6(extensions=[(51, extension(bytes(22), unit=4))], ports=(1000, 80))
    assert flow_hash(wrapped, SEED) == flow_hash(plain, SEED)


def test_ipv4_options_are_skipped():
    plain = ipv4(ports=(1000, 80))
    assert flow_hash(ipv4(options=bytes(8), ports=(1000, 80)), SEED) == flow_hash(plain, SEED)


@pytest.mark.parametrize(("make", "header"), [(ipv4, 20), (ipv6, 40)])
def test_both_directions_of_a_packet_cut_short_are_one_flow(make, header):
    there = make(source=5, destination=9)[:header]
    back = make(source=9, destination=5)[:header]
    assert flow_hash(there, SEED) == flow_hash(back, SEED)


def test_the_seed_changes_where_flows_go():
    packets = [ipv4(ports=(port, 80)) for port in range(100)]
    lanes = [[flow_hash(packet, seed) % LANE_COUNT for packet in packets] for seed in (1, 2)]
    assert lanes[0] != lanes[1]


def test_a_seed_of_any_size_is_good():
    assert 0 <= flow_hash(ipv4(), (1 << 64) - 1) < 1 << 32


def test_lanes_fill_evenly():
    count = [0] * LANE_COUNT
    for port in range(16 * LANE_COUNT):
        count[flow_hash(ipv4(ports=(port, 443)), SEED) % LANE_COUNT] += 1
    assert min(count) > 0
    assert max(count) < 16 * 2.5


@pytest.mark.parametrize("bit", range(32))
def test_every_bit_of_a_hash_changes_about_half_of_the_bits_that_come_out(bit):
    changed = [(mix(value) ^ mix(value ^ 1 << bit)).bit_count() for value in range(0, 10**9, 10**7)]
    assert 13 < sum(changed) / len(changed) < 19
