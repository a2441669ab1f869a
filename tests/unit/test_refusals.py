"""What the system's refusals say of a path: when it rests, and when it is down."""

import pytest

from mpbond.core.refusals import (
    HARMLESS,
    LONGEST_REST,
    OTHER_REASON,
    PATIENCE,
    REASONS,
    SHORTEST_REST,
    Refusals,
)

GONE = "send_unreachable"


def test_one_refusal_makes_a_path_rest_for_a_moment_and_no_more():
    refusals = Refusals()
    assert refusals.note(7, GONE, 5.0) is None
    assert refusals.rest_end == 5.0 + SHORTEST_REST
    refusals.wake()
    assert refusals.rest_end is None


def test_each_refusal_in_a_row_doubles_the_rest_up_to_the_longest():
    refusals, now, rests = Refusals(), 5.0, []
    for number in range(12):
        refusals.note(number, GONE, now)
        rests.append(round(refusals.rest_end - now, 6))
        now = refusals.rest_end
        refusals.wake()
    assert rests[:5] == [0.002, 0.004, 0.008, 0.016, 0.032]
    assert rests[-3:] == [LONGEST_REST] * 3


def test_a_batch_that_is_refused_at_one_moment_counts_once():
    refusals = Refusals()
    for number in range(50):
        assert refusals.note(number, GONE, 5.0) is None
    assert refusals.rest_end == 5.0 + SHORTEST_REST


@pytest.mark.parametrize("reason", [*REASONS, "send_failed"])
def test_a_row_that_lasts_says_why_the_path_is_down(reason):
    refusals = Refusals()
    assert refusals.note(1, reason, 5.0) is None
    assert refusals.note(2, reason, 5.0 + PATIENCE - 0.001) is None
    assert refusals.note(3, reason, 5.0 + PATIENCE) == REASONS.get(reason, OTHER_REASON)


def test_a_datagram_that_was_taken_ends_the_row():
    refusals = Refusals()
    for turn in range(100):
        now = 5.0 + 0.1 * turn
        assert refusals.note(100 * turn, GONE, now) is None
        assert refusals.rest_end == now + SHORTEST_REST
        refusals.wake()


@pytest.mark.parametrize("reason", HARMLESS)
def test_a_full_buffer_and_a_datagram_too_big_never_say_that_a_path_is_down(reason):
    refusals = Refusals()
    for number in range(100):
        now = 5.0 + 0.1 * number
        assert refusals.note(number, reason, now) is None
        assert refusals.rest_end == now + SHORTEST_REST
        refusals.wake()


def test_news_of_the_link_end_the_rest_and_the_row():
    refusals = Refusals()
    refusals.note(1, GONE, 5.0)
    refusals.forget()
    assert refusals.rest_end is None
    assert refusals.note(2, GONE, 9.0) is None
