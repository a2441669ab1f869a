"""The send queue."""

import pytest

from mpbond.core.queue import SendQueue


def test_packets_leave_in_the_order_they_came():
    queue = SendQueue()
    assert queue.extend([b"one", b"two"]) == 0
    assert queue.extend([b"three"]) == 0
    assert [queue.pop() for _ in range(len(queue))] == [b"one", b"two", b"three"]
    assert (len(queue), queue.bytes) == (0, 0)


def test_a_packet_that_fills_the_queue_exactly_is_taken_and_one_byte_more_is_not():
    queue = SendQueue(limit=10)
    assert queue.extend([b"123456", b"7890", b"x"]) == 1
    assert queue.bytes == 10
    assert [queue.pop(), queue.pop()] == [b"123456", b"7890"]


def test_a_small_packet_still_fits_behind_a_refused_large_one():
    queue = SendQueue(limit=10)
    assert queue.extend([b"12345678", b"too big", b"ok"]) == 1
    assert [queue.pop(), queue.pop()] == [b"12345678", b"ok"]


def test_clearing_forgets_packets_and_bytes():
    queue = SendQueue(limit=4)
    queue.extend([b"1234"])
    queue.clear()
    assert queue.extend([b"abcd"]) == 0


def test_there_is_nothing_to_take_from_an_empty_queue():
    with pytest.raises(IndexError):
        SendQueue().pop()
