"""What a path has in flight, what is acknowledged and what is lost; see also tests/property."""

import pytest

from mpbond.core.recovery import (
    MAXIMUM_PACKET_THRESHOLD,
    REMEMBERED_QUIET,
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
