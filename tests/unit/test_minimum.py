"""The smallest sample of a sliding window of time."""

from mpbond.core.minimum import WindowedMinimum


def test_without_a_sample_there_is_no_minimum():
    assert WindowedMinimum(10.0).value is None


def test_a_smaller_sample_is_the_minimum_at_once_and_a_larger_one_is_not():
    minimum = fed((0.0, 50), (1.0, 60))
    assert minimum.value == 50
    minimum.update(40, 2.0)
    assert minimum.value == 40


def test_a_minimum_lives_exactly_as_long_as_the_window():
    minimum = fed((0.0, 10), (4.0, 30), (6.0, 20), (10.0, 40))
    assert minimum.value == 10
    minimum.update(40, 10.001)
    assert minimum.value == 20


def test_after_a_long_silence_only_the_new_sample_counts():
    minimum = fed((0.0, 10), (1.0, 12), (2.0, 11))
    minimum.update(90, 12.001)
    assert minimum.value == 90


def test_a_step_upwards_is_believed_within_one_window_and_a_quarter():
    minimum = WindowedMinimum(10.0)
    for tick in range(101):
        minimum.update(20, tick / 10)
    for tick in range(101, 226):
        minimum.update(70, tick / 10)
    assert minimum.value == 70


def fed(*samples):
    minimum = WindowedMinimum(10.0)
    for now, sample in samples:
        minimum.update(sample, now)
    return minimum
