"""Whatever rate control knows of any paths, `adaptive` keeps to what it promises."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpbond.core.adaptive import GUARD, OVERFLOW_DELAY, SLACK, Adaptive
from tests.unit.test_adaptive import NOW, SIZE, begun, path

pytestmark = pytest.mark.python_core

paths = st.lists(
    st.builds(
        path,
        st.floats(1e3, 1e8),
        st.floats(-1.0, 1.0),
        rtt=st.floats(0.001, 0.5),
        in_flight=st.sampled_from([0, 0, 3_000, 50_000, 10_000_000]),
        tier=st.sampled_from([0, 0, 1]),
        window=st.floats(3_000, 1e6),
        queue=st.just(0.0) | st.floats(0.0, 0.5),
        release=st.sampled_from([0.0, NOW, NOW + 0.002, NOW + 0.5]),
        ramping=st.booleans(),
    ),
    min_size=1,
    max_size=8,
)
backlogs = st.sampled_from([0, SIZE, 1_000_000]) | st.integers(0, 10_000_000)
sizes = st.integers(40, 1500)


@given(paths, sizes, backlogs)
def test_only_paths_with_room_are_chosen_and_none_only_when_there_is_a_reason(paths, size, backlog):
    scheduler = begun(Adaptive(), *paths)
    at = scheduler.choose(paths, 0, size, backlog)
    room = [allowance(one) > 0 for one in paths]
    assert scheduler.full == (not any(room))
    if at is not None:
        assert room[at]
    elif all(room):
        raise AssertionError("there is room everywhere, and nothing better to wait for")


@given(paths, sizes, backlogs)
def test_the_choice_arrives_before_every_other_path_with_room(paths, size, backlog):
    scheduler = begun(Adaptive(), *paths)
    at = scheduler.choose(paths, 0, size, backlog)
    if at is None:
        return
    lowest = min(one.tier for one in paths)
    total = sum(one.rate.speed for one in paths)
    for other in paths:
        spared = other.tier > lowest and backlog < OVERFLOW_DELAY * total
        if allowance(other) > 0 and not spared:
            assert arrival(paths[at], size) <= arrival(other, size) + 1e-9
    assert paths[at].tier == lowest or backlog >= OVERFLOW_DELAY * total


@given(paths, sizes, backlogs)
def test_no_choice_is_far_behind_a_path_that_only_paces(paths, size, backlog):
    scheduler = begun(Adaptive(), *paths)
    at = scheduler.choose(paths, 0, size, backlog)
    lowest = min(one.tier for one in paths)
    for other in paths:
        pacing = max(0.0, other.rate.release - NOW)
        held = other.sent.in_flight + other.mtu > other.rate.window
        if at is not None and other.tier == lowest and not held:
            assert arrival(paths[at], size) <= arrival(other, size) + pacing + GUARD + 1e-9


@given(paths, sizes)
def test_more_backlog_never_makes_a_packet_wait_that_would_else_have_left(paths, size):
    """Over an overflow path it may then leave, too: the choice may change, to an earlier arrival."""
    took = None
    for backlog in (0, SIZE, 10_000, 100_000, 1_000_000, 10_000_000, 10**10):
        at = begun(Adaptive(), *paths).choose(paths, 0, size, backlog)
        if took is not None:
            assert at is not None
            assert arrival(paths[at], size) <= arrival(paths[took], size) + SLACK
        took = at if at is not None else took


@given(paths, st.lists(sizes, min_size=1, max_size=60), backlogs)
def test_a_flush_puts_no_more_than_its_room_and_a_packet_on_a_path(paths, lengths, backlog):
    scheduler = begun(Adaptive(), *paths)
    for size in lengths:
        at = scheduler.choose(paths, 0, size, backlog)
        if at is None:
            break
        paths[at].planned += size
    for one in paths:
        assert one.planned <= max(0.0, allowance(one)) + 1500


@given(paths, sizes)
def test_urgent_packets_get_every_path_of_the_lowest_tier_in_the_order_of_arrival(paths, size):
    order = begun(Adaptive(), *paths).urgent(size)
    lowest = min(one.tier for one in paths)
    assert sorted(order) == [at for at, one in enumerate(paths) if one.tier == lowest]
    times = [arrival(paths[at], size) for at in order]
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(times))


def allowance(one):
    """Bytes that may leave now."""
    return one.rate.allowance(one.sent.in_flight, NOW)


def arrival(one, size):
    """When a packet would arrive if it left now (seconds, by the clocks of both ends)."""
    rate = one.rate
    backed_up = (one.sent.in_flight + one.planned) / rate.speed - rate.base_rtt
    return rate.base_owd + max(rate.queue, backed_up) + size / rate.speed
