"""How unsteady a path's queue is, and what follows."""

import pytest

from mpbond.core.spread import STEADY_TARGET, TARGET, Spread


def spread_of(*queues):
    spread = Spread()
    for turn in range(1000):
        spread.update(queues[turn % len(queues)])
    return spread


def test_a_steady_queue_is_aimed_at_with_little_and_an_unsteady_one_with_much():
    assert spread_of(0.008, 0.010).target == STEADY_TARGET
    assert spread_of(0.0, 0.030).target == pytest.approx(0.0275, abs=0.002)
    assert spread_of(0.0, 0.200).target == TARGET


def test_a_path_is_steady_or_not_and_not_at_first():
    assert not Spread().steady
    assert spread_of(0.008, 0.014).steady
    assert not spread_of(0.0, 0.030).steady


def test_one_sudden_queue_does_not_make_a_path_unsteady():
    spread = spread_of(0.008)
    for _ in range(10):
        spread.update(0.3)
    assert spread.steady


def test_after_a_pause_jitter_may_be_all_of_it():
    spread = spread_of(0.0, 0.020)
    assert spread.standing(True) > spread.standing(False) > 0.010
