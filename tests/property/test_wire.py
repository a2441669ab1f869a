"""Codecs: what is built is read back, and any bytes are read or refused, never anything else."""

import contextlib
import math
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpbond.core import wire
from mpbond.core.wire import AckBlock, AckFrame, DataFrame, PathStatus, WireError

PARSERS = [
    wire.parse_frames,
    wire.parse_ack,
    wire.parse_forward,
    wire.parse_path,
    wire.parse_status,
    wire.parse_control,
    wire.parse_close,
]

u8, u16, u32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32))
lanes = st.integers(0, wire.LANE_COUNT - 1)
sequences = st.integers(0, wire.SEQUENCE_SPACE - 1)
orders = st.integers(0, wire.ORDER_SPACE - 1)
packets = st.builds(
    DataFrame, st.integers(0, 0x3F), lanes, sequences, st.binary(min_size=1, max_size=300)
)
others = st.tuples(st.integers(1, 0x7F), st.binary(max_size=40))
distances = st.integers(0, 100) | st.integers(0, 20_000) | st.integers(0, (1 << 29) - 1)


@st.composite
def blocks(draw):
    ranges, at = [], 0
    for gap, length in draw(st.lists(st.tuples(distances, distances), max_size=4)):
        ranges.append((at + gap, at + gap + length))
        at = ranges[-1][1] + 1
    ticks = draw(u16)
    return AckBlock(draw(u8), draw(u32), draw(u32), ticks * 16e-6, tuple(ranges))


@pytest.mark.parametrize("parse", PARSERS)
@given(data=st.binary(max_size=200))
@example(data=b"")
def test_any_bytes_are_read_or_refused(parse, data):
    with contextlib.suppress(WireError):
        assert parse(data) is not None


@given(st.binary(max_size=200))
def test_any_bytes_that_are_read_do_not_grow(data):
    with contextlib.suppress(WireError):
        frames = wire.parse_frames(data)
        kept = sum(len(item.packet) for item in frames.data) + sum(len(b) for _, b in frames.others)
        assert kept <= len(data)


@given(st.lists(packets, max_size=5), st.lists(others, max_size=5), orders, st.data())
def test_a_run_of_frames_is_read_back(data, other, order, draw):
    payload = built(data, other, order)
    frames = wire.parse_frames(payload)
    assert frames == wire.Frames(order if data else None, data, other)
    if payload:
        cut = draw.draw(st.integers(0, len(payload) - 1))
        with contextlib.suppress(WireError):
            shorter = wire.parse_frames(payload[:cut])
            assert shorter.data[:-1] == data[: max(0, len(shorter.data) - 1)]


@given(u16, st.none() | st.integers(0, 32766), st.lists(blocks(), max_size=5), st.booleans())
def test_an_ack_is_read_back(number, milliseconds, blocks, repairs):
    hold = None if milliseconds is None else milliseconds / 1000
    frame = wire.ack_frame(AckFrame(number, hold, tuple(blocks), repairs))
    ((kind, body),) = wire.parse_frames(frame).others
    read = wire.parse_ack(body)
    assert kind == wire.ACK
    assert (read.number, read.hold, read.repairs) == (number, hold, repairs)
    assert [block._replace(delay=0) for block in read.blocks] == [
        block._replace(delay=0) for block in blocks
    ]
    for got, given_ in zip(read.blocks, blocks, strict=True):
        assert math.isclose(got.delay, given_.delay, abs_tol=17e-6)


@given(st.lists(st.tuples(lanes, sequences, u32), max_size=20))
def test_a_forward_is_read_back(items):
    assert wire.parse_forward(wire.forward_frame(items)[3:]) == items


@given(u8, u16, st.booleans(), u8, u16, st.integers(0, (1 << 32) - 1), st.data())
def test_a_path_status_is_read_back(path_id, number, usable, tier, mtu, cap, data):
    weight = data.draw(st.floats(2**-7, 999_999, width=32))
    status = PathStatus(number, usable, tier, mtu, weight, cap * 1000)
    kind, read_id, rest = wire.parse_path(wire.status_frame(path_id, status)[3:])
    assert (kind, read_id) == (wire.STATUS, path_id)
    assert wire.parse_status(rest) == status


@given(st.binary(min_size=14, max_size=14))
def test_a_path_status_that_is_read_has_a_weight_to_divide_by(body):
    with contextlib.suppress(WireError):
        assert 0 < wire.parse_status(body).weight < 1e6
    assert struct.calcsize(">HBBHfI") == 14


@given(u8, st.text(max_size=200))
def test_a_close_is_read_back(reason, text):
    read, words = wire.parse_close(wire.close_frame(reason, text)[3:])
    assert read == reason
    assert words.isprintable()
    if text.isprintable() and len(text.encode()) <= wire.MAXIMUM_CLOSE_TEXT:
        assert words == text


@given(st.integers(1, 40).map(lambda bits: 1 << bits), st.integers(0, 1 << 62), st.data())
def test_a_number_within_half_its_space_of_the_expected_one_is_recovered(space, expected, data):
    nearest = data.draw(st.integers(max(0, expected - space // 2 + 1), expected + space // 2))
    assert wire.recover(nearest % space, expected, space) == nearest


@given(st.integers(1, 40).map(lambda bits: 1 << bits), st.integers(0, 1 << 62), st.integers(0))
def test_a_recovered_number_is_never_negative_and_has_the_bits_it_came_with(space, expected, any_):
    recovered = wire.recover(any_ % space, expected, space)
    assert recovered >= 0
    assert recovered % space == any_ % space


def built(data, other, order):
    payload = b"".join(wire.frame(kind, body) for kind, body in other)
    for at, (flags, lane, sequence, packet) in enumerate(data):
        payload += wire.data_head(
            flags,
            wire.position(lane, sequence),
            None if at else order,
            None if at == len(data) - 1 else len(packet),
        )
        payload += packet
    return payload
