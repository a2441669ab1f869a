"""Counters, rates and the share of losses."""

import pytest

from mpbond.core.stats import HOLD_BOUNDS, LossMeter, Meter, OrderStats


def test_a_held_packet_is_counted_in_the_first_bucket_that_is_large_enough():
    stats = OrderStats()
    for seconds in (0.0, 0.001, 0.0011, 0.5, 0.501, 9.0):
        stats.note_hold(seconds)
    shown = stats.as_dict()["hold_seconds"]
    assert shown["le"] == list(HOLD_BOUNDS)
    assert shown["count"] == [2, 1, 0, 0, 0, 0, 0, 0, 1, 2]


def test_the_order_counters_are_shown_under_their_names():
    stats = OrderStats()
    stats.held, stats.late, stats.duplicate = 1, 2, 3
    stats.skipped, stats.overflow, stats.restarted = 4, 5, 6
    shown = stats.as_dict()
    del shown["hold_seconds"]
    assert shown == {
        "held": 1,
        "late": 2,
        "duplicate": 3,
        "skipped": 4,
        "overflow": 5,
        "restarted": 6,
    }


def test_a_rate_is_known_after_a_second_and_not_before():
    meter = Meter()
    assert meter.rate(10.0) == 0.0
    meter.add(1000)
    meter.add(250)
    assert meter.rate(10.999) == 0.0
    assert meter.rate(11.0) == 10_000.0
    assert (meter.count, meter.bytes) == (2, 1250)


def test_a_rate_is_kept_until_the_next_second_and_falls_to_zero_in_silence():
    meter = Meter()
    meter.rate(0.0)
    meter.add(2500)
    assert meter.rate(2.0) == 10_000.0
    meter.add(99_999)
    assert meter.rate(2.9) == 10_000.0
    assert meter.rate(4.0) == 99_999 * 8 / 2
    assert meter.rate(5.0) == 0.0


def test_without_anything_sent_nothing_is_lost():
    assert LossMeter().fraction(0, 0, 5.0) == 0.0


def test_the_share_of_losses_is_that_of_the_last_seconds():
    meter = LossMeter()
    meter.fraction(0, 0, 0.0)
    assert meter.fraction(75, 25, 1.0) == 0.25
    assert meter.fraction(75, 25, 1.9) == 0.25
    # five seconds later those count half, and a hundred new ones without loss count whole
    assert meter.fraction(175, 25, 6.0) == pytest.approx(12.5 / 150)


def test_losses_that_turn_out_not_to_be_are_taken_back():
    meter = LossMeter()
    meter.fraction(0, 0, 0.0)
    meter.fraction(90, 10, 1.0)
    assert meter.fraction(200, 0, 2.0) == 0.0
