"""When CoDel finds that a flow sends too much."""

from itertools import pairwise

import pytest

from mpbond.core.codel import INTERVAL, Codel


def drops(codel, start, seconds, step=0.001):
    """When packets are dropped that leave every `step` and all stayed too long."""
    times = (start + number * step for number in range(round(seconds / step)))
    return [now for now in times if codel.judge(now)]


def test_nothing_is_dropped_before_a_whole_interval_was_above_target():
    codel = Codel()
    assert drops(codel, 10.0, INTERVAL) == []
    assert codel.judge(10.0 + INTERVAL)


def test_one_packet_in_time_begins_the_interval_anew():
    codel = Codel()
    drops(codel, 10.0, INTERVAL - 0.001)
    codel.above = 0.0
    assert drops(codel, 10.6, INTERVAL) == []


def test_drops_come_closer_with_the_square_root_of_their_count():
    times = drops(Codel(), 0.0, 4.0)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    expected = [INTERVAL / count**0.5 for count in range(1, len(gaps) + 1)]
    assert len(gaps) > 10
    assert gaps == pytest.approx(expected, abs=0.0021)


def test_a_packet_in_time_ends_the_spell():
    codel = Codel()
    last = drops(codel, 0.0, 2.0)[-1]
    codel.above = 0.0
    assert drops(codel, last + 0.5, INTERVAL) == []


def test_a_spell_soon_after_another_goes_on_about_where_that_ended():
    codel = Codel()
    first = len(drops(codel, 0.0, 5.0))
    codel.above = 0.0
    again = drops(codel, 5.1, INTERVAL + 0.25)
    assert first > 20
    assert again[1] - again[0] == pytest.approx(INTERVAL / (first - 1) ** 0.5, abs=0.002)


def test_a_spell_long_after_another_begins_slowly():
    codel = Codel()
    drops(codel, 0.0, 5.0)
    codel.above = 0.0
    again = drops(codel, 5.1 + 17 * INTERVAL, 2 * INTERVAL + 0.1)
    assert again[1] - again[0] == pytest.approx(INTERVAL, abs=0.002)


def test_a_stall_is_not_followed_by_all_the_drops_it_prevented():
    codel = Codel()
    before = drops(codel, 0.0, 3.0)
    after = drops(codel, 33.0, 0.1)
    pace = INTERVAL / len(before) ** 0.5
    assert 1 <= len(after) <= (INTERVAL + 0.1) / pace + 5
