"""One direction of an emulated link, by hand: sockets instead of devices, and times as given."""

from __future__ import annotations

import random
import socket

import pytest

from bench.lab.emulator import Line


@pytest.fixture
def ends():
    before, source = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sink, after = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sockets = (before, source, sink, after)
    for each in sockets:
        each.setblocking(False)
    yield sockets
    for each in sockets:
        each.close()


def line(ends, seed=1, **shape):
    _, source, sink, _ = ends
    rng = random.Random(seed)
    return Line(source=source.fileno(), sink=sink.fileno(), largest=1500, rng=rng, **shape)


def arrived(ends):
    packets = []
    try:
        while True:
            packets.append(ends[3].recv(2000))
    except BlockingIOError:
        return packets


def test_a_packet_comes_out_when_it_is_due_and_not_before(ends):
    emulated = line(ends, delay=0.5)
    ends[0].send(b"packet")
    emulated.read(now=10.0)
    emulated.write(now=10.499)
    assert arrived(ends) == []
    emulated.write(now=10.5)
    assert arrived(ends) == [b"packet"]


def test_a_shrinking_delay_does_not_reorder(ends):
    emulated = line(ends, delay=0.5)
    ends[0].send(b"first")
    emulated.read(now=10.0)
    emulated.delay = 0.1
    ends[0].send(b"second")
    emulated.read(now=10.2)
    emulated.write(now=10.4)
    assert arrived(ends) == []
    emulated.write(now=10.5)
    assert arrived(ends) == [b"first", b"second"]


def survivors(ends, seed, loss):
    emulated = line(ends, seed, loss=loss)
    packets = []
    for number in range(1000):
        ends[0].send(b"%d" % number)
        emulated.read(now=0.0)
        emulated.write(now=0.0)
        packets += arrived(ends)
    assert emulated.lost == 1000 - len(packets)
    return packets


def test_the_same_seed_loses_the_same_packets(ends):
    assert survivors(ends, 1, 0.1) == survivors(ends, 1, 0.1) != survivors(ends, 2, 0.1)
    assert len(survivors(ends, 3, 0.1)) == pytest.approx(900, abs=40)


def test_a_silent_line_swallows_what_comes_and_still_delivers_what_was_on_its_way(ends):
    emulated = line(ends, delay=1.0)
    ends[0].send(b"before")
    emulated.read(now=0.0)
    emulated.silent = True
    ends[0].send(b"during")
    emulated.read(now=0.5)
    emulated.write(now=5.0)
    assert arrived(ends) == [b"before"]


def test_a_device_that_is_down_refuses_packets_and_nothing_breaks(ends):
    emulated = line(ends)
    ends[3].close()
    ends[0].send(b"packet")
    emulated.read(now=0.0)
    emulated.write(now=0.0)
    assert (emulated.carried, emulated.refused) == (0, 1)
