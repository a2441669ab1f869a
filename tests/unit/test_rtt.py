"""Smoothed RTT, its variation, and the one-way delay between clocks that know nothing of each other."""

import pytest

from mpbond.core.rtt import INITIAL_RTT, OneWayDelay, RttEstimator


def test_before_the_first_sample_the_rtt_is_the_customary_third_of_a_second():
    rtt = RttEstimator()
    assert not rtt.has_sample
    assert (rtt.smoothed, rtt.variation, rtt.minimum) == (0.333, 0.333 / 2, INITIAL_RTT)


def test_the_first_sample_replaces_the_guess():
    rtt = RttEstimator()
    rtt.update(0.080, 0.0)
    assert rtt.has_sample
    assert (rtt.smoothed, rtt.variation, rtt.latest, rtt.minimum) == (0.080, 0.040, 0.080, 0.080)


def test_later_samples_move_the_mean_by_an_eighth_and_the_deviation_by_a_quarter():
    rtt = RttEstimator()
    rtt.update(0.080, 0.0)
    rtt.update(0.160, 0.1)
    assert rtt.variation == pytest.approx(0.040 * 3 / 4 + 0.080 / 4)
    assert rtt.smoothed == pytest.approx(0.080 * 7 / 8 + 0.160 / 8)
    assert rtt.latest == 0.160


def test_the_minimum_is_of_the_last_ten_seconds():
    rtt = RttEstimator()
    rtt.update(0.050, 0.0)
    rtt.update(0.090, 6.0)
    rtt.update(0.080, 10.0)
    assert rtt.minimum == 0.050
    rtt.update(0.095, 10.001)
    assert rtt.minimum == 0.080


def test_a_sample_below_zero_counts_as_a_microsecond():
    rtt = RttEstimator()
    rtt.update(-0.004, 0.0)
    assert rtt.smoothed == 1e-6


def test_without_a_sample_no_queue_is_seen():
    assert OneWayDelay().queueing == 0.0


@pytest.mark.parametrize("offset", [0, 1, 4_000_000_000, 0xFFFFFFFF, 123_456_789_012_345])
def test_queueing_is_what_comes_on_top_of_the_smallest_delay_whatever_the_peers_clock_says(offset):
    delay = OneWayDelay()
    for sent, transit in ((0.0, 30_000), (0.1, 80_000), (0.2, 20_000), (0.3, 45_000)):
        delay.update(sent, (offset + round(sent * 1e6) + transit) & 0xFFFFFFFF, sent + 0.05)
    assert delay.latest == pytest.approx(0.015)  # against the first one
    assert delay.queueing == pytest.approx(0.025)  # against the smallest


def test_the_clock_may_wrap_between_two_samples():
    delay = OneWayDelay()
    delay.update(10.0, 0xFFFFFFF0, 10.0)
    delay.update(10.1, (0xFFFFFFF0 + 100_000 + 7_000) & 0xFFFFFFFF, 10.1)
    assert delay.queueing == pytest.approx(0.007)


def test_a_smaller_delay_than_ever_is_no_queue():
    delay = OneWayDelay()
    delay.update(1.0, 500_000, 1.0)
    delay.update(2.0, 1_400_000, 2.0)
    assert delay.queueing == 0.0
    assert delay.latest == pytest.approx(-0.1)
