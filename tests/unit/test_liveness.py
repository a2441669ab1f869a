"""Is a path alive? Every arrow of the picture in core.liveness, and the numbers beside it."""

import pytest

from mpbond.core.liveness import (
    DOWN,
    NEW,
    PROBING,
    SUSPECT,
    UP,
    Liveness,
    silence_limit,
)


def test_a_new_path_waits_without_probing():
    liveness = Liveness(1.0)
    assert (liveness.state, liveness.next_probe) == (NEW, None)


def test_a_started_path_is_probed_at_once_and_goes_up_with_one_answer():
    liveness = Liveness(1.0)
    liveness.start(2.0, "asking")
    assert (liveness.state, liveness.reason, liveness.next_probe) == (PROBING, "asking", 2.0)
    liveness.on_probe_sent(2.0)
    assert liveness.next_probe == 2.1
    liveness.on_answer(2.05)
    assert (liveness.state, liveness.since, liveness.next_probe) == (UP, 2.05, None)


def test_five_unanswered_probes_leave_hope_and_the_sixth_ends_it():
    liveness = probing(5)
    assert liveness.state == PROBING
    liveness.on_probe_sent(0.5)
    assert (liveness.state, liveness.reason) == (DOWN, "5 probes unanswered")
    assert liveness.next_probe == 1.5


def test_silence_makes_a_path_suspect_and_says_for_how_long():
    liveness = up()
    liveness.on_silence(3.0, 0.1834)
    assert (liveness.state, liveness.next_probe) == (SUSPECT, 3.0)
    assert liveness.reason == "silent for 183 ms with data in flight"


def test_a_suspect_path_comes_back_with_two_answers_and_not_with_one():
    liveness = suspect()
    liveness.on_answer(3.1)
    assert (liveness.state, liveness.next_probe) == (SUSPECT, 3.1)
    liveness.on_answer(3.2)
    assert (liveness.state, liveness.next_probe) == (UP, None)


def test_a_suspect_path_is_down_when_the_fifth_probe_stays_unanswered_for_100_ms():
    liveness = suspect()
    for tick in range(5):
        liveness.on_probe_sent(3.0 + tick / 10)
    assert (liveness.state, liveness.next_probe) == (SUSPECT, 3.5)
    liveness.on_probe_sent(3.5)
    assert liveness.state == DOWN


def test_answers_in_between_keep_a_suspect_path_from_going_down():
    liveness = suspect()
    for tick in range(4):
        liveness.on_probe_sent(3.0 + tick / 10)
    liveness.on_answer(3.35)
    for tick in range(4, 9):
        liveness.on_probe_sent(3.0 + tick / 10)
    assert liveness.state == SUSPECT


def test_a_dead_path_is_probed_once_a_second_and_needs_three_answers_in_a_row():
    liveness = down()
    liveness.on_probe_sent(10.0)
    assert liveness.next_probe == 11.0
    liveness.on_answer(10.2)
    assert (liveness.state, liveness.next_probe) == (DOWN, 10.2)
    liveness.on_probe_sent(10.2)
    assert liveness.next_probe == pytest.approx(10.3)  # quicker, now that it has answered
    liveness.on_answer(10.3)
    assert liveness.state == DOWN
    liveness.on_answer(10.4)
    assert liveness.state == UP


def test_answers_of_a_dead_path_count_only_in_a_row():
    liveness = down()
    liveness.on_answer(10.0)
    liveness.on_answer(10.1)
    for tick in range(6):
        liveness.on_probe_sent(10.2 + tick / 10)
    liveness.on_answer(11.0)
    assert liveness.state == DOWN
    liveness.on_answer(11.1)
    liveness.on_answer(11.2)
    assert liveness.state == UP


@pytest.mark.parametrize("make", ["probing", "suspect", "down"])
def test_silence_says_nothing_new_of_a_path_that_is_not_up(make):
    liveness = globals()[make]()
    before = liveness.state
    liveness.on_silence(50.0, 1.0)
    assert liveness.state == before


def test_a_refusal_by_the_system_takes_a_path_down_and_keeps_saying_why():
    liveness = up()
    liveness.on_refused(4.0, "network unreachable")
    assert (liveness.state, liveness.next_probe) == (DOWN, 5.0)
    liveness.on_refused(4.5, "no such device")
    assert (liveness.reason, liveness.next_probe, liveness.since) == ("no such device", 5.0, 4.0)


def test_a_proven_address_brings_a_path_up_at_once():
    liveness = down()
    liveness.restore(9.0, "its address has answered")
    assert (liveness.state, liveness.reason, liveness.next_probe) == (
        UP,
        "its address has answered",
        None,
    )


def test_being_up_already_a_path_keeps_its_reason_and_date():
    liveness = up()
    before = (liveness.since, liveness.reason, liveness.transitions)
    liveness.restore(9.0, "again")
    assert (liveness.since, liveness.reason, liveness.transitions) == before


def test_news_hurry_a_probe_that_is_due_anyway_and_start_none():
    liveness = down()
    liveness.hurry(7.0)
    assert liveness.next_probe == 7.0
    healthy = up()
    healthy.hurry(7.0)
    assert healthy.next_probe is None


def test_the_limit_of_silence_is_the_rtt_its_spread_and_60_ms():
    assert silence_limit(0.050, 0.010) == pytest.approx(0.150)


def probing(probes=0):
    liveness = Liveness(0.0)
    liveness.start(0.0, "asking")
    for tick in range(probes):
        liveness.on_probe_sent(tick / 10)
    return liveness


def up():
    liveness = probing(1)
    liveness.on_answer(0.05)
    return liveness


def suspect():
    liveness = up()
    liveness.on_silence(3.0, 0.2)
    return liveness


def down():
    return probing(6)
