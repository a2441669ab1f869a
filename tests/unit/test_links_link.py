"""What becomes of packets on a link, by exact numbers."""

import itertools

import pytest

from bench.links.link import Link
from bench.links.shape import (
    Background,
    Constant,
    GilbertElliott,
    Mask,
    Outages,
    Policer,
    Profile,
    RandomLoss,
    Shape,
    ShapeError,
    Step,
    Trace,
)

MS = 1_000_000
SECOND = 1_000_000_000


def link(seed=1, mtu=9000, **shape):
    """A link of 8 Mbit/s, which is a byte by microsecond, without delay and with endless queue."""
    defaults = {"rate": Constant(8e6), "delay": 0.0, "queue": None}
    return Link(Shape(**{**defaults, **shape}), seed, mtu)


def times(one, packets):
    """When each of (time, size) arrives, in ms; None for one that does not."""
    arrivals = [one.transmit(size, round(time * MS)) for time, size in packets]
    return [arrived[0].time / MS if arrived else None for arrived in arrivals]


def test_a_packet_takes_its_transmission_and_the_delay():
    assert times(link(delay=0.010), [(5, 1000)]) == [16.0]


def test_packets_wait_for_those_before_them():
    assert times(link(), [(0, 1000), (0, 500), (0.2, 1000), (9, 1000)]) == [1.0, 1.5, 2.5, 10.0]


def test_a_transmission_is_rounded_up_to_whole_nanoseconds():
    assert link(rate=Constant(3e9)).transmit(1, 0)[0].time == 3


def test_a_queue_of_seconds_lets_in_what_waits_no_longer():
    one = link(queue=0.002)
    assert times(one, [(0, 1000), (0, 1000), (0, 1), (0.5, 500)]) == [1.0, 2.0, None, 2.5]
    assert one.ledger.full == 1


def test_a_packet_finds_room_when_it_is_alone_however_short_the_queue():
    assert times(link(queue=0.0001, queue_bytes=10), [(0, 1500), (0, 1), (1.5, 1500)]) == [
        1.5,
        None,
        3.0,
    ]


def test_a_queue_of_bytes_counts_what_is_being_transmitted_until_it_has_passed():
    one = link(queue_bytes=2000)
    packets = [(0, 1000), (0, 1000), (0.999, 1), (1, 1000), (1, 1)]
    assert times(one, packets) == [1.0, 2.0, None, 3.0, None]


def test_with_both_limits_the_queue_keeps_to_the_tighter_one():
    by_time = link(queue=0.0015, queue_bytes=10_000)
    assert times(by_time, [(0, 1000), (0, 1000), (0, 500)]) == [1.0, None, 1.5]
    by_bytes = link(queue=1.0, queue_bytes=1500)
    assert times(by_bytes, [(0, 1000), (0, 1000), (0, 500)]) == [1.0, None, 1.5]


def test_what_the_limit_of_time_refuses_takes_no_bytes_of_the_queue():
    one = link(queue=0.0015, queue_bytes=1500)
    assert times(one, [(0, 1000), (0, 501), (0, 500)]) == [1.0, None, 1.5]


def test_a_packet_half_sent_goes_on_at_the_next_rate():
    steps = Profile((Step(0, 8e6), Step(0.001, 4e6)))
    assert times(link(rate=steps), [(0.5, 1000), (3, 1000)]) == [2.0, 5.0]


def test_nothing_passes_while_the_rate_is_zero():
    steps = Profile((Step(0, 0), Step(0.010, 8e6)), period=0.020)
    packets = [(0, 1000), (19.5, 1000), (20, 1000)]
    assert times(link(rate=steps), packets) == [11.0, 30.5, 31.5]


def test_a_profile_repeats_from_its_offset():
    steps = Profile((Step(0, 8e6), Step(0.010, 4e6)), period=0.020, offset=0.005)
    packets = [(0, 1000), (4, 1000), (5, 1000), (15, 1000), (25, 1000), (35, 1000)]
    assert times(link(rate=steps), packets) == [1.0, 5.0, 7.0, 16.0, 27.0, 36.0]


def test_a_step_adds_delay_to_what_passes_within_it_and_order_holds_when_it_ends():
    steps = Profile((Step(0, 8e6, delay=0.005), Step(0.010, 8e6)))
    packets = [(0, 1000), (8.9, 1000), (9.5, 1000), (13.5, 1000), (14.5, 1000)]
    assert times(link(rate=steps), packets) == [6.0, 14.9, 14.9, 14.9, 15.5]


def test_a_step_loses_only_what_passes_within_it():
    steps = Profile((Step(0, 8e6, loss=1.0), Step(0.010, 8e6)))
    one = link(rate=steps)
    assert times(one, [(0, 1000), (8.5, 1000), (9.1, 1000)]) == [None, None, 10.5]
    assert one.ledger.lost == 2


def test_a_recording_passes_1504_bytes_at_each_of_its_times():
    one = link(rate=Trace((0, 5, 5, 10)))
    assert times(one, [(0, 1504), (0, 1504), (0, 1504), (0, 1)]) == [0, 5, 5, 10]


def test_small_packets_share_an_opportunity_and_large_ones_take_several():
    assert times(link(rate=Trace((5, 10, 20))), [(0, 1000), (0, 504), (0, 1)]) == [5, 5, 10]
    assert times(link(rate=Trace((5, 10, 20))), [(0, 3009), (0, 1)]) == [20, 20]


def test_an_opportunity_that_nobody_used_is_gone():
    one = link(rate=Trace((1, 2, 3, 100)))
    assert times(one, [(2, 1504), (2, 1504), (2.000001, 1504), (50, 1)]) == [2, 3, 100, 101]


def test_a_recording_repeats_from_its_end():
    one = link(rate=Trace((0, 4, 10)))
    packets = [(10, 1504), (10, 1504), (10, 1504), (20, 1504), (20, 1504), (20, 1504)]
    assert times(one, packets) == [10, 10, 14, 20, 20, 24]
    assert times(link(rate=Trace((0, 4, 10))), [(10.001, 1)]) == [14]


def test_a_recording_begins_at_its_offset():
    assert times(link(rate=Trace((1, 4, 10), offset=0.003)), [(0, 1504)] * 5) == [1, 7, 8, 11, 17]
    assert times(link(rate=Trace((1, 4, 10), offset=0.0035)), [(0, 1504)]) == [0.5]
    assert times(link(rate=Trace((1, 4, 10), offset=0.024)), [(0, 1504)] * 2) == [0, 6]


def test_a_recording_may_be_scaled():
    assert times(link(rate=Trace((1, 2, 3), scale=2)), [(0, 1504)] * 3) == [1, 1, 2]


def test_jitter_in_order_is_drawn_anew_every_10_ms_and_lets_nothing_overtake():
    one = link(rate=Constant(8e9), delay=0.020, jitter=0.010, seed=3)
    delays = [
        arrival - sent
        for sent, arrival in zip(
            range(100), times(one, [(sent, 1000) for sent in range(100)]), strict=True
        )
    ]
    assert all(10 <= delay <= 30.001 for delay in delays)
    arrivals = [sent + delay for sent, delay in enumerate(delays)]
    assert arrivals == sorted(arrivals)
    drawn = {round(delay, 6) for delay in delays}
    assert 3 < len(drawn) < 60  # shared by some packets; falling ones are held to those before them


def test_jitter_that_reorders_gives_each_packet_a_delay_of_its_own():
    one = link(rate=Constant(8e9), delay=0.020, jitter=0.010, reorder=True, seed=3)
    arrivals = times(one, [(sent / 10, 1000) for sent in range(100)])
    assert arrivals != sorted(arrivals)
    assert len(set(arrivals)) == 100
    assert all(10 <= time - sent / 10 <= 30.001 for sent, time in enumerate(arrivals))


def test_jitter_longer_than_the_delay_lets_nothing_arrive_before_it_has_passed():
    one = link(rate=Constant(8e9), delay=0.001, jitter=0.050, reorder=True)
    arrivals = times(one, [(sent, 1000) for sent in range(100)])
    assert all(time >= sent + 0.001 for sent, time in enumerate(arrivals))


def test_a_mask_loses_exactly_its_packets_behind_the_bottleneck():
    one = link(loss=Mask(frozenset({1, 2}), period=5))
    lost = [time is None for time in times(one, [(0, 1000)] * 12)]
    assert lost == [number % 5 in (1, 2) for number in range(12)]
    assert one.ledger.used[0] == 12_000
    assert one.ledger.carried == 12_000 - 1000 * one.ledger.lost


def test_a_mask_does_not_count_what_the_queue_dropped():
    one = link(loss=Mask(frozenset({1})), queue_bytes=1000)
    assert times(one, [(0, 1000), (0, 1000), (1, 1000), (2, 1000)]) == [1.0, None, None, 3.0]
    assert (one.ledger.full, one.ledger.lost) == (1, 1)


def test_random_loss_comes_near_its_probability():
    one = link(loss=RandomLoss(0.03), seed=7)
    for number in range(20_000):
        one.transmit(1000, number * MS)
    assert one.ledger.lost / 20_000 == pytest.approx(0.03, abs=0.004)


def test_loss_in_bursts_has_the_mean_and_the_length_of_its_chain():
    loss = GilbertElliott(to_bad=0.01, to_good=0.25)
    one = link(loss=loss, seed=7)
    lost = [not one.transmit(1000, number * MS) for number in range(50_000)]
    bursts = sum(b and not a for a, b in zip([False, *lost], lost, strict=False))
    assert loss.mean == pytest.approx(0.0385, abs=0.0001)
    assert sum(lost) / len(lost) == pytest.approx(loss.mean, abs=0.004)
    assert sum(lost) / bursts == pytest.approx(4.0, abs=0.4)


def test_a_policer_drops_what_exceeds_its_rate_by_more_than_its_burst():
    one = link(rate=Constant(8e9), policer=Policer(8e6, 3000))
    packets = [(0, 1500), (0, 1500), (0, 1), (0.999, 1000), (1, 1000), (1, 1)]
    passed = [time is not None for time in times(one, packets)]
    assert passed == [True, True, False, False, True, False]
    assert one.ledger.policed == 3


def test_a_policer_saves_up_no_more_than_its_burst():
    one = link(rate=Constant(8e9), policer=Policer(8e6, 1500))
    assert [time is not None for time in times(one, [(5000, 1500), (5000, 1)])] == [True, False]


def test_what_is_policed_takes_no_time_of_the_bottleneck():
    assert times(link(policer=Policer(8e3, 1500)), [(0, 1500), (0, 1500), (1500, 1500)]) == [
        1.5,
        None,
        1501.5,
    ]


def test_an_outage_swallows_what_comes_and_what_leaves_within_it():
    one = link(outages=Outages(((0.010, 0.020),), period=0.100))
    packets = [(8.999, 1000), (9.5, 1000), (10, 1000), (19.999, 1000), (20, 1000), (111, 1)]
    assert times(one, packets) == [9.999, None, None, None, 21.0, None]
    assert one.ledger.swallowed == 4


def test_an_outage_without_a_period_happens_once():
    one = link(outages=Outages(((0.010, 0.020), (0.030, 0.040))))
    assert times(one, [(15, 1000), (35, 1000), (115, 1000)]) == [None, None, 116.0]


def test_a_link_that_is_down_swallows_everything():
    one = link()
    one.up = False
    assert times(one, [(0, 1000)]) == [None]
    one.up = True
    assert times(one, [(1, 1000)]) == [2.0]
    assert one.ledger.swallowed == 1


def test_a_packet_above_the_mtu_does_not_pass():
    one = link(mtu=1000)
    assert times(one, [(0, 1001), (0, 1000)]) == [None, 1.0]
    assert one.ledger.oversize == 1


def test_a_duplicate_arrives_right_behind_its_packet():
    one = link(duplicate=1.0)
    first, second = one.transmit(1000, 0)
    assert first == second
    assert (one.ledger.duplicated, one.ledger.carried) == (1, 1000)


def test_a_corrupted_packet_has_one_bit_of_it_named():
    one = link(corrupt=1.0)
    bits = {one.transmit(20, number * MS)[0].damage for number in range(3000)}
    assert bits == set(range(160))
    assert link().transmit(20, 0)[0].damage == -1


def test_other_peoples_packets_take_their_place_in_the_queue():
    one = link(background=Background(rate=4e6, size=1000))  # one at 0, 2, 4, … ms
    assert times(one, [(0, 1000), (2, 1000), (3.5, 500)]) == [2.0, 4.0, 4.5]
    assert (one.ledger.foreign, one.ledger.used) == ([2000], [2500])


def test_other_people_come_and_go():
    one = link(background=Background(rate=4e6, size=1000, on=1.0, off=1.0))
    one.advance(60 * SECOND)
    busy = [count > 0 for count in one.ledger.foreign]
    assert busy[0]
    changes = sum(a != b for a, b in itertools.pairwise(busy))
    assert 30 <= changes <= 100
    assert sum(busy) / len(busy) == pytest.approx(0.5, abs=0.15)


def test_an_outage_swallows_other_peoples_packets_too():
    one = link(
        background=Background(rate=4e6, size=1000), outages=Outages(((0.1, 0.2),), period=0.3)
    )
    one.advance(SECOND // 2 - 1)
    assert one.ledger.foreign == [50_000, 0, 50_000, 50_000]


def test_a_change_holds_for_the_packets_to_come():
    one = link()
    before = one.transmit(1000, 0)[0].time
    one.change(rate=4e6, delay=0.010)
    assert before == 1 * MS
    assert one.transmit(1000, 0)[0].time == 13 * MS
    one.change(loss=1.0)
    assert one.transmit(1000, 0) == ()
    one.change(loss=0.0, duplicate=1.0)
    assert len(one.transmit(1000, 0)) == 2


def test_only_a_constant_rate_can_be_changed():
    with pytest.raises(ValueError, match="constant rate"):
        link(rate=Trace((1, 2))).change(rate=1e6)


def test_the_ledger_books_bytes_and_waits_when_they_have_passed():
    one = link(rate=Constant(8e5))  # a byte takes 10 us
    times(one, [(90, 1000), (90, 500), (90, 1500)])
    assert one.ledger.used == [0, 3000]
    assert one.ledger.longest == [0, 30 * MS]
    assert one.ledger.waits == {10: 1, 15: 1, 30: 1}
    assert [one.ledger.wait_quantile(share) for share in (0.0, 0.3, 0.5, 1.0)] == [
        0.011,
        0.011,
        0.016,
        0.031,
    ]


def test_a_ledger_without_packets_has_no_waits():
    assert link().ledger.wait_quantile(0.5) == 0.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(0), "at least 1 bit/s"),
        (lambda: Profile(()), "begin at time 0"),
        (lambda: Profile((Step(1, 1e6),)), "begin at time 0"),
        (lambda: Profile((Step(0, 1e6), Step(1, 0))), "last step"),
        (lambda: Profile((Step(0, 1e6), Step(1, 0)), period=1.0), "period of a profile"),
        (lambda: Profile((Step(0, 0),), period=1.0), "above 0 in some step"),
        (lambda: Profile((Step(0, 1e6),), offset=1.0), "needs a period"),
        (lambda: Step(0, 1e6, loss=1.5), "probability"),
        (lambda: Trace(()), "has opportunities"),
        (lambda: Trace((0, 0)), "after 0 ms"),
        (lambda: Trace((2, 1)), "never fall"),
        (lambda: Trace((1,), scale=0), "scale"),
        (lambda: RandomLoss(2), "probability"),
        (lambda: GilbertElliott(to_bad=0.1, to_good=-1), "to_good"),
        (lambda: Mask(frozenset({-1})), "from 0"),
        (lambda: Mask(frozenset({3}), period=3), "period of a mask"),
        (lambda: Policer(1e6, 100), "policer"),
        (lambda: Background(0), "rate"),
        (lambda: Background(1e6, on=1.0), "both|or neither"),
        (lambda: Background(1e6, on=1.0, off=1e-9), "1 ms"),
        (lambda: Outages(((2.0, 1.0),)), "apart and rising"),
        (lambda: Outages(((0.0, 1.0), (1.0, 2.0))), "apart and rising"),
        (lambda: Outages(((0.0, 2.0),), period=1.0), "period of outages"),
        (lambda: Shape(delay=-1), "not negative"),
        (lambda: Shape(queue=0), "more than 0 s"),
        (lambda: Shape(queue_bytes=0), "at least 1 byte"),
        (lambda: Shape(corrupt=2), "corrupt"),
    ],
)
def test_a_shape_that_cannot_be_says_what_would_be_right(make, message):
    with pytest.raises(ShapeError, match=message):
        make()
