"""What a path has in flight, what is acknowledged and what is lost; see also tests/property."""

import pytest

from mpbond.core.recovery import (
    LONGEST_OVERTAKING,
    MAXIMUM_PACKET_THRESHOLD,
    PACKET_THRESHOLD,
    REMEMBERED_QUIET,
    TRUE_LOSSES,
    Sent,
    SentLog,
)


def test_an_acknowledged_datagram_is_no_longer_in_flight():
    log = sent_at(0.0, 0.1)
    acked = log.acknowledge(1, [(0, 1)])
    assert [sent.time for sent in acked.newly] == [0.0, 0.1]
    assert acked.largest is acked.newly[1]
    assert (len(log), log.in_flight, log.acked_count, log.largest_acked) == (0, 0, 2, 1)


def test_an_ack_says_something_new_once():
    log = sent_at(0.0, 0.1)
    log.acknowledge(0, [(0, 0)])
    again = log.acknowledge(0, [(0, 0)])
    assert again == ([], None)
    assert log.acked_count == 1


def test_the_largest_gives_an_rtt_only_if_it_is_new_itself():
    log = sent_at(0.0, 0.1, 0.2)
    log.acknowledge(2, [(0, 0)])
    acked = log.acknowledge(2, [(0, 2)])
    assert [sent.time for sent in acked.newly] == [0.0, 0.1]
    assert acked.largest is None


def test_the_largest_gives_an_rtt_also_if_it_asked_for_no_acknowledgement_itself():
    log = sent_at(0.0, 0.1)
    log.add_quiet(2, Sent(0.2, 60))
    assert (len(log), log.in_flight) == (2, 2000)
    acked = log.acknowledge(2, [(0, 1)])
    assert [sent.time for sent in acked.newly] == [0.1]
    assert acked.largest.time == 0.2
    assert log.acked_count == 1


def test_an_ack_of_nothing_that_asked_for_it_gives_no_rtt():
    log = sent_at(0.0)
    log.acknowledge(0, [(0, 0)])
    log.add_quiet(1, Sent(0.2, 60))
    assert log.acknowledge(1, [(0, 1)]) == ([], None)


def test_of_datagrams_that_ask_for_nothing_only_the_newest_are_remembered():
    log = sent_at(0.0)
    for number in range(1, REMEMBERED_QUIET + 2):
        log.add_quiet(number, Sent(0.1 * number, 60))
    assert log.acknowledge(1, [(0, 1)]).largest is None


def test_three_newer_numbers_make_a_datagram_lost_and_two_do_not():
    log = sent_at(0.0, 0.0, 0.0, 0.0)
    log.acknowledge(2, [(0, 1)])
    assert log.detect_lost(rtt=1.0, now=0.01) == []
    log.acknowledge(3, [(0, 2)])
    assert [sent.time for sent in log.detect_lost(rtt=1.0, now=0.01)] == [0.0]
    assert (log.lost_count, len(log), log.in_flight) == (1, 0, 0)


def test_a_datagram_below_an_acknowledged_one_is_lost_after_nine_eighths_of_the_rtt():
    log = sent_at(1.0, 1.001)
    log.acknowledge(1, [(0, 0)])
    assert log.loss_time(rtt=0.080) == pytest.approx(1.090)
    assert log.detect_lost(rtt=0.080, now=1.089) == []
    assert len(log.detect_lost(rtt=0.080, now=1.090)) == 1
    assert log.loss_time(rtt=0.080) is None


def test_the_newest_datagram_is_never_lost_by_time():
    log = sent_at(1.0, 1.1)
    log.acknowledge(0, [(0, 0)])
    assert log.loss_time(rtt=0.080) is None
    assert log.detect_lost(rtt=0.080, now=99.0) == []


def test_a_tiny_rtt_does_not_lose_anything_within_a_millisecond():
    log = sent_at(1.0, 1.0)
    log.acknowledge(1, [(0, 0)])
    assert log.detect_lost(rtt=1e-6, now=1.0009) == []
    assert len(log.detect_lost(rtt=1e-6, now=1.0010)) == 1


def test_a_lost_datagram_that_is_acknowledged_after_all_widens_the_threshold():
    log = sent_at(*[0.0] * 9)
    log.acknowledge(3, [(0, 2)])
    assert len(log.detect_lost(1.0, 0.0)) == 1
    log.acknowledge(3, [(0, 3)])
    assert (log.spurious_count, log.lost_count, log.acked_count) == (1, 0, 4)
    assert log.packet_threshold == 4
    log.acknowledge(7, [(0, 2)])
    assert log.detect_lost(1.0, 0.0) == []
    log.acknowledge(8, [(0, 3)])
    assert len(log.detect_lost(1.0, 0.0)) == 1


def test_the_threshold_has_an_end():
    log = SentLog()
    number = 0
    for _ in range(100):
        for _ in range(MAXIMUM_PACKET_THRESHOLD + 1):
            log.add(number, Sent(0.0, 1))
            number += 1
        first = number - MAXIMUM_PACKET_THRESHOLD - 1
        log.acknowledge(number - 1, [(0, number - 2 - first)])
        log.detect_lost(1.0, 0.0)
        log.acknowledge(first, [(0, 0)])
    assert log.packet_threshold == MAXIMUM_PACKET_THRESHOLD


def test_a_datagram_that_was_late_and_not_lost_widens_the_threshold_in_time_by_a_quarter_of_the_rtt():
    log = sent_at(1.0, 1.0)
    misjudge(log, 0, rtt=0.080, now=1.090)
    assert (log.overtaking, log.packet_threshold, log.widened) == (0.020, PACKET_THRESHOLD, 1)
    log.add(2, Sent(2.0, 1000))
    log.add(3, Sent(2.0, 1000))
    log.next_number = 4
    log.acknowledge(3, [(0, 0)])
    assert log.loss_time(0.080) == pytest.approx(2.090)
    assert log.detect_lost(0.080, 2.100) == []
    assert log.loss_time(0.080) == pytest.approx(2.110)
    assert len(log.detect_lost(0.080, 2.110)) == 1


def test_what_is_late_fills_no_window_is_not_the_oldest_and_may_still_be_acknowledged_or_rescued():
    log = sent_at(1.0, 1.0)
    misjudge(log, 0, rtt=0.080, now=1.090)
    for number in (2, 3, 4):
        log.add(number, Sent(2.0 + number / 1000, 1000))
    log.next_number = 5
    log.acknowledge(3, [(0, 0)])
    assert log.detect_lost(0.080, 2.095) == []
    assert (log.in_flight, len(log), log.oldest.time) == (1000, 1, 2.004)
    assert [sent.time for sent in log.held()] == [2.002, 2.004]
    assert [sent.time for sent in log.acknowledge(3, [(0, 1)]).newly] == [2.002]
    assert (log.in_flight, log.spurious_count, log.lost_count) == (1000, 1, 0)


def test_the_threshold_in_time_is_widened_once_in_a_round_trip():
    log = sent_at(1.0, 1.0, 1.0, 1.0)
    log.acknowledge(3, [(0, 0)])
    assert len(log.detect_lost(0.080, 1.090)) == 3
    log.acknowledge(3, [(0, 3)])
    assert (log.spurious_count, log.overtaking) == (3, 0.020)


@pytest.mark.parametrize("rtt", [0.020, 0.100])
def test_the_threshold_in_time_has_an_end(rtt):
    log = SentLog()
    for turn in range(40):
        add_two(log, float(turn))
        misjudge(log, 2 * turn, rtt=rtt, now=turn + 0.9)
    assert log.overtaking == pytest.approx(max(LONGEST_OVERTAKING, rtt))


def test_thresholds_are_halved_after_sixteen_round_trips_with_true_losses():
    log = SentLog()
    log.packet_threshold, log.overtaking = 20, 0.040
    for turn in range(TRUE_LOSSES):
        assert (log.packet_threshold, log.overtaking) == (20, 0.040)
        add_two(log, float(turn))
        log.acknowledge(2 * turn + 1, [(0, 0)])
        assert len(log.detect_lost(0.080, turn + 0.9)) == 1
    assert (log.packet_threshold, log.overtaking) == (10, 0.020)


def test_what_was_given_up_and_comes_after_all_says_nothing_of_reordering():
    log = sent_at(*[0.0] * 30)
    log.expire(1.0)
    log.acknowledge(29, [(0, 29)])
    assert log.spurious_count == 30
    assert (log.packet_threshold, log.overtaking, log.widened) == (PACKET_THRESHOLD, 0.0, 0)


def test_a_refused_datagram_is_lost_at_once():
    log = sent_at(0.0, 0.1)
    refused = log.refuse(0)
    assert refused is not None
    assert refused.time == 0.0
    assert (log.lost_count, log.in_flight) == (1, 1000)
    assert log.refuse(0) is None
    assert log.lost_count == 1


def test_a_path_that_goes_loses_everything_it_holds():
    log = sent_at(0.0, 0.1, 0.2)
    log.acknowledge(1, [(0, 0)])
    assert [sent.time for sent in log.abandon()] == [0.0, 0.2]
    assert (len(log), log.in_flight, log.lost_count) == (0, 0, 2)


def test_the_oldest_is_what_has_waited_longest():
    log = sent_at(0.0, 0.1)
    assert log.oldest is not None
    assert log.oldest.time == 0.0
    log.acknowledge(0, [(0, 0)])
    assert log.oldest.time == 0.1
    log.acknowledge(1, [(0, 0)])
    assert log.oldest is None


@pytest.mark.parametrize("ranges", [[(0, 0), (9, 12)], [(5, 6)], [(0, 1 << 30)]])
def test_ranges_that_reach_below_zero_are_cut_off_there(ranges):
    log = sent_at(0.0, 0.1, 0.2)
    log.acknowledge(2, ranges)
    log.acknowledge(2, [(0, 2)])
    assert (log.acked_count, len(log)) == (3, 0)


def sent_at(*times):
    log = SentLog()
    for number, time in enumerate(times):
        log.add(number, Sent(time, 1000))
    log.next_number = len(times)
    return log


def add_two(log, time):
    for _ in range(2):
        log.add(log.next_number, Sent(time, 1000))
        log.next_number += 1


def misjudge(log, number, *, rtt, now):
    """A datagram is overtaken by the next, taken for lost by time, and acknowledged after all."""
    log.acknowledge(number + 1, [(0, 0)])
    assert len(log.detect_lost(rtt, now)) == 1
    log.acknowledge(number + 1, [(0, 1)])
