"""How long it takes to hear of a datagram, and how evenly."""

import pytest

from mpbond.core.feedback import LONGEST_GAP, LONGEST_UNEVEN, Feedback


def heard(rtts, delay=0.0, queues=(0.0,), every=0.02, datagram=0.002):
    feedback = Feedback()
    for number, rtt in enumerate(rtts):
        queue = queues[number % len(queues)]
        feedback.update(rtt + queue, delay, queue, datagram, number * every)
    return feedback


def test_the_queue_in_front_of_a_datagram_is_left_out_and_what_the_peer_waited_is_not():
    feedback = heard([0.050] * 200, delay=0.010, queues=(0.0, 0.030))
    assert feedback.time == pytest.approx(0.060)
    assert feedback.least == pytest.approx(0.050)
    assert feedback.slack == pytest.approx(0.0, abs=1e-6)


def test_the_gap_between_acks_is_what_the_path_does_not_need_for_a_datagram_itself():
    assert heard([0.050] * 200).gap == pytest.approx(0.018, rel=0.01)
    assert heard([0.050] * 200, datagram=0.024).gap == 0.0
    assert heard([0.050] * 200, every=1.0).gap == pytest.approx(LONGEST_GAP, rel=0.01)


def test_acks_that_come_unevenly_are_allowed_for_up_to_a_limit():
    assert 0.004 < heard([0.050, 0.070] * 200).slack < 0.020
    assert heard([0.050, 0.450] * 200).slack == LONGEST_UNEVEN
