"""The receiving half: order, blocks, and when an acknowledgement is due."""

import pytest

from bench.sim.tcp.flow import ticks
from bench.sim.tcp.receiver import COMPRESSION, DELAY, QUICK, Receiver
from bench.sim.tcp.segment import FIN, PSH
from bench.sim.tcp.window import MOST

SIZE = 1000


def receiver(prompt=False):
    """One that has got past the first packets, which are acknowledged at once, unless `prompt`."""
    made = Receiver(0, SIZE)
    made.window.offered = MOST
    if not prompt:
        made._quick = 0
    return made


def arrive(made, *numbers, now=0.0, pushed=False):
    for number in numbers:
        made.arrive(number * SIZE, (number + 1) * SIZE, 1, 0, PSH if pushed else 0, now)


def blocks(made):
    """The SACK blocks as (first packet, packet behind the last)."""
    return [(start // SIZE, end // SIZE) for start, end in made.blocks()]


def test_bytes_count_once_they_are_in_order():
    made = receiver()
    arrive(made, 0, 2, 3)
    assert made.received == SIZE
    arrive(made, 1)
    assert made.received == 4 * SIZE


def test_every_second_packet_is_acknowledged_at_once_and_a_single_one_late():
    made = receiver()
    arrive(made, 0)
    assert not made.due(0.0)
    assert made.ack_at == DELAY
    assert made.due(DELAY)
    arrive(made, 1)
    assert made.due(0.0)


def test_the_first_packets_are_acknowledged_one_by_one():
    made = receiver(prompt=True)
    for number in range(QUICK):
        arrive(made, number)
        assert made.due(0.0), number
        made.acknowledged()
    arrive(made, QUICK)
    assert not made.due(0.0)


def test_packets_that_open_the_window_are_acknowledged_at_once():
    made = receiver()
    made.window.offered = 64_000
    for number in range(8):
        before = made.window.offered
        arrive(made, number)
        assert made.due(0.0)
        assert made.window.offered > before
        made.acknowledged()
    made.window.offered = MOST
    arrive(made, 8)
    assert not made.due(0.0)


@pytest.mark.parametrize(("packets", "least", "most"), [(8, 64, 80), (100, 200, MOST / SIZE)])
def test_the_window_follows_what_is_read_in_a_round_trip(packets, least, most):
    made = Receiver(0, SIZE)
    now = 0.0
    for number in range(20 * packets):
        now += 0.1 / packets
        echo = ticks(now - 0.1)
        made.arrive(number * SIZE, (number + 1) * SIZE, 1, echo, 0, now)
    assert least <= made.window.offered / 1024 <= most


def test_pushed_data_is_acknowledged_at_once():
    made = receiver()
    arrive(made, 0, pushed=True)
    assert made.due(0.0)


def test_the_newest_block_comes_first_and_the_fourth_is_not_told():
    made = receiver()
    arrive(made, 2, 4, 6, 8)
    assert blocks(made) == [(8, 9), (6, 7), (4, 5)]
    arrive(made, 3)
    assert blocks(made) == [(2, 5), (8, 9), (6, 7)]


def test_blocks_below_what_is_in_order_are_not_told_any_more():
    made = receiver()
    arrive(made, 1, 3, 0)
    assert made.next == 2 * SIZE
    assert blocks(made) == [(3, 4)]


def test_closing_the_last_gap_is_acknowledged_at_once():
    made = receiver()
    arrive(made, 1)
    made.acknowledged()
    arrive(made, 0)
    assert made.due(0.0)
    assert not made.selective


def test_a_duplicate_is_told_once_in_front_of_the_blocks():
    made = receiver()
    arrive(made, 0, 2)
    made.acknowledged()
    arrive(made, 0)
    assert made.due(0.0)
    assert blocks(made) == [(0, 1), (2, 3)]
    assert blocks(made) == [(2, 3)]


def test_a_duplicate_out_of_order_is_told_as_well():
    made = receiver()
    arrive(made, 2, 2)
    assert blocks(made) == [(2, 3), (2, 3)]


def test_behind_a_gap_three_acknowledgements_go_at_once_and_more_are_compressed():
    made = receiver()
    for number in (2, 3, 4):
        arrive(made, number)
        assert made.due(0.0)
        made.acknowledged()
    arrive(made, 5, 6, 7)
    assert not made.due(0.0)
    assert made.ack_at == COMPRESSION


def test_what_lies_beyond_the_window_is_not_taken():
    made = receiver()
    made.arrive(MOST, MOST + SIZE, 1, 0, 0, 0.0)
    assert not made.selective
    assert made.due(0.0)


def test_the_timestamp_to_return_is_that_of_the_oldest_packet_not_acknowledged():
    made = receiver()
    made.arrive(0, SIZE, 10, 0, 0, 0.0)
    made.arrive(SIZE, 2 * SIZE, 11, 0, 0, 0.0)
    assert made.recent == 10


def test_a_fin_ends_the_stream_once_everything_before_it_has_come():
    made = receiver()
    arrive(made, 1)
    made.arrive(2 * SIZE, 2 * SIZE, 1, 0, FIN, 0.0)
    assert not made.finished
    arrive(made, 0)
    assert made.finished
    assert made.received == 2 * SIZE
    assert made.next == 2 * SIZE + 1
