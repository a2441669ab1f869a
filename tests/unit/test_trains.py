"""Super-packets while they wait, and trains of their segments under way."""

import pytest

from mpbond.core.codel import TARGET
from mpbond.core.lanes import REMEMBERED_RANGES, Lanes
from mpbond.core.packet import NORMAL, Packet, Run, SuperPacket
from mpbond.core.queue import QUANTUM, SendQueue
from mpbond.core.recovery import PACKET_THRESHOLD, SentLog, SentTrain
from mpbond.core.segments import cut
from mpbond.core.stats import Drops, OrderStats
from mpbond.core.unfinished import Unfinished
from mpbond.core.wire import DATA, SEGMENT, SEQUENCE_SPACE, is_lone_data, lone_data, lone_runs
from tests.packets import tcp4

HEADERS, SEGMENT_SIZE = 40, 1000
SIZE = HEADERS + SEGMENT_SIZE


def super_packet(count=10, rest=SEGMENT_SIZE, flow=1, queued=0.0):
    """One of `count` segments, the last with `rest` bytes of payload."""
    payload = bytes((count - 1) * SEGMENT_SIZE + rest)
    whole = Unfinished(tcp4(sequence=5, payload=payload))
    whole.segment_size = SEGMENT_SIZE
    return SuperPacket(whole, flow, NORMAL, queued)


def sequences(packets):
    return [int.from_bytes(data[24:28], "big") for data in packets]


def test_a_super_packet_gives_its_segments_one_by_one():
    whole = super_packet(3, rest=7)
    assert (whole.left, whole.size, whole.total) == (3, SIZE, 2 * SIZE + HEADERS + 7)
    one = whole.take()
    assert (len(one.data), one.flags, one.flow) == (SIZE, SEGMENT, 1)
    assert (whole.left, whole.size, whole.total) == (2, SIZE, SIZE + HEADERS + 7)
    two, three = whole.take(), whole.take()
    assert sequences([one.data, two.data, three.data]) == [5, 1005, 2005]
    assert (len(three.data), whole.left, whole.total) == (HEADERS + 7, 0, 0)


def test_a_train_is_of_one_size_but_for_its_last_segment():
    whole = super_packet(10, rest=7)
    whole.take()
    train = whole.take_train(4)
    assert (train.count, train.size, train.last, train.total) == (4, SIZE, SIZE, 4 * SIZE)
    assert (whole.left, whole.size) == (5, SIZE)
    segments = cut(train.head, SEGMENT_SIZE, train.first, train.count)
    assert sequences(segments) == list(range(1005, 5005, 1000))
    train = whole.take_train(100)
    assert (train.count, train.size, train.last) == (5, SIZE, HEADERS + 7)
    assert (train.total, whole.left, whole.total) == (4 * SIZE + HEADERS + 7, 0, 0)
    segments = cut(train.head, SEGMENT_SIZE, train.first, train.count)
    assert [len(data) for data in segments] == [SIZE] * 4 + [HEADERS + 7]


def test_a_packet_of_a_train_knows_its_place():
    whole = super_packet(10)
    train = whole.take_train(5)
    train.lane, train.sequence, train.sent = 3, SEQUENCE_SPACE - 2, 7.5
    packet = train.packet(3)
    assert packet.data == cut(train.head, SEGMENT_SIZE, 3, 1)[0]
    assert (packet.lane, packet.sequence, packet.sent) == (3, 1, 7.5)
    assert (packet.flags, packet.tries, packet.flights) == (SEGMENT, 1, 1)


def test_the_queue_counts_what_is_left_of_a_super_packet():
    queue = SendQueue(Drops())
    queue.push(super_packet(10, rest=7))
    assert (len(queue), queue.bytes, queue.flows) == (10, 9 * SIZE + HEADERS + 7, 1)
    assert len(queue.take(0.0).data) == SIZE
    assert queue.take_train(4, 0.0).count == 4
    assert (len(queue), queue.bytes) == (5, 4 * SIZE + HEADERS + 7)
    assert len(queue.take(0.0).data) == SIZE
    assert queue.take_more(100).count == 4
    assert (len(queue), queue.bytes, queue.flows, queue.take(0.0)) == (0, 0, 0, None)
    assert queue.take_train(4, 0.0) is None


def test_a_train_is_only_of_a_super_packet_and_more_of_what_was_begun_just_now():
    queue = SendQueue(Drops())
    queue.push(Packet(bytes(100), 1, NORMAL, 0.0))
    queue.push(super_packet(flow=2))
    assert queue.take_train(5, 0.0) is None
    assert len(queue.take(0.0).data) == 100
    assert queue.take_more(5) is None


def test_what_has_waited_too_long_leaves_in_no_train_that_codel_has_not_judged():
    queue = SendQueue(Drops())
    queue.push(super_packet(40, queued=0.0))
    assert queue.take_train(9, TARGET * 0.99) is not None
    assert queue.take_train(9, TARGET * 1.01) is None
    queue.may_drop = False
    assert queue.take_train(9, TARGET * 1.01).count == 9


def test_other_flows_make_up_for_a_train():
    queue = SendQueue(Drops())
    for flow in (1, 2):
        queue.push(super_packet(40, flow=flow))
    sent = {1: 0, 2: 0}
    for _ in range(6):
        train = queue.take_train(10, 0.0)
        sent[train.flow] += train.count
    assert abs(sent[1] - sent[2]) <= 10 + QUANTUM / SIZE


def test_of_packets_that_came_together_no_more_are_dropped_than_must_be():
    drops = Drops()
    queue = SendQueue(drops, limit=5000)
    packets = [bytes((at,)) * 1000 for at in range(7)] + [b"end"]
    queue.push(Run(packets, 1, NORMAL, 0.0))
    assert (queue.bytes, len(queue), drops["queue_full"]) == (4003, 5, 3)
    assert [queue.take(0.0).data for _ in range(5)] == packets[3:]


def test_what_is_too_much_is_counted_by_segments():
    drops = Drops()
    queue = SendQueue(drops, limit=15 * SIZE)
    queue.push(super_packet(10, flow=1))
    queue.push(super_packet(8, flow=2))
    assert drops["queue_full"] == 10
    assert (len(queue), queue.bytes) == (8, 8 * SIZE)


@pytest.fixture
def log():
    """Two datagrams of their own, and behind each of them a train of ten."""
    log = SentLog()
    for first in (0, 20):
        train = super_packet(10).take_train(10)
        train.lane, train.sequence = 1, first
        log.add_train(SentTrain(1.0, SIZE, first, train), first, 10)
        log.next_number = first + 10
    return log


def test_a_train_is_in_flight_and_acknowledged_datagram_by_datagram(log):
    assert (len(log), log.in_flight) == (20, 20 * SIZE)
    acked = log.acknowledge(4, [(0, 4)])
    assert [sent.size for sent in acked.newly] == [SIZE] * 5
    assert acked.largest.time == 1.0
    assert (len(log), log.in_flight, log.acked_count) == (15, 15 * SIZE, 5)


def test_of_a_train_only_what_is_lost_is_lost(log):
    log.acknowledge(9, [(0, PACKET_THRESHOLD - 1), (PACKET_THRESHOLD + 1, 9)])
    lost = log.detect_lost(10.0, 1.1)
    assert [[packet.sequence for packet in sent.packets] for sent in lost] == [
        [9 - PACKET_THRESHOLD]
    ]
    assert [packet.flights for packet in lost[0].packets] == [1]
    log.acknowledge(9, [(0, 9)])
    assert lost[0].packets[0].done
    assert log.spurious_count == 1


def test_what_is_held_of_a_train_stands_for_itself_from_then_on(log):
    held = list(log.held())
    assert [packet.sequence for sent in held for packet in sent.packets] == [
        *range(10),
        *range(20, 30),
    ]
    assert log.acknowledge(0, [(0, 0)]).newly == held[:1]


def test_a_refused_datagram_of_a_train_comes_back_alone(log):
    sent = log.refuse(21)
    assert [packet.sequence for packet in sent.packets] == [21]
    assert log.refuse(21) is None
    assert (len(log), log.in_flight) == (19, 19 * SIZE)


def test_runs_are_what_follows_each_other_in_send_order_and_lane():
    flags = SEGMENT
    payloads = [lone_data(flags, 5, 7 + at, 100 + at) + b"x%d" % at for at in range(3)]
    payloads += [lone_data(flags, 5, 11, 103) + b"y", lone_data(flags, 5, 12, 105) + b"z"]
    payloads += [lone_data(0, 5, 13, 106) + b"w"]
    assert all(is_lone_data(payload) for payload in payloads)
    runs = lone_runs(payloads)
    assert [(run.flags, run.order, run.lane, run.sequence) for run in runs] == [
        (flags, 100, 5, 7),
        (flags, 103, 5, 11),
        (flags, 105, 5, 12),
        (0, 106, 5, 13),
    ]
    assert [run.packets for run in runs] == [[b"x0", b"x1", b"x2"], [b"y"], [b"z"], [b"w"]]


@pytest.mark.parametrize(
    "payload",
    [
        lone_data(0, 5, 7, 1),  # nothing in it
        lone_data(0x40, 5, 7, 1) + b"x",  # it has a length: more may follow
        lone_data(0x02, 5, 7, 1) + b"x",  # half a packet
        bytes((DATA - 1,)) + b"xxxxxxxxxxx",
    ],
)
def test_what_is_not_one_whole_packet_is_none(payload):
    assert not is_lone_data(payload)


def test_a_run_that_a_lane_waits_for_is_delivered_at_once_and_known_as_seen():
    stats = OrderStats()
    lanes = Lanes(stats)
    lanes.insert(1, 0, b"0", order=1, ordered=True, now=0.0)
    assert lanes.insert_run(1, 1, [b"1", b"2", b"3"], order=2, now=0.0)
    assert lanes.delivered == [b"0", b"1", b"2", b"3"]
    lanes.insert(1, 2, b"2", order=2, ordered=True, now=0.0)
    assert stats.duplicate == 1
    lanes.insert(1, 4, b"4", order=5, ordered=True, now=0.0)
    assert lanes.delivered == [b"0", b"1", b"2", b"3", b"4"]
    assert not lanes.has_gaps


def test_a_run_beyond_a_gap_waits_for_the_one_that_closes_it():
    lanes = Lanes(OrderStats())
    lanes.insert(1, 0, b"0", order=1, ordered=True, now=0.0)
    assert lanes.insert_run(1, 3, [b"3", b"4"], order=3, now=0.0)
    assert lanes.delivered == [b"0"]
    assert lanes.next_timeout(0.5) == 0.5
    assert lanes.insert_run(1, 1, [b"1", b"2"], order=2, now=0.1)
    assert lanes.delivered == [b"0", b"1", b"2", b"3", b"4"]
    assert (lanes.held_bytes, lanes.has_gaps) == (0, False)


def test_no_run_is_taken_of_which_some_has_come():
    lanes = Lanes(OrderStats())
    assert not lanes.insert_run(1, 0, [b"0"], order=1, now=0.0)  # the lane has not begun
    lanes.insert(1, 0, b"0", order=1, ordered=True, now=0.0)
    assert not lanes.insert_run(1, 0, [b"0", b"1"], order=1, now=0.0)
    lanes.insert(1, 3, b"3", order=3, ordered=True, now=0.0)
    assert not lanes.insert_run(1, 2, [b"2", b"3"], order=2, now=0.0)
    assert not lanes.insert_run(1, 1, [b"1", b"2", b"3"], order=2, now=0.0)
    assert lanes.delivered == [b"0"]


def test_runs_within_a_gap_wait_as_they_came_and_leave_in_order():
    stats = OrderStats()
    lanes = Lanes(stats)
    lanes.insert(1, 0, b"0", order=1, ordered=True, now=0.0)
    for first in (7, 3, 5):  # the last is between what has come, and closes no gap
        run = [b"%d" % first, b"%d" % (first + 1)]
        assert lanes.insert_run(1, first, run, order=first, now=0.1)
    assert not lanes.insert_run(1, 4, [b"4", b"5"], order=4, now=0.1)
    assert (lanes.delivered, stats.held) == ([b"0"], 6)
    assert lanes.insert_run(1, 1, [b"1", b"2"], order=2, now=0.2)
    assert lanes.delivered == [b"%d" % number for number in range(9)]
    assert (lanes.held_bytes, lanes.has_gaps, stats.skipped) == (0, False, 0)


def test_what_is_found_missing_does_not_count_what_waits_as_a_run():
    stats = OrderStats()
    lanes = Lanes(stats)
    lanes.insert(1, 0, b"0", order=1, ordered=True, now=0.0)
    assert lanes.insert_run(1, 8, [b"8", b"9"], order=8, now=0.0)
    assert lanes.insert_run(1, 4, [b"4", b"5"], order=4, now=0.0)
    lanes.release_expired(0.1, 1.0)
    assert lanes.delivered == [b"0", b"4", b"5", b"8", b"9"]
    assert stats.skipped == 5


def test_a_lane_with_many_holes_forgets_the_oldest_and_delivers_no_copy():
    stats = OrderStats()
    lanes = Lanes(stats)
    for sequence in range(0, 4 * REMEMBERED_RANGES + 8, 2):
        lanes.insert(1, sequence, b"x", order=sequence, ordered=True, now=0.0)
        lanes.release_expired(0.0, 0.0)
    delivered = len(lanes.delivered)
    lanes.insert(1, 0, b"x", order=1, ordered=True, now=0.0)
    lanes.insert(1, sequence, b"x", order=1, ordered=True, now=0.0)
    assert (len(lanes.delivered), stats.duplicate) == (delivered, 2)
    lanes.insert(1, sequence - 1, b"x", order=1, ordered=True, now=0.0)
    assert len(lanes.delivered) == delivered + 1
