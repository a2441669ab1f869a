"""The user's rules: what matches, which wins, and how a peer is told."""

from ipaddress import ip_network

import msgpack
import pytest

from mpbond.core.control import MAXIMUM_SIZE
from mpbond.core.flow import locate
from mpbond.core.packet import ACKNOWLEDGEMENT, BULK, NORMAL, REALTIME
from mpbond.core.rules import CACHE_LIMIT, LONGEST_WORD, Rule, RuleTable, rule_from_map, rule_to_map
from tests.packets import FRAGMENT, ICMP, SCTP, TCP, UDP, extension, ipv4, ipv6

YES = (BULK, None)
both = pytest.mark.parametrize("make", [ipv4, ipv6])


def ask(table, packet):
    return table.decide(packet, *locate(packet))


def matches(packet, **conditions):
    """Whether such a rule matches, asked twice so that what is remembered says the same."""
    table = RuleTable([Rule(kind=BULK, **conditions)])
    first = ask(table, packet)
    assert ask(table, packet) == first
    assert first in (YES, None)
    return first == YES


@both
def test_a_rule_without_conditions_matches_every_packet_but_nothing_else(make):
    assert matches(make())
    assert matches(make(protocol=ICMP))
    assert not matches(b"")
    assert not matches(b"\x45 short")


@both
@pytest.mark.parametrize("protocol", [TCP, UDP, SCTP])
def test_ports_of_either_end(make, protocol):
    spans = ((80, 80), (5000, 5010))
    for ports, expected in (
        ((1000, 80), True),
        ((80, 1000), True),
        ((79, 81), False),
        ((5000, 1), True),
        ((1, 5010), True),
        ((4999, 5011), False),
    ):
        assert matches(make(ports=ports, protocol=protocol), ports=spans) == expected


@both
def test_what_has_no_ports_does_not_match_a_rule_for_ports(make):
    assert not matches(make(protocol=ICMP, ports=(80, 80)), ports=((0, 65535),))
    assert matches(make(protocol=ICMP, ports=(80, 80)), protocol=ICMP)


def test_fragments_have_a_protocol_and_addresses_but_no_ports():
    pieces = [(FRAGMENT, extension(b"\0\0\0\1"))]
    for packet, prefix in (
        (ipv4(fragment=0x2000), "10.77.0.0/24"),
        (ipv4(fragment=1), "10.77.0.0/24"),
        (ipv6(extensions=pieces), "fd77::/64"),
    ):
        assert not matches(packet, ports=((0, 65535),))
        assert matches(packet, protocol=UDP, prefixes=(ip_network(prefix),))


@both
def test_protocols(make):
    assert matches(make(protocol=TCP), protocol=TCP)
    assert not matches(make(protocol=UDP), protocol=TCP)


def test_a_protocol_behind_extension_headers():
    wrapped = ipv6(extensions=[(60, extension(bytes(20)))], ports=(1, 80))
    assert matches(wrapped, protocol=UDP, ports=((80, 80),))


@pytest.mark.parametrize(
    ("make", "prefix", "expected"),
    [
        (ipv4, "10.77.0.5/32", True),  # source
        (ipv4, "10.77.0.9/32", True),  # destination
        (ipv4, "10.77.0.8/31", True),
        (ipv4, "10.77.0.6/31", False),
        (ipv4, "0.0.0.0/0", True),
        (ipv4, "::/0", False),
        (ipv6, "fd77::5/128", True),
        (ipv6, "fd77::9/128", True),
        (ipv6, "fd77::6/127", False),
        (ipv6, "fd00::/8", True),
        (ipv6, "::/0", True),
        (ipv6, "0.0.0.0/0", False),
    ],
)
def test_prefixes_of_either_end(make, prefix, expected):
    assert matches(make(), prefixes=(ip_network(prefix),)) == expected
    other = ip_network("203.0.113.0/24")
    assert matches(make(), prefixes=(other, ip_network(prefix))) == expected


@both
def test_marks_are_those_of_the_packet_not_of_its_flow(make):
    table = RuleTable([Rule(dscp=frozenset((46, 10)), kind=BULK)])
    packet = make()
    for dscp, expected in ((46, YES), (0, None), (10, YES), (46, YES), (11, None)):
        assert table.decide(packet, dscp, *locate(packet)[1:]) == expected


@both
def test_all_conditions_must_hold(make):
    packet = make(protocol=UDP, ports=(1000, 80))
    assert matches(packet, protocol=UDP, ports=((80, 80),), dscp=frozenset((0,)))
    assert not matches(packet, protocol=TCP, ports=((80, 80),), dscp=frozenset((0,)))
    assert not matches(packet, protocol=UDP, ports=((81, 81),), dscp=frozenset((0,)))
    assert not matches(packet, protocol=UDP, ports=((80, 80),), dscp=frozenset((1,)))
    away = (ip_network("203.0.113.0/24"),)
    assert not matches(packet, protocol=UDP, ports=((80, 80),), prefixes=away)


def test_the_first_rule_that_matches_wins():
    table = RuleTable(
        [
            Rule(ports=((80, 80),), kind=REALTIME),
            Rule(protocol=UDP, scheduler="xor"),
            Rule(kind=NORMAL),
        ]
    )
    assert ask(table, ipv4(ports=(1, 80))) == (REALTIME, None)
    assert ask(table, ipv4(ports=(1, 81))) == (None, "xor")
    assert ask(table, ipv4(ports=(1, 81), protocol=TCP)) == (NORMAL, None)


@both
def test_flows_whose_hashes_agree_are_told_apart(make):
    """Exclusive or of addresses and ports is the same for these; what is remembered must not be."""
    table = RuleTable([Rule(ports=((80, 80),), protocol=UDP, kind=BULK)])
    assert ask(table, make(ports=(1000, 80))) == YES
    assert ask(table, make(ports=(1001, 81))) is None
    assert ask(table, make(ports=(1000, 80), protocol=TCP)) is None
    table = RuleTable([Rule(prefixes=(ip_network("10.77.0.5"), ip_network("fd77::5")), kind=BULK)])
    assert ask(table, make(source=5, destination=9)) == YES
    assert ask(table, make(source=4, destination=8)) is None


def test_what_is_remembered_is_bounded_and_stays_right():
    table = RuleTable([Rule(ports=((7, 7),), kind=BULK)])
    for port in range(8, CACHE_LIMIT + 1000):
        assert ask(table, ipv4(ports=(9, port))) is None
    assert 0 < table.remembered <= CACHE_LIMIT
    assert ask(table, ipv4(ports=(9, 7))) == YES


FULL = Rule(
    dscp=frozenset((0, 46, 63)),
    protocol=17,
    ports=((80, 80), (5000, 65535)),
    prefixes=(ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"), ip_network("0.0.0.0/0")),
    kind=REALTIME,
    scheduler="redundant",
    name="Käthes Spiele",
)


@pytest.mark.parametrize(
    "rule",
    [
        FULL,
        Rule(kind=NORMAL),
        Rule(scheduler="xor"),
        Rule(protocol=0, kind=BULK),
        Rule(dscp=frozenset(), ports=(), prefixes=(), kind=BULK),
    ],
)
def test_a_rule_survives_being_told(rule):
    told = msgpack.unpackb(msgpack.packb(rule_to_map(rule)), strict_map_key=True)
    assert rule_from_map(told) == rule


def test_a_rule_as_long_as_sensible_fits_a_control_message():
    rule = Rule(
        dscp=frozenset(range(64)),
        protocol=255,
        ports=tuple((port, port + 9) for port in range(60000, 60160, 10)),
        prefixes=tuple(ip_network(f"2001:db8:{number:x}::/48") for number in range(6)),
        kind=REALTIME,
        scheduler="redundant",
        name="n" * 40,
    )
    assert len(msgpack.packb({"rule": rule_to_map(rule)})) <= MAXIMUM_SIZE


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"speed": 1}, "speed"),
        ({b"name": 1}, "name"),
        ({"name": 5}, "name"),
        ({"name": ""}, "name"),
        ({"name": "ü" * (LONGEST_WORD // 2 + 1)}, "name"),
        ({"scheduler": ["rr"]}, "scheduler"),
        ({"scheduler": "s" * (LONGEST_WORD + 1)}, "scheduler"),
        ({"class": "acknowledgement"}, "class"),
        ({"class": 2}, "class"),
        ({"class": ["bulk"]}, "class"),
        ({"class": None, "scheduler": None}, "class or a scheduler"),
        ({"protocol": 256}, "protocol"),
        ({"protocol": -1}, "protocol"),
        ({"protocol": True}, "protocol"),
        ({"protocol": "udp"}, "protocol"),
        ({"dscp": 46}, "dscp"),
        ({"dscp": [64]}, "dscp"),
        ({"dscp": [False]}, "dscp"),
        ({"dscp": [4.5]}, "dscp"),
        ({"ports": [80]}, "ports"),
        ({"ports": [81, 80]}, "ports"),
        ({"ports": [0, 65536]}, "ports"),
        ({"ports": [[80, 80]]}, "ports"),
        ({"ports": "80"}, "ports"),
        ({"prefixes": ["10.0.0.0/8"]}, "prefixes"),
        ({"prefixes": [b""]}, "prefixes"),
        ({"prefixes": [b"\x20"]}, "prefixes"),
        ({"prefixes": [bytes(4) + b"\x21"]}, "prefixes"),
        ({"prefixes": [bytes(3) + b"\x01\x08"]}, "prefixes"),  # host bits set
        ({"prefixes": [bytes(16) + b"\x81"]}, "prefixes"),
        ({"prefixes": [bytes(7) + b"\x08"]}, "prefixes"),
        ({"prefixes": b"\0\0\0\0\0"}, "prefixes"),
    ],
)
def test_what_is_no_rule_is_refused_in_one_sentence(change, word):
    message = {**rule_to_map(FULL), **change}
    with pytest.raises(ValueError, match=word) as caught:
        rule_from_map(message)
    text = str(caught.value)
    assert text[0].isupper()
    assert text.endswith(".")
    assert "\n" not in text
    assert len(text) < 200


@pytest.mark.parametrize("message", [None, [], "rule", 5, b""])
def test_what_is_no_map_is_refused(message):
    with pytest.raises(ValueError, match="map"):
        rule_from_map(message)


def test_a_rule_cannot_make_acknowledgements():
    with pytest.raises(ValueError, match="class"):
        rule_from_map(rule_to_map(Rule(kind=ACKNOWLEDGEMENT)))
