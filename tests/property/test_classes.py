"""Classes and rules of any bytes."""

from ipaddress import ip_network

import msgpack
from hypothesis import example, given
from hypothesis import strategies as st

from mpbond.core.classes import Classes
from mpbond.core.flow import flow_hash, locate
from mpbond.core.packet import ACKNOWLEDGEMENT, BULK, NORMAL, REALTIME
from mpbond.core.rules import Rule, RuleTable, rule_from_map, rule_to_map
from mpbond.core.unfinished import Unfinished
from tests.packets import TCP, UDP, extension, ipv4, ipv6

RULES = [
    Rule(ports=((0, 100),), kind=BULK),
    Rule(dscp=frozenset((46,)), prefixes=(ip_network("::/1"), ip_network("0.0.0.0/1")), kind=0),
    Rule(scheduler="xor"),
]
KINDS = (NORMAL, ACKNOWLEDGEMENT, REALTIME, BULK)

headers = st.lists(
    st.tuples(st.sampled_from([0, 43, 60]), st.binary(max_size=40).map(extension)), max_size=7
)
words = st.none() | st.text(min_size=1, max_size=16)
networks = st.builds(
    lambda packed, bits: ip_network((packed, min(bits, 8 * len(packed))), strict=False),
    st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16),
    st.integers(0, 128),
)
rules = st.builds(
    Rule,
    dscp=st.none() | st.frozensets(st.integers(0, 63)),
    protocol=st.none() | st.integers(0, 255),
    ports=st.none()
    | st.lists(st.tuples(st.integers(0, 999), st.integers(999, 65535)), max_size=5).map(tuple),
    prefixes=st.none() | st.lists(networks, max_size=5).map(tuple),
    kind=st.sampled_from([NORMAL, REALTIME, BULK]),
    scheduler=words,
    name=words.map(lambda word: word or ""),
)


@given(st.lists(st.binary(max_size=120), max_size=5), st.sampled_from([0x45, 0x4F, 0x60, 0x61]))
@example([b""], 0x45)
@example([bytes(8) + b"\x11" + bytes(14)], 0x45)
def test_any_bytes_have_a_class(contents, first):
    plain, ruled = Classes(), Classes(RULES)
    for now, content in enumerate(contents):
        for packet in (content, bytes((first,)) + content):
            assert plain.classify(packet, 1, now)[0] in KINDS
            assert ruled.classify(packet, 1, now)[0] in KINDS


@given(headers, st.sampled_from([TCP, UDP]))
def test_the_transport_header_is_found_behind_extension_headers(headers, protocol):
    packet = ipv6(extensions=headers, protocol=protocol, ports=(0x1234, 0x5678), payload=bytes(16))
    _, found, at = locate(packet)
    assert found == protocol
    assert packet[at : at + 4] == b"\x12\x34\x56\x78"


@given(
    st.lists(
        st.builds(
            lambda make, source, port, protocol: make(
                source=source, ports=(port, 80), protocol=protocol
            ),
            st.sampled_from([ipv4, ipv6]),
            st.integers(0, 3),
            st.integers(78, 102),
            st.sampled_from([TCP, UDP]),
        ),
        max_size=40,
    )
)
def test_what_is_remembered_agrees_with_asking_anew(packets):
    chosen = [
        Rule(ports=((90, 95),), protocol=UDP, kind=BULK),
        Rule(prefixes=(ip_network("10.77.0.2"), ip_network("fd77::1")), kind=REALTIME),
    ]
    table = RuleTable(chosen)
    for packet in packets:
        assert table.decide(packet, *locate(packet)) == RuleTable(chosen).decide(
            packet, *locate(packet)
        )


@given(rules)
def test_a_rule_survives_being_told(rule):
    assert rule_from_map(msgpack.unpackb(msgpack.packb(rule_to_map(rule)))) == rule


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=18),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["name", "dscp", "protocol", "ports", "prefixes", "class", "scheduler"]),
        values,
    )
)
def test_a_map_is_a_rule_or_is_refused(message):
    try:
        rule = rule_from_map({"class": "bulk", **message})
    except ValueError:
        return
    told = rule_to_map(rule)
    assert rule_from_map(told) == rule
    assert set(told) <= {"class", *message}
    assert RuleTable([rule]).decide(ipv4(), 0, UDP, 20) in ((rule.kind, rule.scheduler), None)


@given(
    st.lists(
        st.builds(
            lambda make, source, ports, protocol, mark, flags, size, kind: kind(
                marked(
                    make(
                        source=source,
                        ports=ports,
                        protocol=protocol,
                        payload=bytes(9) + bytes((flags,)) + bytes(size),
                    ),
                    mark,
                )
            ),
            st.sampled_from([ipv4, ipv6]),
            st.integers(0, 1),
            st.sampled_from([(1000, 80), (53, 80)]),
            st.sampled_from([TCP, UDP]),
            st.sampled_from([0, 8, 46]),
            st.sampled_from([0x10, 0x10, 0x12]),
            st.sampled_from([0, 300, 640, 1300, 1300]),
            st.sampled_from([bytes, Unfinished]),
        ),
        max_size=5,
    ).flatmap(lambda packets: st.lists(st.sampled_from(packets or [b"x"]), max_size=60))
)
def test_those_that_another_speaks_for_would_be_told_the_same(packets):
    classes, each = Classes(RULES), Classes(RULES)
    at = 0
    while at < len(packets):
        flow = flow_hash(packets[at], 1)
        answer = classes.classify(packets[at], flow, 1.0)
        assert each.classify(packets[at], flow, 1.0) == answer
        end = at + 1 if answer[0] == REALTIME else classes.alike(packets, at)
        for packet in packets[at + 1 : end]:
            assert flow_hash(packet, 1) == flow
            assert each.classify(packet, flow, 1.0) == answer
            assert type(packet) is type(packets[at])
        assert {len(packet) for packet in packets[at : end - 1]} <= {len(packets[at])}
        assert len(packets[end - 1]) <= len(packets[at])
        at = end


def marked(packet, dscp):
    """A packet with another mark."""
    if packet[0] >> 4 == 4:
        return packet[:1] + bytes((dscp << 2,)) + packet[2:]
    return bytes((0x60 | dscp >> 2, (dscp & 3) << 6)) + packet[2:]
