"""What the kernel hands over and takes in one piece, on real devices: nothing of it may change a byte.

Two namespaces, each with a TUN device; a loop here carries packets from one device to the other, cut as on
mpbond's wire. And two namespaces with a veth between them, for batches of datagrams.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import select
import socket
import struct
import threading

import pytest

from bench.lab import LinkSpec
from bench.lab.namespaces import Namespaces
from mpbond.core.segments import Cut
from mpbond.core.unfinished import Unfinished
from mpbond.io.tun import TunDevice
from mpbond.io.udp import UDP_SEGMENT, UdpSocket, payload_mtu
from tests.io.world import Inside

NEAR, FAR = ("10.99.0.1", "fd99::1"), ("10.99.0.2", "fd99::2")
MTU, PORT = 1400, 4510
PATIENCE = 30  # s that a transfer may take on a busy machine
VOLUME = 4 << 20  # bytes
KINDS = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


@pytest.fixture
def spaces():
    """Namespaces `near` and `far`, and how to do something inside them."""
    spaces = Namespaces()
    spaces.open()
    with contextlib.ExitStack() as closing:
        closing.callback(spaces.close)
        inside = []
        for name in ("near", "far"):
            spaces.add(name)
            inside.append(Inside(spaces.full(name)))
            closing.callback(inside[-1].close)
        yield spaces, *inside


class Bridge:
    """Two TUN devices, and what is carried between them; `largest` is the longest packet read of each."""

    def __init__(self, spaces, near, far, offload):
        self.devices = []
        self.largest = [0, 0]
        for name, inside, own, asked in (
            ("near", near, NEAR, offload[0]),
            ("far", far, FAR, offload[1]),
        ):
            self.devices.append(inside(lambda asked=asked: TunDevice("tun0", offload=asked)))
            spaces.ip(
                name,
                f"link set tun0 mtu {MTU} up",
                f"addr add {own[0]}/24 dev tun0",
                f"addr add {own[1]}/64 dev tun0 nodad",
            )

    def carry(self, until):
        """Move packets both ways until a thread has ended."""
        deadline = PATIENCE * 10
        while until.is_alive():
            ready, _, _ = select.select(self.devices, [], [], 0.1)
            deadline = PATIENCE * 10 if ready else deadline - 1
            assert deadline, "nothing has come for too long"
            for device in ready:
                at = self.devices.index(device)
                packets = device.read(64)
                self.largest[at] = max([self.largest[at], *map(len, packets)])
                pieces = [piece for packet in packets for piece in segments(packet)]
                assert max(map(len, pieces), default=0) <= MTU
                self.devices[1 - at].write(pieces)

    def close(self):
        for device in self.devices:
            device.close()


def segments(packet):
    """What goes over the wire for a packet."""
    if not (isinstance(packet, Unfinished) and packet.segment_size):
        return [packet]
    cut = Cut(packet)
    return [Unfinished(cut.segment(index)) for index in range(cut.count)]


OFFLOADS = list(itertools.product([True, False], repeat=2))


@pytest.fixture(params=OFFLOADS, ids=["both", "near only", "far only", "none"])
def bridge(request, spaces):
    made = Bridge(*spaces, request.param)
    made.asked = request.param
    yield made
    made.close()


@pytest.mark.parametrize("family", KINDS)
def test_a_tcp_transfer_arrives_intact(spaces, bridge, family):
    _, near, far = spaces
    listener = far(listening, KINDS[family])
    content = b"".join(struct.pack(">I", number) for number in range(VOLUME // 4))
    heard = []

    def send():
        with near(socket.socket, KINDS[family], socket.SOCK_STREAM) as out:
            out.settimeout(PATIENCE)
            out.connect((FAR[KINDS[family] == socket.AF_INET6], PORT))
            out.sendall(content)
            out.shutdown(socket.SHUT_WR)
            heard.append(out.recv(64))

    def receive():
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(PATIENCE)
            digest = hashlib.sha256()
            while data := connection.recv(1 << 16):
                digest.update(data)
            connection.sendall(digest.digest())

    with listener:
        threads = [threading.Thread(target=work, daemon=True) for work in (receive, send)]
        for thread in threads:
            thread.start()
        bridge.carry(threads[1])
    assert heard == [hashlib.sha256(content).digest()]
    assert (bridge.largest[0] > MTU) == bridge.asked[0]
    assert all(port.unreadable == 0 for port in bridge.devices)
    granted = [port.offloads[:4] for port in bridge.devices]
    assert granted == [("csum", "tso4", "tso6", "tso_ecn") if on else () for on in bridge.asked]


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("last", [1000, 7])
def test_a_batch_of_datagrams_arrives_intact(spaces, bridge, family, last):
    _, near, far = spaces
    sent = [bytes([number]) * (1000 if number < 29 else last) for number in range(30)]
    place = FAR[KINDS[family] == socket.AF_INET6]
    with far(bound, KINDS[family], place) as there, near(bound, KINDS[family], "") as here:
        here.sendmsg(
            [b"".join(sent)],
            [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", 1000))],
            0,
            (place, PORT),
        )
        came = []

        def receive():
            came.extend(there.recv(2048) for _ in sent)

        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        bridge.carry(thread)
    assert came == sent
    uso = "uso4" in bridge.devices[0].offloads
    assert (bridge.largest[0] > MTU) == uso
    for device, asked in zip(bridge.devices, bridge.asked, strict=True):
        assert device.offloads == () or asked


@pytest.fixture
def wire(spaces):
    """A veth of MTU 1500 between the namespaces."""
    found, *_ = spaces
    found.ip("near", f"link add wire type veth peer name wire netns {found.full('far')}")
    for name, own in (("near", NEAR), ("far", FAR)):
        found.ip(
            name,
            "link set wire up",
            f"addr add {own[0]}/24 dev wire",
            f"addr add {own[1]}/64 dev wire nodad",
        )


@pytest.fixture(params=KINDS)
def sockets(request, spaces, wire):
    """A client's socket and a server's, and where the latter is."""
    _, near, far = spaces
    family = KINDS[request.param]
    mtu = payload_mtu(1500, family)
    place = FAR[family == socket.AF_INET6]
    here = near(lambda: UdpSocket(family, mtu=mtu, device="wire"))
    there = far(lambda: UdpSocket(family, mtu=mtu, bind=(place, PORT)))
    yield here, there, (place, PORT, None, 0)
    here.close()
    there.close()


def receive_all(port, count):
    """So many datagrams, and in how many reads they came."""
    datagrams, reads = [], 0
    while len(datagrams) < count:
        ready, _, _ = select.select([port], [], [], PATIENCE)
        assert ready, f"{len(datagrams)} of {count} came"
        for each in port.receive(64):
            size = each.segment_size or len(each.data)
            datagrams += [each.data[at : at + size] for at in range(0, len(each.data), size)]
            reads += 1
    return datagrams, reads


def test_batches_go_over_a_link_in_few_calls_both_ways(sockets):
    here, there, place = sockets
    assert here.offloads == there.offloads == ("gso", "gro")
    size = here.mtu
    sent = [bytes([number]) * (size if number < 39 else 99) for number in range(40)]
    assert here.send(place, sent, size) is None
    assert select.select([there], [], [], PATIENCE)[0]
    (first,) = there.receive(1)
    assert first.segment_size == size
    assert first.data == b"".join(sent)
    assert there.send(first.source, sent, size, 46) is None
    datagrams, reads = receive_all(here, 40)
    assert datagrams == sent
    assert reads < 40
    assert here.offloads == there.offloads == ("gso", "gro")


def test_what_exceeds_the_link_is_sent_in_fragments_and_costs_no_offload(sockets, caplog):
    here, there, place = sockets
    sent = [bytes([number]) * (here.mtu + 1) for number in range(5)]
    assert here.send(place, sent, here.mtu + 1) is None
    assert receive_all(there, 5)[0] == sent
    assert here.offloads == ("gso", "gro")
    assert caplog.records == []


@pytest.mark.parametrize("asked", [True, False], ids=["offload", "none"])
def test_status_tells_what_is_in_use_and_a_key_turns_it_off(laboratory, asked):
    lab = laboratory(LinkSpec())
    lab.start_server()
    lab.start_client(offload=asked)
    server, client = lab.status("server"), lab.status()
    assert ("csum" in client["tun"]["offloads"]) == asked
    assert "csum" in server["tun"]["offloads"]
    ((of_client,), (of_server,)) = (told["sessions"][0]["paths"] for told in (client, server))
    assert of_client["offloads"] == (["gso", "gro"] if asked else [])
    assert of_server["offloads"] == ["gso", "gro"]


def listening(family):
    endpoint = socket.socket(family, socket.SOCK_STREAM)
    endpoint.bind(("", PORT))
    endpoint.listen()
    endpoint.settimeout(PATIENCE)
    return endpoint


def bound(family, host):
    endpoint = socket.socket(family, socket.SOCK_DGRAM)
    endpoint.settimeout(PATIENCE)
    if host:
        endpoint.bind((host, PORT))
    return endpoint
