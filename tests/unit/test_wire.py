"""The bytes of every frame, literally as docs/protocol.md gives them."""

import struct

import pytest

from mpbond.core import wire
from mpbond.core.wire import AckBlock, AckFrame, DataFrame, PathStatus, WireError


def test_the_clear_header_is_ten_bytes():
    header = wire.HEADER.pack(4, 2, 0xAABBCCDD, 0x01020304)
    assert header == bytes.fromhex("04 02 aabbccdd 01020304")
    assert wire.HEADER_SIZE == 10


def test_a_frame_is_type_length_and_body():
    assert wire.frame(wire.PING) == bytes.fromhex("02 0000")
    assert wire.close_frame(1, "bye") == bytes.fromhex("07 0004 01") + b"bye"


@pytest.mark.parametrize("length", [0, 1, 28, 29, 31])
def test_a_short_payload_is_padded_to_32_bytes_or_by_the_smallest_padding_that_can(length):
    padded = length + len(wire.padding(length))
    assert padded == max(32, length + 3)


def test_a_payload_of_32_bytes_is_not_padded():
    assert wire.padding(32) == b""
    assert wire.padding(1400) == b""


def test_a_lone_packet_takes_eight_bytes_of_head():
    head = wire.data_head(wire.UNORDERED, wire.position(5, 9), 0x0A0B0C, None)
    assert head == bytes.fromhex("a0 0a0b0c 01400009")
    assert len(head) == wire.DATA_OVERHEAD


def test_only_the_first_packet_of_a_datagram_carries_the_send_order_and_the_last_no_length():
    payload = b"".join(
        [
            wire.data_head(0, wire.position(1, 7), 258, 3) + b"abc",
            wire.data_head(0, wire.position(2, 8), None, 2) + b"de",
            wire.data_head(0, wire.position(3, 9), None, None) + b"the rest",
        ]
    )
    assert payload[:10] == bytes.fromhex("c0 0003 000102 00400007")
    assert wire.parse_frames(payload) == wire.Frames(
        258,
        [
            DataFrame(0, 1, 7, b"abc"),
            DataFrame(0, 2, 8, b"de"),
            DataFrame(0, 3, 9, b"the rest"),
        ],
        [],
    )


def test_orders_and_sequences_are_cut_to_their_width():
    head = wire.data_head(
        0, wire.position(1023, wire.SEQUENCE_SPACE + 1), wire.ORDER_SPACE + 2, None
    )
    assert wire.parse_frames(head + b"x") == wire.Frames(2, [DataFrame(0, 1023, 1, b"x")], [])
    assert wire.order_frame(wire.ORDER_SPACE + 5) == bytes.fromhex("03 0003 000005")


def test_padding_vanishes_and_unknown_frames_are_kept_for_counting():
    payload = wire.frame(wire.PADDING, b"\0\0") + wire.frame(99, b"new") + wire.frame(wire.PING)
    assert wire.parse_frames(payload).others == [(99, b"new"), (wire.PING, b"")]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param("02", id="a type alone"),
        pytest.param("02 00", id="half a length"),
        pytest.param("02 0001", id="a body that is missing"),
        pytest.param("80 000001 00000000", id="a packet of no bytes"),
        pytest.param("80 000001 0000", id="half a position"),
        pytest.param("c0 0002 000001 00000000 61", id="a packet shorter than its length"),
        pytest.param("c0 0000 000001 00000000", id="a packet of length zero"),
    ],
)
def test_what_ends_too_early_is_no_run_of_frames(payload):
    with pytest.raises(WireError, match="truncated"):
        wire.parse_frames(bytes.fromhex(payload))


def test_an_ack_of_one_path_byte_by_byte():
    block = AckBlock(3, 0x1_0000_0007, 2_000_000, 0.0016, ((0, 4), (7, 7), (100, 199)))
    built = wire.ack_frame(AckFrame(0x1_0002, 0.100, (block,)))
    # distances: a gap below the range before, then how many more numbers the range has
    assert built == bytes.fromhex(
        "01 0019 0002 0064 01  03 00000007 001e8480 0064 03  0004 0200 405c 4063"
    )
    assert wire.parse_ack(built[3:]) == AckFrame(
        2, 0.1, (AckBlock(3, 7, 2_000_000, pytest.approx(0.0016), block.ranges),)
    )


@pytest.mark.parametrize("repairs", [False, True])
def test_the_hold_of_an_ack_may_be_absent_and_is_cut_to_what_15_bits_say(repairs):
    for told, heard in (
        (None, None),
        (0.0, 0.0),
        (32.766, 32.766),
        (32.767, 32.766),
        (1e3, 32.766),
    ):
        built = wire.ack_frame(AckFrame(1, told, (), repairs))
        assert wire.parse_ack(built[3:]) == AckFrame(1, heard, (), repairs)


def test_the_topmost_bit_of_the_hold_says_that_the_sender_repairs():
    built = wire.ack_frame(AckFrame(0x1_0002, 0.100, (), repairs=True))
    assert built == bytes.fromhex("01 0005 0002 8064 00")
    assert wire.parse_ack(bytes.fromhex("0002 0064 00")).repairs is False
    assert wire.parse_ack(bytes.fromhex("0002 ffff 00")) == AckFrame(2, None, (), True)


def test_a_delay_too_long_for_16_bits_says_so():
    for delay in (2.0, 1.04856):
        built = wire.ack_frame(AckFrame(1, None, (AckBlock(0, 1, 1, delay, ((0, 0),)),)))
        assert wire.parse_ack(built[3:]).blocks[0].delay == wire.MAXIMUM_ACK_DELAY


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("0001 ffff", "truncated ACK"),
        ("0001 ffff 01", "truncated ACK"),
        ("0001 ffff 01 00 00000001 00000001 0000 01", "truncated ACK"),
        ("0001 ffff 01 00 00000001 00000001 0000 01 00 40", "bad variable-length integer"),
        ("0001 ffff 01 00 00000001 00000001 0000 01 00 c0", "bad variable-length integer"),
        ("0001 ffff 00 00", "bytes after ACK"),
        ("0001 ffff 01 00 00000001 00000001 0000 21" + "0000" * 33, "too many ACK ranges"),
    ],
)
def test_a_bad_ack_is_refused(body, sentence):
    with pytest.raises(WireError, match=sentence):
        wire.parse_ack(bytes.fromhex(body))


def test_a_forward_byte_by_byte():
    built = wire.forward_frame([(1, 2, 3), (1023, 0x3FFFFF, 1)])
    assert built == bytes.fromhex("04 0010 00400002 00000003 ffffffff 00000001")
    assert wire.parse_forward(built[3:]) == [(1, 2, 3), (1023, 0x3FFFFF, 1)]
    with pytest.raises(WireError, match="truncated FORWARD"):
        wire.parse_forward(built[3:-1])


def test_a_challenge_carries_eight_bytes_and_no_other_number():
    built = wire.path_frame(wire.CHALLENGE, 5, b"12345678")
    assert built == bytes.fromhex("05 000a 00 05") + b"12345678"
    assert wire.parse_path(built[3:]) == (wire.CHALLENGE, 5, b"12345678")
    for kind in (wire.CHALLENGE, wire.CHALLENGE_RESPONSE):
        for token in (b"1234567", b"123456789"):
            with pytest.raises(WireError, match="token of a wrong length"):
                wire.parse_path(bytes((kind, 5)) + token)


def test_a_path_frame_without_a_path_is_refused():
    with pytest.raises(WireError, match="truncated PATH"):
        wire.parse_path(b"\x02")


def test_a_path_status_byte_by_byte():
    status = PathStatus(0x1_0003, True, 1, 1472, 8.0, 2_000_000)
    built = wire.status_frame(5, status)
    assert built == bytes.fromhex("05 0010 02 05  0003 01 01 05c0 41000000 000007d0")
    kind, path_id, rest = wire.parse_path(built[3:])
    assert (kind, path_id) == (wire.STATUS, 5)
    assert wire.parse_status(rest) == status._replace(number=3)


@pytest.mark.parametrize("weight", [0.0, -1.0, 1e6, float("inf"), float("nan")])
def test_a_weight_that_no_scheduler_could_use_is_refused(weight):
    with pytest.raises(WireError, match="weight out of range"):
        wire.parse_status(struct.pack(">HBBHfI", 1, 1, 0, 1472, weight, 0))


def test_a_short_path_status_is_refused():
    with pytest.raises(WireError, match="truncated PATH STATUS"):
        wire.parse_status(bytes(13))


def test_a_control_message_carries_its_number():
    built = wire.control_frame(258, b"map")
    assert built == bytes.fromhex("06 0007 00000102") + b"map"
    assert wire.parse_control(built[3:]) == (258, b"map")
    with pytest.raises(WireError, match="truncated CONTROL"):
        wire.parse_control(b"\0\0\0")


def test_the_words_of_a_close_are_cut_to_100_bytes_and_read_whatever_they_are():
    built = wire.close_frame(wire.CLOSE_REVOKED, "x" * 300)
    assert wire.parse_close(built[3:]) == (wire.CLOSE_REVOKED, "x" * 100)
    assert wire.parse_close(b"\x01\xff") == (wire.CLOSE_SHUTDOWN, "\ufffd")
    with pytest.raises(WireError, match="truncated CLOSE"):
        wire.parse_close(b"")


@pytest.mark.parametrize(
    ("truncated", "expected", "number"),
    [
        (0, 0, 0),
        (5, 0, 5),
        (0xFE, 0, 0xFE),  # there is nothing below zero to choose
        (0x03, 0x1FE, 0x203),
        (0xFE, 0x203, 0x1FE),
        (0x80, 0x200, 0x280),  # half a space ahead is still ahead
        (0x81, 0x200, 0x181),
        (0x80, 0x201, 0x280),
        (0x00, 0x1FF, 0x200),
    ],
)
def test_a_number_cut_to_eight_bits_is_the_nearest_one_to_what_is_expected(
    truncated, expected, number
):
    assert wire.recover(truncated, expected, 0x100) == number


def test_the_example_of_rfc_9000_is_recovered():
    assert wire.recover(0x9B32, 0xA82F30EA + 1, 1 << 16) == 0xA82F9B32


def test_packets_that_follow_each_other_are_one_run_and_a_sequence_that_goes_round_begins_another():
    last = wire.SEQUENCE_SPACE - 1
    places = [(8, 6, last - 1, 3), (8, 6, last, 4), (8, 7, 0, 5), (8, 7, 1, 6), (0, 7, 2, 7)]
    plains = [wire.lone_data(*place) + b"packet" for place in places]
    assert [
        (run.lane, run.sequence, run.order, len(run.packets)) for run in wire.lone_runs(plains)
    ] == [
        (6, last - 1, 3, 2),
        (7, 0, 5, 2),
        (7, 2, 7, 1),
    ]
