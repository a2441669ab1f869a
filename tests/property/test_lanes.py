"""Lanes agree with a lane that looks everything up anew, whatever comes in whichever order."""

from hypothesis import given
from hypothesis import strategies as st

from mpbond.core.lanes import PACKET_COST, Lanes
from mpbond.core.stats import OrderStats
from tests.oracles import NaiveLane

HOLD = 0.05
LANE = 9

arrivals = st.tuples(st.just("insert"), st.integers(0, 25), st.booleans())
steps = st.lists(
    st.one_of(
        arrivals,
        arrivals,
        arrivals,
        st.tuples(st.just("forward"), st.integers(0, 30), st.integers(0, 6)),
        st.tuples(st.just("wait"), st.sampled_from([0.001, 0.02, 0.049, 0.051])),
        st.tuples(st.just("frontier"), st.integers(0, 60)),
    ),
    max_size=60,
)


runs = st.tuples(st.just("run"), st.integers(0, 25), st.integers(1, 6))


@given(st.lists(st.one_of(runs, arrivals), max_size=40))
def test_a_run_is_what_its_packets_are_one_by_one(steps):
    by_run, singly = Lanes(OrderStats()), Lanes(OrderStats())
    for order, (name, first, more) in enumerate(steps):
        now = order / 1000
        if name == "insert":
            for lanes in (by_run, singly):
                insert(lanes, first, order=order, ordered=more, now=now)
        else:
            packets = [bytes((LANE, first + at)) for at in range(more)]
            if not by_run.insert_run(LANE, first, packets, order=order, now=now):
                for at in range(more):
                    insert(by_run, first + at, order=order, ordered=True, now=now)
            for at in range(more):
                insert(singly, first + at, order=order, ordered=True, now=now)
        assert numbers(by_run) == numbers(singly)
        assert by_run.held_bytes == singly.held_bytes
        assert by_run.next_timeout(HOLD) == singly.next_timeout(HOLD)
    for lanes in (by_run, singly):
        lanes.release_expired(HOLD, 1e9)
    assert numbers(by_run) == numbers(singly)


@given(steps)
def test_a_lane_delivers_what_the_naive_one_delivers_in_the_same_order(steps):
    lanes, naive = Lanes(OrderStats()), NaiveLane()
    now = 0.0
    for order, (name, *values) in enumerate(steps):
        if name == "insert":
            sequence, ordered = values
            insert(lanes, sequence, order=order, ordered=ordered, now=now)
            naive.insert(sequence, order=order, ordered=ordered, now=now)
        else:
            now = take_other(lanes, naive, name, values, now)
        assert numbers(lanes) == naive.delivered
        waiting = [held for held in naive.came if held not in naive.delivered]
        places = [
            seen for seen, ordered in naive.came.items() if not ordered and seen >= naive.next
        ]
        assert lanes.held_bytes == len(waiting) * (2 + PACKET_COST) + len(places) * PACKET_COST
    lanes.release_expired(HOLD, now + 1.0)
    assert sorted(numbers(lanes)) == sorted(naive.came)
    assert not lanes.has_gaps


@given(steps, st.lists(st.floats(0.0, 0.040), min_size=60, max_size=60))
def test_an_even_delay_changes_no_order_loses_nothing_and_is_never_longer_than_asked(steps, waits):
    """What the naive lane has delivered by then, delayed; late and repeated packets and all gaps included."""
    lanes, naive = Lanes(OrderStats()), NaiveLane()
    now, turns = 0.0, []
    for order, (name, *values) in enumerate(steps):
        if name == "insert":
            sequence, ordered = values[0], True
            due = now + waits[order]
            insert(lanes, sequence, order=order, ordered=ordered, now=now, due=due)
            naive.insert(sequence, order=order, ordered=ordered, now=now)
        else:
            now = take_other(lanes, naive, name, values, now)
        lanes.release_due(now)
        turns += [now] * (len(naive.delivered) - len(turns))
        come = numbers(lanes)
        assert come == naive.delivered[: len(come)]
        assert all(turn + max(waits) >= now for turn in turns[len(come) :])
        due = lanes.next_timeout(HOLD)
        assert (due is None) <= (len(come) == len(naive.delivered))
    lanes.release_due(now + max(waits))
    assert numbers(lanes) == naive.delivered


@given(st.permutations(range(40)), st.lists(st.integers(0, 39), max_size=20))
def test_without_losses_every_order_of_arrival_ends_in_the_order_of_sending(order, copies):
    lanes = Lanes(OrderStats())
    for at, sequence in enumerate(order):
        insert(lanes, sequence, order=at, ordered=True, now=0.0)
        for copy in copies:
            if copy in order[: at + 1]:
                insert(lanes, copy, order=at, ordered=True, now=0.0)
    assert numbers(lanes) == list(range(40))
    assert lanes.held_bytes == 0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200)), max_size=200),
    st.integers(1, 10),
)
def test_no_more_is_held_than_the_limit_and_nothing_is_lost_by_giving_up(arrivals, room):
    limit = room * (2 + PACKET_COST)
    stats = OrderStats()
    lanes = Lanes(stats, limit)
    came = set()
    for order, (lane, sequence) in enumerate(arrivals):
        packet = bytes((lane, sequence))
        lanes.insert(lane, sequence, packet, order=order, ordered=True, now=order / 1000)
        came.add(packet)
        assert lanes.held_bytes <= limit
    lanes.release_expired(HOLD, 99.0)
    assert sorted(lanes.delivered) == sorted(came)
    assert lanes.held_bytes == 0


@given(st.lists(st.tuples(st.integers(0, 60), st.floats(0, 0.03)), min_size=1, max_size=60))
def test_the_hold_of_a_gap_is_armed_once_at_the_first_packet_beyond_it(arrivals):
    lanes, naive = Lanes(OrderStats()), NaiveLane()
    now = 0.0
    for order, (sequence, pause) in enumerate(arrivals):
        now += pause
        insert(lanes, sequence, order=order, ordered=True, now=now)
        naive.insert(sequence, order=order, ordered=True, now=now)
        missing = [at for at in range(naive.next, max(naive.came)) if at not in naive.came]
        due = lanes.next_timeout(HOLD)
        if missing:
            assert due == naive.shown_by[missing[0]][0] + HOLD
        else:
            assert due is None


def insert(lanes, sequence, **how):
    lanes.insert(LANE, sequence, bytes((LANE, sequence)), **how)


def numbers(lanes):
    return [packet[1] for packet in lanes.delivered]


def take_other(lanes, naive, name, values, now):
    """Do with both lanes what is no arrival; return the time after it."""
    if name == "forward":
        lanes.forward(LANE, *values, now)
        naive.forward(*values)
    elif name == "frontier":
        lanes.release_proven(*values, now)
        naive.release_proven(*values)
    else:
        now += values[0]
        lanes.release_expired(HOLD, now)
        naive.release_expired(HOLD, now)
    return now
