"""The replay window at its edges; random walks are in tests/property/test_replay.py."""

import pytest

from mpbond.core.replay import DEFAULT_WIDTH, ReplayWindow


def test_a_number_is_accepted_once():
    window = ReplayWindow()
    assert window.accept(7)
    assert not window.accept(7)
    assert not window.would_accept(7)


def test_zero_is_a_number_like_any_other():
    window = ReplayWindow()
    assert window.would_accept(0)
    assert window.accept(0)
    assert not window.accept(0)
    assert window.top == 0


def test_numbers_may_come_in_any_order_within_the_window():
    window = ReplayWindow()
    numbers = [5, 3, 4, 0, 2, 1, 9, 6]
    assert all(window.accept(number) for number in numbers)
    assert not any(window.accept(number) for number in numbers)
    assert window.accept(7)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 64, DEFAULT_WIDTH])
def test_the_oldest_number_of_the_window_is_taken_and_the_one_before_it_is_not(width):
    window = ReplayWindow(width)
    top = 3 * DEFAULT_WIDTH + 5
    assert window.accept(top)
    assert window.would_accept(top - width + 1) == (width > 1)
    assert window.accept(top - width + 1) == (width > 1)
    assert not window.would_accept(top - width)
    assert not window.accept(top - width)


def test_asking_changes_nothing():
    window = ReplayWindow()
    window.accept(10)
    assert window.would_accept(5000)
    assert window.top == 10
    assert window.accept(0)


def test_a_leap_over_the_whole_ring_forgets_all_that_was_in_it():
    window = ReplayWindow(64)
    for number in range(64):
        window.accept(number)
    leap = 1 << 40
    assert window.accept(leap)
    assert not window.accept(63)
    assert all(window.accept(leap - distance) for distance in range(1, 64))


def test_every_number_of_a_long_run_is_taken_once():
    window = ReplayWindow(100)
    for number in range(5000):
        assert window.accept(number)
        assert not window.accept(number)
        assert not window.accept(max(0, number - 50))


def test_the_largest_packet_numbers_fit():
    window = ReplayWindow()
    last = (1 << 64) - 1
    assert window.accept(last - 1)
    assert window.accept(last)
    assert not window.accept(last)


def test_the_default_window_is_as_wide_as_the_design_asks():
    window = ReplayWindow()
    window.accept(2048)
    assert window.accept(1)
    assert not window.accept(0)


def test_a_window_without_width_is_a_programming_error():
    with pytest.raises(ValueError, match="at least 1 wide, not 0"):
        ReplayWindow(0)
