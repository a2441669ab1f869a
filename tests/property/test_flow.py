"""Flow hashes of any bytes."""

from hypothesis import example, given
from hypothesis import strategies as st

from mpbond.core.flow import flow_hash
from tests.packets import SCTP, TCP, UDP, extension, ipv4, ipv6

hosts = st.integers(0, 255)
ports = st.integers(0, 65535)
seeds = st.integers(0, (1 << 32) - 1)
makers = st.sampled_from([ipv4, ipv6])
headers = st.lists(
    st.tuples(st.sampled_from([0, 43, 60]), st.binary(max_size=40).map(extension)), max_size=8
)


@given(st.binary(max_size=120), seeds)
@example(b"", 0)
@example(bytes([0x45]), 0)
@example(bytes([0x4F]) + bytes(19), 0)
@example(bytes([0x60]) + bytes(39), 0)
def test_any_bytes_have_a_hash(data, seed):
    assert 0 <= flow_hash(data, seed) < 1 << 32


@given(st.sampled_from([0x40, 0x45, 0x4F, 0x60]), st.binary(max_size=120), seeds)
def test_any_bytes_that_begin_as_a_packet_have_a_hash(first, data, seed):
    assert flow_hash(bytes((first,)) + data, seed) == flow_hash(bytes((first,)) + data, seed)


@given(makers, hosts, hosts, ports, ports, st.sampled_from([TCP, UDP, SCTP, 1]), seeds)
def test_both_directions_are_one_flow(make, here, there, one, other, protocol, seed):
    out = make(source=here, destination=there, ports=(one, other), protocol=protocol)
    back = make(source=there, destination=here, ports=(other, one), protocol=protocol)
    assert flow_hash(out, seed) == flow_hash(back, seed)


@given(headers, hosts, hosts, ports, ports, seeds)
def test_extension_headers_do_not_change_the_flow(headers, here, there, one, other, seed):
    plain = ipv6(source=here, destination=there, ports=(one, other))
    wrapped = ipv6(source=here, destination=there, ports=(one, other), extensions=headers)
    assert flow_hash(wrapped, seed) == flow_hash(plain, seed)


@given(st.integers(1, 0x3FFF), st.integers(1, 0x3FFF), ports, ports, ports, ports, seeds)
def test_fragments_go_by_addresses_and_protocol_alone(one, other, a, b, c, d, seed):
    assert flow_hash(ipv4(fragment=one, ports=(a, b)), seed) == flow_hash(
        ipv4(fragment=other, ports=(c, d)), seed
    )


@given(hosts, hosts, ports, ports, st.sampled_from([TCP, UDP]), seeds, st.integers(0, 99))
def test_what_is_remembered_of_a_flow_is_what_is_found_anew(
    here, there, one, other, protocol, seed, length
):
    """Options and extensions keep a packet from being looked up."""
    fields = {"source": here, "destination": there, "ports": (one, other), "protocol": protocol}
    for make, long_way in (
        (ipv4, ipv4(**fields, options=bytes(4), payload=bytes(40))),
        (ipv6, ipv6(**fields, extensions=[(60, extension(b""))], payload=bytes(40))),
    ):
        found = flow_hash(long_way, seed)
        for _ in range(2):
            assert flow_hash(make(**fields, payload=bytes(length)), seed) == found
