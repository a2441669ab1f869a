"""What a direction of a link could have carried."""

import pytest

from bench.links.capacity import capacity, mean_rate, timeline
from bench.links.ledger import Ledger
from bench.links.link import Link
from bench.links.shape import (
    Background,
    Constant,
    Outages,
    Policer,
    Profile,
    RandomLoss,
    Shape,
    Step,
    Trace,
)

SECOND = 1_000_000_000


def between(start, end, ledger=None, **shape):
    """The capacity of a shape of 8 Mbit/s from `start` to `end` (s)."""
    made = Shape(**{"rate": Constant(8e6), **shape})
    return capacity(made, ledger or Ledger(), round(start * SECOND), round(end * SECOND))


def test_a_constant_rate_offers_rate_times_time():
    assert between(1, 3.5) == 2_500_000
    assert between(1, 1) == 0


def test_a_profile_offers_the_sum_of_its_steps():
    steps = Profile((Step(0, 8e6), Step(1, 0), Step(2, 4e6)), period=4.0, offset=0.5)
    assert between(0, 4, rate=steps) == 2_000_000
    assert between(0.25, 2, rate=steps) == 500_000
    assert between(8, 12, rate=steps) == 2_000_000


def test_a_recording_offers_its_opportunities_from_the_start_until_before_the_end():
    recording = Trace((0, 4, 10))
    assert between(0, 0.004, rate=recording) == 1504
    assert between(0, 0.010, rate=recording) == 2 * 1504
    assert between(0.010, 0.020, rate=recording) == 3 * 1504
    assert between(0.020, 0.0200001, rate=recording) == 2 * 1504
    assert between(0, 10, rate=Trace((0, 4, 10), offset=0.003, scale=2)) == 3000 * 3008


def test_what_is_lost_behind_the_bottleneck_counts():
    assert between(0, 1, loss=RandomLoss(0.5)) == 1_000_000


def test_outages_offer_nothing():
    once = Outages(((0.5, 1.0), (2.0, 3.0)))
    assert between(0, 4, outages=once) == 2_500_000
    assert between(0.75, 2.5, outages=once) == 1_000_000
    assert between(2.1, 2.9, outages=once) == 0
    again = Outages(((0.0, 0.1),), period=1.0)
    assert between(0, 10, outages=again) == 9_000_000
    assert between(3.05, 4.05, outages=again) == 900_000


def test_a_policer_offers_no_more_than_its_rate():
    assert between(0, 2, policer=Policer(4e6, 3000)) == 1_000_000
    assert between(0, 2, policer=Policer(9e6, 3000)) == 2_000_000
    out = Outages(((0.0, 1.0),))
    assert between(0, 2, policer=Policer(4e6, 3000), outages=out) == 500_000


def test_what_other_people_took_is_not_offered():
    ledger = Ledger(foreign=[1000, 2000, 4000])
    assert between(0, 0.3, ledger) == 300_000 - 7000
    assert between(0.1, 0.2, ledger) == 100_000 - 2000
    assert between(0.1, 9, ledger) == 8_900_000 - 6000


def test_other_people_and_a_policer_do_not_take_the_same_bytes_twice():
    ledger = Ledger(foreign=[40_000])
    assert between(0, 0.1, ledger, policer=Policer(4e6, 3000)) == 50_000


def test_a_link_knows_its_capacity_and_what_it_was_changed_to():
    link = Link(Shape(rate=Constant(8e6), background=Background(4e6, size=1000)))
    link.advance(SECOND)
    assert link.capacity(0, SECOND) == 500_000
    link.change(rate=16e6)
    assert link.capacity(0, SECOND) == 1_500_000


def test_a_timeline_has_a_capacity_for_every_step():
    steps = Shape(rate=Profile((Step(0, 8e6), Step(0.15, 0)), period=0.25))
    assert timeline(steps, Ledger(), 0, 250_000_000) == [100_000, 50_000, 0]
    assert timeline(steps, Ledger(), 0, 250_000_000, 125_000_000) == [125_000, 25_000]


@pytest.mark.parametrize(
    ("shape", "rate"),
    [
        (Shape(rate=Constant(8e6)), 8e6),
        (Shape(rate=Profile((Step(0, 8e6), Step(1, 2e6)), period=3.0)), 4e6),
        (Shape(rate=Trace(tuple(range(1, 1001)))), 1504 * 8 * 1000),
        (Shape(rate=Constant(8e6), policer=Policer(5e6, 3000)), 5e6),
        (Shape(rate=Constant(8e6), outages=Outages(((0.0, 1.0),), period=4.0)), 6e6),
        (Shape(rate=Constant(8e6), background=Background(2e6)), 6e6),
        (Shape(rate=Constant(8e6), background=Background(2e6, on=1.0, off=3.0)), 7.5e6),
        (Shape(rate=Constant(1e6), background=Background(2e6)), 0.0),
    ],
)
def test_a_mean_rate_is_what_is_left_in_the_long_run(shape, rate):
    assert mean_rate(shape) == pytest.approx(rate, rel=1e-6)
