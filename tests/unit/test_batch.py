"""The datagrams of one flush."""

from mpbond.core.batch import Batch
from mpbond.core.packet import NORMAL, Packet
from mpbond.core.path import Path, PathOptions
from mpbond.core.wire import (
    DATA_OVERHEAD,
    FIRST_PART,
    LAST_PART,
    PING,
    UNORDERED,
    frame,
    parse_frames,
)

ROOM = 100  # bytes of frames
LARGEST = ROOM - DATA_OVERHEAD


def test_packets_share_a_datagram_as_long_as_they_fit():
    batch, path = Batch(), path_of(0)
    packets = [packet(40, number) for number in range(3)]
    assert not batch.fits(packets[0], path)
    assert batch.add_packet(packets[0], path)
    assert batch.fits(packets[1], path)
    assert batch.add_packet(packets[1], path)
    assert not batch.fits(packets[2], path)
    assert batch.add_packet(packets[2], path)
    assert [builder.packets for builder in batch.finish()] == [packets[:2], packets[2:]]


def test_the_last_byte_decides_whether_a_packet_fits():
    batch, path = Batch(), path_of(0)
    batch.add_packet(packet(40), path)
    assert batch.fits(packet(ROOM - 48 - 7), path)
    assert not batch.fits(packet(ROOM - 48 - 6), path)


def test_each_path_has_a_datagram_of_its_own():
    batch, one, other = Batch(), path_of(0), path_of(1)
    packets = [packet(20, number) for number in range(4)]
    for at, item in enumerate(packets):
        batch.add_packet(item, (one, other)[at % 2])
    made = batch.finish()
    assert [(builder.path, builder.packets) for builder in made] == [
        (one, packets[::2]),
        (other, packets[1::2]),
    ]


def test_datagrams_leave_in_the_order_in_which_they_were_closed():
    batch, one, other = Batch(), path_of(0), path_of(1)
    for number, path in enumerate((one, other, one, one, other)):
        batch.add_packet(packet(LARGEST, number), path)
    sequences = [(made.path.id, made.packets[0].sequence) for made in batch.finish()]
    assert sequences[:3] == [(0, 0), (0, 2), (1, 1)]
    assert [path for path, _ in sequences].count(0) == 3
    for path in (0, 1):
        own = [sequence for at, sequence in sequences if at == path]
        assert own == sorted(own)


def test_what_is_planned_counts_every_packet_with_its_overhead():
    batch, path = Batch(), path_of(0)
    batch.add_packet(packet(40), path)
    assert path.planned == 40 + DATA_OVERHEAD
    batch.add_packet(packet(60), path)
    assert path.planned == 100 + 2 * DATA_OVERHEAD


def test_a_control_frame_shares_the_datagram_and_its_mark_to_be_resent_stays_with_it():
    batch, path = Batch(), path_of(0)
    item = frame(PING, b"x" * 10)
    builder = batch.add_frame(item, path, eliciting=True, resend=True)
    batch.add_packet(packet(40), path)
    (made,) = batch.finish()
    assert made is builder
    assert made.resend == (item,)
    read = parse_frames(made.close(order=1))
    assert (len(read.data), read.others) == (1, [(PING, b"x" * 10)])


def test_a_control_frame_that_does_not_fit_opens_another_datagram():
    batch, path = Batch(), path_of(0)
    batch.add_packet(packet(LARGEST), path)
    batch.add_frame(frame(PING), path, eliciting=False)
    first, second = batch.finish()
    assert (len(first.packets), first.eliciting) == (1, True)
    assert (len(second.packets), second.eliciting) == (0, False)


def test_an_open_datagram_without_content_does_not_leave():
    batch, path = Batch(), path_of(0)
    batch.begin(path)
    batch.close(path)
    batch.begin(path)
    assert batch.finish() == []


def test_a_packet_too_big_goes_in_two_parts_that_know_its_place():
    batch, path = Batch(), path_of(0)
    whole = packet(LARGEST + 1, 77)
    whole.flags, whole.sent, whole.tries = UNORDERED, 3.0, 2
    assert batch.add_packet(whole, path)
    first, last = (builder.packets[0] for builder in batch.finish())
    assert first.data + last.data == whole.data
    assert (first.flags, last.flags) == (UNORDERED | FIRST_PART, UNORDERED | LAST_PART)
    for part in (first, last):
        assert (part.lane, part.sequence, part.sent, part.tries) == (5, 77, 3.0, 2)
        assert part.kind == NORMAL
    assert path.planned == len(whole.data) + 2 * DATA_OVERHEAD
    assert not whole.flags & (FIRST_PART | LAST_PART)


def test_the_largest_packet_is_two_full_datagrams():
    batch, path = Batch(), path_of(0)
    assert batch.add_packet(packet(2 * LARGEST), path)
    assert not batch.add_packet(packet(2 * LARGEST + 1), path)
    assert [len(builder.packets[0].data) for builder in batch.finish()] == [LARGEST] * 2


def test_a_part_is_not_cut_again():
    batch, path = Batch(), path_of(0)
    part = packet(LARGEST + 1)
    part.flags = FIRST_PART
    assert not batch.add_packet(part, path)
    assert path.planned == 0
    assert batch.finish() == []


def path_of(path_id):
    return Path(path_id, 0, "home", PathOptions(mtu=ROOM + 26), 0.0)


def packet(size, sequence=0):
    made = Packet(bytes(at % 251 for at in range(size)), 9, NORMAL, 0.0)
    made.lane, made.sequence = 5, sequence
    return made
