"""Which class a packet belongs to, by its headers. Bytes are made by hand in tests/packets.py."""

import struct

import pytest

from mpbond.core.classes import MARKED_LIMIT, MARKED_RATE, Classes
from mpbond.core.packet import ACKNOWLEDGEMENT, BULK, NORMAL, REALTIME
from mpbond.core.rules import Rule
from tests.packets import FRAGMENT, ICMP, TCP, UDP, extension, ipv4, ipv6

FIN, SYN, RST, PUSH, ACK = 1, 2, 4, 8, 16
CS1, LE, AF41, CS5, CS6, CS7, VOICE_ADMIT, EF = 8, 1, 34, 40, 48, 56, 44, 46
both = pytest.mark.parametrize("make", [ipv4, ipv6])


def segment(make, flags, content=b"", options=b"", dscp=0, **fields):
    """A TCP segment."""
    head = struct.pack(">IIBBHHH", 1, 2, (20 + len(options)) // 4 << 4, flags, 1000, 0, 0)
    packet = make(protocol=TCP, payload=head + options + content, **fields)
    return marked(packet, dscp)


def marked(packet, dscp, ecn=0):
    """The packet with other bits where DSCP and ECN stand."""
    octet = dscp << 2 | ecn
    if packet[0] >> 4 == 4:
        return packet[:1] + bytes((octet,)) + packet[2:]
    return bytes((0x60 | octet >> 4, octet << 4 & 0xF0)) + packet[2:]


def kind_of(packet):
    return Classes().classify(packet, 1, 0.0)[0]


@both
@pytest.mark.parametrize(
    ("flags", "content", "kind"),
    [
        (ACK, b"", ACKNOWLEDGEMENT),
        (ACK | PUSH, b"", ACKNOWLEDGEMENT),
        (ACK | 0xC0, b"", ACKNOWLEDGEMENT),  # ECE and CWR
        (ACK, b"x", NORMAL),
        (ACK, bytes(1400), NORMAL),
        (ACK | FIN, b"", NORMAL),
        (ACK | RST, b"", NORMAL),
        (RST, b"", NORMAL),
        (0, b"", NORMAL),
        (SYN, b"", REALTIME),
        (SYN | ACK, b"", REALTIME),
        (SYN, bytes(1200), REALTIME),
    ],
)
def test_tcp_segments(make, flags, content, kind):
    assert kind_of(segment(make, flags, content)) == kind
    assert kind_of(segment(make, flags, content, options=bytes(40))) == kind


@both
def test_the_longest_acknowledgement_and_the_shortest_data(make):
    assert kind_of(segment(make, ACK, options=bytes(40))) == ACKNOWLEDGEMENT
    assert kind_of(segment(make, ACK, b"x", options=bytes(36))) == NORMAL


def test_headers_are_found_behind_options_and_extensions():
    assert kind_of(segment(ipv4, ACK, source=7, options=b"", fragment=0)) == ACKNOWLEDGEMENT
    late = make_late(segment(ipv4, ACK))
    assert kind_of(late) == ACKNOWLEDGEMENT
    wrapped = segment(ipv6, ACK, extensions=[(60, extension(bytes(20)))])
    assert kind_of(wrapped) == ACKNOWLEDGEMENT


def make_late(packet):
    """An IPv4 packet with eight bytes of options put in."""
    return b"\x47" + packet[1:20] + bytes(8) + packet[20:]


def test_a_fragment_is_no_acknowledgement_and_no_dns_whatever_it_begins_with():
    assert kind_of(segment(ipv4, ACK, fragment=0x2000)) == NORMAL
    assert kind_of(segment(ipv4, SYN, fragment=0x0001)) == NORMAL
    pieces = [(FRAGMENT, extension(b"\0\0\0\1"))]
    assert kind_of(segment(ipv6, ACK, extensions=pieces)) == NORMAL
    assert kind_of(ipv4(ports=(1000, 53), fragment=0x2000)) == NORMAL


@both
@pytest.mark.parametrize(
    ("dscp", "kind"),
    [
        (0, NORMAL),
        (AF41, NORMAL),
        (32, NORMAL),
        (EF, REALTIME),
        (VOICE_ADMIT, REALTIME),
        (CS5, REALTIME),
        (CS6, REALTIME),
        (CS7, REALTIME),
        (CS1, BULK),
        (LE, BULK),
    ],
)
@pytest.mark.parametrize("ecn", [0, 1, 2, 3])
def test_marks(make, dscp, kind, ecn):
    assert kind_of(marked(make(), dscp, ecn)) == kind
    assert kind_of(marked(make(protocol=ICMP), dscp, ecn)) == kind
    assert kind_of(segment(make, ACK, b"data", dscp=dscp)) == kind


@both
def test_acknowledgements_of_a_bulk_flow_stay_what_they_are_and_its_opening_has_time(make):
    assert kind_of(segment(make, ACK, dscp=CS1)) == ACKNOWLEDGEMENT
    assert kind_of(segment(make, SYN, dscp=CS1)) == BULK


@both
@pytest.mark.parametrize("ports", [(1000, 53), (53, 1000)])
def test_dns_is_real_time_in_both_directions_while_it_is_small(make, ports):
    assert kind_of(make(ports=ports, payload=bytes(4 + 512))) == REALTIME
    assert kind_of(make(ports=ports, payload=bytes(4 + 513))) == NORMAL
    assert kind_of(make(ports=ports, protocol=TCP, payload=bytes(100))) == NORMAL


@pytest.mark.parametrize("length", range(60))
@both
def test_no_packet_is_too_short(make, length):
    for protocol in (TCP, UDP):
        packet = make(protocol=protocol, payload=bytes(60))[:length]
        assert Classes([Rule(ports=((1, 9),), kind=BULK)]).classify(packet, 1, 0.0)[0] == NORMAL


def test_a_real_time_mark_is_not_believed_beyond_its_rate_until_the_flow_has_calmed_down():
    classes, step = Classes(), 0.002
    size = int(2 * MARKED_RATE * step)
    packet = marked(ipv4(payload=bytes(size - 24)), EF)
    assert len(packet) == size
    kinds = [classes.classify(packet, 1, n * step)[0] for n in range(500)]
    assert kinds[:20] == [REALTIME] * 20
    assert kinds[100:] == [NORMAL] * 400
    assert classes.classify(packet, 2, 1.0)[0] == REALTIME  # another flow
    assert classes.classify(packet, 1, 1.05)[0] == NORMAL
    assert classes.classify(packet, 1, 1.5)[0] == REALTIME


def test_a_video_call_is_believed_for_ever():
    classes = Classes()
    packet = marked(ipv4(payload=bytes(1176)), EF)
    size, step = len(packet), 0.004  # 2.4 Mbit/s
    assert size / step < MARKED_RATE
    assert {classes.classify(packet, 1, n * step)[0] for n in range(2000)} == {REALTIME}


def test_what_is_remembered_of_flows_with_marks_is_bounded():
    classes, packet = Classes(), marked(ipv4(), EF)
    for flow in range(2 * MARKED_LIMIT):
        assert classes.classify(packet, flow, 0.0)[0] == REALTIME
        assert classes.remembered <= MARKED_LIMIT


def test_classes_are_counted():
    classes = Classes()
    one, two = ipv4(), segment(ipv4, ACK)
    for packet in (one, one, two):
        classes.classify(packet, 1, 0.0)
    assert classes.counts == {
        "normal": {"packets": 2, "bytes": 2 * len(one)},
        "acknowledgement": {"packets": 1, "bytes": len(two)},
        "realtime": {"packets": 0, "bytes": 0},
        "bulk": {"packets": 0, "bytes": 0},
    }


class TestRules:
    def test_a_rule_comes_before_marks_and_headers(self):
        classes = Classes([Rule(protocol=UDP, kind=BULK)])
        assert classes.classify(marked(ipv4(), EF), 1, 0.0) == (BULK, None)
        assert classes.classify(ipv4(ports=(1000, 53)), 1, 0.0) == (BULK, None)
        assert classes.classify(marked(ipv4(protocol=ICMP), EF), 1, 0.0) == (REALTIME, None)

    def test_a_rule_may_take_the_mark_from_a_flow(self):
        classes = Classes([Rule(dscp=frozenset((EF,)), kind=NORMAL)])
        assert classes.classify(marked(ipv4(), EF), 1, 0.0) == (NORMAL, None)
        assert classes.classify(marked(ipv4(), CS6), 1, 0.0) == (REALTIME, None)

    def test_a_rule_that_names_a_scheduler_only_leaves_the_class_as_it_is(self):
        classes = Classes([Rule(protocol=TCP, scheduler="redundant")])
        assert classes.classify(segment(ipv4, ACK, b"x"), 1, 0.0) == (NORMAL, "redundant")
        assert classes.classify(segment(ipv4, SYN), 1, 0.0) == (REALTIME, "redundant")
        assert classes.classify(segment(ipv4, ACK), 1, 0.0) == (ACKNOWLEDGEMENT, "redundant")
        assert classes.classify(ipv4(), 1, 0.0) == (NORMAL, None)

    def test_pure_acknowledgements_leave_their_class_for_real_time_only(self):
        for kind, expected in ((BULK, ACKNOWLEDGEMENT), (NORMAL, ACKNOWLEDGEMENT), (REALTIME,) * 2):
            classes = Classes([Rule(protocol=TCP, kind=kind, scheduler="xor")])
            assert classes.classify(segment(ipv4, ACK), 1, 0.0) == (expected, "xor")
            assert classes.classify(segment(ipv4, ACK, b"x"), 1, 0.0) == (kind, "xor")

    def test_a_rule_is_believed_at_any_rate(self):
        classes = Classes([Rule(protocol=UDP, kind=REALTIME)])
        packet = marked(ipv4(payload=bytes(1400)), EF)
        assert {classes.classify(packet, 1, 0.0)[0] for _ in range(500)} == {REALTIME}

    def test_what_rules_class_is_counted(self):
        classes = Classes([Rule(protocol=UDP, kind=BULK)])
        classes.classify(ipv4(), 1, 0.0)
        assert classes.counts["bulk"] == {"packets": 1, "bytes": len(ipv4())}
