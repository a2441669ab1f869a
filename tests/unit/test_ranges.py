"""A set of integers as ranges; random operations are in tests/property/test_ranges.py."""

import pytest

from mpbond.core.ranges import RangeSet


def test_an_empty_set_holds_nothing_and_has_no_largest():
    numbers = RangeSet()
    assert len(numbers) == 0
    assert 0 not in numbers
    with pytest.raises(IndexError):
        _ = numbers.largest


def test_numbers_in_order_make_one_range():
    numbers = made_of((0, 0), (1, 1), (2, 2))
    assert list(numbers) == [(0, 2)]
    assert numbers.largest == 2


def test_a_number_beyond_a_gap_makes_a_second_range_and_filling_the_gap_joins_them():
    numbers = made_of((0, 1), (3, 4))
    assert list(numbers) == [(0, 1), (3, 4)]
    assert 2 not in numbers
    assert numbers.add(2, 2) == [(2, 2)]
    assert list(numbers) == [(0, 4)]


def test_a_neighbour_joins_and_one_further_away_does_not():
    numbers = made_of((10, 12))
    numbers.add(8, 8)
    assert list(numbers) == [(8, 8), (10, 12)]
    numbers.add(9, 9)
    numbers.add(14, 14)
    assert list(numbers) == [(8, 12), (14, 14)]


def test_adding_returns_only_what_was_not_there():
    numbers = made_of((2, 3), (6, 6), (9, 12))
    assert numbers.add(0, 10) == [(0, 1), (4, 5), (7, 8)]
    assert list(numbers) == [(0, 12)]
    assert numbers.add(3, 12) == []


def test_the_newest_ranges_come_largest_first():
    numbers = made_of((0, 0), (2, 3), (6, 9))
    assert numbers.newest(2) == [(6, 9), (2, 3)]
    assert numbers.newest(5) == [(6, 9), (2, 3), (0, 0)]


def test_forgetting_below_a_number_cuts_the_range_it_lies_in():
    numbers = made_of((0, 4), (7, 9))
    numbers.drop_below(3)
    assert list(numbers) == [(3, 4), (7, 9)]
    numbers.drop_below(5)
    assert list(numbers) == [(7, 9)]
    numbers.drop_below(10)
    assert len(numbers) == 0


def test_keeping_the_newest_ranges_forgets_the_oldest():
    numbers = made_of((0, 0), (2, 2), (4, 4))
    numbers.keep_newest(3)
    assert len(numbers) == 3
    numbers.keep_newest(2)
    assert list(numbers) == [(2, 2), (4, 4)]


def made_of(*ranges):
    numbers = RangeSet()
    for first, last in ranges:
        numbers.add(first, last)
    return numbers
