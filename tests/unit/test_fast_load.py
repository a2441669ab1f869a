"""What generators on the wires say, and how the rate is found at which packets pass."""

import math

import pytest

from bench.fast import load
from bench.fast.load import ALLOWED, FACTOR, FIRST, LEAST, MOST


def streamed(offered, *, passes=math.inf, makes=math.inf, overrun=0):
    """A second of a stream through what lets so many packets pass, from what makes so many."""
    sent = round(min(offered, makes))
    came = round(min(sent, passes))
    return load.streamed(
        {"sent": sent, "refused": 0, "seconds": 1.0, "cpu": 0.25},
        {
            "received": came,
            "in_time": came,
            "bytes": 36 * came,
            "reordered": 0,
            "overrun": overrun,
            "cpu": 0.5,
        },
        offered,
        {"mpbond client": 0.75},
    )


def test_only_what_came_after_slow_start_counts():
    timeline = [1] * 15 + [100] * 20 + [7] * 3
    assert load.counted(timeline, 1.5, 2.0) == 2000


def test_a_transfer_that_ends_early_counts_what_came():
    assert load.counted([1] * 15 + [100] * 4, 1.5, 2.0) == 400


def test_a_stream_tells_what_was_lost_and_what_it_took():
    one = streamed(1000, passes=990)
    assert one.lost == pytest.approx(0.01)
    assert (one.came, one.generators, one.cpu) == (990, 0.75, {"mpbond client": 0.75})
    assert one.doubt is None


def test_of_a_stream_of_which_nothing_was_sent_all_is_lost():
    assert streamed(1000, makes=0).lost == 1.0


def test_copies_are_no_loss_below_zero():
    one = load.streamed(
        {"sent": 10, "seconds": 1.0, "cpu": 0},
        {"received": 12, "in_time": 12, "bytes": 1, "reordered": 0, "overrun": 0, "cpu": 0},
        10,
        {},
    )
    assert one.lost == 0


def test_a_generator_that_is_the_limit_itself_is_told():
    assert "sent 900/s, not 1,000/s" in streamed(1000, makes=900).doubt
    assert "too slow to read 2 datagrams" in streamed(1000, overrun=2).doubt


@pytest.mark.parametrize("capacity", [700, 8_000, 31_000, 410_000])
def test_a_climb_finds_what_passes(capacity):
    steps = load.climb(lambda rate: streamed(rate, passes=capacity))
    best = load.passed(steps)
    assert best.lost <= ALLOWED
    assert capacity / FACTOR ** (1 / 4) * 0.999 <= best.came <= capacity


def test_a_step_that_something_else_has_spoilt_is_tried_again():
    seen = []

    def probe(rate):
        seen.append(rate)
        return streamed(rate, passes=0 if len(seen) == 2 else 20_000)

    best = load.passed(load.climb(probe))
    assert seen[1] == seen[2] == FIRST * FACTOR
    assert best.came > 17_000


def test_a_climb_ends_where_the_generator_does():
    steps = load.climb(lambda rate: streamed(rate, makes=100_000))
    assert 90_000 < load.passed(steps).came <= 100_000


def test_a_climb_that_nothing_ends_ends():
    steps = load.climb(streamed)
    assert MOST / FACTOR < load.passed(steps).came <= MOST


def test_where_nothing_passes_nothing_is_found():
    steps = load.climb(lambda rate: streamed(rate, passes=0))
    assert load.passed(steps) is None
    assert steps[-1].offered >= LEAST


def test_pings_that_did_not_come_back_have_no_time():
    assert load.round_trips("[1500000, -1, 250]") == [0.0015, None, 2.5e-07]
