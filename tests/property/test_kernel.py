"""The compiled kernel does what its Python twins do, for anything that is handed to it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpbond.core import aead, segments, wire
from mpbond.core.unfinished import Unfinished
from tests.conftest import EXAMPLES
from tests.kernels import compiled

many = settings(max_examples=4 * EXAMPLES)
TOP = (1 << 64) - 1

ciphers = st.sampled_from(sorted(aead.CLASSES))
keys = st.binary(min_size=32, max_size=32)
indices = st.integers(0, (1 << 32) - 1)
path_ids = st.sampled_from((0, 1, 255)) | st.integers(0, 255)
edges = st.sampled_from((0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, TOP - 1, TOP))
numbers = edges | st.integers(0, TOP) | st.integers(0, 1 << 34)
sizes = st.sampled_from((0, 1, 15, 16, 17, 1374, 1400)) | st.integers(0, 200)
plains = st.builds(lambda size, seed: (seed * (size // len(seed) + 1))[:size], sizes,
                   st.binary(min_size=1, max_size=40))  # fmt: skip
kinds_of_buffer = st.sampled_from((bytes, bytearray, memoryview))
buffers = st.builds(lambda kind, plain: kind(plain), kinds_of_buffer, plains)
frames = buffers | st.lists(buffers, max_size=4) | st.lists(buffers, max_size=4).map(tuple)
changes = st.lists(
    st.tuples(st.sampled_from(("flip", "cut", "grow", "none", "none")), st.integers(0, 1 << 16)),
    max_size=3,
)


def changed(data, orders):
    """Bytes with some of them flipped, cut off or added."""
    data = bytearray(data)
    for what, where in orders:
        if what == "flip" and data:
            data[where % len(data)] ^= 1 << where % 8
        elif what == "cut":
            del data[len(data) - where % (len(data) + 1) :]
        elif what == "grow":
            data += bytes(where % 40)
    return bytes(data)


def shown(value):
    """A value with everything that a caller could see of it."""
    if isinstance(value, list):
        return [shown(each) for each in value]
    if isinstance(value, tuple):
        return type(value), [shown(each) for each in value]
    if isinstance(value, Unfinished):
        return type(value), bytes(value), value.segment_size, hash(value) == hash(bytes(value))
    return type(value), value


def outcome(function, *arguments):
    try:
        return shown(function(*arguments))
    except Exception as error:
        return type(error)


def same(name, *arguments, twin):
    """Gives both twins the same arguments and returns what they agree on."""
    expected = outcome(getattr(twin, name), *arguments)
    assert outcome(getattr(compiled(), name), *arguments) == expected
    return expected


def both(name, key):
    return aead.Aead(name, key), compiled().Aead(name, key)


def cut_of(packet, size):
    return segments.Cut(unfinished(packet, size))


# -- sealing and opening ------------------------------------------------------------------------


@many
@given(ciphers, keys, indices, st.lists(st.tuples(path_ids, numbers, frames), max_size=5))
def test_both_seal_alike_and_each_opens_what_the_other_sealed(name, key, index, batch):
    python, native = both(name, key)
    datagrams = python.seal(index, batch)
    assert native.seal(index, batch) == datagrams
    came = [(path, pn, datagram) for (path, pn, _), datagram in zip(batch, datagrams, strict=True)]
    opened = native.open(came)
    assert opened == python.open(came)
    assert opened == [
        b"".join(plain) if isinstance(plain, list | tuple) else bytes(plain)
        for _, _, plain in batch
    ]


@many
@given(
    ciphers,
    keys,
    st.lists(st.tuples(path_ids, numbers, plains, changes, kinds_of_buffer), max_size=5),
    st.lists(st.tuples(path_ids, numbers, st.binary(max_size=60)), max_size=3),
)
def test_both_open_alike_whatever_became_of_a_datagram(name, key, batch, strangers):
    python, native = both(name, key)
    came = list(strangers)
    for path_id, number, plain, orders, kind in batch:
        (datagram,) = python.seal(7, [(path_id, number, plain)])
        came.append((path_id, number, kind(changed(datagram, orders))))
    assert outcome(native.open, came) == outcome(python.open, came)


@pytest.mark.parametrize("name", sorted(aead.CLASSES))
def test_no_part_of_a_datagram_passes_for_one(name):
    python, native = both(name, bytes(range(32)))
    (datagram,) = python.seal(7, [(1, 2, b"frames")])
    for size in range(len(datagram)):
        assert native.open([(1, 2, datagram[:size])]) == [None]
        assert native.open([(1, 2, datagram[size + 1 :])]) == [None]
    for bit in range(8 * len(datagram)):
        forged = bytearray(datagram)
        forged[bit // 8] ^= 1 << bit % 8
        assert native.open([(1, 2, forged), (1, 2, datagram)]) == [None, b"frames"]


@pytest.mark.parametrize("name", sorted(aead.CLASSES))
def test_every_bit_of_path_id_and_number_counts(name):
    python, native = both(name, bytes(range(32)))
    for bit in range(8):
        batch = [(1 << bit, 0, b"frames")]
        assert native.seal(7, batch) == python.seal(7, batch)
        assert native.open([(0, 0, *python.seal(7, batch))]) == [None]
    for bit in range(64):
        batch = [(0, 1 << bit, b"frames")]
        assert native.seal(7, batch) == python.seal(7, batch)
        assert native.open([(0, 0, *python.seal(7, batch))]) == [None]


wrong = st.sampled_from((-1, 256, 1 << 32, 1 << 64, None, "1", 1.5))


@given(ciphers, keys, wrong, st.sampled_from(("index", "path", "number", "frames")))
def test_what_fits_no_field_is_refused_by_both(name, key, value, place):
    if place == "path" or value not in (256, 1 << 32) or (place == "index" and value != 256):
        fields = {"index": 1, "path": 2, "number": 3, "frames": b"frames", place: value}
        item = (fields["path"], fields["number"], fields["frames"])
        for each in both(name, key):
            with pytest.raises((OverflowError, TypeError)):
                each.seal(fields["index"], [(1, 1, b"frames"), item])
            if place != "index":
                with pytest.raises((OverflowError, TypeError)):
                    each.open([item])


@pytest.mark.parametrize("twin", [lambda: aead, compiled], ids=["python", "compiled"])
def test_an_unknown_cipher_and_a_key_of_a_wrong_size_are_refused(twin):
    kernel = twin()
    with pytest.raises(KeyError):
        kernel.Aead("AES-128-GCM", bytes(32))
    for name in aead.CLASSES:
        for size in (0, 16, 31, 33):
            with pytest.raises(ValueError, match="32 bytes"):
                kernel.Aead(name, bytes(size))


runs = st.lists(frames, max_size=5) | st.builds(
    lambda size, count, last: [b"x" * size] * count + [b"y" * min(size, last)],
    sizes,
    st.integers(0, 6),
    sizes,
)


@many
@given(ciphers, keys, indices, path_ids, numbers, runs)
def test_both_seal_runs_alike(name, key, index, path_id, first, run):
    python, native = both(name, key)
    expected = outcome(python.seal_run, index, path_id, first, run)
    if first + len(run) > TOP + 1:
        expected = OverflowError
    assert outcome(native.seal_run, index, path_id, first, run) == expected


lone_places = st.tuples(
    st.sampled_from(
        (wire.SEGMENT, wire.SEGMENT, 0, wire.UNORDERED, wire.LAST, wire.FIRST_PART, 0x3F)
    ),
    st.sampled_from((0, 5, 1023)),
    st.sampled_from((0, 7, (1 << 22) - 2)),
    st.sampled_from((0, 9, (1 << 24) - 2, (1 << 24) - 1)),
)


@st.composite
def gro_buffers(draw):
    """(key's name, buffer, segment size, where it begins, number expected) as they may come."""
    name = draw(ciphers)
    key = aead.Aead(name, bytes(32))
    path_id, first = draw(path_ids), draw(numbers.filter(lambda number: number < TOP - 8))
    size, place = draw(st.integers(1, 60)), draw(lone_places)
    number, buffer, step = first, b"", 0
    for at in range(draw(st.integers(0, 6))):
        flags, lane, sequence, order = place
        kind = draw(st.sampled_from(("next", "next", "next", "moved", "other", "short")))
        if kind == "moved":
            place = flags, lane, sequence, order = draw(lone_places)
        plain = wire.lone_data(flags, lane, sequence + at, order + at)
        plain += bytes([at]) * draw(st.integers(0, size) if kind == "short" else st.just(size))
        if kind == "other":
            plain = draw(payloads() | st.binary(max_size=size + 8))
            plain = plain[: size + 8].ljust(draw(st.sampled_from((0, size + 8))), b"\0")
        number += draw(st.sampled_from((0, 0, 0, 0, 1, 1 << 31, -2)))
        number = min(TOP, max(0, number))
        (datagram,) = key.seal(9, [(path_id ^ (draw(st.integers(0, 9)) == 9), number, plain)])
        buffer += changed(datagram, draw(rare_changes))
        number = min(TOP, number + 1)
        step = step or len(datagram)
    rest = draw(st.sampled_from((0, 0, 1, 30)))
    ahead = draw(st.sampled_from((0, 0, 0, 1, -1, 3, 1 << 31, -(1 << 31), 1 << 32)))
    kind = draw(kinds_of_buffer)
    return name, kind(bytes(rest) + buffer), step or 1, rest, min(TOP, max(0, first + ahead))


rare_changes = st.just([]) | st.just([]) | changes


@settings(max_examples=8 * EXAMPLES)
@given(st.deferred(gro_buffers), st.booleans())
def test_both_open_runs_alike(case, everywhere):
    name, buffer, step, begin, expected = case
    python, native = both(name, bytes(32))
    places = [(begin, step)]
    if everywhere:
        steps = (step, len(buffer), 1, 0, -1)
        places += [
            (at, size) for at in (begin + 1, len(buffer), len(buffer) + 1, -1) for size in steps
        ]
        places += [(begin, size) for size in steps]
    for at, size in places:
        arguments = (buffer, size, at, expected)
        assert outcome(native.open_run, *arguments) == outcome(python.open_run, *arguments)


@pytest.mark.parametrize("name", sorted(aead.CLASSES))
@pytest.mark.parametrize("first", [0, 7, (1 << 32) - 2, (1 << 40) - 2, TOP - 4])
def test_a_run_that_was_sealed_is_opened_whole(name, first):
    python, native = both(name, bytes(range(32)))
    plains = [wire.frame(wire.CONTROL, bytes([at]) * 1371) for at in range(4)]
    plains.append(wire.frame(wire.PING))
    sealed = native.seal_run(9, 3, first, plains)
    assert sealed == python.seal_run(9, 3, first, plains)
    end, arrivals = native.open_run(sealed, 1400, 0, first)
    assert end == len(sealed)
    assert arrivals == [
        (first + at, 1, len(plain) + 26, plain, None) for at, plain in enumerate(plains)
    ]


@pytest.mark.parametrize("flags", [wire.SEGMENT, wire.SEGMENT | wire.UNORDERED, 0])
@pytest.mark.parametrize("first", [0, (1 << 32) - 2])
def test_a_train_comes_out_as_one_run_of_its_segments(flags, first):
    packet = packet6(6, b"", 1, 0, tcp(5, 0x18, b""), bytes(range(200)) * 20)
    for seals in both("AES-256-GCM", bytes(32)):
        sealed = seals.seal_train(9, 3, first, flags, 1023, 8, 5, cut_of(packet, 900), 1, 4)
        for opens in both("AES-256-GCM", bytes(32)):
            end, (arrival,) = opens.open_run(sealed, 900 + 60 + 8 + 26, 0, first)
            assert (end, arrival.number, arrival.datagrams) == (len(sealed), first, 4)
            assert (arrival.size, arrival.plain) == (len(sealed), None)
            assert type(arrival.run) is wire.LoneRun
            assert arrival.run == (flags, 5, 1023, 8, segments.cut(packet, 900, 1, 4))
            kind = Unfinished if flags & wire.SEGMENT else bytes
            assert {type(each) for each in arrival.run.packets} == {kind}


@pytest.mark.parametrize(
    ("sequence", "order", "runs"),
    [
        (5, 5, [4]),
        ((1 << 22) - 2, 5, [2, 2]),
        (5, (1 << 24) - 3, [3, 1]),
        ((1 << 22) - 1, (1 << 24) - 3, [1, 2, 1]),
    ],
)
@pytest.mark.parametrize("lane", [0, 7, 1023])
def test_a_run_ends_where_sequence_or_order_goes_round(lane, sequence, order, runs):
    packet = packet6(6, b"", 1, 0, tcp(5, 0x10, b""), bytes(400))
    for key in both("AES-256-GCM", bytes(32)):
        sealed = key.seal_train(9, 3, 0, 8, lane, sequence, order, cut_of(packet, 100), 0, 4)
        _, arrivals = key.open_run(sealed, 194, 0, 0)
        assert [arrival.datagrams for arrival in arrivals] == runs
        at = 0
        for arrival in arrivals:
            assert arrival.run[1:4] == (
                (order + at) % (1 << 24),
                lane,
                (sequence + at) % (1 << 22),
            )
            at += arrival.datagrams


def test_the_last_sequence_of_the_last_lane_is_not_followed_by_the_first_of_the_first():
    """Where the place of a packet goes round altogether, and where it goes on to the next lane."""
    for lane in (1023, 6):
        plains = [
            wire.lone_data(8, lane, (1 << 22) - 1, 0) + b"one",
            wire.lone_data(8, (lane + 1) % 1024, 0, 1) + b"two",
        ]
        for key in both("AES-256-GCM", bytes(32)):
            _, arrivals = key.open_run(key.seal_run(9, 3, 0, plains), 37, 0, 0)
            assert [each.run.lane for each in arrivals] == [lane, (lane + 1) % 1024]


@many
@given(
    ciphers,
    indices,
    path_ids,
    numbers,
    st.tuples(st.integers(0, 63), st.integers(0, 1023), numbers, numbers),
    st.deferred(lambda: packets),
    st.integers(0, 200),
    st.integers(-1, 3),
    st.integers(-1, 9),
)
def test_both_seal_trains_alike(name, index, path_id, number, place, packet, size, first, count):
    python, native = both(name, bytes(32))
    try:
        cut = cut_of(packet, size)
    except ValueError:
        return
    arguments = (index, path_id, number, *place, cut, first, count)
    assert outcome(native.seal_train, *arguments) == outcome(python.seal_train, *arguments)


@many
@given(
    ciphers,
    numbers,
    st.tuples(st.integers(0, 63), st.integers(0, 1023), numbers, numbers),
    st.integers(0, 200),
    st.integers(0, 5),
    st.integers(0, 210),
    st.integers(-1, 3),
    st.integers(-1, 7),
)
def test_both_seal_packets_alike(name, number, place, size, more, last, first, count):
    python, native = both(name, bytes(32))
    packets = [bytes((at,)) * size for at in range(more)]
    packets.append(Unfinished(b"z" * last))
    arguments = (7, 3, number, *place, packets, first, count)
    assert outcome(native.seal_train, *arguments) == outcome(python.seal_train, *arguments)


@pytest.mark.parametrize("flags", [wire.SEGMENT, 0])
def test_packets_that_leave_together_come_out_as_one_run(flags):
    packets = [bytes((at,)) * 700 for at in range(3)] + [b"last"]
    for seals in both("AES-256-GCM", bytes(32)):
        sealed = seals.seal_train(9, 3, 5, flags, 1023, 8, 5, packets, 1, 3)
        for opens in both("AES-256-GCM", bytes(32)):
            end, (arrival,) = opens.open_run(sealed, 700 + 8 + 26, 0, 5)
            assert (end, arrival.number, arrival.datagrams) == (len(sealed), 5, 3)
            assert arrival.run == (flags, 5, 1023, 8, packets[1:])


@pytest.mark.parametrize("seals", [0, 1], ids=["python", "compiled"])
def test_a_run_ends_before_another_path_another_index_and_what_is_too_short_or_old(seals):
    key = both("AES-256-GCM", bytes(range(32)))[seals]
    one = wire.lone_data(8, 1, 1, 1) + b"one"
    two = wire.lone_data(8, 1, 2, 2) + b"two"
    for other in (
        key.seal_run(9, 4, 8, [two]),
        key.seal_run(8, 3, 8, [two]),
        b"\x05" + key.seal_run(9, 3, 8, [two])[1:],
        key.seal_run(9, 3, 8, [b""]),
        key.seal_run(9, 3, 8, [two])[:5],
        key.seal_run(9, 3, 7, [two]),
        key.seal_run(9, 3, 6, [two]),
    ):
        buffer = key.seal_run(9, 3, 7, [one]) + other
        end, (arrival,) = key.open_run(buffer, 37, 0, 7)
        assert (end, arrival.run.packets) == (37, [b"one"])
    end, arrivals = key.open_run(key.seal_run(9, 3, 7, [one, b"a"]), 37, 0, 7)
    assert (end, len(arrivals)) == (37 + 27, 2)
    assert key.open_run(key.seal_run(9, 3, 7, [one]), 37, 0, 8) == (0, [])


@pytest.mark.parametrize("opens", [0, 1], ids=["python", "compiled"])
def test_a_forged_number_neither_moves_what_a_run_expects_nor_hides_in_it(opens):
    key = both("AES-256-GCM", bytes(range(32)))[opens]
    plains = [wire.lone_data(8, 1, at, at) + b"one" for at in range(3)]
    sealed = key.seal_run(9, 3, 5, plains)
    for place in range(37 + 10, 2 * 37):
        forged = bytearray(sealed)
        forged[place] ^= 1
        end, arrivals = key.open_run(forged, 37, 0, 5)
        assert end == 3 * 37
        assert [(each.number, each.datagrams, each.plain) for each in arrivals] == [
            (5, 1, None),
            (6, 1, None),
            (7, 1, None),
        ]
        assert [each.run is None for each in arrivals] == [False, True, False]
    far = bytearray(key.seal_run(9, 3, (1 << 31) - 5, [plains[0]]))
    far[-1] ^= 1
    far += key.seal_run(9, 3, 6, [plains[1]])
    end, arrivals = key.open_run(far, 37, 0, 5)
    assert [(each.number, each.run is None) for each in arrivals] == [
        ((1 << 31) - 5, True),
        (6, False),
    ]


# -- packets ------------------------------------------------------------------------------------


def packet4(protocol, options, identity, fragment, transport, payload):
    total = 20 + len(options) + len(transport) + len(payload)
    head = bytes((0x40 | 5 + len(options) // 4, 0)) + total.to_bytes(2, "big")
    head += identity.to_bytes(2, "big") + fragment.to_bytes(2, "big") + bytes((64, protocol))
    return head + b"\x12\x34" + bytes((10, 0, 0, 1, 10, 0, 0, 2)) + options + transport + payload


def packet6(protocol, _options, identity, _fragment, transport, payload):
    head = b"\x60\0\0" + bytes((identity & 3,)) + (len(transport) + len(payload)).to_bytes(2, "big")
    return head + bytes((protocol, 64)) + bytes(range(32)) + transport + payload


def tcp(sequence, flags, options, ports=b"\0\x50\1\2"):
    head = (
        ports + sequence.to_bytes(4, "big") + b"ackn" + bytes((5 + len(options) // 4 << 4, flags))
    )
    return head + b"\x20\0" + b"\xab\xcd" + b"\0\0" + options


def udp(_sequence, _flags, _options, ports=b"\0\x50\1\2"):
    return ports + b"\0\x09\xab\xcd"


words = st.integers(0, 2).map(lambda count: bytes(range(1, 1 + 4 * count)))
flags_of_tcp = st.sampled_from((0x10, 0x10, 0x18, 0x11, 0x90, 0xD8, 0x02, 0x14)) | st.integers(
    0, 255
)
transports = st.sampled_from(((6, tcp), (6, tcp), (17, udp)))
sequences = st.sampled_from((0, 100, (1 << 32) - 50, (1 << 32) - 1)) | st.integers(0, (1 << 32) - 1)
packets = st.builds(
    lambda version, kind, options, identity, fragment, sequence, flags, more, size, seed: version(
        kind[0],
        options,
        identity,
        fragment,
        kind[1](sequence, flags, more),
        (seed * (size // len(seed) + 1))[:size],
    ),
    st.sampled_from((packet4, packet6)),
    transports,
    words,
    st.sampled_from((0, 1, 0xFFFE, 0xFFFF)),
    st.sampled_from((0x4000, 0x4000, 0x4000, 0, 0x2000, 1)),
    sequences,
    flags_of_tcp,
    words,
    st.integers(0, 300) | st.sampled_from((1400, 5000)),
    st.binary(min_size=1, max_size=20),
)
anything = st.binary(max_size=90) | st.builds(changed, packets, changes)
segment_sizes = st.integers(-1, 120) | st.sampled_from((500, 1400, 65535, 70000, 1 << 40))


@many
@given(anything, segment_sizes, st.integers(-1, 6), st.integers(-1, 20))
def test_both_cut_alike(packet, size, first, count):
    same("cut", packet, size, first, count, twin=segments)


@many
@given(packets, st.integers(1, 200))
def test_both_cut_a_whole_packet_alike(packet, size):
    head = outcome(segments.cut, packet, size, 0, 0)
    if head is ValueError:
        same("cut", packet, size, 0, 0, twin=segments)
        return
    whole = Unfinished(packet)
    whole.segment_size = size
    same("cut", packet, size, 0, segments.Cut(whole).count, twin=segments)


def test_the_longest_headers_are_cut():
    for make in (packet4, packet6):
        options = bytes(40) if make is packet4 else b""
        for protocol, head in ((6, tcp(5, 0x19, bytes(40))), (17, udp(0, 0, b""))):
            packet = make(protocol, options, 9, 0, head, bytes(range(256)))
            assert same("cut", packet, 100, 0, 3, twin=segments) is not ValueError


@pytest.mark.parametrize("options", [b"", bytes(4), bytes(40)])
@pytest.mark.parametrize("more", [b"", bytes(4), bytes(40)])
@pytest.mark.parametrize("make", [packet4, packet6])
def test_every_beginning_of_a_packet_is_treated_alike(make, options, more):
    for protocol, head in ((6, tcp(5, 0x10, more)), (17, udp(0, 0, b"") + more)):
        packet = make(protocol, options, 9, 0x4000, head, b"payload")
        for size in range(len(packet) + 1):
            start = packet[:size]
            same("cut", start, 1, 0, 1, twin=segments)
            same("cut", start, 1, 0, 0, twin=segments)
            same("to_vnet", unfinished(start), twin=segments)
            same("to_vnet", unfinished(start, 1), twin=segments)
            same("join", [unfinished(start), unfinished(packet), unfinished(start)], twin=segments)
        for bit in range(8 * len(packet)):
            forged = bytearray(packet)
            forged[bit // 8] ^= 1 << bit % 8
            same("cut", bytes(forged), 1, 0, 2, twin=segments)
            same("to_vnet", unfinished(forged), twin=segments)
        for offset in range(16):  # a TCP header's length
            forged = bytearray(packet)
            forged[len(packet) - len(head) - 7 + 12] = offset << 4
            same("cut", bytes(forged), 1, 0, 1, twin=segments)
            same("to_vnet", unfinished(forged, 1), twin=segments)
            same("join", [unfinished(forged)] * 2, twin=segments)


@pytest.mark.parametrize("make", [packet4, packet6])
def test_packets_up_to_the_largest_are_cut_and_shown_alike(make):
    for size in (60_000, 65_495, 65_496, 65_535):
        whole = Unfinished(make(17, b"", 9, 0x4000, udp(0, 0, b""), b"") + bytes(size))
        whole.segment_size = 1400
        same("cut", whole, 65_535, 0, 1, twin=segments)
        same("cut", whole, 1400, 0, 43, twin=segments)
        same("to_vnet", whole, twin=segments)
        same("join", [whole, unfinished(whole), unfinished(whole)], twin=segments)


def unfinished(packet, size=0):
    made = Unfinished(packet)
    if size:
        made.segment_size = size
    return made


def train(packet, size, orders, drop):
    """The segments of a packet as they may come: some changed, one missing, one of another kind."""
    try:
        whole = unfinished(packet, size)
        cut = [segments.Cut(whole).segment(at) for at in range(min(12, segments.Cut(whole).count))]
    except ValueError:
        return [unfinished(packet)]
    if drop:
        del cut[drop % len(cut)]
    came = [unfinished(segment) for segment in cut]
    if orders and came:
        at = orders[0][1] % len(came)
        came[at] = unfinished(changed(came[at], orders))
    return came


trains = st.builds(train, packets, st.integers(1, 200), changes, st.integers(0, 12))
singles = st.lists(
    st.builds(unfinished, anything, st.sampled_from((0, 0, 10, 1400))) | anything, max_size=3
)


def mixed(lists, order):
    """Lists one behind the other, or one from each in turn."""
    if not order:
        return [packet for each in lists for packet in each]
    turns = max(map(len, lists), default=0)
    return [each[turn] for turn in range(turns) for each in lists if turn < len(each)]


@settings(max_examples=8 * EXAMPLES)
@given(st.lists(trains | singles, max_size=5), st.booleans(), st.booleans(), st.data())
def test_both_join_alike(lists, twice, order, data):
    if twice and lists:  # the same flow again: its segments stand between each other
        lists.append(data.draw(st.permutations(lists[0])))
    packets = mixed(lists, order)
    expected = outcome(segments.join, packets)
    assert outcome(compiled().join, tuple(packets)) == expected
    assert isinstance(expected, list)  # nothing that comes is an error


@pytest.mark.parametrize("stranger", [0, 1, 6, 8, 9, 12, 20, 24, 28, 44, 60])
@pytest.mark.parametrize("make", [packet4, packet6])
def test_both_agree_on_what_a_packet_ends_that_is_as_it_is(make, stranger):
    segment_list = segments.cut(make(6, b"", 1, 0x4000, tcp(5, 0x10, b""), bytes(80)), 20, 0, 4)
    other = make(6, b"", 1, 0x4000, tcp(5, 0x10, b"", b"\1\2\3\4"), bytes(80))
    run = list(map(unfinished, segment_list))
    for between in (segment_list[0][:stranger], other[:stranger]):
        for kind in (bytes, unfinished):
            same("join", [*run[:2], kind(between), *run[2:]], twin=segments)
            same("join", [kind(between), *run, kind(between)], twin=segments)


def test_both_join_flows_that_stand_between_each_other():
    flows = []
    for ports in (b"\0\1\0\2", b"\0\2\0\1", b"\0\1\0\3"):
        for make in (packet4, packet6):
            packet = make(6, b"", 1, 0x4000, tcp(5, 0x98, b"", ports), bytes(85))
            flows.append(list(map(unfinished, segments.cut(packet, 20, 0, 5))))
    assert len(same("join", mixed(flows, True), twin=segments)) == 6
    assert len(same("join", mixed(flows, False), twin=segments)) == 6
    ended = mixed(flows, True)
    ended.insert(len(ended) // 2, bytes(flows[0][0]))
    assert len(same("join", ended, twin=segments)) == 8


def test_both_join_no_more_datagrams_than_a_kernel_takes():
    for count in (63, 64, 65, 128, 129):
        run = [unfinished(packet4(17, b"", 1, 0x4000, udp(0, 0, b""), b"datagram"))] * count
        assert len(same("join", run, twin=segments)) == -(-count // 64)


SEGMENT_BITS = [
    pytest.param(make, protocol, head, id=f"{make.__name__}-{protocol}")
    for make in (packet4, packet6)
    for protocol, head in ((6, tcp(5, 0x10, bytes(range(12)))), (17, udp(0, 0, b"")))
]


@pytest.mark.parametrize(("make", "protocol", "head"), SEGMENT_BITS)
def test_both_agree_for_every_bit_whether_segments_belong_together(make, protocol, head):
    packet = make(protocol, b"", 9, 0x4000, head, bytes(60))
    first, second, third = segments.cut(packet, 20, 0, 3)
    joined = 0
    for bit in range(8 * (len(second) - 19)):
        forged = bytearray(second)
        forged[bit // 8] ^= 1 << bit % 8
        run = [unfinished(first), unfinished(forged), unfinished(third)]
        joined += len(same("join", run, twin=segments)) == 1
    assert joined > 0
    assert len(same("join", list(map(unfinished, (first, second, third))), twin=segments)) == 1


def test_both_stop_joining_at_the_largest_packet():
    for make, overhead in ((packet4, 40), (packet6, 60)):
        for size in (65535 - overhead) // 45, (65535 - overhead) // 45 + 1, 65535 - overhead, 1:
            run = [
                unfinished(make(6, b"", 1, 0x4000, tcp(at * size, 0x10, b""), bytes(size)))
                for at in range(47)
            ]
            same("join", run, twin=segments)
        sizes = [[60_000, 5535 - overhead + more] for more in (-1, 0, 1)]
        for one, two in sizes:
            run = [
                unfinished(make(6, b"", 1, 0x4000, tcp(0, 0x10, b""), bytes(one))),
                unfinished(make(6, b"", 1, 0x4000, tcp(one, 0x10, b""), bytes(two))),
            ]
            whole = one + two + overhead <= 65535
            assert len(same("join", run, twin=segments)) == (1 if whole else 2)


def test_both_end_a_run_at_a_shorter_segment_and_at_push_and_fin():
    for last in (0x10, 0x18, 0x11, 0x19, 0x90, 0x12):
        for size in (19, 20, 21):
            run = [
                unfinished(packet6(6, b"", 1, 0, tcp(0, 0x90, b""), bytes(20))),
                unfinished(packet6(6, b"", 1, 0, tcp(20, last, b""), bytes(size))),
                unfinished(packet6(6, b"", 1, 0, tcp(20 + size, 0x10, b""), bytes(10))),
            ]
            same("join", run, twin=segments)


@many
@given(anything, st.sampled_from((0, 0, 1, 100, 1400, 65535)), st.booleans())
def test_both_show_packets_to_a_device_alike(packet, size, plain):
    same("to_vnet", packet if plain else unfinished(packet, size), twin=segments)


# -- frames -------------------------------------------------------------------------------------

flags = st.integers(0, 0x3F)
some = st.binary(min_size=0, max_size=30)
places = st.integers(0, (1 << 32) - 1)
data_frames = st.tuples(flags, places, some)


@st.composite
def payloads(draw):
    """What a sender may put into a datagram, and what it never would."""
    out = b""
    order = None
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            out += wire.frame(draw(st.integers(0, 127)), draw(some))
        else:
            bits, place, data = draw(data_frames)
            length = draw(st.just(len(data)) | st.none() | st.integers(0, 40))
            first = None if order is not None else draw(st.integers(0, (1 << 24) - 1))
            order = first if order is None else order
            out += wire.data_head(bits, place, first, length) + data
    return changed(out, draw(changes))


@many
@given(payloads() | st.binary(max_size=60))
def test_both_take_plaintexts_apart_alike(payload):
    expected = same("parse_frames", payload, twin=wire)
    assert expected is wire.WireError or isinstance(expected, tuple)


def test_both_take_every_part_of_a_plaintext_apart_alike():
    whole = (
        wire.frame(wire.PADDING, b"1")
        + wire.frame(wire.PING)
        + wire.frame(100, bytes(300))
        + wire.data_head(wire.SEGMENT, wire.position(1023, 5), 0xABCDEF, 4)
        + b"data"
        + wire.data_head(0x3F, wire.position(1, (1 << 22) - 1), None, 300)
        + bytes(300)
        + wire.data_head(0, wire.position(2, 6), None, None)
        + b"more"
    )
    assert len(same("parse_frames", whole, twin=wire)[1]) == 3
    for size in range(len(whole)):
        same("parse_frames", whole[:size], twin=wire)
        same("parse_frames", whole[size:], twin=wire)


def test_both_refuse_a_length_of_nothing_and_one_byte_too_many():
    for length in range(6):
        for order in (None, 1):
            start = b"" if order else wire.data_head(0, 1, 2, 1) + b"x"
            payload = start + wire.data_head(0, 1, order, length) + b"data"
            same("parse_frames", payload, twin=wire)
    for length in range(6):
        same("parse_frames", bytes((3, 0, length)) + b"data", twin=wire)


@pytest.mark.parametrize("value", [None, 1, "text", [1], [b"", None], (1, 2)])
def test_what_is_no_packet_is_a_type_error_of_both(value):
    kernel = compiled()
    with pytest.raises(TypeError):
        kernel.parse_frames(value)
    with pytest.raises(TypeError):
        kernel.to_vnet(value)
    with pytest.raises(TypeError):
        kernel.cut(value, 1, 0, 1)
    with pytest.raises(TypeError):
        kernel.cut(b"", 1, 0)
    with pytest.raises(TypeError):
        kernel.join([Unfinished(bytes(40)), value])
    with pytest.raises(TypeError):
        kernel.Aead("AES-256-GCM", bytes(32)).open(value)
