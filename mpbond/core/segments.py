"""Inner packets that stand for several: cut for the wire and put together again, payloads untouched.

A kernel with segmentation offload hands over up to 64 KB of a flow at once, with the size to cut it to, and
leaves checksums to whoever sends it. `Cut` makes segments of that: copies of the headers with their own
length, sequence number and flags. Their checksums stay unfinished: the datagram's tag already covers them,
so the far side writes them, and once for a whole run: `join` puts neighbouring segments of a flow together
again, as a receiver's kernel would (GRO), and `finish` does what is left where the device does not.

`from_vnet` and `to_vnet` translate between packets and the header that a device with offloads puts before
them (virtio 1.2, 5.1.6; Linux, tun.rst). TCP and UDP over IPv4 and IPv6 without extension headers are cut;
everything else stays whole and is finished where it comes in.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from mpbond.core.flow import TCP, UDP
from mpbond.core.unfinished import Unfinished

VNET: Final = Struct(
    "=BBHHHH"
)  # flags, kind, length of headers, segment size, checksum's start, its place
NEEDS_CHECKSUM: Final = 1
NO_CUT, TCP4, TCP6, UDP_CUT = 0, 1, 4, 5  # kinds of VIRTIO_NET_HDR_GSO
CONGESTED: Final = 0x80  # together with a kind: the segments' first carries CWR
MAXIMUM_PACKET: Final = 65535  # bytes
MAXIMUM_DATAGRAMS: Final = 64  # in a run of UDP: what kernels before 6.9 take

_FIN, _PSH, _ACK, _ECE, _CWR = 0x01, 0x08, 0x10, 0x40, 0x80
_DF: Final = 0x40
_U16, _U32 = Struct(">H"), Struct(">I")
_PLACES = {TCP: 16, UDP: 6}  # of the checksum in a transport header


class Place(NamedTuple):
    """Where things stand in a packet: its `protocol`, `transport` and `payload` begin there (bytes)."""

    protocol: int
    transport: int
    payload: int


def place_of(packet: bytes) -> Place | None:
    """Return where headers and payload begin; None for what is never cut: not TCP or UDP, or odd."""
    size = len(packet)
    if not 28 <= size <= MAXIMUM_PACKET:
        return None
    first = packet[0]
    if first >> 4 == 4:
        transport, protocol = (first & 0x0F) * 4, packet[9]
        if transport < 20 or packet[6] & 0x3F or packet[7]:
            return None
    elif first >> 4 == 6 and size >= 48:
        transport, protocol = 40, packet[6]
    else:
        return None
    if protocol == UDP:
        payload = transport + 8
    elif protocol == TCP and size >= transport + 20:
        payload = transport + (packet[transport + 12] >> 4) * 4
        if payload < transport + 20:
            return None
    else:
        return None
    return Place(protocol, transport, payload) if payload <= size else None


class Cut:
    """Cuts a super-packet into `count` segments, `total` bytes; each is a packet but for its checksums.

    `size` is how many bytes of payload each carries, the last perhaps fewer.
    """

    __slots__ = (
        "_first",
        "_identity",
        "_last",
        "_middle",
        "_place",
        "_sequence",
        "count",
        "packet",
        "size",
        "total",
    )

    def __init__(self, packet: Unfinished) -> None:
        """Raises ValueError if the packet is not one that can be cut."""
        place = place_of(packet)
        payload = 0 if place is None else len(packet) - place.payload
        size = min(packet.segment_size, payload)
        if place is None or size <= 0:
            raise ValueError("not a packet that can be cut")
        self.packet, self._place, self.size = packet, place, size
        self.count = -(-payload // size)
        self.total = payload + self.count * place.payload
        self._first = b""

    def _prepare(self) -> None:
        """Make the headers, when they are first needed."""
        packet, place, size = self.packet, self._place, self.size
        head = packet[: place.payload]
        rest = len(packet) - place.payload - (self.count - 1) * size
        self._sequence = None
        self._identity = None
        if packet[0] >> 4 == 4 and not packet[6] & _DF:
            self._identity = _U16.unpack_from(packet, 4)[0]
        if place.protocol == UDP:
            self._first = self._middle = _with_length(head, place, size)
            self._last = _with_length(head, place, rest)
            return
        self._sequence = _U32.unpack_from(packet, place.transport + 4)[0]
        flags = packet[place.transport + 13]
        self._first = _with_flags(_with_length(head, place, size), place, flags & ~(_FIN | _PSH))
        self._middle = _with_flags(self._first, place, flags & ~(_FIN | _PSH | _CWR))
        last = flags if self.count == 1 else flags & ~_CWR
        self._last = _with_flags(_with_length(head, place, rest), place, last)

    def size_of(self, index: int) -> int:
        """Return how many bytes a segment has."""
        at = self._place.payload + index * self.size
        return self._place.payload + min(self.size, len(self.packet) - at)

    def segment(self, index: int) -> bytes:
        """Return one segment."""
        if not self._first:
            self._prepare()
        last = index == self.count - 1
        head = self._last if last else self._middle if index else self._first
        size = self.size
        at = self._place.payload + index * size
        if self._identity is not None:
            identity = _U16.pack((self._identity + index) & 0xFFFF)
            head = head[:4] + identity + head[6:]
        if self._sequence is None:
            return head + self.packet[at : at + size]
        sequence = _U32.pack((self._sequence + index * size) & 0xFFFFFFFF)
        where = self._place.transport + 4
        return head[:where] + sequence + head[where + 4 :] + self.packet[at : at + size]

    def segments(self, first: int, count: int) -> list[bytes]:
        """Return `count` segments from number `first` on."""
        made = [self.segment(index) for index in (first, first + count - 1)[:count]]
        if count <= 2 or self._sequence is None or self._identity is not None:
            return made[:1] + [self.segment(index) for index in range(first + 1, first + count)]
        where = self._place.transport + 4
        before, behind = self._middle[:where], self._middle[where + 4 :]
        packet, size = self.packet, self.size
        at = self._place.payload + (first + 1) * size
        sequence = self._sequence + (first + 1) * size
        pack = _U32.pack
        middle = [
            before
            + pack(sequence + more & 0xFFFFFFFF)
            + behind
            + packet[at + more : at + more + size]
            for more in range(0, (count - 2) * size, size)
        ]
        return [made[0], *middle, made[1]]


def cut(packet: bytes, segment_size: int, first: int, count: int) -> list[bytes]:
    """Return `count` segments from `first` on; see Cut. Raises IndexError where there are not so many.

    Raises ValueError if the packet is not one that can be cut.
    """
    if isinstance(packet, Unfinished) and packet.segment_size == segment_size:
        whole = packet
    else:
        whole = Unfinished(packet)
        whole.segment_size = segment_size
    segments = Cut(whole)
    if first < 0 or count < 0 or first + count > segments.count:
        raise IndexError("a packet has no such segments")
    return segments.segments(first, count)


def join(packets: Sequence[bytes]) -> list[bytes]:
    """Put segments of a flow that follow each other together again; other flows' may stand between.

    Everything else passes as it is. Within a flow the order stays.
    """
    runs: list[_Run | bytes] = []
    latest: dict[bytes, _Run] = {}  # of each flow
    at, end = 0, len(packets)
    while at < end:
        packet = packets[at]
        at += 1
        if type(packet) is not Unfinished:
            runs.append(packet)
            if latest:
                latest.pop(_ends(packet), None)
            continue
        ends = _ends(packet)
        run = latest.get(ends)
        if run is None or not run.add(packet):
            run = latest[ends] = _Run(packet)
            runs.append(run)
            at = run.extend(packets, at)
    return [run.whole() if isinstance(run, _Run) else run for run in runs]


def finish(packet: bytes) -> list[bytes]:
    """Cut a packet and write all checksums: for a device that takes no others."""
    if not isinstance(packet, Unfinished):
        return [packet]
    if not packet.segment_size:
        return [_finished(packet)]
    cut = Cut(packet)
    return [_finished(cut.segment(index)) for index in range(cut.count)]


def from_vnet(header: bytes, packet: bytes) -> bytes | None:
    """Take what a device with offloads gave; None if nothing can be made of it.

    A packet that lacks only its checksum gets it here unless it is of TCP or UDP.
    """
    flags, kind, _, size, start, offset = VNET.unpack(header)
    if kind & ~CONGESTED == NO_CUT:
        if not flags & NEEDS_CHECKSUM:
            return packet
        place = place_of(packet)
        if place is not None and (place.transport, _PLACES[place.protocol]) == (start, offset):
            return Unfinished(packet)
        at = start + offset
        if at + 2 > len(packet):
            return None
        # the kernel has put the pseudo-header's sum there
        check = 0xFFFF - _sum(packet[start:])
        return packet[:at] + _U16.pack(check or 0xFFFF) + packet[at + 2 :]
    place = place_of(packet)
    if place is None or not size or len(packet) == place.payload:
        return None
    whole = Unfinished(packet)
    if len(packet) - place.payload > size:
        whole.segment_size = size
    return whole


def to_vnet(packet: bytes) -> tuple[bytes, bytes]:
    """Return the header for a device with offloads, and the packet as it wants to see it."""
    if not isinstance(packet, Unfinished):
        return _PLAIN, packet
    place = place_of(packet)
    if place is None:
        return _PLAIN, packet
    protocol, transport, payload = place
    offset = _PLACES[protocol]
    kind, size = NO_CUT, packet.segment_size
    if size:
        version6 = packet[0] >> 4 == 6
        kind = UDP_CUT if protocol == UDP else TCP6 if version6 else TCP4
        if protocol == TCP and packet[transport + 13] & _CWR:
            kind |= CONGESTED
    head = _with_length(packet[:payload], place, len(packet) - payload)
    at = transport + offset
    pseudo = _pseudo(head, place, len(packet) - transport)
    head = head[:at] + _U16.pack(pseudo) + head[at + 2 :]
    header = VNET.pack(NEEDS_CHECKSUM, kind, payload if size else 0, size, transport, offset)
    return header, head + packet[payload:]


_PLAIN = bytes(VNET.size)


class _Run:
    """Segments of one flow that follow each other."""

    __slots__ = ("_bytes", "_first", "_flags", "_next", "_parts", "_place", "_size")

    def __init__(self, first: Unfinished) -> None:
        self._first = first
        self._parts: list[bytes] = [first]
        self._place = place = place_of(first)
        if place is None or first.segment_size or not _may_be_followed(first, place):
            self._place = None  # nothing joins
            return
        self._bytes = len(first)
        self._size = len(first) - place.payload
        self._flags = self._next = 0
        if place.protocol == TCP:
            self._flags = first[place.transport + 13]
            self._next = _U32.unpack_from(first, place.transport + 4)[0] + self._size

    def add(self, packet: Unfinished) -> bool:
        """Append a segment if it is the next one."""
        place = self._place
        if place is None or packet.segment_size:
            return False
        _, transport, payload = place
        size = len(packet) - payload
        if not 0 < size <= self._size or self._bytes + size > MAXIMUM_PACKET:
            return False
        first = self._first
        if packet[0] >> 4 == 4:
            alike = packet[:2] == first[:2] and packet[6:9] == first[6:9]
        else:
            alike = packet[:4] == first[:4] and packet[7] == first[7]
        if not alike:
            return False
        if place.protocol == UDP:
            if len(self._parts) == MAXIMUM_DATAGRAMS:
                return False
        else:
            at = transport + 13
            flags = packet[at]
            if (
                _U32.unpack_from(packet, transport + 4)[0] != self._next & 0xFFFFFFFF
                or packet[transport + 8 : at] != first[transport + 8 : at]
                or flags & ~(_FIN | _PSH) != self._flags & ~_CWR
                or packet[at + 1 : at + 3] != first[at + 1 : at + 3]
                or packet[at + 5 : payload] != first[at + 5 : payload]
            ):
                return False
            self._next += size
            if flags & (_FIN | _PSH):
                self._flags |= flags
                self._place = None  # nothing follows
        if size < self._size:
            self._place = None
        self._parts.append(packet[payload:])
        self._bytes += size
        return True

    def extend(self, packets: Sequence[bytes], at: int) -> int:
        """Append those from `at` on that have the first one's very headers; return where that ends."""
        place, first, size = self._place, self._first, len(self._first)
        if place is None or place.protocol != TCP or self._flags & _CWR:
            return at
        _, transport, payload = place
        where = transport + 4
        before, behind = first[:where], first[where + 4 : payload]
        expected, more = self._next, self._size
        append, unpack = self._parts.append, _U32.unpack_from
        start = at
        stop = min(len(packets), at + (MAXIMUM_PACKET - self._bytes) // more)
        while at < stop:
            packet = packets[at]
            if (
                len(packet) != size
                or unpack(packet, where)[0] != expected & 0xFFFFFFFF
                or packet[where + 4 : payload] != behind
                or packet[:where] != before
                or type(packet) is not Unfinished
                or packet.segment_size
            ):
                break
            append(packet[payload:])
            expected += more
            at += 1
        self._next = expected
        self._bytes += (at - start) * more
        return at

    def whole(self) -> bytes:
        """Return what has been put together; the last one's FIN and PSH are those of the whole."""
        first, parts = self._first, self._parts
        if len(parts) == 1:
            return first
        place = place_of(first)
        if place is not None and place.protocol == TCP:
            at = place.transport + 13
            parts[0] = first[:at] + bytes((self._flags,)) + first[at + 1 :]
        whole = Unfinished(b"".join(parts))
        whole.segment_size = self._size
        return whole


def _ends(packet: bytes) -> bytes:
    """Return what tells a flow from others, if there are no options before the ports."""
    if packet and packet[0] == 0x45:
        return packet[9:10] + packet[12:24]
    return packet[6:7] + packet[8:44]


def _may_be_followed(packet: bytes, place: Place) -> bool:
    """Is a segment one that others may be joined to?"""
    if len(packet) == place.payload:
        return False
    if packet[0] >> 4 == 4 and (place.transport != 20 or not packet[6] & _DF):
        return False  # its identity counts
    return place.protocol == UDP or packet[place.transport + 13] & ~(_CWR | _ECE) == _ACK


def _with_length(head: bytes, place: Place, payload: int) -> bytes:
    """Return headers for so much payload, an IPv4 header's checksum with them."""
    transport = place.transport
    length = place.payload + payload
    if head[0] >> 4 == 6:
        head = head[:4] + _U16.pack(length - 40) + head[6:]
    else:
        bare = head[:2] + _U16.pack(length) + head[4:10] + b"\0\0" + head[12:transport]
        head = bare[:10] + _U16.pack(0xFFFF - _sum(bare)) + bare[12:] + head[transport:]
    if place.protocol == UDP:
        at = transport + 4
        head = head[:at] + _U16.pack(length - transport) + head[at + 2 :]
    return head


def _with_flags(head: bytes, place: Place, flags: int) -> bytes:
    at = place.transport + 13
    return head[:at] + bytes((flags & 0xFF,)) + head[at + 1 :]


def _pseudo(head: bytes, place: Place, length: int) -> int:
    """Return the folded sum of the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1)."""
    addresses = head[8:40] if head[0] >> 4 == 6 else head[12:20]
    return _sum(addresses + _U32.pack(length) + _U32.pack(place.protocol))


def _finished(packet: bytes) -> bytes:
    """Return one packet with all its checksums."""
    place = place_of(packet)
    if place is None:
        return bytes(packet)
    head = _with_length(packet[: place.payload], place, len(packet) - place.payload)
    at = place.transport + _PLACES[place.protocol]
    pseudo = _pseudo(head, place, len(packet) - place.transport)
    bare = head[:at] + _U16.pack(pseudo) + head[at + 2 :] + packet[place.payload :]
    check = 0xFFFF - _sum(bare[place.transport :])
    return bare[:at] + _U16.pack(check or 0xFFFF) + bare[at + 2 :]


def _sum(data: bytes) -> int:
    """Return the folded ones' complement sum of 16-bit words (RFC 1071).

    Since 2**16 is 1 modulo 65535, it is the whole number modulo that; only 0 is ambiguous.
    """
    if len(data) & 1:
        data += b"\0"
    value = int.from_bytes(data, "big")
    return value % 0xFFFF or (0xFFFF if value else 0)
