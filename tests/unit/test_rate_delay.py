"""Queueing delay between clocks that know nothing of each other."""

import pytest

from mpbond.core.delay import QueueingDelay
from mpbond.core.drain import EARLY, NEAR, PERIOD, Drain

SIZE = 1472


def fed(*samples, offset=0, rate=0.0, size=SIZE):
    """Feed (time of sending, transit in s); returns the last queue with the object."""
    delay = QueueingDelay(SIZE)
    queue = 0.0
    for sent, transit in samples:
        received = (offset + round((sent + transit) * 1e6)) & 0xFFFFFFFF
        queue = delay.update(sent, received, size, rate, sent + transit + 0.02)
    return queue, delay


@pytest.mark.parametrize("offset", [0, 4_000_000_000, 0xFFFFFFFF, 123_456_789_012])
def test_queue_is_what_comes_on_top_of_the_smallest_delay_whatever_the_peers_clock_says(offset):
    queue, _ = fed((0.0, 0.03), (0.1, 0.08), (0.2, 0.02), (0.3, 0.045), offset=offset)
    assert queue == pytest.approx(0.025)


def test_differences_between_paths_are_true():
    _, near = fed((0.0, 0.03), (0.1, 0.02), offset=7_000_000)
    _, far = fed((5.0, 0.09), (5.1, 0.11), offset=7_000_000)
    assert far.base - near.base == pytest.approx(0.07)


def test_the_serialisation_of_a_large_datagram_is_no_queue():
    delay = QueueingDelay(SIZE)
    rate = 62_500.0
    delay.update(0.0, 30_000 + round(100 / rate * 1e6), 100, rate, 0.05)
    queue = delay.update(1.0, 1_030_000 + round(SIZE / rate * 1e6), SIZE, rate, 1.06)
    assert queue == pytest.approx(0.0, abs=1e-5)


def test_a_rate_that_was_too_low_for_a_moment_does_not_spoil_the_minimum():
    delay = QueueingDelay(SIZE)
    delay.update(0.0, 30_000 + 1472, SIZE, 62_500.0, 0.05)  # the link has 1 MB/s already
    delay.update(0.1, 130_000 + 1472, SIZE, 1e6, 0.15)
    queue = delay.update(0.2, 230_000 + 1472 + 9000, SIZE, 1e6, 0.25)
    assert queue == pytest.approx(0.009, abs=1e-5)


def test_a_minimum_lives_for_ten_seconds():
    samples = [(second, 0.05) for second in range(1, 12)]
    queue, _ = fed((0.5, 0.02), *samples[:9])
    assert queue == pytest.approx(0.03)
    queue, _ = fed((0.5, 0.02), *samples)
    assert queue == pytest.approx(0.0)


def drained(transits, *, limit=0.02, slower=0.8):
    """Watch delays 50 ms apart over a path of 1 MB/s, `slower` times as fast with a queue above the
    limit; returns the drain, and when it began."""
    delay = QueueingDelay(SIZE)
    drain = Drain(delay, 0.0)
    began = None
    for number, transit in enumerate(transits):
        now = number * 0.05
        queue = delay.update(now, round((now + transit) * 1e6), SIZE, 0.0, now)
        drain.see(queue, limit, 1e6 * (slower if queue > limit else 1.0), now)
        if not drain.active:
            drain.begin_if_due(0.05, True, now)
            if drain.active:
                began = now
        elif drain.is_over(number, number, 0, 1, now):
            drain.end(0.001, 1e6, now)
    return drain, delay, began


def test_a_path_never_seen_empty_is_drained():
    _, _, began = drained([0.02] + [0.03] * 200)
    assert began == pytest.approx(PERIOD, abs=0.1)


def test_a_path_seen_empty_is_left_alone():
    assert drained([0.02, 0.03, 0.03] * 100)[2] is None


def test_a_path_seen_nearly_empty_again_and_again_is_drained_too_lest_the_minimum_rises():
    _, _, began = drained([0.02] + [0.023, 0.03] * 100)
    assert began == pytest.approx(PERIOD, abs=0.1)


def test_delay_that_stays_flat_far_above_the_target_is_a_longer_way():
    _, delay, began = drained([0.02] * 20 + [0.08] * 12)
    assert began == pytest.approx(0.95 + EARLY, abs=0.101)
    assert delay.queueing <= NEAR


def test_delay_that_stays_flat_while_the_rate_is_kept_up_is_queue():
    assert drained([0.02] * 20 + [0.08] * 60, slower=1.0)[2] is None


def test_delay_that_rises_and_falls_is_queue():
    rising = [0.02 + 0.1 * step for step in range(12)]
    _, delay, began = drained([0.02] * 20 + rising + rising[::-1])
    assert began is None
    assert delay.base == pytest.approx(0.02)


def test_delay_that_rises_little_by_its_own_measure_but_for_long_is_queue():
    full = [0.02 + 1.0 + 0.045 * step for step in range(16)]  # of a link grown slow
    _, delay, began = drained([0.02] * 20 + full)
    assert began is None
    assert delay.base == pytest.approx(0.02)


def test_while_it_is_unclear_half_the_former_rate_is_believed():
    drain = Drain(QueueingDelay(SIZE), 0.0)
    drain.see(0.0, 0.02, 1e6, 1.0)
    drain.see(0.05, 0.02, 1e5, 1.05)
    assert drain.believed(1e5, 0.05, 1.1) == 5e5
    assert drain.believed(1e5, 0.05, 2.0) == 1e5
