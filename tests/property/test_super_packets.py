"""Super-packets over whole sessions: whatever is lost, and however datagrams are gathered, the stream comes.

Both ends cut and join, the network drops datagrams and lets those of a path arrive in batches of any size,
as a kernel with segmentation and receive offload does.
"""

from ipaddress import ip_interface, ip_network
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from mpbond.core.client import ClientEndpoint, ClientSettings
from mpbond.core.link import Link, Target
from mpbond.core.noise import public_key
from mpbond.core.peers import Peer, Peers
from mpbond.core.segments import MAXIMUM_PACKET, finish
from mpbond.core.server import ServerEndpoint, ServerSettings
from mpbond.core.transmit import SessionStarted
from mpbond.core.unfinished import Unfinished
from tests.oracles import checksums_are_right
from tests.packets import tcp4

FEW = settings.default.max_examples // 3
WEB = b"\x01\x02\x03\x04"
MTU = 1472


@settings(max_examples=FEW)
@given(
    segment_size=st.integers(100, 1388),
    sizes=st.lists(st.integers(1, 60_000), min_size=1, max_size=12),
    loss=st.sampled_from([0.0, 0.0, 0.02, 0.2]),
    batch=st.sampled_from([1, 2, 64]),
    paths=st.integers(1, 3),
    seed=st.integers(0, 1 << 32),
)
def test_a_stream_of_super_packets_arrives_byte_for_byte(
    segment_size, sizes, loss, batch, paths, seed
):
    network = Network(paths, loss, batch, seed)
    address = network.connect()
    content = Random(seed).randbytes(sum(sizes))
    position = 0
    for size in sizes:
        payload = content[position : position + size]
        whole = tcp4(source=address, destination=WEB, sequence=position, payload=payload)
        whole = Unfinished(whole)
        whole.segment_size = segment_size if size > segment_size else 0
        assert len(whole) <= MAXIMUM_PACKET
        network.client.handle_packets([whole], network.now)
        network.run(0.05)
        position += size
    network.run(2.0)
    got, came = bytearray(len(content)), set()
    for packet in network.packets:
        for segment in finish(packet):
            assert checksums_are_right(segment)
            at, payload = int.from_bytes(segment[24:28], "big"), segment[40:]
            assert len(payload) <= segment_size
            assert at not in came
            came.add(at)
            got[at : at + len(payload)] = payload
            assert payload == content[at : at + len(payload)]
    (session,) = network.client.sessions.values()
    segments = sum(-(-size // segment_size) for size in sizes)
    assert len(came) == segments - session.sender.outbound.repair.given_up
    assert loss or bytes(got) == content
    assert not set(network.server.drops) - {"replayed"}


class Network:
    """A client and a server, endpoints only, and paths of 10 ms one after the other."""

    def __init__(self, paths, loss, batch, seed, **settings):
        server_key, client_key = bytes(range(32)), bytes(range(32, 64))
        peers = Peers([ip_network("10.77.0.0/24")], [Peer("van", public_key(client_key))])
        self.now = 100.0
        self.packets = []
        self.server = ServerEndpoint(ServerSettings(private_key=server_key), peers, Random(seed))
        self.client = ClientEndpoint(
            ClientSettings(private_key=client_key, server_key=public_key(server_key), **settings),
            Random(seed + 1),
        )
        self._loss, self._batch, self._rng = 0.0, batch, Random(seed)
        self._lossy = loss
        self._wire = []
        self._addresses = None
        self.server.socket_mtu[0] = MTU
        for number in range(paths):
            self.client.socket_mtu[number] = MTU
            link = Link(f"wwan{number}", (Target(number, "server"),))
            self.client.add_link(link, self.now)

    def connect(self):
        """Let the session begin; return the client's address."""
        self.run(0.5)
        self._loss = self._lossy
        return ip_interface(self._addresses[0]).ip.packed

    def run(self, seconds):
        """Let so much time pass, a millisecond at a time."""
        for _ in range(round(seconds * 1000)):
            self.now += 0.001
            for end in (self.client, self.server):
                if end.next_timeout(self.now) <= self.now:
                    end.handle_timeout(self.now)
                self._drain(end)
            while self._wire and self._wire[0][0] <= self.now:
                _, end, socket, source, datagrams = self._wire.pop(0)
                data, size = b"".join(datagrams), len(datagrams[0])
                end.handle_datagrams(
                    socket, source, data, size if len(datagrams) > 1 else None, self.now, self.now
                )

    def _drain(self, end):
        while (transmit := end.poll_transmit(self.now)) is not None:
            data, size = b"".join(transmit.buffers), transmit.segment_size
            assert len(data) <= 65_507
            datagrams = [data]
            if size is not None:
                datagrams = [data[at : at + size] for at in range(0, len(data), size)]
                assert 1 < len(datagrams) <= 64
            if transmit.numbers is not None:
                assert len(transmit.numbers[1]) == len(datagrams)
            self._carry(end, transmit, datagrams)
        packets = end.poll_packets()
        if end is self.server:
            self.packets += packets
        while (event := end.poll_event()) is not None:
            if isinstance(event, SessionStarted) and end is self.client:
                self._addresses = event.addresses

    def _carry(self, end, transmit, datagrams):
        kept = [datagram for datagram in datagrams if self._rng.random() >= self._loss]
        if end is self.client:
            far, socket, source = self.server, 0, ("client", transmit.socket)
        else:
            far, socket, source = self.client, transmit.address[1], "server"
        together = []
        for datagram in kept:
            fits = together and len(datagram) <= len(together[0]) == len(together[-1])
            if not fits or len(together) >= self._batch:
                together = []
                self._wire.append((self.now + 0.010, far, socket, source, together))
            together.append(datagram)
