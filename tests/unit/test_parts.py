"""Packets cut in two."""

import pytest

from mpbond.core.parts import LIFETIME, LIMIT, Parts, split
from mpbond.core.wire import FIRST_PART, LAST_PART, UNORDERED, DataFrame


def test_the_parts_are_about_equal_and_together_the_packet():
    assert split(b"0123456789a", room=6) == (b"012345", b"6789a")


def test_a_part_may_fill_its_room_and_not_exceed_it():
    assert split(bytes(20), room=10) == (bytes(10), bytes(10))
    assert split(bytes(21), room=10) is None


@pytest.mark.parametrize("flags", [0, UNORDERED])
def test_the_packet_is_whole_when_both_parts_have_come_in_whichever_order(flags):
    first = DataFrame(flags | FIRST_PART, 7, 3, b"he")
    last = DataFrame(flags | LAST_PART, 7, 3, b"llo")
    for one, other in ((first, last), (last, first)):
        parts = Parts()
        assert parts.join(one, 1.0) is None
        assert parts.join(other, 1.0) == b"hello"


def test_a_copy_of_a_part_completes_nothing():
    parts = Parts()
    assert parts.join(DataFrame(FIRST_PART, 7, 3, b"he"), 1.0) is None
    assert parts.join(DataFrame(FIRST_PART, 7, 3, b"he"), 1.0) is None
    assert parts.join(DataFrame(LAST_PART, 7, 3, b"llo"), 1.0) == b"hello"


@pytest.mark.parametrize(("lane", "sequence"), [(8, 3), (7, 4)])
def test_parts_of_different_packets_are_not_joined(lane, sequence):
    parts = Parts()
    assert parts.join(DataFrame(FIRST_PART, 7, 3, b"he"), 1.0) is None
    assert parts.join(DataFrame(LAST_PART, lane, sequence, b"llo"), 1.0) is None


def test_too_many_halves_push_out_the_oldest_and_no_other():
    parts = Parts()
    for sequence in range(LIMIT + 1):
        parts.join(DataFrame(FIRST_PART, 0, sequence, b"a"), 1.0)
    assert parts.join(DataFrame(LAST_PART, 0, 1, b"b"), 1.0) == b"ab"
    assert parts.join(DataFrame(LAST_PART, 0, 0, b"b"), 1.0) is None
    assert len(parts) <= LIMIT


def test_a_half_that_has_waited_too_long_is_joined_with_nothing():
    """Its lane's numbers have come round: the other half is of another packet."""
    parts = Parts()
    assert parts.join(DataFrame(FIRST_PART, 7, 3, b"he"), 1.0) is None
    assert parts.join(DataFrame(LAST_PART, 7, 3, b"rld"), 1.1 + LIFETIME) is None
    assert parts.join(DataFrame(FIRST_PART, 7, 3, b"wo"), 1.2 + LIFETIME) == b"world"
    assert len(parts) == 0
