"""The send queue."""

from collections import Counter

import pytest

from mpbond.core import queue as queues
from mpbond.core.codel import INTERVAL, SPARED, TARGET
from mpbond.core.packet import BULK, NORMAL, REALTIME, Packet
from mpbond.core.queue import MAXIMUM_FLOWS, MAXIMUM_PACKETS, QUANTUM, REALTIME_LIMIT, SendQueue
from mpbond.core.stats import Drops
from tests.packets import ipv4

FULL = 1500


def packet(flow, size=FULL, queued=0.0, kind=NORMAL, first=b""):
    return Packet(first + bytes(size - len(first)), flow, kind, queued)


def queue_of(*packets, limit=1 << 20):
    queue = SendQueue(Drops(), limit)
    for item in packets:
        queue.push(item)
    queue.begin()
    return queue


def take_all(queue, now=0.0):
    taken = []
    while (item := queue.take(now)) is not None:
        taken.append(item)
    return taken


def flows_of(packets):
    return [item.flow for item in packets]


# -- whose turn it is -----------------------------------------------------------------------------


def test_packets_of_a_flow_leave_in_the_order_they_came():
    sent = [packet(7) for _ in range(5)]
    queue = queue_of(*sent)
    assert (len(queue), queue.bytes, queue.flows) == (5, 5 * FULL, 1)
    assert take_all(queue) == sent
    assert (len(queue), queue.bytes, queue.flows) == (0, 0, 0)


def test_an_empty_queue_has_no_head_and_nothing_to_take():
    queue = queue_of()
    assert queue.head() is None
    assert queue.take(0.0) is None
    assert queue.take_realtime() is None
    assert (queue.backlog(), queue.delay(5.0)) == (0, 0.0)
    queue.pass_over()


def test_looking_at_the_head_changes_nothing():
    queue = queue_of(packet(1), packet(1), packet(2, 100))
    for _ in range(4):
        head = queue.head()
        assert queue.head() is head
        assert queue.take(0.0) is head


def test_flows_take_turns_byte_by_byte_not_packet_by_packet():
    queue = queue_of(*(packet(1, 1500) for _ in range(100)), *(packet(2, 300) for _ in range(500)))
    taken = [queue.take(0.0) for _ in range(240)]
    bytes_of = [sum(len(item.data) for item in taken if item.flow == flow) for flow in (1, 2)]
    assert abs(bytes_of[0] - bytes_of[1]) <= QUANTUM + FULL


def test_a_new_flow_goes_before_those_that_have_had_their_turn():
    queue = queue_of(*(packet(1) for _ in range(9)), *(packet(2) for _ in range(9)))
    assert flows_of(queue.take(0.0) for _ in range(6)) == [1, 1, 2, 2, 1, 2]
    queue.push(packet(3, 100))
    assert queue.head().flow == 3


def test_a_new_flow_that_goes_on_soon_takes_turns():
    queue = queue_of(*(packet(1) for _ in range(40)))
    for _ in range(4):
        queue.take(0.0)
    for _ in range(200):
        queue.push(packet(3, 200))
    taken = flows_of(queue.take(0.0) for _ in range(90))
    assert taken[:8] == [3] * 8
    assert taken.count(1) >= 90 * 200 / 1700 - 2


def test_a_flow_that_sends_a_little_every_round_is_new_every_time():
    queue = queue_of(*(packet(1) for _ in range(40)))
    for _ in range(3):
        queue.take(0.0)
    for _ in range(10):
        queue.push(packet(2, 200))
        assert queue.take(0.0).flow == 2
        assert [queue.take(0.0).flow for _ in range(3)] == [1, 1, 1]


def test_a_flow_does_not_become_new_by_letting_its_queue_run_empty():
    """Else it would get a fresh quantum for every packet."""
    queue = queue_of(*(packet(1) for _ in range(100)), packet(2))
    taken = []
    for _ in range(60):
        taken.append(queue.take(0.0).flow)
        if taken[-1] == 2:
            assert queue.head().flow == 1  # it is flow 1's turn now, come what may
            queue.push(packet(2))
    assert 28 <= taken.count(2) <= 32


def test_the_backlog_is_that_of_the_flow_of_the_head():
    queue = queue_of(packet(1, 700), packet(1, 800), packet(2, 100))
    assert (queue.head().flow, queue.backlog()) == (1, 1500)
    queue.pass_over()
    assert (queue.head().flow, queue.backlog()) == (2, 100)


# -- rounds ---------------------------------------------------------------------------------------


def test_a_bulk_flow_gets_an_eighth_of_a_normal_one_and_all_when_it_is_alone():
    both = [packet(1, kind=BULK) for _ in range(100)] + [packet(2) for _ in range(100)]
    queue = queue_of(*both)
    first = flows_of(queue.take(0.0) for _ in range(90))
    assert first[0] == 2
    assert 9 <= first.count(1) <= 11
    assert flows_of(take_all(queue_of(*both[:100]))) == [1] * 100


def test_a_flow_passed_over_waits_for_the_next_round():
    queue = queue_of(packet(1), packet(1), packet(2), packet(2))
    queue.pass_over()
    assert flows_of(take_all(queue)) == [2, 2]
    assert queue.head() is None
    assert (queue.flows, len(queue)) == (1, 2)
    queue.begin()
    assert flows_of(take_all(queue)) == [1, 1]


def test_flows_passed_over_keep_their_places():
    queue = queue_of(*(packet(flow) for flow in (1, 2, 3, 4)))
    queue.pass_over()
    queue.pass_over()
    assert queue.take(0.0).flow == 3
    queue.begin()
    assert flows_of(take_all(queue)) == [1, 2, 4]


def test_flows_that_are_new_no_more_keep_their_places_too():
    queue = queue_of(*(packet(flow, QUANTUM) for _ in range(3) for flow in (1, 2, 3, 4)))
    for _ in range(4):
        queue.take(0.0)
    queue.pass_over()
    queue.pass_over()
    assert queue.take(0.0).flow == 3
    queue.begin()
    assert flows_of(queue.take(0.0) for _ in range(5)) == [1, 2, 4, 1, 2]


def test_a_new_round_is_seen_by_who_has_looked_before():
    queue = queue_of(packet(1), packet(2))
    queue.pass_over()
    assert queue.head().flow == 2
    queue.begin()
    assert queue.head().flow == 1


def test_a_flow_passed_over_keeps_what_it_is_owed():
    queue = queue_of(packet(1, 400), packet(1, 400), packet(1, 1400), packet(2, 1000))
    assert queue.take(0.0).flow == 1
    queue.pass_over()
    queue.begin()
    assert flows_of(take_all(queue)) == [1, 1, 2]


def test_all_passed_over_means_no_head_though_more_arrives_for_them():
    queue = queue_of(packet(1), packet(2))
    queue.pass_over()
    queue.pass_over()
    queue.push(packet(1))
    assert queue.head() is None
    assert queue.take(0.0) is None
    queue.push(packet(3))
    assert queue.head().flow == 3


def test_clearing_forgets_everything_also_what_was_passed_over():
    queue = queue_of(packet(1), packet(2), packet(3, 100, kind=REALTIME))
    queue.pass_over()
    queue.clear()
    queue.begin()
    assert (len(queue), queue.bytes, queue.flows, queue.head()) == (0, 0, 0, None)
    assert queue.take_realtime() is None
    queue.push(packet(1))
    assert queue.take(0.0).flow == 1


# -- real-time ------------------------------------------------------------------------------------


def test_real_time_packets_stand_apart_in_the_order_they_came():
    voice = [packet(flow, 200, kind=REALTIME) for flow in (5, 6, 5)]
    queue = queue_of(packet(1), *voice)
    assert (len(queue), queue.bytes, queue.flows) == (4, FULL + 600, 1)
    assert list(queue.realtime) == voice
    assert [queue.take_realtime() for _ in voice] == voice
    assert (len(queue), queue.bytes) == (1, FULL)


def test_of_too_many_real_time_packets_the_oldest_go():
    voice = [packet(5, 1000, kind=REALTIME) for _ in range(70)]
    queue = queue_of(*voice)
    kept = REALTIME_LIMIT // 1000
    assert list(queue.realtime) == voice[-kept:]
    assert queue.bytes == kept * 1000
    assert queue._drops == {"realtime_full": 70 - kept}


# -- limits ---------------------------------------------------------------------------------------


def test_what_fills_the_queue_exactly_stays_and_one_byte_more_costs_a_packet():
    queue = queue_of(packet(1, 600), packet(1, 400), limit=1000)
    assert (len(queue), queue._drops) == (2, {})
    queue.push(packet(1, 1))
    assert (queue.bytes, queue._drops) == (401, {"queue_full": 1})


def test_the_flow_with_most_bytes_loses_its_oldest_packet():
    big = [packet(1, 1000) for _ in range(6)]
    small = [packet(2, 1000) for _ in range(4)]
    queue = queue_of(*big, *small, limit=10_000)
    for item in [packet(3, 500), packet(3, 500), packet(2, 1000)]:
        queue.push(item)
    left = take_all(queue)
    assert [item for item in left if item.flow == 1] == big[2:]
    assert flows_of(left).count(2) == 5
    assert queue._drops == {"queue_full": 2}


def test_flows_passed_over_lose_packets_as_well():
    queue = queue_of(packet(1, 1000), packet(2, 400), limit=2000)
    queue.pass_over()
    queue.push(packet(2, 800))
    assert queue._drops == {"queue_full": 1}
    queue.begin()
    assert flows_of(take_all(queue)) == [1, 2]


def test_a_flow_that_loses_its_only_packet_is_not_at_the_head():
    queue = queue_of(packet(1, 600), packet(2, 300), limit=1000)
    assert queue.head().flow == 1
    queue.push(packet(2, 200))
    assert queue.head().flow == 2
    assert (queue.flows, queue.backlog()) == (1, 500)


@pytest.fixture
def work(monkeypatch):
    """Counts what is done to the heap: an operation is 1, ordering all of it is its length."""
    done = Counter()

    def counted(function, cost):
        def call(heap, *item):
            done["heap"] += cost(heap)
            return function(heap, *item)

        return call

    for name in ("heappush", "heappop", "heapreplace"):
        monkeypatch.setattr(queues, name, counted(getattr(queues, name), lambda _: 1))
    monkeypatch.setattr(queues, "heapify", counted(queues.heapify, len))
    return done


def test_finding_the_longest_of_many_flows_that_grow_and_shrink_is_cheap(work):
    queue = SendQueue(Drops(), limit=2_000 * 100)
    pushes = 0
    for number in range(1, 40):
        for flow in range(1_000):
            for _ in range(1 + (flow * 7 + number) % 3):
                queue.push(packet(flow, 100))
                pushes += 1
                assert len(queue._ranked or ()) <= 2 * 1_000 + 65
        for _ in range(500):
            queue.take(0.0)
    assert queue._drops["queue_full"] > 30_000
    assert work["heap"] < 5 * pushes


def test_what_a_flow_left_in_the_heap_as_it_grew_is_looked_at_once(work):
    queue = queue_of(*(packet(flow, 100) for flow in range(1_000)))
    queue.limit = queue.bytes - 100
    queue.limit = 1 << 30
    for _ in range(900):
        queue.push(packet(2_000, 100))
    assert work["heap"] > 1_800
    for _ in range(500):
        queue.limit = queue.bytes - 100
    assert queue._drops == {"queue_full": 501}
    assert work["heap"] < 4_000


def test_a_packet_larger_than_the_limit_does_not_stay():
    queue = queue_of(packet(1, 1001), limit=1000)
    assert (len(queue), queue.bytes, queue.flows, queue.head()) == (0, 0, 0, None)
    queue.push(packet(1, 1001, kind=REALTIME))
    assert (len(queue), queue._drops) == (0, {"queue_full": 1, "realtime_full": 1})


def test_lowering_the_limit_drops_at_once():
    queue = queue_of(*(packet(1, 1000) for _ in range(10)), packet(2, 1000))
    queue.limit = 3000
    assert (queue.limit, queue.bytes) == (3000, 3000)
    assert flows_of(take_all(queue)) == [1, 1, 2]


def test_real_time_packets_go_last_when_the_limit_falls():
    queue = queue_of(packet(1, 1000), *(packet(2, 1000, kind=REALTIME) for _ in range(3)))
    queue.limit = 2000
    assert queue._drops == {"queue_full": 1, "realtime_full": 1}
    assert len(queue.realtime) == 2


def test_tiny_packets_are_bounded_by_number():
    queue = SendQueue(Drops(), limit=1 << 30)
    for number in range(MAXIMUM_PACKETS + 10):
        queue.push(packet(number % 100, 1))
    assert (len(queue), queue._drops) == (MAXIMUM_PACKETS, {"queue_full": 10})


def test_a_flood_of_flows_shares_queues_and_each_keeps_its_order():
    queue = SendQueue(Drops(), limit=1 << 30)
    for number in range(3):
        for flow in range(2 * MAXIMUM_FLOWS):
            queue.push(packet(flow, 40, first=b"%d" % number))
    assert len(queue._flows) <= MAXIMUM_FLOWS + queues.SHARED
    seen = {}
    for item in take_all(queue):
        seen.setdefault(item.flow, []).append(item.data[:1])
    assert len(seen) == 2 * MAXIMUM_FLOWS
    assert all(order == [b"0", b"1", b"2"] for order in seen.values())


def test_a_flow_that_shares_a_queue_stays_there_until_that_is_empty(monkeypatch):
    monkeypatch.setattr(queues, "MAXIMUM_FLOWS", 2)
    queue = queue_of(packet(1), packet(2), packet(3, first=b"a"))
    while queue.head().flow != 3:
        queue.take(0.0)
    monkeypatch.setattr(queues, "MAXIMUM_FLOWS", 10)
    queue.push(packet(3, first=b"b"))
    assert [item.data[:1] for item in take_all(queue)] == [b"a", b"b"]
    assert queue.flows == 0


def test_flows_that_are_gone_are_forgotten():
    queue = SendQueue(Drops())
    for flow in range(20_000):
        queue.push(packet(flow, 100))
        queue.take(0.0)
        assert queue.head() is None
    assert len(queue._flows) <= queues.IDLE_FLOWS


# -- sojourn --------------------------------------------------------------------------------------


def overload(queue, seconds, *, flow=1, data=None, arrive=0.001, leave=0.0011, start=0.0):
    """Push a packet each `arrive` seconds and take one each `leave`; return what was taken."""
    taken, arrivals, departures = [], 0, 0
    while departures * leave < seconds:
        if arrivals * arrive <= departures * leave:
            now = start + arrivals * arrive
            queue.push(Packet(data or bytes(FULL), flow, NORMAL, now))
            arrivals += 1
        else:
            queue.begin()
            item = queue.take(start + departures * leave)
            departures += 1
            if item is not None:
                taken.append(item)
    return taken


def test_a_flow_that_is_too_fast_for_long_loses_packets_and_no_other_does():
    queue = queue_of(limit=1 << 30)
    overload(queue, 3.0)
    assert queue._drops["codel"] > 0
    assert queue.marked == 0
    assert len(queue) + queue._drops["codel"] < 3.0 / 0.001


def test_a_queue_that_stands_below_the_target_costs_nothing():
    queue = queue_of(*(packet(1) for _ in range(90)), limit=1 << 30)
    overload(queue, 3.0, leave=0.001)
    assert (len(queue), queue._drops) == (90, {})


def test_nothing_is_dropped_while_it_may_not_and_then_not_before_an_interval():
    queue = queue_of(limit=1 << 30)
    queue.may_drop = False
    overload(queue, 6.0)
    assert queue.delay(6.0) > 2 * TARGET
    assert queue._drops == {}
    queue.may_drop = True
    overload(queue, INTERVAL - 0.01, start=6.0)
    assert queue._drops == {}
    overload(queue, 0.1, start=6.0 + INTERVAL - 0.01)
    assert queue._drops["codel"] > 0


def test_a_single_packet_in_time_gives_a_flow_another_interval():
    queue = queue_of(limit=1 << 30)
    queue.push(packet(1, queued=0.0))
    for number in range(1, 200):
        queue.push(packet(1, queued=0.55 if number == 40 else 0.0))
    for number in range(80):
        queue.take(0.2 + number * 0.01 * (INTERVAL / 0.5))
    assert queue._drops == {}


def test_packets_that_take_marks_are_marked_instead_of_dropped():
    queue = queue_of(limit=1 << 30)
    data = bytearray(ipv4(payload=bytes(1400)))
    data[1] = 2
    taken = overload(queue, 3.0, data=bytes(data))
    assert queue._drops == {}
    assert queue.marked == sum(item.data[1] == 3 for item in taken) > 3


def test_the_last_two_full_packets_of_a_flow_are_spared_however_long_they_wait():
    queue = queue_of()
    for number in range(40):
        while queue.bytes < SPARED:
            queue.push(packet(1, queued=number * 1.0))
        queue.take(number * 1.0 + 0.9)
    assert queue._drops == {}


def test_a_packet_dropped_costs_its_flow_nothing_of_its_turn():
    queue = queue_of(limit=1 << 30)
    for _ in range(60):
        queue.push(packet(1))
        queue.push(packet(2, queued=9.0))
    queue._flows[1].above = 1.0  # has been above target for long
    taken = flows_of(queue.take(9.0) for _ in range(8))
    assert queue._drops["codel"] == 1
    assert taken.count(1) == taken.count(2)


def test_the_delay_is_that_of_the_oldest_packet_wherever_it_waits():
    queue = queue_of(packet(1, queued=2.0), packet(2, queued=3.0))
    queue.pass_over()
    assert queue.delay(5.0) == 3.0
    queue.push(packet(3, kind=REALTIME, queued=1.0))
    assert queue.delay(5.0) == 4.0


def test_the_sojourn_of_what_is_taken_is_smoothed():
    queue = queue_of(*(packet(1, queued=1.0) for _ in range(200)))
    queue.may_drop = False
    for _ in range(100):
        queue.take(1.5)
    assert queue.sojourn == pytest.approx(0.5, rel=0.01)
    queue.take(1.0)
    assert 0.4 < queue.sojourn < 0.5
