"""What every port must do: the real ones and their fakes pass the same tests."""

from __future__ import annotations

import errno
import os
import select
import socket
import subprocess
import sys

import pytest

from mpbond.io.fakes import FakeTun, FakeUdp
from mpbond.io.ports import Refusal
from mpbond.io.udp import UDP_SEGMENT, UdpSocket

MTU = 1472
IP_RECVTOS, IPV6_RECVTCLASS, IPV6_TCLASS = 13, 66, 67
PACKET = bytes([0x45, 0, 0, 28]) + bytes(24)


def real_pair(offload: bool = True) -> tuple[UdpSocket, UdpSocket, object, object]:
    at = ("127.0.0.1", 0)
    ports = [UdpSocket(socket.AF_INET, mtu=MTU, bind=at, offload=offload) for _ in range(2)]
    places = []
    for port in ports:
        with socket.socket(fileno=os.dup(port.fileno())) as own:
            places.append((*own.getsockname(), None, 0))
    return ports[0], ports[1], places[0], places[1]


def fake_pair(offload: bool = True) -> tuple[FakeUdp, FakeUdp, object, object]:
    near, far = FakeUdp.pair(("near", 1), ("far", 2), coalesce=offload)
    return near, far, ("near", 1), ("far", 2)


@pytest.fixture(params=[real_pair, fake_pair], ids=["real", "fake"])
def pair(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["offload", "none"])
def udp(request, pair):
    near, far, near_place, far_place = pair(request.param)
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
        assert datagrams(wait_for(far, budget=2)) == [b"marked", b"plain"]

    def test_reading_stops_at_the_budget_and_keeps_the_order(self, udp):
        near, far, _, far_place = udp
        for number in range(5):
            near.send(far_place, [bytes([number])], None)
        assert datagrams(wait_for(far, budget=3)) == [b"\0", b"\1", b"\2"]
        assert datagrams(far.receive(10)) == [b"\3", b"\4"]

    @pytest.mark.parametrize("last", [100, 37])
    def test_a_batch_arrives_as_its_datagrams(self, udp, last):
        near, far, _, far_place = udp
        sent = [bytes([number]) * (100 if number < 19 else last) for number in range(20)]
        assert near.send(far_place, [b"".join(sent[:7]), *sent[7:]], 100) is None
        received = wait_for(far, budget=64)
        assert datagrams(received) == sent
        assert len(received) == (1 if "gro" in far.offloads else 20)

    def test_a_batch_counts_as_its_datagrams_when_it_is_read(self, udp):
        near, far, _, far_place = udp
        for _ in range(4):
            assert near.send(far_place, [b"x" * 100] * 20, 100) is None
        came = len(datagrams(wait_for(far, budget=30)))
        assert 30 <= came < 50
        assert came + len(datagrams(far.receive(100))) == 80

    def test_a_batch_of_one_is_a_datagram(self, udp):
        near, far, _, far_place = udp
        assert near.send(far_place, [b"alone"], 100) is None
        (received,) = wait_for(far)
        assert (received.data, received.segment_size) == (b"alone", None)

    def test_with_nothing_there_a_read_returns_at_once(self, udp):
        assert udp[0].receive(10) == []

    def test_arrivals_carry_rising_times(self, udp):
        near, far, _, far_place = udp
        near.send(far_place, [b"one"], None)
        near.send(far_place, [b"longer"], None)
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
    assert near.send(far_place, [bytes(70000)], None) == Refusal("send_too_big")
    near.close()
    far.close()


class Refusing:
    """A socket before which a kernel stands that refuses what it is told to."""

    def __init__(self, real):
        self._real = real
        self.refuses = lambda _batch: None
        self.calls = []

    def __getattr__(self, name):
        return getattr(self._real, name)

    def sendmsg(self, buffers, ancillary, flags, target):
        batch = any(kind == UDP_SEGMENT for _, kind, _ in ancillary)
        self.calls.append(batch)
        number = self.refuses(batch)
        if number is not None:
            raise OSError(number, os.strerror(number))
        return self._real.sendmsg(buffers, ancillary, flags, target)


BATCH = [bytes([number]) * 50 for number in range(10)]


class TestRefusedBatches:
    @pytest.fixture
    def ports(self):
        near, far, _, far_place = real_pair()
        near._socket = Refusing(near._socket)
        yield near, far, far_place
        near.close()
        far.close()

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO, errno.EMSGSIZE])
    def test_a_kernel_that_takes_no_batch_gets_datagrams_from_then_on(self, ports, caplog, number):
        near, far, place = ports
        near._socket.refuses = lambda batch: number if batch else None
        for _ in range(2):
            assert near.send(place, BATCH, 50) is None
        assert datagrams(wait_for(far, budget=64)) == BATCH * 2
        assert near._socket.calls == [True] + [False] * 20
        assert near.offloads == ("gro",)
        assert len(caplog.records) == 1

    def test_a_full_buffer_is_a_drop_and_no_reason_to_send_singly(self, ports, caplog):
        near, _, place = ports
        near._socket.refuses = lambda _batch: errno.EAGAIN
        assert near.send(place, BATCH, 50) == Refusal("send_buffer_full", 0)
        assert near._socket.calls == [True]
        assert near.offloads == ("gso", "gro")
        assert caplog.records == []

    def test_what_goes_in_no_way_is_not_the_fault_of_batches(self, ports):
        near, _, place = ports
        near._socket.refuses = lambda _batch: errno.EINVAL
        assert near.send(place, BATCH, 50) == Refusal("send_failed", 0)
        assert near.offloads == ("gso", "gro")

    def test_of_a_batch_that_leaves_in_part_the_rest_is_refused(self, ports):
        near, far, place = ports
        answers = iter([errno.EIO, None, None, None, errno.ENETUNREACH])
        near._socket.refuses = lambda _batch: next(answers)
        assert near.send(place, BATCH, 50) == Refusal("send_unreachable", 3)
        assert datagrams(wait_for(far, budget=64)) == BATCH[:3]

    def test_a_batch_that_is_longer_than_kernels_take_is_not_their_fault(self, ports):
        near, far, place = ports
        many = [bytes([number]) * 10 for number in range(200)]
        assert near.send(place, many, 10) is None
        assert datagrams(wait_for(far, budget=300)) == many
        assert near.offloads == ("gso", "gro")


def test_a_socket_without_offloads_has_none():
    near, far, _, far_place = real_pair(offload=False)
    near._socket = Refusing(near._socket)
    assert near.offloads == ()
    assert near.send(far_place, [b"one", b"two"], 3) is None
    assert near._socket.calls == [False, False]
    near.close()
    far.close()


def test_a_filter_of_handshakes_sees_every_datagram():
    near, far, _, far_place = real_pair()
    far.admit_handshakes(0.0, 1, 100)
    assert far.offloads == ("gso",)
    assert near.send(far_place, [b"\7" * 100, b"\1" * 100, b"\1" * 100, b"\7" * 100], 100) is None
    assert datagrams(wait_for(far, budget=64)) == [b"\7" * 100] * 2
    far.admit_handshakes(None, 1, 100)
    assert far.offloads == ("gso", "gro")
    assert near.send(far_place, [b"\1" * 100] * 3, 100) is None
    assert [each.segment_size for each in wait_for(far, budget=64)] == [100]
    near.close()
    far.close()


def test_a_fake_refuses_what_exceeds_its_mtu():
    near, far, _, far_place = fake_pair()
    assert near.send(far_place, [bytes(MTU + 1)], None) == Refusal("send_too_big")
    assert near.send(far_place, [bytes(2 * MTU + 2)], MTU + 1) == Refusal("send_too_big")
    assert near.send(far_place, [bytes(2 * MTU)], MTU) is None
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
        assert tun.write([PACKET, PACKET]) == 0
        assert [tun.far.recv(2048) for _ in range(2)] == [PACKET, PACKET]


REAL_TUN = """
import os, subprocess, socket, sys
from mpbond.errors import PlatformError
from mpbond.io.tun import TunDevice
tun = TunDevice("conform0", offload=sys.argv[1] == "offload")
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
assert tun.write([bytes(answer)] * 2) == 0
assert tun.write([b""]) == 1
subprocess.run(["ip", "link", "set", "conform0", "down"], check=True)
assert tun.write([ours[0], ours[0]]) == 2
offloads = tun.offloads
subprocess.run(["ip", "link", "del", "conform0"], check=True)
try:
    tun.read(4)
except PlatformError as error:
    print(error)
print(*offloads)
tun.close()
"""


@pytest.mark.parametrize("offload", ["offload", "none"])
def test_a_real_tun_reads_and_writes_whole_packets_and_tells_when_it_is_gone(offload):
    argv = ["unshare", "--net", sys.executable, "-c", REAL_TUN, offload]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    gone, offloads = result.stdout.splitlines()
    assert gone == "The TUN device conform0 has gone: somebody deleted it."
    if offload == "none":
        assert offloads == ""
    else:
        assert offloads.startswith("csum tso4 tso6 tso_ecn")


def datagrams(received):
    """What came, datagram by datagram."""
    return [
        each.data[at : at + (each.segment_size or len(each.data))]
        for each in received
        for at in range(0, len(each.data), each.segment_size or len(each.data))
    ]


def wait_for(port, budget=1):
    """What has come once something is there; loopback and socket pairs deliver before send returns."""
    ready, _, _ = select.select([port.fileno()], [], [], 5)
    assert ready, "nothing arrived"
    return port.receive(budget)
