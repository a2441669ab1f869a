"""Super-packets of any shape: cut, put together, finished; and any bytes in their place."""

import struct

from hypothesis import example, given
from hypothesis import strategies as st

from mpbond.core.segments import (
    MAXIMUM_DATAGRAMS,
    VNET,
    Cut,
    finish,
    from_vnet,
    join,
    place_of,
    to_vnet,
)
from mpbond.core.unfinished import Unfinished
from tests.segments import (
    ACK,
    CWR,
    ECE,
    FIN,
    PSH,
    TCP,
    UDP,
    faults,
    flags_of,
    payload_of,
    sequence_of,
    super_packet,
)

words = st.integers(0, 10).map(lambda n: bytes(range(1, 4 * n + 1)))


@st.composite
def super_packets(draw, protocols=(TCP, UDP)):
    """One that is cut into at least two; payloads repeat a short pattern, so that they are quick."""
    protocol = draw(st.sampled_from(protocols))
    size = draw(st.integers(1, 1500))
    length = draw(st.integers(size + 1, min(60_000, size * MAXIMUM_DATAGRAMS)))
    pattern = draw(st.binary(min_size=1, max_size=40))
    return super_packet(
        (pattern * (length // len(pattern) + 1))[:length],
        size,
        version=draw(st.sampled_from((4, 6))),
        protocol=protocol,
        flags=ACK | draw(st.integers(0, 255)) & (FIN | PSH | ECE | CWR),
        sequence=draw(st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32 - 9000, 2**32 - 1))),
        identity=draw(st.integers(0, 65535)),
        dont_fragment=draw(st.booleans()),
        options=draw(words),
        tcp_options=draw(words),
        mark=draw(st.integers(0, 255)),
        checksum=draw(st.binary(min_size=2, max_size=2)),
    )


def segments(packet):
    cut = Cut(packet)
    return [Unfinished(cut.segment(index)) for index in range(cut.count)]


@given(super_packets())
def test_what_is_cut_and_put_together_is_what_it_was_to_a_device(packet):
    pieces = segments(packet)
    joined = join(pieces)
    if packet[0] >> 4 == 4 and (packet[0] != 0x45 or not packet[6] & 0x40):
        assert joined == pieces  # options are left alone, and without DF identities count
        return
    (whole,) = joined
    assert whole.segment_size == packet.segment_size
    assert to_vnet(whole) == to_vnet(packet)


@given(super_packets())
def test_every_segment_is_a_packet_with_right_lengths_and_its_place_in_the_stream(packet):
    pieces = segments(packet)
    assert b"".join(map(payload_of, pieces)) == payload_of(packet)
    assert {len(payload_of(piece)) for piece in pieces[:-1]} == {packet.segment_size}
    for piece in pieces:
        assert set(faults(piece)) <= {"header checksum", "checksum", "no checksum"}
    if packet[0] >> 4 == 4 and not packet[6] & 0x40:
        first = struct.unpack_from(">H", packet, 4)[0]
        identities = [struct.unpack_from(">H", piece, 4)[0] for piece in pieces]
        assert identities == [(first + index) & 0xFFFF for index in range(len(pieces))]
    place = place_of(packet)
    assert place is not None
    if place.protocol == TCP:
        flags = flags_of(packet)
        begin = sequence_of(packet)
        for index, piece in enumerate(pieces):
            assert sequence_of(piece) == (begin + index * packet.segment_size) & 0xFFFFFFFF
            kept = flags & ~(CWR if index else 0)
            kept &= ~(0 if index == len(pieces) - 1 else FIN | PSH)
            assert flags_of(piece) == kept


@given(super_packets())
def test_finished_packets_have_right_checksums_and_the_same_payload(packet):
    finished = finish(packet)
    assert [faults(each) for each in finished] == [[]] * Cut(packet).count
    assert not any(isinstance(each, Unfinished) for each in finished)
    assert b"".join(map(payload_of, finished)) == payload_of(packet)


@given(super_packets())
def test_a_device_that_gives_back_what_it_was_given_changes_nothing(packet):
    header, body = to_vnet(packet)
    again = from_vnet(header, body)
    assert isinstance(again, Unfinished)
    assert again.segment_size == packet.segment_size
    assert to_vnet(again) == (header, body)
    assert finish(again) == finish(packet)


@given(st.integers(2, 400), st.integers(1, 100), st.sampled_from((4, 6)))
@example(MAXIMUM_DATAGRAMS, 10, 4)
@example(MAXIMUM_DATAGRAMS + 1, 10, 6)
def test_runs_of_datagrams_are_no_longer_than_kernels_take(count, size, version):
    pieces = segments(super_packet(bytes(count * size), size, version=version, protocol=UDP))
    joined = join(pieces)
    assert len(joined) == -(-count // MAXIMUM_DATAGRAMS)
    assert [each for whole in joined for each in finish(whole)] == [
        each for piece in pieces for each in finish(piece)
    ]


# What a peer may flag as a segment: anything. Most of what is tried here was a segment once.


@st.composite
def streams(draw):
    """Segments of a flow that follow each other, with flags as no kernel would cut them."""
    made = []
    sequence = 1000
    version, protocol = draw(st.sampled_from((4, 6))), draw(st.sampled_from((TCP, TCP, UDP)))
    for length in draw(st.lists(st.sampled_from((20, 20, 20, 13)), min_size=1, max_size=8)):
        flags = draw(st.sampled_from((ACK, ACK, ACK, ACK | CWR, ACK | CWR, ACK | PSH, ACK | ECE)))
        payload = bytes((len(made),)) * length
        where = {"version": version, "protocol": protocol, "sequence": sequence}
        made.append(super_packet(payload, length, flags=flags, **where))
        sequence += length
    return made


@st.composite
def spoilt(draw):
    """Segments of one or two flows, in part damaged, doubled, left out or among other bytes."""
    several = st.one_of(st.lists(small.map(segments), min_size=1, max_size=3), st.lists(streams()))
    pieces = [piece for each in draw(several) for piece in each]
    made = []
    for piece in pieces:
        data = bytearray(piece)
        for _ in range(draw(st.sampled_from((0, 0, 0, 1, 3)))):
            data[draw(st.integers(0, min(79, len(data) - 1)))] = draw(st.integers(0, 255))
        end = draw(st.sampled_from((None, None, None, 20, 28, 40, -1)))
        kinds = st.sampled_from((0, 1, 1, 1, 1, 1, 2))
        made += [Unfinished(data[:end])] * draw(kinds)
        if draw(st.sampled_from((False, False, False, True))):
            made.append(draw(odd))
    return made


small = st.tuples(st.integers(20, 100), st.binary(min_size=101, max_size=300)).flatmap(
    lambda drawn: st.builds(
        super_packet,
        st.just(drawn[1]),
        st.just(drawn[0]),
        version=st.sampled_from((4, 6)),
        protocol=st.sampled_from((TCP, UDP)),
        flags=st.sampled_from((ACK, ACK, ACK | PSH, ACK | FIN | CWR, 0)),
    )
)
odd = st.one_of(
    st.binary(max_size=100),
    st.binary(max_size=100).map(Unfinished),
    st.builds(
        lambda first, rest: Unfinished(bytes((first,)) + rest),
        st.sampled_from((0x45, 0x4F, 0x40, 0x60)),
        st.binary(max_size=100),
    ),
)


@given(spoilt())
@example([super_packet(b"x", 1, flags=ACK | CWR, sequence=1000 + each) for each in range(3)])
def test_putting_together_changes_nothing_that_a_receiver_sees(packets):
    once = [each for packet in packets for each in finish(packet)]
    joined = [each for packet in join(packets) for each in finish(packet)]
    assert by_flow(joined) == by_flow(once)


def by_flow(packets):
    """The packets of each flow in order; what has no ports is a flow by itself."""
    flows = {}
    for packet in packets:
        place = place_of(packet)
        at = 0 if place is None else place.transport
        ends = packet[8:at] if packet[:1] >= b"\x60" else packet[12:at]
        key = packet if place is None else (place.protocol, at, ends, packet[at : at + 4])
        flows.setdefault(key, []).append(anonymous(packet))
    return flows


@given(st.one_of(spoilt(), st.lists(odd)))
@example([Unfinished(bytes((0x45,)) + bytes(8) + bytes((UDP,)) + bytes(70_000))])
@example([Unfinished(bytes((0x60,)) + bytes(5) + bytes((UDP,)) + bytes(70_000))])
@example([Unfinished(bytes((0x45,)) + bytes(8) + bytes((TCP,)) + bytes(18))])
def test_nothing_raises_whatever_a_peer_calls_a_segment(packets):
    for packet in join(packets):
        header, body = to_vnet(packet)
        assert len(header) == VNET.size
        assert len(body) == len(packet)
        assert len(finish(packet)) >= 1


@given(st.binary(min_size=10, max_size=10), odd)
def test_nothing_raises_whatever_a_device_gives(header, packet):
    check(from_vnet(header, packet))


@given(
    st.integers(0, 255),
    st.sampled_from((0, 1, 3, 4, 5, 0x81, 0x84)),
    st.integers(0, 65535),
    st.integers(0, 80),
    st.integers(0, 80),
    spoilt(),
)
def test_nothing_raises_whatever_stands_before_a_packet(flags, kind, size, start, offset, packets):
    for packet in packets:
        check(from_vnet(VNET.pack(flags, kind, 0, size, start, offset), bytes(packet)))


def check(packet):
    """What was read can be cut, written and finished."""
    if packet is not None:
        to_vnet(packet)
        assert b"".join(finish(packet)) or not packet


def anonymous(packet):
    """A packet without what IPv4 may choose anew where DF is set: identity, and the sum over it."""
    if packet and packet[0] >> 4 == 4 and len(packet) >= 20 and packet[6] & 0x40:
        return packet[:4] + bytes(2) + packet[6:10] + bytes(2) + packet[12:]
    return packet
