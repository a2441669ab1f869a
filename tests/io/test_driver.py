"""The driver on both event loops, between fakes: the shell around the core without root or network."""

from __future__ import annotations

import asyncio
from ipaddress import ip_interface, ip_network
from random import Random
from struct import pack

import pytest
import uvloop

from mpbond.core.client import ClientEndpoint, ClientSettings
from mpbond.core.link import Link, Target
from mpbond.core.noise import public_key
from mpbond.core.peers import Peer, Peers
from mpbond.core.segments import VNET
from mpbond.core.server import ServerEndpoint, ServerSettings
from mpbond.core.transmit import SessionStarted, Transmit
from mpbond.errors import PlatformError
from mpbond.io.fakes import FakeTun, FakeUdp
from mpbond.io.ports import Refusal
from mpbond.runtime.driver import PAUSE, READ_BUDGET, TUN, Driver

CLIENT, SERVER = ("client", 1), ("server", 2)
LIMIT = 10  # s that anything may take on a slow machine


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine to its end on one kind of loop."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda coroutine: runner.run(asyncio.wait_for(coroutine, LIMIT))


def test_packets_go_through_both_ways(run):
    async def story() -> None:
        pair = Pair()
        (address,) = await pair.connected
        loop = asyncio.get_running_loop()
        there = packet(str(ip_interface(address).ip), "1.2.3.4")
        back = packet("1.2.3.4", str(ip_interface(address).ip))
        pair.client.tun.far.send(there)
        assert await loop.sock_recv(pair.server.tun.far, 2048) == there
        pair.server.tun.far.send(back)
        assert await loop.sock_recv(pair.client.tun.far, 2048) == back
        pair.close()

    run(story())


def test_what_arrives_while_others_are_read_arrived_then_and_not_before(run):
    async def story() -> None:
        pair = Pair()
        await pair.connected
        told, taken = [], []

        class Port(FakeUdp):
            def receive(self, budget):
                received = super().receive(budget)
                told.extend(one.time for one in received)
                return received

        def take(number, source, data, segment_size, receive_time, now):
            taken.append(receive_time)

        near, far = Port.pair(CLIENT, SERVER)
        number = pair.client.add_socket(near)
        far.send(CLIENT, [b"x"], None)
        pair.client.endpoint.handle_datagrams = take
        pair.client._on_socket(number)
        assert taken == told
        assert len(told) == 1
        far.close()
        pair.close()

    run(story())


def test_what_all_have_waited_for_to_be_read_counts_as_not_yet_received(run):
    async def story() -> None:
        pair = Pair()
        await pair.connected
        driver = pair.client
        now, taken = 1000.0, []

        class Port(FakeUdp):
            def receive(self, budget):
                return [one._replace(time=now - 0.020) for one in super().receive(budget)]

        def take(number, source, data, segment_size, receive_time, now):
            taken.append(now - receive_time)

        near, far = Port.pair(CLIENT, SERVER)
        number = driver.add_socket(near)
        driver.endpoint.handle_datagrams = take
        driver._clock = lambda: now
        for _ in range(4):
            far.send(CLIENT, [b"x"], None)
            driver._on_socket(number)
            now += 0.006
        assert taken == pytest.approx([0.020, 0.0, 0.0, 0.0])
        far.close()
        pair.close()

    run(story())


def test_a_transmit_is_sent_with_its_mark(run):
    async def story() -> None:
        marks = []

        class Port(FakeUdp):
            def send(self, address, buffers, segment_size, dscp=0):
                marks.append(dscp)
                return super().send(address, buffers, segment_size, dscp)

        pair = Pair()
        await pair.connected
        near, far = Port.pair(CLIENT, SERVER)
        number = pair.client.add_socket(near)
        waiting = [
            Transmit(number, SERVER, [b"x"], dscp=46),
            Transmit(number, SERVER, [b"y"]),
        ]
        poll = pair.client.endpoint.poll_transmit
        pair.client.endpoint.poll_transmit = lambda now: waiting.pop(0) if waiting else poll(now)
        pair.client.turn()
        assert marks == [46, 0]
        far.close()
        pair.close()

    run(story())


def test_packets_reach_the_device_before_datagrams_leave(run):
    async def story() -> None:
        order = []

        class Port(FakeUdp):
            def send(self, address, buffers, segment_size, dscp=0):
                order.append("datagram")
                return super().send(address, buffers, segment_size, dscp)

        class Tun(FakeTun):
            def write(self, packets):
                order.append("packets")
                return super().write(packets)

        pair = Pair(Tun())
        await pair.connected
        near, far = Port.pair(CLIENT, SERVER)
        number = pair.client.add_socket(near)
        endpoint = pair.client.endpoint
        poll = endpoint.poll_transmit
        waiting = [Transmit(number, SERVER, [b"x"])]
        endpoint.poll_transmit = lambda now: waiting.pop() if waiting else poll(now)
        packets = [[bytes(20)]]
        endpoint.poll_packets = lambda: packets.pop() if packets else []
        order.clear()
        pair.client.turn()
        assert order == ["packets", "datagram"]
        far.close()
        pair.close()

    run(story())


def test_what_comes_after_a_pause_is_read_once_and_the_rest_in_the_next_turn(run):
    async def story() -> None:
        pair = Pair()
        await pair.connected
        client, times = pair.client, [100.0]
        client._clock = lambda: times[-1]
        budgets = []

        class Port(FakeUdp):
            def receive(self, budget):
                budgets.append(budget)
                return super().receive(budget)

        (near, far), (other, beyond) = Port.pair(CLIENT, SERVER), Port.pair(CLIENT, SERVER)
        number, second = client.add_socket(near), client.add_socket(other)
        for socket, moment in (
            *((number, 100.0), (number, 100.5), (number, 100.5 + PAUSE / 2)),
            *((second, 100.5), (second, 102.0), (number, 102.0)),
        ):
            times.append(moment)
            client._on_socket(socket)
        assert budgets == [READ_BUDGET, 1, READ_BUDGET, READ_BUDGET, 1, 1]
        for port in (far, beyond):
            port.close()
        pair.close()

    run(story())


def test_all_that_comes_at_once_after_a_pause_goes_through(run):
    async def story() -> None:
        pair = Pair()
        (address,) = await pair.connected
        loop = asyncio.get_running_loop()
        pair.client._read.update(dict.fromkeys(pair.client._read, float("-inf")))
        pair.client._read[TUN] = float("-inf")
        there = packet(str(ip_interface(address).ip), "1.2.3.4")
        for _ in range(READ_BUDGET + 2):
            pair.client.tun.far.send(there)
        for _ in range(READ_BUDGET + 2):
            assert await loop.sock_recv(pair.server.tun.far, 2048) == there
        pair.close()

    run(story())


def test_a_timer_that_has_become_too_early_stays_and_makes_no_turn(run):
    async def story() -> None:
        pair = Pair()
        await pair.connected
        client, ran = pair.client, []
        times, due = [100.0], [110.0]
        client._clock = lambda: times[-1]
        client.endpoint.next_timeout = lambda _: due[-1]
        client.endpoint.handle_timeout = lambda now: (ran.append(now), due.append(200.0))
        client.stop()
        client._timer = None
        client._arm(105.0, 100.0)
        timer, fired = client._timer, sum(client.lateness)
        client.turn()
        assert client._timer is timer
        times.append(105.001)
        client._on_timer()
        assert (ran, sum(client.lateness)) == ([], fired)
        assert client._timer is not timer
        times.append(110.001)
        client._on_timer()
        assert (ran, sum(client.lateness)) == ([110.001], fired + 1)
        timer = client._timer
        due.append(150.0)
        client.turn()
        assert timer.cancelled()
        pair.close()

    run(story())


def test_only_what_is_left_of_a_batch_is_taken_back(run):
    async def story() -> None:
        given_back = []

        class Port(FakeUdp):
            def send(self, address, buffers, segment_size, dscp=0):
                return Refusal("send_buffer_full", 2)

        pair = Pair()
        await pair.connected
        near, far = Port.pair(CLIENT, SERVER)
        number = pair.client.add_socket(near)
        batch = Transmit(number, SERVER, [bytes(10)] * 4, 10, b"session", (3, (7, 8, 9, 10)))
        hello = Transmit(number, SERVER, [bytes(10)])
        gone = batch._replace(socket=99)
        waiting = [batch, hello, gone]
        endpoint = pair.client.endpoint
        poll = endpoint.poll_transmit
        endpoint.poll_transmit = lambda now: waiting.pop(0) if waiting else poll(now)
        endpoint.handle_refused = lambda *told: given_back.append(told[:2])
        pair.client.turn()
        assert given_back == [
            (batch._replace(numbers=(3, (9, 10))), "send_buffer_full"),
            (hello, "send_buffer_full"),
            (gone, "send_unreachable"),
        ]
        far.close()
        pair.close()

    run(story())


def test_what_a_device_gave_that_nobody_can_read_is_counted(run):
    async def story() -> None:
        pair = Pair(FakeTun(offload=True))
        (address,) = await pair.connected
        tun = pair.client.tun
        tun.far.send(VNET.pack(1, 4, 0, 1000, 48, 16) + bytes((0x60,)) + bytes(3000))
        wanted = packet(str(ip_interface(address).ip), "1.2.3.4")
        tun.far.send(bytes(VNET.size) + wanted)
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(pair.server.tun.far, 2048) == wanted
        assert pair.client.endpoint.drops["tun_unreadable"] == 1
        pair.close()

    run(story())


def test_a_defect_costs_one_turn_and_is_counted(run, caplog):
    async def story() -> None:
        pair = Pair()
        (address,) = await pair.connected
        endpoint = pair.client.endpoint
        healthy = endpoint.handle_packets

        reached = asyncio.Event()

        def broken(packets: list[bytes], now: float) -> None:
            endpoint.handle_packets = healthy
            reached.set()
            raise ZeroDivisionError("a defect")

        endpoint.handle_packets = broken
        loop = asyncio.get_running_loop()
        wanted = packet(str(ip_interface(address).ip), "1.2.3.4")
        pair.client.tun.far.send(wanted)
        await reached.wait()
        pair.client.tun.far.send(wanted)
        assert await loop.sock_recv(pair.server.tun.far, 2048) == wanted
        assert endpoint.drops["internal_error"] == 1
        pair.close()

    run(story())
    assert "a defect" in caplog.text


def test_what_nothing_can_go_on_without_ends_the_program(run):
    async def story() -> None:
        pair = Pair()
        await pair.connected

        def gone(budget: int) -> list[bytes]:
            raise PlatformError("the device has gone")

        pair.client.tun.read = gone
        pair.client.tun.far.send(b"x")
        assert str(await pair.failed) == "the device has gone"
        pair.close()

    run(story())


class Pair:
    """A client's and a server's driver with one path between them."""

    def __init__(self, tun: FakeTun | None = None) -> None:
        server_key, client_key = bytes(range(32)), bytes(range(32, 64))
        peers = Peers([ip_network("10.77.0.0/24")], [Peer("van", public_key(client_key))])
        settings = ClientSettings(private_key=client_key, server_key=public_key(server_key))
        loop = asyncio.get_running_loop()
        self.connected, self.failed = loop.create_future(), loop.create_future()
        near, far = FakeUdp.pair(CLIENT, SERVER)
        server = ServerEndpoint(ServerSettings(private_key=server_key), peers, Random(1))
        client = ClientEndpoint(settings, Random(2))
        self.server = Driver(server, FakeTun(), lambda _: None, self._on_failure)
        self.client = Driver(client, tun or FakeTun(), self._on_event, self._on_failure)
        self.server.add_socket(far)
        number = self.client.add_socket(near)
        client.add_link(Link("wwan0", (Target(number, SERVER),)), self.client.now())
        self.client.turn()

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def _on_failure(self, error: PlatformError) -> None:
        if not self.failed.done():
            self.failed.set_result(error)

    def _on_event(self, event: object) -> None:
        if isinstance(event, SessionStarted):
            self.connected.set_result(event.addresses)


def packet(source: str, destination: str) -> bytes:
    ends = bytes(map(int, source.split("."))) + bytes(map(int, destination.split(".")))
    return pack(">BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0) + ends + bytes(8)
