"""Smoothed RTT and its variation."""

import pytest

from mpbond.core.rtt import INITIAL_RTT, RttEstimator


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
