"""What is sent again, in which order, how often, and what the peer is told of the rest."""

import pytest

from mpbond.core.packet import NORMAL, REALTIME, Packet
from mpbond.core.recovery import Sent, SentLog
from mpbond.core.repair import (
    ITEMS_PER_FRAME,
    LIFETIME,
    MAXIMUM_TRIES,
    REALTIME_LIFETIME,
    Repair,
)
from mpbond.core.wire import FORWARD, SEQUENCE_SPACE, parse_forward, parse_frames

START = 100.0


@pytest.fixture
def told():
    """The frames that must reach the peer."""
    return []


@pytest.fixture
def repair(told):
    return Repair(told.append)


def test_a_packet_whose_only_datagram_is_lost_is_wanted_once(repair):
    packet = sent_packet()
    assert repair.lost(datagram(packet), START + 0.1) == 1
    assert (len(repair), packet.waiting) == (1, True)
    assert repair.next(START + 0.1) is packet
    assert repair.next(START + 0.1) is packet, "it stays until it is taken"
    repair.taken()
    assert (len(repair), packet.waiting, repair.repaired) == (0, False, 1)
    assert repair.next(START + 0.1) is None


def test_a_copy_that_is_still_under_way_is_waited_for(repair):
    packet = sent_packet()
    original, copy = datagram(packet), datagram(packet)
    assert repair.lost(original, START + 0.1) == 0
    assert repair.lost(copy, START + 0.1) == 1


def test_a_real_time_packet_does_not_wait_for_a_copy_that_may_be_far_behind(repair, told):
    packet = sent_packet(kind=REALTIME)
    original, copy = datagram(packet), datagram(packet)
    assert repair.lost(original, START + 0.05) == 1
    assert repair.lost(copy, START + 0.06) == 0, "it waits already"
    assert taken_all(repair, START + 0.06) == [packet]
    late = sent_packet(kind=REALTIME)
    original, copy = datagram(late), datagram(late)
    assert repair.lost(original, START + REALTIME_LIFETIME + 0.001) == 0
    repair.flush()
    assert told == [], "the copy may still come"


def test_a_real_time_packet_whose_path_fell_silent_is_sent_again_once(repair):
    packet = sent_packet(kind=REALTIME)
    held = datagram(packet)
    assert repair.rescue([held], START + 0.05) == 1
    assert taken_all(repair, START + 0.05) == [packet]
    datagram(packet)
    assert repair.lost(held, START + 0.06) == 0


def test_a_packet_delivered_by_a_copy_is_not_sent_again(repair):
    packet = sent_packet()
    original, copy = datagram(packet), datagram(packet)
    acknowledge(copy)
    assert repair.lost(original, START + 0.1) == 0
    assert repair.next(START + 0.1) is None


def test_all_packets_of_a_lost_datagram_are_sent_again_in_their_order(repair):
    packets = [sent_packet(sequence) for sequence in range(3)]
    assert repair.lost(datagram(*packets), START + 0.1) == 3
    assert taken_all(repair, START + 0.1) == packets


def test_of_two_paths_that_fall_silent_at_once_the_oldest_packets_are_sent_again_first(repair):
    packets = [sent_packet(sequence) for sequence in range(6)]
    for packet in packets:
        packet.sent += 0.001 * packet.sequence
    repair.rescue([datagram(packet) for packet in packets[::2]], START + 0.15)
    repair.rescue([datagram(packet) for packet in packets[1::2]], START + 0.15)
    assert taken_all(repair, START + 0.15) == packets


def test_a_packet_that_never_left_has_not_been_tried(repair, told):
    packet = sent_packet(4)
    sent = datagram(packet)
    for _ in range(20):
        assert repair.lost(sent, START + 0.1, tried=False) == 1
        assert repair.next(START + 0.1) is packet
        repair.taken()
        packet.tries += 1
        sent = datagram(packet)
    assert packet.tries == 1
    assert repair.lost(sent, START + LIFETIME + 0.1, tried=False) == 0
    repair.flush()
    assert forwarded(told) == [(5, 4, 1)]


def test_real_time_packets_are_sent_again_before_others(repair):
    normal, urgent = sent_packet(1), sent_packet(2, kind=REALTIME)
    repair.lost(datagram(normal), START + 0.05)
    repair.lost(datagram(urgent), START + 0.06)
    assert taken_all(repair, START + 0.06) == [urgent, normal]


def test_what_is_acknowledged_while_it_waits_is_not_sent_again(repair, told):
    packets = [sent_packet(sequence) for sequence in range(3)]
    for packet in packets:
        repair.lost(datagram(packet), START + 0.1)
    packets[0].done = packets[1].done = True
    assert taken_all(repair, START + 0.1) == [packets[2]]
    repair.flush()
    assert told == []
    assert [packet.waiting for packet in packets] == [False] * 3


@pytest.mark.parametrize(("kind", "lifetime"), [(NORMAL, LIFETIME), (REALTIME, REALTIME_LIFETIME)])
def test_a_packet_is_wanted_for_its_lifetime_and_then_called_off(repair, told, kind, lifetime):
    young, old = sent_packet(1, kind=kind), sent_packet(2, kind=kind)
    assert repair.lost(datagram(young), START + lifetime - 0.001) == 1
    assert repair.lost(datagram(old), START + lifetime + 0.001) == 0
    assert old.done
    repair.flush()
    assert forwarded(told) == [(5, 2, 1)]
    assert repair.given_up == 1


def test_a_packet_that_grows_too_old_while_it_waits_is_called_off(repair, told):
    packet = sent_packet(3)
    repair.lost(datagram(packet), START + 0.1)
    assert repair.next(START + LIFETIME + 0.001) is None
    repair.flush()
    assert forwarded(told) == [(5, 3, 1)]
    assert (len(repair), packet.done) == (0, True)


def test_the_lifetime_of_real_time_packets_can_be_set(repair):
    repair.realtime_lifetime = 0.3
    assert repair.lost(datagram(sent_packet(kind=REALTIME)), START + 0.29) == 1
    assert repair.lost(datagram(sent_packet(kind=REALTIME)), START + 0.31) == 0


def test_a_packet_is_sent_at_most_three_times(repair, told):
    packet = sent_packet(4)
    sent = datagram(packet)
    for _ in range(MAXIMUM_TRIES - 1):
        assert repair.lost(sent, START + 0.1) == 1
        assert repair.next(START + 0.1) is packet
        repair.taken()
        packet.tries += 1
        sent = datagram(packet)
    assert repair.lost(sent, START + 0.1) == 0
    repair.flush()
    assert forwarded(told) == [(5, 4, 1)]
    assert (repair.repaired, repair.given_up) == (2, 1)


def test_what_a_silent_path_holds_is_wanted_elsewhere_once(repair):
    packets = [sent_packet(sequence) for sequence in range(4)]
    held = [datagram(*packets[:2]), datagram(*packets[2:])]
    assert repair.rescue(held, START + 0.15) == 4
    assert repair.rescue(held, START + 0.16) == 0
    assert taken_all(repair, START + 0.16) == packets
    assert [packet.done for packet in packets] == [False] * 4


def test_what_is_under_way_elsewhere_too_is_not_rescued(repair):
    packet = sent_packet()
    held, _ = datagram(packet), datagram(packet)
    assert repair.rescue([held], START + 0.15) == 0
    assert repair.next(START + 0.15) is None


def test_what_hangs_on_nothing_but_silent_paths_is_rescued_and_counts_once(repair, told):
    packet = sent_packet()
    one, other = datagram(packet), datagram(packet)
    assert repair.rescue([one], START + 0.15) == 0
    assert repair.rescue([one], START + 0.16) == 0
    assert repair.rescue([other], START + 0.17) == 1
    assert repair.next(START + 0.17) is packet
    repair.taken()
    again = datagram(packet)
    assert repair.lost(one, START + 0.2) == repair.lost(other, START + 0.2) == 0
    assert repair.lost(again, START + 0.3) == 1
    repair.flush()
    assert told == []


def test_a_copy_that_is_lost_after_the_other_fell_silent_is_wanted(repair):
    packet = sent_packet()
    held, copy = datagram(packet), datagram(packet)
    assert repair.rescue([held], START + 0.15) == 0
    assert repair.lost(copy, START + 0.16) == 1


def test_a_rescue_that_comes_too_late_calls_nothing_off_until_the_datagram_is_lost(repair, told):
    packet = sent_packet()
    held = datagram(packet)
    assert repair.rescue([held], START + LIFETIME + 0.1) == 0
    assert not packet.done
    assert repair.lost(held, START + LIFETIME + 0.2) == 0
    repair.flush()
    assert forwarded(told) == [(5, 0, 1)]


def test_what_is_too_old_to_be_rescued_may_still_come(repair, told):
    packet = sent_packet()
    assert repair.rescue([datagram(packet)], START + LIFETIME + 0.1) == 0
    repair.flush()
    assert told == []
    assert not packet.done


def test_a_rescued_packet_whose_datagram_is_lost_after_all_is_sent_again_once(repair):
    packet = sent_packet()
    held = datagram(packet)
    repair.rescue([held], START + 0.15)
    assert repair.lost(held, START + 0.16) == 0
    assert taken_all(repair, START + 0.16) == [packet]


def test_a_rescued_packet_whose_late_datagram_is_acknowledged_is_not_sent_again(repair):
    packet = sent_packet()
    held = datagram(packet)
    repair.rescue([held], START + 0.15)
    acknowledge(held)
    assert taken_all(repair, START + 0.16) == []


def test_a_datagram_found_not_to_be_lost_ends_the_wait_for_its_packets(repair):
    packet, log = sent_packet(), SentLog()
    log.add(0, datagram(packet))
    for number in (1, 2, 3):
        log.add(number, Sent(START, 100))
    log.acknowledge(3, [(0, 2)])
    (lost,) = log.detect_lost(1.0, START + 0.1)
    assert repair.lost(lost, START + 0.1) == 1
    log.acknowledge(3, [(0, 3)])
    assert packet.done
    assert repair.next(START + 0.1) is None


def test_nothing_is_told_when_nothing_was_called_off(repair, told):
    repair.flush()
    assert told == []


def test_neighbours_are_called_off_together_and_only_once(repair, told):
    for lane, sequence in ((7, 11), (5, 2), (7, 10), (5, 4), (5, 3), (7, 13)):
        repair.call_off(sent_packet(sequence, lane=lane))
    repair.flush()
    repair.flush()
    assert forwarded(told) == [(5, 2, 3), (7, 10, 2), (7, 13, 1)]


def test_the_end_of_a_lanes_numbers_joins_no_other_lane(repair, told):
    for lane, sequence in ((5, SEQUENCE_SPACE - 1), (6, 0)):
        repair.call_off(sent_packet(sequence, lane=lane))
    repair.flush()
    assert forwarded(told) == [(5, SEQUENCE_SPACE - 1, 1), (6, 0, 1)]


def test_what_is_called_off_is_told_in_frames_that_fit_any_datagram(repair, told):
    gone = [(5, 2 * number, 1) for number in range(ITEMS_PER_FRAME + 8)]
    for lane, sequence, _ in gone:
        repair.call_off(sent_packet(sequence, lane=lane))
    repair.flush()
    assert len(told) == 2
    assert all(len(frame) < 500 for frame in told)
    assert forwarded(told) == gone


def sent_packet(sequence=0, *, kind=NORMAL, lane=5):
    """A packet that left at START for the first time."""
    packet = Packet(b"data", 5, kind, START)
    packet.lane, packet.sequence, packet.sent, packet.tries = lane, sequence, START, 1
    return packet


def datagram(*packets):
    """A datagram on its way with these packets."""
    for packet in packets:
        packet.flights += 1
    return Sent(START, 100, packets)


def acknowledge(sent):
    for packet in sent.packets:
        packet.flights -= 1
        packet.done = True


def taken_all(repair, now):
    packets = []
    while (packet := repair.next(now)) is not None:
        repair.taken()
        packets.append(packet)
    return packets


def forwarded(frames):
    items = []
    for frame in frames:
        ((kind, body),) = parse_frames(frame).others
        assert kind == FORWARD
        items += parse_forward(body)
    return items
