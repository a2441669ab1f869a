"""Sealing and opening of datagrams under one key: the Python twin (core.kernel chooses).

A datagram is its clear header, the sealed frames and a tag. The header is associated data; the nonce is
`path id ‖ 64-bit packet number`, three zero bytes before it (docs/protocol.md). Frames to be sealed are
one buffer, or a list or tuple of buffers that stand behind each other in the datagram, so that nobody
needs to put a head before a packet first.

Runs are for UDP segmentation and receive offload, where one buffer holds many datagrams of a path: one
call for all of them, and one object.
"""

from collections.abc import Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812 (struct names it like a variable)
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from mpbond.core.envelope import TRANSPORT
from mpbond.core.segments import Cut
from mpbond.core.unfinished import Unfinished
from mpbond.core.wire import (
    HEADER,
    HEADER_SIZE,
    SEGMENT,
    TAG_SIZE,
    LoneRun,
    is_lone_data,
    lone_data,
    lone_runs,
    recover,
)

Buffer = bytes | bytearray | memoryview
Plain = Buffer | list[bytes] | tuple[Buffer, ...]

CLASSES: dict[str, type[AESGCM] | type[ChaCha20Poly1305]] = {
    "AES-256-GCM": AESGCM,
    "ChaCha20-Poly1305": ChaCha20Poly1305,
}
KEY_SIZE = 32
SMALLEST = HEADER_SIZE + TAG_SIZE + 1  # bytes; a datagram without frames says nothing

_NONCE = Struct(">3xBQ")
_LOW = Struct(">I")  # what a header has of the number
_PN_SPACE = 1 << 32
_NEAR = 1 << 31
_NUMBERS = 1 << 64
_SAME = 6  # bytes of a header that all datagrams of a run share: all but the number


class Arrival(NamedTuple):
    """So many datagrams of one path, with consecutive packet numbers from `number` on, `size` bytes.

    `run` has their packets if each carried one alone, in order (those with SEGMENT as Unfinished).
    Anything else is a datagram by itself: `plain` are its frames, None if the tag is wrong.
    """

    number: int
    datagrams: int
    size: int
    plain: bytes | None
    run: LoneRun | None


class Aead:
    """One key. Raises KeyError for a cipher's unknown name and ValueError for a key of a wrong size."""

    __slots__ = ("_cipher",)

    def __init__(self, name: str, key: bytes) -> None:
        aead = CLASSES[name]
        if len(key) != KEY_SIZE:
            raise ValueError("a key has 32 bytes")
        self._cipher = aead(key)

    def seal(self, index: int, batch: Sequence[tuple[int, int, Plain]]) -> list[bytes]:
        """Seal (path id, packet number, frames) into datagrams for a receiver index.

        Raises OverflowError for a number that does not fit its field.
        """
        encrypt = self._cipher.encrypt
        datagrams = []
        try:
            for path_id, number, frames in batch:
                header = HEADER.pack(TRANSPORT, path_id, index, number & 0xFFFFFFFF)
                plain = b"".join(frames) if isinstance(frames, list | tuple) else frames
                datagrams.append(header + encrypt(_NONCE.pack(path_id, number), plain, header))
        except StructError as error:
            raise OverflowError(*error.args) from None
        return datagrams

    def seal_run(self, index: int, path_id: int, first: int, run: Sequence[Plain]) -> bytes:
        """Seal frames into datagrams with consecutive numbers, behind each other in one buffer.

        Raises ValueError unless all are equally long but the last, which may be shorter.
        """
        batch = [(path_id, first + at, frames) for at, frames in enumerate(run)]
        datagrams = self.seal(index, batch)
        if datagrams:
            size = len(datagrams[0])
            if any(len(datagram) != size for datagram in datagrams[:-1]):
                raise ValueError("the datagrams of a run differ in length")
            if len(datagrams[-1]) > size:
                raise ValueError("the datagrams of a run differ in length")
        return b"".join(datagrams)

    def seal_train(
        self,
        index: int,
        path_id: int,
        number: int,
        flags: int,
        lane: int,
        sequence: int,
        order: int,
        source: Cut | list[bytes],
        first: int,
        count: int,
    ) -> bytes:
        """Seal packets, or segments of a super-packet, each alone in its datagram, as one buffer.

        Number, lane sequence and send order are the first one's; the others count up from it. Raises
        IndexError where there are not so many, and ValueError unless all are equally long but the last,
        which may be shorter.
        """
        there = len(source) if isinstance(source, list) else source.count
        if first < 0 or count < 0 or first + count > there:
            raise IndexError("there are no such packets")
        taken = slice(first, first + count)
        packets = source[taken] if isinstance(source, list) else source.segments(first, count)
        run = [
            (lone_data(flags, lane, sequence + at, order + at), data)
            for at, data in enumerate(packets)
        ]
        return self.seal_run(index, path_id, number, run)

    def open(self, batch: Sequence[tuple[int, int, Buffer]]) -> list[bytes | None]:
        """Open (path id, packet number, datagram) into frames; None where the tag is wrong.

        Raises OverflowError for a number that does not fit its field.
        """
        decrypt = self._cipher.decrypt
        opened: list[bytes | None] = []
        for path_id, number, datagram in batch:
            try:
                nonce = _NONCE.pack(path_id, number)
            except StructError as error:
                raise OverflowError(*error.args) from None
            try:
                opened.append(decrypt(nonce, datagram[HEADER_SIZE:], datagram[:HEADER_SIZE]))
            except InvalidTag:
                opened.append(None)
        return opened

    def open_run(
        self, buffer: Buffer, segment_size: int, at: int, expected: int
    ) -> tuple[int, list[Arrival]]:
        """Open a run of datagrams that stand every `segment_size` bytes in a buffer, from `at` on.

        `expected` is the packet number after the largest so far of the path that the datagram at `at`
        names. The run ends before a datagram whose header differs in anything but its number, that is
        too short to hold a frame, or whose number is not above all authentic ones before it: so nothing
        in it can be a replay. Returns where that is, and what came. Raises ValueError for a place that is
        not in the buffer.
        """
        if segment_size <= 0 or not 0 <= at <= len(buffer):
            raise ValueError("no such place in the buffer")
        if not 0 <= expected < _NUMBERS:
            raise OverflowError("a packet number has 64 bits")
        whole = bytes(buffer)
        end, decrypt, unpack = len(whole), self._cipher.decrypt, _LOW.unpack_from
        same, path_id = whole[at : at + _SAME], whole[at + 1] if at + 1 < end else 0
        opened: list[tuple[int, int, bytes | None]] = []
        while at < end:
            stop = at + segment_size
            if stop > end:
                stop = end
            if stop - at < SMALLEST or not whole.startswith(same, at):
                break
            (low,) = unpack(whole, at + _SAME)
            number = expected & -_PN_SPACE | low
            if not expected <= number < expected + _NEAR:  # else it is the nearest as it stands
                number = recover(low, expected, _PN_SPACE)
            if not expected <= number < _NUMBERS:
                break
            plain: bytes | None
            try:
                nonce = _NONCE.pack(path_id, number)
                start = at + HEADER_SIZE
                plain = decrypt(nonce, whole[start:stop], whole[at:start])
                expected = number + 1
            except InvalidTag:
                plain = None
            opened.append((number, stop - at, plain))
            at = stop
        return at, _arrivals(opened)


def _arrivals(opened: list[tuple[int, int, bytes | None]]) -> list[Arrival]:
    """Tell (number, size, plaintext) of datagrams, neighbours that make a run as one."""
    arrivals: list[Arrival] = []
    at, end = 0, len(opened)
    while at < end:
        number, size, plain = opened[at]
        plains = []
        stop = at
        while plain is not None and is_lone_data(plain):
            plains.append(plain)
            stop += 1
            number += 1
            if stop == end or opened[stop][0] != number:
                break
            plain = opened[stop][2]
        if not plains:
            arrivals.append(Arrival(number, 1, size, plain, None))
            at += 1
        for run in lone_runs(plains):
            count = len(run.packets)
            size = sum([size for _, size, _ in opened[at : at + count]])
            packets: list[bytes] = run.packets
            if run.flags & SEGMENT:
                packets = [Unfinished(packet) for packet in packets]
            told = run._replace(packets=packets)
            arrivals.append(Arrival(opened[at][0], count, size, None, told))
            at += count
    return arrivals
