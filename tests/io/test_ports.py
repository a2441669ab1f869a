"""What every port must do: the real ones and their fakes pass the same tests."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys

import pytest

from mpbond.io.fakes import FakeTun, FakeUdp
from mpbond.io.udp import UdpSocket

MTU = 1472
IP_RECVTOS, IPV6_RECVTCLASS, IPV6_TCLASS = 13, 66, 67
PACKET = bytes([0x45, 0, 0, 28]) + bytes(24)


def real_pair() -> tuple[UdpSocket, UdpSocket, object, object]:
    ports = [UdpSocket(socket.AF_INET, mtu=MTU, bind=("127.0.0.1", 0)) for _ in range(2)]
    places = []
    for port in ports:
        with socket.socket(fileno=os.dup(port.fileno())) as own:
            places.append((*own.getsockname(), None, 0))
    return ports[0], ports[1], places[0], places[1]


def fake_pair() -> tuple[FakeUdp, FakeUdp, object, object]:
    near, far = FakeUdp.pair(("near", 1), ("far", 2))
    return near, far, ("near", 1), ("far", 2)


@pytest.fixture(params=[real_pair, fake_pair], ids=["real", "fake"])
def udp(request):
    near, far, near_place, far_place = request.param()
    yield near, far, near_place, far_place
    near.close()
    far.close()


class TestUdp:
    def test_gathered_buffers_arrive_as_one_datagram_from_the_sender(self, udp):
        near, far, near_place, far_place = udp
        assert near.send(far_place, [b"head", memoryview(b"body")], None) is None
        (received,) = wait_for(far)
        assert received.data == b"headbody"
        assert received.source[:2] == near_place[:2]
        assert received.segment_size is None

    def test_a_marked_datagram_arrives_as_any_other(self, udp):
        near, far, _, far_place = udp
        assert near.send(far_place, [b"marked"], None, 46) is None
        assert near.send(far_place, [b"plain"], None) is None
        assert [each.data for each in wait_for(far, budget=2)] == [b"marked", b"plain"]

    def test_reading_stops_at_the_budget_and_keeps_the_order(self, udp):
        near, far, _, far_place = udp
        for number in range(5):
            near.send(far_place, [bytes([number])], None)
        assert [each.data for each in wait_for(far, budget=3)] == [b"\0", b"\1", b"\2"]
        assert [each.data for each in far.receive(10)] == [b"\3", b"\4"]

    def test_with_nothing_there_a_read_returns_at_once(self, udp):
        assert udp[0].receive(10) == []

    def test_arrivals_carry_rising_times(self, udp):
        near, far, _, far_place = udp
        near.send(far_place, [b"one"], None)
        near.send(far_place, [b"two"], None)
        one, two = wait_for(far, budget=2)
        assert one.time <= two.time

    def test_a_port_tells_its_mtu(self, udp):
        assert udp[0].mtu == MTU


@pytest.mark.parametrize(
    ("family", "host", "level", "ask", "told"),
    [
        (socket.AF_INET, "127.0.0.1", socket.IPPROTO_IP, IP_RECVTOS, socket.IP_TOS),
        (socket.AF_INET6, "::1", socket.IPPROTO_IPV6, IPV6_RECVTCLASS, IPV6_TCLASS),
    ],
)
@pytest.mark.parametrize("segment_size", [None, 4])
def test_a_mark_holds_for_one_sendmsg_and_leaves_the_ecn_bits_alone(
    family, host, level, ask, told, segment_size
):
    near = UdpSocket(family, mtu=MTU, bind=(host, 0))
    with socket.socket(family, socket.SOCK_DGRAM) as far:
        far.bind((host, 0))
        far.setsockopt(level, ask, 1)
        far.settimeout(5)
        place = (host, far.getsockname()[1], None, 0)
        for dscp in (46, 0, 63):
            assert near.send(place, [b"half", b"half"], segment_size, dscp) is None
        seen = []
        for _ in range(3 if segment_size is None else 6):
            _, ancillary, _, _ = far.recvmsg(64, 64)
            seen += [data[0] for of, kind, data in ancillary if (of, kind) == (level, told)]
    near.close()
    each = 1 if segment_size is None else 2
    assert seen == [46 << 2] * each + [0] * each + [63 << 2] * each


def test_a_refusal_of_the_system_has_a_name():
    near, far, _, far_place = real_pair()
    assert near.send(far_place, [bytes(70000)], None) == "send_too_big"
    near.close()
    far.close()


def test_a_fake_refuses_what_exceeds_its_mtu():
    near, far, _, far_place = fake_pair()
    assert near.send(far_place, [bytes(MTU + 1)], None) == "send_too_big"
    near.close()
    far.close()


class TestFakeTun:
    @pytest.fixture
    def tun(self):
        tun = FakeTun()
        yield tun
        tun.close()

    def test_packets_are_read_whole_up_to_the_budget(self, tun):
        for number in range(3):
            tun.far.send(PACKET + bytes([number]))
        assert tun.read(2) == [PACKET + b"\0", PACKET + b"\1"]
        assert tun.read(2) == [PACKET + b"\2"]
        assert tun.read(2) == []

    def test_packets_written_come_out_whole(self, tun):
        assert tun.write([PACKET, memoryview(PACKET)]) == 0
        assert [tun.far.recv(2048) for _ in range(2)] == [PACKET, PACKET]


REAL_TUN = """
import os, subprocess, socket
from mpbond.errors import PlatformError
from mpbond.io.tun import TunDevice
tun = TunDevice("conform0")
assert not os.get_blocking(tun.fileno()) and not os.get_inheritable(tun.fileno())
assert tun.read(4) == []
for words in ("link set lo up", "addr add 10.9.9.1/24 dev conform0", "link set conform0 up"):
    subprocess.run(["ip", *words.split()], check=True)
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(3):
    out.sendto(bytes([number]), ("10.9.9.2", 9))
ours = [p for p in tun.read(64) if p[0] >> 4 == 4]
assert [p[-1] for p in ours] == [0, 1, 2], ours
assert tun.read(4) == [] or all(p[0] >> 4 == 6 for p in tun.read(4))
answer = bytearray(ours[0])
answer[12:16], answer[16:20] = answer[16:20], answer[12:16]
assert tun.write([answer, memoryview(bytes(answer))]) == 0
assert tun.write([b""]) == 1
subprocess.run(["ip", "link", "del", "conform0"], check=True)
try:
    tun.read(4)
except PlatformError as error:
    print(error)
tun.close()
"""


def test_a_real_tun_reads_and_writes_whole_packets_and_tells_when_it_is_gone():
    argv = ["unshare", "--net", sys.executable, "-c", REAL_TUN]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "The TUN device conform0 has gone: somebody deleted it.\n"


def wait_for(port, budget=1):
    """What has come once something is there; loopback and socket pairs deliver before send returns."""
    ready, _, _ = select.select([port.fileno()], [], [], 5)
    assert ready, "nothing arrived"
    return port.receive(budget)
