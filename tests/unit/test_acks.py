"""What has been received on a path, and when to say so."""

import pytest

from mpbond.core.acks import AckTimer, Received, ack_interval
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
    timer.on_eliciting(gap=False, interval=0.010, now=5.0)
    assert timer.due == 5.010
    timer.on_eliciting(gap=False, interval=0.010, now=5.004)
    assert timer.due == 5.004


def test_a_gap_is_reported_at_once():
    timer = AckTimer()
    timer.on_eliciting(gap=True, interval=0.010, now=5.0)
    assert timer.due == 5.0


def test_no_ack_leaves_sooner_than_an_interval_after_the_last():
    timer = AckTimer()
    timer.on_sent(5.0)
    assert timer.due is None
    for _ in range(5):
        timer.on_eliciting(gap=True, interval=0.010, now=5.003)
    assert timer.due == 5.010


def test_a_lone_datagram_is_not_put_off_by_later_ones():
    timer = AckTimer()
    timer.on_sent(5.0)
    timer.on_eliciting(gap=False, interval=0.040, now=5.0)
    timer.on_eliciting(gap=False, interval=0.040, now=5.039)
    assert timer.due == 5.040


def test_after_an_ack_counting_begins_anew():
    timer = AckTimer()
    timer.on_eliciting(gap=False, interval=0.010, now=5.0)
    timer.on_sent(5.010)
    timer.on_eliciting(gap=False, interval=0.010, now=6.0)
    assert timer.due == 6.010


@pytest.mark.parametrize(
    ("rtt", "interval"),
    [(0.001, 0.010), (0.040, 0.010), (0.044, 0.011), (0.200, 0.050), (0.204, 0.050), (3.0, 0.050)],
)
def test_the_interval_is_a_quarter_of_the_rtt_between_10_and_50_ms(rtt, interval):
    assert ack_interval(rtt) == pytest.approx(interval)


def got(*arrivals):
    received = Received()
    for number, time in arrivals:
        received.add(number, True, time)
    return received
