"""What receivers of load note: timelines, stalls, losses, delays; all from given times."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.lab.traffic.meter import (
    Meter,
    Numbers,
    delays,
    round_trips,
    tardiness,
    worst,
)


def test_bytes_fall_into_tenths_of_a_second_from_the_beginning():
    meter = Meter(100.0, 100.5)
    for time, count in ((100.0, 1), (100.05, 2), (100.15, 4), (100.25, 8), (100.45, 16)):
        assert meter.add(time, count)
    assert meter.timeline == [3, 4, 8, 0, 16]
    assert meter.bytes == 31
    assert meter.first == 100.0


def test_bytes_outside_of_the_window_do_not_count():
    meter = Meter(100.0, 101.0)
    assert not meter.add(99.999, 1)
    assert not meter.add(101.0, 1)
    assert meter.bytes == 0
    assert meter.timeline == [0] * 10
    assert meter.longest_stall == 1.0


def test_a_stall_is_counted_from_the_first_byte_to_the_end_of_the_window():
    meter = Meter(0.0, 10.0)
    meter.add(4.0, 1)
    assert meter.longest_stall == 6.0
    meter.add(4.5, 1)
    meter.add(7.5, 1)
    assert meter.longest_stall == 3.0
    meter.add(9.5, 1)
    assert meter.longest_stall == 3.0


def test_a_window_need_not_be_a_whole_number_of_tenths():
    meter = Meter(0.0, 0.25)
    meter.add(0.24, 5)
    assert meter.timeline == [0, 0, 5]


@given(
    st.floats(0, 1e6),
    st.floats(0.1, 60),
    st.lists(st.tuples(st.floats(0, 70), st.integers(1, 1 << 30))),
)
def test_a_timeline_holds_what_the_meter_counted_and_no_stall_is_longer_than_the_window(
    start, length, adds
):
    meter = Meter(start, start + length)
    counted = [(t, n) for t, n in sorted(adds) if meter.add(start + t, n)]
    assert sum(meter.timeline) == meter.bytes == sum(n for _, n in counted)
    assert 0 <= meter.longest_stall <= length + 1e-6


def test_a_datagram_behind_one_with_a_larger_number_is_reordered():
    numbers = Numbers(6)
    assert [numbers.add(n) for n in (0, 2, 1, 3, 3, 5)] == [True, True, True, True, False, True]
    assert (numbers.received, numbers.reordered, numbers.duplicates, numbers.lost) == (5, 1, 1, 1)


def test_numbers_nobody_sent_are_not_counted():
    numbers = Numbers(2)
    assert not numbers.add(2)
    assert not numbers.add(-1)
    assert numbers.lost == 2


@given(st.lists(st.integers(0, 30)))
def test_numbers_agree_with_a_naive_count(came):
    numbers = Numbers(25)
    for each in came:
        numbers.add(each)
    known = [each for each in came if each < 25]
    first = list(dict.fromkeys(known))
    assert numbers.received == len(first)
    assert numbers.duplicates == len(known) - len(first)
    tops = itertools.accumulate(first, max)
    assert numbers.reordered == sum(each < top for each, top in zip(first, tops, strict=True))


def test_a_packet_that_did_not_come_has_no_delay():
    came = [(0, 0.0, 0.010), (2, 0.040, 0.055), (2, 0.040, 0.060), (7, 0.140, 0.150)]
    assert delays(4, came) == [0.010, None, pytest.approx(0.015), None]


def test_a_round_trip_is_that_of_a_packet_and_of_the_next_one_that_goes_back():
    there_sent = [0.00, 0.02, 0.04, 0.06, 0.08]
    back_sent = [0.01, 0.03, 0.05, 0.07]
    there = [0.005, None, 0.005, 0.001, 0.5]
    back = [0.002, 0.003, None, 0.004]
    assert round_trips(there, there_sent, back, back_sent) == [
        pytest.approx(0.007),
        None,  # lost on the way there
        None,  # its answer was lost
        pytest.approx(0.005),
        None,  # nothing was sent back any more
    ]


def test_lateness_is_told_in_quantiles_and_as_the_share_above_two_milliseconds():
    told = tardiness([0.0] * 97 + [0.003, 0.004, 0.005])
    assert told == {"count": 100, "p50": 0.0, "p99": 0.005, "max": 0.005, "share": 0.03}
    assert tardiness([])["count"] == 0


def test_of_two_programs_the_later_one_counts():
    one, other = tardiness([0.001] * 4), tardiness([0.0] * 3 + [0.1])
    assert worst([one, other]) == {
        "count": 8,
        "p50": 0.001,
        "p99": 0.1,
        "max": 0.1,
        "share": 0.25,
    }
