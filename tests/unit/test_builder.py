"""Filling one datagram to its path's size and no further."""

import pytest

from mpbond.core.builder import Builder
from mpbond.core.packet import NORMAL, Packet
from mpbond.core.path import Path, PathOptions
from mpbond.core.wire import PING, UNORDERED, DataFrame, frame, parse_frames

ROOM = 100  # bytes of frames


def test_an_empty_datagram_with_a_control_frame_is_padded():
    builder = fresh()
    builder.add(frame(PING), eliciting=True)
    plain = builder.close(order=0)
    assert len(plain) == 32
    assert parse_frames(plain).others == [(PING, b"")]


def test_a_lone_packet_may_fill_the_datagram_exactly():
    builder = fresh()
    assert builder.fits_packet(ROOM - 8)
    assert not builder.fits_packet(ROOM - 7)
    builder.add_packet(packet(bytes(ROOM - 8)))
    assert len(builder.close(order=7)) == ROOM


@pytest.mark.parametrize("lengths", [(10, 71), (1, 1, 71), (40, 41), (20, 20, 20, 11)])
def test_the_size_that_is_counted_is_the_size_that_leaves(lengths):
    builder = fresh()
    for sequence, length in enumerate(lengths):
        assert builder.fits_packet(length)
        builder.add_packet(packet(bytes(length), sequence))
    plain = builder.close(order=7)
    assert len(plain) == builder.size <= ROOM
    assert [len(item.packet) for item in parse_frames(plain).data] == list(lengths)


def test_a_second_packet_needs_seven_bytes_more():
    builder = fresh()
    builder.add_packet(packet(bytes(40)))
    assert builder.fits_packet(ROOM - 48 - 7)
    assert not builder.fits_packet(ROOM - 48 - 6)


def test_control_frames_stand_before_packets_and_take_their_room():
    builder = fresh()
    builder.add_packet(packet(b"packet"))
    builder.add(frame(PING, b"x" * 20), eliciting=False)
    plain = builder.close(order=9)
    assert parse_frames(plain) == (9, [DataFrame(0, 1, 0, b"packet")], [(PING, b"x" * 20)])
    assert plain[0] == PING


def test_a_control_frame_fits_to_the_last_byte():
    builder = fresh()
    assert builder.fits(bytes(ROOM))
    assert not builder.fits(bytes(ROOM + 1))


def test_it_knows_what_must_be_acknowledged_and_what_must_be_sent_again():
    builder = fresh()
    builder.add(b"ack", eliciting=False)
    assert not builder.eliciting
    builder.add(b"one", eliciting=True, resend=True)
    builder.add(b"two", eliciting=True, resend=True)
    assert builder.eliciting
    assert builder.resend == (b"one", b"two")


def test_it_leaves_for_its_paths_address_unless_another_is_named():
    path = Path(0, 0, "home", PathOptions(), 0.0)
    assert Builder(path).address == "home"
    assert Builder(path, "elsewhere").address == "elsewhere"


def test_packets_leave_in_the_order_they_were_added_each_with_its_place_and_flags():
    builder = fresh()
    added = [packet(b"one", 4), packet(b"three", 1 << 21, lane=1023), packet(b"5", 0, lane=0)]
    added[1].flags = UNORDERED
    for item in added:
        builder.add_packet(item)
    assert builder.packets == added
    assert builder.eliciting
    assert parse_frames(builder.close(order=9)) == (
        9,
        [
            DataFrame(0, 1, 4, b"one"),
            DataFrame(UNORDERED, 1023, 1 << 21, b"three"),
            DataFrame(0, 0, 0, b"5"),
        ],
        [],
    )


def packet(data, sequence=0, *, lane=1):
    made = Packet(data, 7, NORMAL, 0.0)
    made.lane, made.sequence = lane, sequence
    return made


def fresh():
    return Builder(Path(0, 0, "home", PathOptions(mtu=ROOM + 26), 0.0))
