"""What the kernel says of connections, read from given bytes and from a real connection."""

from __future__ import annotations

import socket
import struct

import pytest

from bench.lab.traffic import tcpinfo
from bench.lab.traffic.program import TrafficError, bind_to_device, tcp_socket

PLAN = {"target": "127.0.0.1", "mptcp": False, "congestion": "cubic", "device": None}


def info(*, retransmits, rtt, acked, dsacks, reordering=3):
    given = bytearray(tcpinfo.SIZE)
    struct.pack_into("=I", given, 68, rtt)
    struct.pack_into("=I", given, 88, reordering)
    struct.pack_into("=I", given, 100, retransmits)
    struct.pack_into("=Q", given, 120, acked)
    struct.pack_into("=I", given, 216, dsacks)
    return bytes(given)


def test_subflows_are_added_up_and_the_longest_round_trip_counts():
    one = info(retransmits=7, rtt=20_000, acked=1 << 33, dsacks=2)
    other = info(retransmits=5, rtt=60_000, acked=10, dsacks=0, reordering=9)
    assert tcpinfo.parse([one, other], "cubic") == {
        "retransmits": 12,
        "spurious": 2,
        "acked": (1 << 33) + 10,
        "rtt": 0.06,
        "reordering": 9,
        "subflows": 2,
        "congestion": "cubic",
    }


def test_an_older_kernel_says_less():
    short = info(retransmits=7, rtt=20_000, acked=5, dsacks=2)[:104]
    told = tcpinfo.parse([short], "bbr")
    assert (told["retransmits"], told["acked"], told["spurious"]) == (7, 0, 0)


@pytest.mark.parametrize("congestion", ["cubic", "reno"])
def test_a_connection_tells_what_was_acknowledged_and_who_controls_congestion(congestion):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with tcp_socket({**PLAN, "congestion": congestion}) as sender:
            sender.connect(listener.getsockname())
            receiver, _ = listener.accept()
            with receiver:
                sender.sendall(b"x" * 1000)
                assert receiver.recv(1000, socket.MSG_WAITALL)
                sender.shutdown(socket.SHUT_WR)
                assert receiver.recv(1) == b""
                told = tcpinfo.read(sender)
        assert told["subflows"] == 1
        assert told["congestion"] == congestion
        # the bytes themselves, and at some moment the SYN and the FIN
        assert 1000 <= told["acked"] <= 1002


def test_an_unknown_congestion_control_is_named():
    with pytest.raises(TrafficError, match=r"no congestion control 'vegan'.*modprobe tcp_vegan"):
        tcp_socket({**PLAN, "congestion": "vegan"})


def test_an_interface_that_is_not_there_is_named():
    with socket.socket() as made, pytest.raises(TrafficError, match="interface 'wwan77'"):
        bind_to_device(made, "wwan77")
