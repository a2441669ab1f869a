"""Samples of the delivery rate from the arrival curve."""

import pytest

from mpbond.core.delivery import Delivery


def curve(*points, span=0.05, start=0):
    """Feed (ms, bytes more, pauses, queued); returns what the last point gave."""
    delivery = Delivery()
    sample = None
    for time, more, pauses, queued in points:
        delivery.total += more
        sample = delivery.point((start + time * 1000) & 0xFFFFFFFF, pauses, queued, span)
    return sample


def test_the_rate_is_the_slope_over_at_least_the_span():
    points = [(10 * number, 5000, 0, True) for number in range(12)]
    assert curve(*points[:5]) is None
    assert curve(*points).rate == pytest.approx(500_000)


@pytest.mark.parametrize("start", [0, 0xFFFFFFFF - 40_000])
def test_the_receivers_clock_may_wrap(start):
    sample = curve(*[(10 * number, 5000, 0, True) for number in range(12)], start=start)
    assert sample.rate == pytest.approx(500_000)


def test_an_ack_that_was_overtaken_gives_no_sample():
    assert curve((0, 1, 0, True), (60, 9000, 0, True), (50, 9000, 0, True)) is None


def test_a_pause_between_the_ends_limits_a_sample_and_one_before_does_not():
    assert curve((0, 1, 0, True), (30, 9000, 1, True), (60, 9000, 1, True)).limited
    assert not curve((0, 1, 1, True), (30, 9000, 1, True), (60, 9000, 1, True)).limited


def test_a_sample_is_saturated_when_a_queue_stood_all_through_it():
    assert curve((0, 1, 0, True), (30, 9000, 1, True), (60, 9000, 1, True)).saturated
    assert not curve((0, 1, 0, True), (30, 9000, 1, False), (60, 9000, 1, True)).saturated


def test_a_sample_tells_how_long_it_was_measured():
    assert curve((0, 1, 0, True), (30, 9000, 0, True), (60, 9000, 0, True)).span == 0.06
    assert curve((0, 1, 0, True), (500, 9000, 1, True)).span == 0.5


def test_once_round_the_clock_a_new_curve_begins():
    delivery = Delivery()
    for time in (0, 2**32 - 100_000, 2**32 - 40_000):
        delivery.total += 9000
        sample = delivery.point(time, 0, True, 0.05)
    assert sample.rate == pytest.approx(150_000)
    for time, rate in ((10_000, None), (70_000, 150_000)):
        delivery.total += 9000
        sample = delivery.point(time, 0, True, 0.05)
        assert (sample and sample.rate) == (rate and pytest.approx(rate))


def test_a_few_bytes_give_no_sample():
    assert curve((0, 1, 0, True), (60, 100, 0, True)) is None
