"""The bytes on the wire: clear headers, frames, packet-number recovery. docs/protocol.md is its prose.

A transport datagram is a clear header of 10 bytes, sealed frames and a tag of 16 bytes. The header
(type, path id, receiver index, low 32 bits of the packet number; network byte order) is the AEAD's
associated data. The sealed part is a run of frames. Every frame is `type u8, length u16, body`, so that
an unknown one can be skipped; only DATA is different, because there is one per packet:

    1 L flags   [length u16, if L]   [order u24, in the first DATA of a datagram]   position u32   packet

`L` clear means "to the end of the datagram". `position` is lane (10 bits) and lane sequence (22 bits).
Numbers cut short on the wire (packet number, send order, lane sequence, receive time) are recovered
against the nearest expected value, as RFC 9000, appendix A.3, does for packet numbers.

Handshake messages have headers of their own: see envelope.

Nothing here keeps state. `WireError` is for a malformed plaintext of an authenticated peer: the session
counts the datagram as dropped and goes on.
"""

import struct
from struct import Struct
from typing import Final, NamedTuple

HEADER: Final = Struct(">BBII")
HEADER_SIZE: Final = 10
TAG_SIZE: Final = 16

PADDING, ACK, PING, ORDER, FORWARD, PATH, CONTROL, CLOSE = range(8)
STREAM, ETHERNET, PARITY = 8, 9, 10  # reserved for later versions, skipped by this one
DATA: Final = 0x80
HAS_LENGTH: Final = 0x40
UNORDERED: Final = 0x20
CSUM_PARTIAL: Final = 0x10
SEGMENT: Final = 0x08
LAST: Final = 0x04
FIRST_PART: Final = 0x02
LAST_PART: Final = 0x01

LANE_COUNT: Final = 1024
SEQUENCE_BITS: Final = 22
SEQUENCE_SPACE: Final = 1 << SEQUENCE_BITS
ORDER_SPACE: Final = 1 << 24
DATA_OVERHEAD: Final = 8  # type, send order, position: what a lone packet costs inside the seal
MINIMUM_PAYLOAD: Final = 32  # bytes; some carriers' NATs drop smaller datagrams

MAXIMUM_CLOSE_TEXT: Final = 100  # bytes
MAXIMUM_RANGES: Final = 32
MAXIMUM_ACK_DELAY: Final = 0xFFFF * 16e-6  # seconds; this value says "too long to be an RTT sample"

REPAIRS, UNTOLD = 0x8000, 0x7FFF  # in an ACK's hold: a flag, and the value that says nothing

CHALLENGE, CHALLENGE_RESPONSE, STATUS, ABANDON = range(4)  # kinds of PATH
CLOSE_SHUTDOWN, CLOSE_REPLACED, CLOSE_REVOKED = range(1, 4)

_FRAME: Final = Struct(">BH")
_ACK_HEAD: Final = Struct(">HHB")
_ACK_BLOCK: Final = Struct(">BIIHB")
_FORWARD_ITEM: Final = Struct(">II")
_STATUS: Final = Struct(">HBBHfI")
_U32: Final = Struct(">I")
_DATA_FIRST: Final = Struct(">BHBI")  # type, order high, order low, position
_DATA_FIRST_WORDS: Final = Struct(">II")  # the same
_DATA_FIRST_LENGTH: Final = Struct(">BHHBI")
_DATA_NEXT: Final = Struct(">BI")
_DATA_NEXT_LENGTH: Final = Struct(">BHI")


class WireError(Exception):
    """An authenticated plaintext that is no run of frames."""


class AckBlock(NamedTuple):
    """What an ACK says of one path.

    `largest` is the low 32 bits of the largest packet number received, `receive_time` its arrival in
    the receiver's clock (microseconds, modulo 2**32), `delay` the seconds it waited there; `ranges` are
    (first, last) distances below `largest`, nearest first: ((0, 4), (7, 7)) says largest-4..largest and
    largest-7.
    """

    path_id: int
    largest: int
    receive_time: int
    delay: float
    ranges: tuple[tuple[int, int], ...]


class AckFrame(NamedTuple):
    """One acknowledgement for all paths. `hold` (seconds, None = not told) is for the frame's reader;
    `repairs` tells him that what is missing will come again, or be called off by FORWARD."""

    number: int
    hold: float | None
    blocks: tuple[AckBlock, ...]
    repairs: bool = False


class PathStatus(NamedTuple):
    """What the client says of a path: `mtu` is the largest datagram (UDP payload bytes) it carries,
    `cap` a rate limit in bits per second (0 = none), `number` grows with every change."""

    number: int
    usable: bool
    tier: int
    mtu: int
    weight: float
    cap: int


class DataFrame(NamedTuple):
    """One packet, or one part of it, with its place in its lane."""

    flags: int
    lane: int
    sequence: int
    packet: bytes


class LoneRun(NamedTuple):
    """Packets that came in a datagram each; the first has send order (24 bits) and sequence given."""

    flags: int
    order: int
    lane: int
    sequence: int
    packets: list[bytes]


class Frames(NamedTuple):
    """A parsed plaintext: the send order (24 bits, None without DATA), packets, and other frames."""

    order: int | None
    data: list[DataFrame]
    others: list[tuple[int, bytes]]


def recover(truncated: int, expected: int, space: int) -> int:
    """Return the number nearest `expected` that is `truncated` modulo `space` (RFC 9000, A.3)."""
    candidate = (expected & -space) | truncated
    half = space >> 1
    if candidate + half <= expected:
        return candidate + space
    if candidate > expected + half and candidate >= space:
        return candidate - space
    return candidate


def frame(kind: int, body: bytes = b"") -> bytes:
    """Build any frame but DATA."""
    return _FRAME.pack(kind, len(body)) + body


def padding(length: int) -> bytes:
    """Build a PADDING frame that brings a payload of `length` bytes to MINIMUM_PAYLOAD."""
    missing = MINIMUM_PAYLOAD - length
    if missing <= 0:
        return b""
    return frame(PADDING, bytes(max(0, missing - _FRAME.size)))


def data_head(flags: int, position: int, order: int | None, length: int | None) -> bytes:
    """Build a DATA frame's head: with `order` for the first of a datagram, `length` unless it is last."""
    if length is None:
        if order is None:
            return _DATA_NEXT.pack(DATA | flags, position)
        order &= ORDER_SPACE - 1
        return _DATA_FIRST.pack(DATA | flags, order >> 8, order & 0xFF, position)
    if order is None:
        return _DATA_NEXT_LENGTH.pack(DATA | HAS_LENGTH | flags, length, position)
    order &= ORDER_SPACE - 1
    return _DATA_FIRST_LENGTH.pack(
        DATA | HAS_LENGTH | flags, length, order >> 8, order & 0xFF, position
    )


def lone_data(flags: int, lane: int, sequence: int, order: int) -> bytes:
    """Build the head of a DATA frame that is all there is in its datagram."""
    order &= ORDER_SPACE - 1
    place = lane << SEQUENCE_BITS | sequence & SEQUENCE_SPACE - 1
    return _DATA_FIRST.pack(DATA | flags, order >> 8, order & 0xFF, place)


def order_frame(order: int) -> bytes:
    """Build the marker by which an idle path takes part in the proof of loss (see lanes)."""
    return frame(ORDER, (order & (ORDER_SPACE - 1)).to_bytes(3, "big"))


def ack_frame(ack: AckFrame) -> bytes:
    """Build an ACK frame."""
    hold = UNTOLD if ack.hold is None else min(UNTOLD - 1, round(ack.hold * 1000))
    hold |= REPAIRS if ack.repairs else 0
    body = bytearray(_ACK_HEAD.pack(ack.number & 0xFFFF, hold, len(ack.blocks)))
    for path_id, largest, receive_time, delay, ranges in ack.blocks:
        ticks = min(0xFFFF, max(0, int(delay / 16e-6)))
        body += _ACK_BLOCK.pack(
            path_id, largest & 0xFFFFFFFF, receive_time & 0xFFFFFFFF, ticks, len(ranges)
        )
        at = 0
        for first, last in ranges:
            body += _varint(first - at) + _varint(last - first)
            at = last + 1
    return frame(ACK, bytes(body))


def forward_frame(items: list[tuple[int, int, int]]) -> bytes:
    """Build a FORWARD frame from (lane, first sequence, count) that will not come."""
    return frame(
        FORWARD, b"".join(_FORWARD_ITEM.pack(position(lane, first), n) for lane, first, n in items)
    )


def path_frame(kind: int, path_id: int, body: bytes = b"") -> bytes:
    """Build a PATH frame of a kind about a path (not always the one that carries it)."""
    return frame(PATH, bytes((kind, path_id)) + body)


def status_frame(path_id: int, status: PathStatus) -> bytes:
    """Build the PATH frame that tells the server what the client knows of a path."""
    number, usable, tier, mtu, weight, cap = status
    body = _STATUS.pack(number & 0xFFFF, usable, tier, mtu, weight, cap // 1000)
    return path_frame(STATUS, path_id, body)


def control_frame(number: int, message: bytes) -> bytes:
    """Build a CONTROL frame: message `number` (from 0, each resent until acknowledged)."""
    return frame(CONTROL, _U32.pack(number) + message)


def close_frame(reason: int, text: str = "") -> bytes:
    """Build a CLOSE frame."""
    return frame(CLOSE, bytes((reason,)) + text.encode()[:MAXIMUM_CLOSE_TEXT])


def position(lane: int, sequence: int) -> int:
    """Pack lane and lane sequence as a DATA frame carries them."""
    return lane << SEQUENCE_BITS | (sequence & (SEQUENCE_SPACE - 1))


def is_lone_data(payload: bytes) -> bool:
    """Is a plaintext one DATA frame with a whole packet, and nothing else?"""
    kind = payload[0]
    return (
        kind & (DATA | HAS_LENGTH | FIRST_PART | LAST_PART) == DATA
        and len(payload) > _DATA_FIRST.size
    )


def lone_runs(payloads: list[bytes]) -> "list[LoneRun]":
    """Take apart what `is_lone_data`; what follows each other in a lane and in send order as one."""
    runs: list[LoneRun] = []
    packets: list[bytes] = []
    expected = (-1, -1)
    unpack = _DATA_FIRST_WORDS.unpack_from
    for payload in payloads:
        # type and send order are one number, and so are lane and sequence
        head, place = unpack(payload)
        if (head, place) == expected:
            packets.append(payload[8:])
        else:
            packets = [payload[8:]]
            runs.append(
                LoneRun(
                    head >> 24 & 0x3F,
                    head & ORDER_SPACE - 1,
                    place >> SEQUENCE_BITS,
                    place & (SEQUENCE_SPACE - 1),
                    packets,
                )
            )
        # a sequence that wraps begins a run: else it would carry into the lane
        expected = (head + 1, place + 1 if place + 1 & SEQUENCE_SPACE - 1 else -1)
    return runs


def parse_frames(payload: bytes) -> Frames:
    """Split a plaintext into frames. Unknown types are kept for the caller to count.

    Raises WireError when the bytes are not a run of whole frames.
    """
    order: int | None = None
    data: list[DataFrame] = []
    others: list[tuple[int, bytes]] = []
    at, end = 0, len(payload)
    while at < end:
        kind = payload[at]
        if kind & DATA:
            stop = end
            start = at + 1
            if kind & HAS_LENGTH:
                stop = int.from_bytes(payload[start : start + 2], "big")
                start += 2
            if order is None:
                order = int.from_bytes(payload[start : start + 3], "big")
                start += 3
            place = int.from_bytes(payload[start : start + 4], "big")
            start += 4
            if kind & HAS_LENGTH:
                stop += start
            if start >= stop or stop > end:
                raise WireError("truncated DATA")
            data.append(
                DataFrame(
                    kind & 0x3F,
                    place >> SEQUENCE_BITS,
                    place & (SEQUENCE_SPACE - 1),
                    payload[start:stop],
                )
            )
            at = stop
        else:
            start = at + 3
            at = start + int.from_bytes(payload[at + 1 : start], "big")
            if start > end or at > end:
                raise WireError("truncated frame")
            if kind:
                others.append((kind, payload[start:at]))
    return Frames(order, data, others)


def parse_ack(body: bytes) -> AckFrame:
    """Read an ACK frame's body. Raises WireError."""
    try:
        number, hold, count = _ACK_HEAD.unpack_from(body)
        at = _ACK_HEAD.size
        blocks = []
        for _ in range(count):
            path_id, largest, receive_time, ticks, range_count = _ACK_BLOCK.unpack_from(body, at)
            at += _ACK_BLOCK.size
            if range_count > MAXIMUM_RANGES:
                raise WireError("too many ACK ranges")
            ranges = []
            below = 0
            for _ in range(range_count):
                gap, at = _read_varint(body, at)
                length, at = _read_varint(body, at)
                ranges.append((below + gap, below + gap + length))
                below += gap + length + 1
            blocks.append(AckBlock(path_id, largest, receive_time, ticks * 16e-6, tuple(ranges)))
    except (struct.error, IndexError) as error:
        raise WireError("truncated ACK") from error
    if at != len(body):
        raise WireError("bytes after ACK")
    repairs, hold = bool(hold & REPAIRS), hold & ~REPAIRS
    return AckFrame(number, None if hold == UNTOLD else hold / 1000, tuple(blocks), repairs)


def parse_forward(body: bytes) -> list[tuple[int, int, int]]:
    """Read a FORWARD frame's body as (lane, first sequence, count). Raises WireError."""
    if len(body) % _FORWARD_ITEM.size:
        raise WireError("truncated FORWARD")
    return [
        (place >> SEQUENCE_BITS, place & (SEQUENCE_SPACE - 1), count)
        for place, count in _FORWARD_ITEM.iter_unpack(body)
    ]


def parse_path(body: bytes) -> tuple[int, int, bytes]:
    """Read a PATH frame's body as (kind, path id, rest). Raises WireError."""
    if len(body) < 2:
        raise WireError("truncated PATH")
    kind, rest = body[0], body[2:]
    if kind in (CHALLENGE, CHALLENGE_RESPONSE) and len(rest) != 8:
        raise WireError("PATH token of a wrong length")
    return kind, body[1], rest


def parse_status(body: bytes) -> PathStatus:
    """Read what follows kind and path id in a PATH STATUS frame. Raises WireError."""
    if len(body) < _STATUS.size:
        raise WireError("truncated PATH STATUS")
    number, usable, tier, mtu, weight, cap = _STATUS.unpack_from(body)
    if not 0 < weight < 1e6:
        raise WireError("PATH STATUS weight out of range")
    return PathStatus(number, bool(usable), tier, mtu, weight, cap * 1000)


def parse_control(body: bytes) -> tuple[int, bytes]:
    """Read a CONTROL frame's body as (message number, message). Raises WireError."""
    if len(body) < 4:
        raise WireError("truncated CONTROL")
    return int.from_bytes(body[:4], "big"), body[4:]


def parse_close(body: bytes) -> tuple[int, str]:
    """Read a CLOSE frame's body as (reason, text fit for a log). Raises WireError."""
    if not body:
        raise WireError("truncated CLOSE")
    text = body[1 : 1 + MAXIMUM_CLOSE_TEXT].decode(errors="replace")
    return body[0], "".join(c if c.isprintable() else "?" for c in text)


def _varint(value: int) -> bytes:
    """RFC 9000, section 16, up to 30 bits: a distance between packet numbers never needs more."""
    if value < 0x40:
        return bytes((value,))
    if value < 0x4000:
        return (value | 0x4000).to_bytes(2, "big")
    return (min(value, 0x3FFFFFFF) | 0x80000000).to_bytes(4, "big")


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    first = body[at]
    size = 1 << (first >> 6)
    if at + size > len(body) or size == 8:
        raise WireError("bad variable-length integer")
    return int.from_bytes(body[at : at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size
