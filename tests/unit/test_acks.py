"""What has been received on a path, and when to say so."""

import pytest

from mpbond.core.acks import (
    TOO_LATE,
    AckTimer,
    Received,
    ack_interval,
    interval_for,
    is_overdue,
    return_paths,
)
from mpbond.core.path import Path, PathOptions
from mpbond.core.recovery import Sent
from mpbond.core.wire import MAXIMUM_RANGES, AckBlock


def test_a_path_that_received_nothing_has_nothing_to_report():
    assert Received().block(0, now=1.0) is None


def test_a_block_names_the_largest_when_it_came_and_what_lies_below_it():
    received = got((0, 1.0), (1, 1.1), (4, 1.2), (3, 1.3))
    assert received.block(7, now=1.25) == AckBlock(
        7, 4, 1_200_000, pytest.approx(0.05), ((0, 1), (3, 4))
    )


def test_a_gap_shows_when_a_number_is_left_out_and_when_one_comes_late():
    received = Received()
    shown = [received.add(number, True, 0.0) for number in (0, 1, 3, 2, 4)]
    assert shown == [False, False, True, True, False]


def test_what_an_acknowledged_ack_has_reported_is_not_repeated():
    received = got((0, 1.0), (1, 1.1), (2, 1.2))
    received.forget_reported(1)
    block = received.block(0, now=1.2)
    assert block is not None
    assert block.ranges == ((0, 0),)
    received.forget_reported(2)
    assert received.block(0, now=1.3) is None


def test_at_most_32_ranges_are_reported_the_newest():
    received = got(*[(2 * n, 1.0) for n in range(40)])
    block = received.block(0, now=1.0)
    assert block is not None
    assert len(block.ranges) == MAXIMUM_RANGES
    assert (block.largest, block.ranges[0], block.ranges[-1]) == (78, (0, 0), (62, 62))


def test_two_eliciting_datagrams_are_acknowledged_at_once():
    timer = AckTimer()
    timer.on_eliciting(urgent=False, interval=0.010, now=5.0)
    assert timer.due == 5.010
    timer.on_eliciting(urgent=False, interval=0.010, now=5.004)
    assert timer.due == 5.004


def test_a_gap_is_reported_at_once():
    timer = AckTimer()
    timer.on_eliciting(urgent=True, interval=0.010, now=5.0)
    assert timer.due == 5.0


def test_no_ack_leaves_sooner_than_an_interval_after_the_last():
    timer = AckTimer()
    timer.on_sent(5.0)
    assert timer.due is None
    for _ in range(5):
        timer.on_eliciting(urgent=True, interval=0.010, now=5.003)
    assert timer.due == 5.010


def test_a_lone_datagram_is_not_put_off_by_later_ones():
    timer = AckTimer()
    timer.on_sent(5.0)
    timer.on_eliciting(urgent=False, interval=0.040, now=5.0)
    timer.on_eliciting(urgent=False, interval=0.040, now=5.039)
    assert timer.due == 5.040


def test_after_an_ack_counting_begins_anew():
    timer = AckTimer()
    timer.on_eliciting(urgent=False, interval=0.010, now=5.0)
    timer.on_sent(5.010)
    timer.on_eliciting(urgent=False, interval=0.010, now=6.0)
    assert timer.due == 6.010


@pytest.mark.parametrize(
    ("rtt", "interval"),
    [(0.001, 0.010), (0.040, 0.010), (0.044, 0.011), (0.200, 0.050), (0.204, 0.050), (3.0, 0.050)],
)
def test_the_interval_is_a_quarter_of_the_rtt_between_10_and_50_ms(rtt, interval):
    assert ack_interval(rtt) == pytest.approx(interval)


@pytest.mark.parametrize(
    ("size", "rate", "interval"),
    [
        (300, 0.0, 0.010),  # nothing known of the return paths
        (300, 1e6, 0.015),
        (300, 1e9, 0.010),
        (300, 375_000.0, 0.040),
        (300, 62_500.0, 0.050),
    ],
)
def test_acks_take_a_fiftieth_of_what_the_return_paths_carry(size, rate, interval):
    assert ack_interval(0.020, size, rate) == pytest.approx(interval)


def test_six_slow_uplinks_get_acks_as_seldom_as_may_be():
    paths = [path_of(number, rtt=0.040) for number in range(6)]
    assert interval_for(paths, 1.0) < 0.015  # not known to be slow
    for path in paths:
        path.rate.rate, path.rate.learned = 62_500.0, True
    assert interval_for(paths, 1.0) > 0.045


@pytest.mark.parametrize(
    ("rtt", "interval"),
    [
        (0.100, 2 * (64 + 6 * 20) / (0.02 * 6 * 70_000)),
        (0.040, 0.0244),  # but more than one in a round trip
        (0.008, 0.010),
    ],
)
def test_uplinks_nobody_knows_are_taken_for_a_tenth_of_the_downlinks(rtt, interval):
    paths = [path_of(number, rtt=rtt) for number in range(6)]
    for path in paths:
        path.stats.received.rate(0.0)
        path.stats.received.add(700_000)
    assert interval_for(paths, 1.0) == pytest.approx(interval)


def test_the_quickest_path_gives_the_interval_and_one_not_measured_gives_none():
    paths = [path_of(0, rtt=0.200), path_of(1, rtt=0.100), path_of(2, rtt=None)]
    assert interval_for(paths, 1.0) == pytest.approx(0.025)
    assert interval_for([path_of(2, rtt=None)], 1.0) == 0.050


def test_an_ack_goes_out_on_the_two_quickest_paths():
    paths = [path_of(number, rtt=rtt) for number, rtt in enumerate((0.08, 0.02, 0.06, 0.04))]
    assert numbers_of(return_paths(paths, paths, 1.0)) == [1, 3]


def test_an_ack_that_would_come_far_too_late_is_not_sent_a_second_time():
    paths = [path_of(number, rtt=rtt) for number, rtt in enumerate((2 * TOO_LATE + 0.03, 0.02))]
    assert numbers_of(return_paths(paths, paths, 1.0)) == [1]
    assert numbers_of(return_paths(paths[:1], paths[:1], 1.0)) == [0]
    nearer = [paths[1], path_of(2, rtt=2 * TOO_LATE + 0.01)]
    assert numbers_of(return_paths(nearer, nearer, 1.0)) == [1, 2]


def test_a_return_path_whose_answer_is_overdue_gives_way_to_others_before_it_is_suspect():
    paths = [path_of(number, rtt=rtt) for number, rtt in enumerate((0.08, 0.02, 0.06, 0.04))]
    ask(paths[1], 1.0)
    assert numbers_of(return_paths(paths, paths, 1.030)) == [1, 3]
    assert numbers_of(return_paths(paths, paths, 1.050)) == [3, 2]
    assert 1.0 + paths[1].silence_limit > 1.050
    paths[1].sent.acknowledge(0, ((0, 0),))
    paths[1].on_answer(1.055)
    assert numbers_of(return_paths(paths, paths, 1.060)) == [1, 3]


def test_without_two_that_answer_a_doubtful_path_is_added_and_without_any_four():
    paths = [path_of(number, rtt=0.020) for number in range(6)]
    for path in paths[:5]:
        path.liveness.on_silence(1.0, 0.2)
    assert numbers_of(return_paths(paths[5:], paths, 1.0)) == [5, 0]
    paths[5].liveness.on_silence(1.0, 0.2)
    assert len(return_paths([paths[5]], paths, 1.0)) == 4


def test_a_path_without_its_link_or_with_an_unproven_address_returns_nothing():
    paths = [path_of(number, rtt=0.020) for number in range(3)]
    paths[0].usable = False
    paths[1].proven = False
    for path in paths[1:]:
        path.liveness.on_silence(1.0, 0.2)
    assert numbers_of(return_paths([], paths, 1.0)) == [2]


def test_an_expensive_path_that_is_no_candidate_returns_nothing_while_others_do():
    paths = [path_of(number, rtt=rtt) for number, rtt in enumerate((0.08, 0.06, 0.02))]
    assert numbers_of(return_paths(paths[:2], paths, 1.0)) == [1, 0]


def test_a_path_that_answers_slowly_but_steadily_is_not_overdue():
    path = path_of(0, rtt=0.020)
    for number in range(10):
        ask(path, 1.0 + number * 0.001)
    path.sent.acknowledge(3, ((0, 3),))
    path.on_answer(1.090)
    assert not is_overdue(path, 1.100)
    assert is_overdue(path, 1.130)


def path_of(number, *, rtt):
    """A path that is up and has settled."""
    path = Path(number, number, "there", PathOptions(), 0.0)
    path.liveness.start(0.0, "asking")
    path.on_answer(0.0)
    for _ in range(60 if rtt else 0):
        path.rtt.update(rtt, 0.0)
    return path


def ask(path, now):
    path.on_sent(path.sent.next_number, Sent(now, 80), 80, path.remote, now)
    path.sent.next_number += 1


def numbers_of(paths):
    return [path.id for path in paths]


def got(*arrivals):
    received = Received()
    for number, time in arrivals:
        received.add(number, True, time)
    return received
