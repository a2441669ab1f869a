"""A TUN port's super-packets, on a descriptor whose other end is a test: no root, no device."""

import errno
import os
import struct

import pytest

from mpbond.core.segments import VNET, Cut
from mpbond.core.unfinished import Unfinished
from mpbond.errors import PlatformError
from mpbond.io import vnet
from mpbond.io.fakes import FakeTun
from mpbond.io.vnet import CSUM, TSO, USO, count
from tests.segments import ACK, TCP, UDP, faults, payload_of, super_packet, transport_of

NO_CUT, TCP4, TCP6, UDP_CUT = 0, 1, 4, 5
KINDS = {(TCP, 4): TCP4, (TCP, 6): TCP6, (UDP, 4): UDP_CUT, (UDP, 6): UDP_CUT}
PAYLOAD = bytes(range(256)) * 20
ALL = ("csum", "tso4", "tso6", "tso_ecn", "uso4", "uso6")


@pytest.fixture
def tun():
    tun = FakeTun(offload=True)
    yield tun
    tun.close()


@pytest.fixture
def bare():
    tun = FakeTun()
    yield tun
    tun.close()


@pytest.fixture(params=list(KINDS), ids=["tcp4", "tcp6", "udp4", "udp6"])
def whole(request):
    """A super-packet that stands for six."""
    protocol, version = request.param
    return super_packet(PAYLOAD, 1000, protocol=protocol, version=version)


def kind_of(packet):
    return KINDS[transport_of(packet)[1], packet[0] >> 4]


def segments(packet):
    cut = Cut(packet)
    return [Unfinished(cut.segment(index)) for index in range(cut.count)]


def given(tun, header, packet):
    """What the device is read to give when the kernel hands this over."""
    tun.far.send(VNET.pack(*header) + packet)
    return tun.read(64)


def taken(tun):
    """What has been written: kind, segment size and packet."""
    found = []
    while True:
        try:
            data = tun.far.recv(70_000)
        except BlockingIOError:
            return found
        flags, kind, _, size, _, _ = VNET.unpack_from(data)
        found.append((flags, kind, size, data[VNET.size :]))


class Kernel:
    """Refuses writes, as the kernel does what it does not know, and a device that is down everything."""

    def __init__(self, monkeypatch, refuses, number=errno.EINVAL):
        self.refuses, self.number = refuses, number
        self.writev = os.writev
        monkeypatch.setattr(vnet.os, "writev", self)

    def __call__(self, fd, buffers):
        flags, kind, *_ = VNET.unpack(buffers[0])
        if self.refuses(flags, kind):
            raise OSError(self.number, os.strerror(self.number))
        return self.writev(fd, buffers)


def test_a_super_packet_is_read_whole_and_says_how_to_cut_it(tun, whole):
    (packet,) = given(tun, (1, kind_of(whole), 0, 1000, 20, 16), whole)
    assert isinstance(packet, Unfinished)
    assert packet == whole
    assert packet.segment_size == 1000
    assert count(packet) == 6


def test_a_packet_without_a_checksum_is_read_as_one(tun):
    packet = super_packet(b"x", 1000)
    (read,) = given(tun, (1, NO_CUT, 0, 0, 20, 16), packet)
    assert isinstance(read, Unfinished)
    assert (read, read.segment_size, count(read)) == (packet, 0, 1)


@pytest.mark.parametrize("flags", [0, 2], ids=["plain", "checked by the kernel"])
def test_a_finished_packet_is_read_as_bytes(tun, flags):
    (read,) = given(tun, (flags, NO_CUT, 0, 0, 0, 0), b"E finished")
    assert (type(read), read) == (bytes, b"E finished")


def test_reading_counts_a_super_packet_as_what_it_stands_for(tun, whole):
    for _ in range(3):
        tun.far.send(VNET.pack(1, kind_of(whole), 0, 1000, 20, 16) + whole)
        tun.far.send(bytes(VNET.size) + b"E one")
    assert tun.read(7) == [whole, b"E one"]
    assert tun.read(8) == [whole, b"E one", whole]
    assert tun.read(8) == [b"E one"]


def test_what_cannot_be_cut_is_counted_and_nothing_else_is_lost(tun):
    tun.far.send(VNET.pack(1, TCP6, 0, 1000, 48, 16) + bytes((0x60,)) + bytes(3000))
    tun.far.send(bytes(VNET.size) + b"E next")
    assert tun.read(64) == [b"E next"]
    assert tun.unreadable == 1


def test_what_the_kernel_cannot_describe_costs_the_offloads_and_not_the_device(
    tun, monkeypatch, caplog
):
    readv, raised = os.readv, [OSError(errno.EINVAL, "no header for that")]

    def once(fd, buffers):
        if raised:
            raise raised.pop()
        return readv(fd, buffers)

    monkeypatch.setattr(vnet.os, "readv", once)
    tun.far.send(bytes(VNET.size) + b"E next")
    assert tun.read(64) == [b"E next"]
    assert tun.offloads == ()
    assert tun.asked == [0]
    raised.append(OSError(errno.EINVAL, "and again"))
    with pytest.raises(PlatformError):
        tun.read(64)


def test_a_run_of_segments_is_one_write(tun, whole):
    assert tun.write([b"E before", *segments(whole), b"E after"]) == 0
    before, (flags, kind, size, packet), after = taken(tun)
    assert (flags, kind, size) == (1, kind_of(whole), 1000)
    assert payload_of(packet) == PAYLOAD
    assert (before, after) == ((0, 0, 0, b"E before"), (0, 0, 0, b"E after"))
    assert tun.offloads == ALL


def test_without_a_header_everything_is_cut_and_finished(bare, whole):
    assert bare.offloads == ()
    assert bare.write([*segments(whole), whole, b"E after"]) == 0
    came = [bare.far.recv(70_000) for _ in range(13)]
    assert came.pop() == b"E after"
    assert [faults(packet) for packet in came] == [[]] * 12
    assert b"".join(map(payload_of, came)) == PAYLOAD * 2


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_refused_super_packet_is_written_finished_and_its_kind_given_up(
    tun, whole, monkeypatch, caplog, number
):
    Kernel(monkeypatch, lambda _flags, kind: kind == kind_of(whole), number)
    tcp = kind_of(whole) in (TCP4, TCP6)
    assert tun.write(segments(whole)) == 0
    came = taken(tun)
    assert [(flags, faults(packet)) for flags, _, _, packet in came] == [(0, [])] * 6
    assert b"".join(payload_of(packet) for *_, packet in came) == PAYLOAD
    assert tun.write(segments(whole)) == 0
    assert tun.offloads == (("csum", "uso4", "uso6") if tcp else ALL[:4])
    assert tun.asked == [CSUM | USO if tcp else CSUM | TSO]
    assert len(caplog.records) == 1
    assert "without tso4, tso6, tso_ecn" in caplog.text if tcp else "uso4, uso6" in caplog.text


def test_what_is_left_of_the_offloads_is_used(tun, whole, monkeypatch):
    Kernel(monkeypatch, lambda _flags, kind: kind == kind_of(whole))
    assert tun.write(segments(whole)) == 0
    taken(tun)
    assert tun.write([*segments(whole)]) == 0
    came = taken(tun)
    assert [(flags, kind, size) for flags, kind, size, _ in came] == [(1, 0, 0)] * 6
    assert b"".join(payload_of(packet) for *_, packet in came) == PAYLOAD


def test_a_kernel_that_takes_no_unfinished_packet_gets_none(tun, whole, monkeypatch, caplog):
    Kernel(monkeypatch, lambda flags, _kind: flags & 1)
    single = super_packet(b"single", 1000)
    for _ in range(3):
        assert tun.write([single, *segments(whole)]) == 0
    came = taken(tun)
    assert [faults(packet) for *_, packet in came] == [[]] * 21
    assert b"".join(payload_of(packet) for *_, packet in came) == (b"single" + PAYLOAD) * 3
    assert tun.offloads == ()
    assert tun.asked == [0]
    assert len(caplog.records) == 1


def test_a_device_that_is_down_costs_packets_and_no_offload(tun, whole, monkeypatch, caplog):
    Kernel(monkeypatch, lambda _flags, _kind: True, errno.EIO)
    assert tun.write([b"E plain", *segments(whole)]) == 7
    assert tun.offloads == ALL
    assert caplog.records == []


def test_a_malformed_packet_costs_itself_and_no_offload(tun, monkeypatch):
    Kernel(monkeypatch, lambda _flags, _kind: True)
    assert tun.write([Unfinished(b"\x45 no packet")]) == 1
    assert tun.write([super_packet(b"one", 1000)]) == 1
    assert tun.offloads == ALL


def test_a_full_device_refuses_what_a_super_packet_stands_for(tun, whole, monkeypatch):
    Kernel(monkeypatch, lambda _flags, _kind: True, errno.EAGAIN)
    assert tun.write(segments(whole)) == 6
    assert tun.offloads == ALL


def test_whatever_a_peer_calls_a_segment_is_written_or_refused(tun, bare):
    odd = [Unfinished(bytes((0x45, *range(n)))) for n in range(60)]
    odd += [Unfinished(struct.pack(">BB", 0x60, n) + bytes(70)) for n in range(9)]
    for port in (tun, bare):
        assert port.write(odd) == 0
    assert tun.offloads == ALL
    assert len(taken(tun)) == len(odd)


def test_flags_that_end_a_run_end_a_write(tun):
    ended = segments(super_packet(PAYLOAD, 1000, flags=ACK | 8))
    assert tun.write(ended * 2) == 0
    assert [size for _, _, size, _ in taken(tun)] == [1000, 1000]
