"""What an attacker may send costs neither memory nor the session that is working."""

import gc
from collections.abc import Iterator
from ipaddress import ip_network
from itertools import cycle, islice
from pathlib import Path
from random import Random
from struct import pack

import pytest

from bench.links.link import Link
from bench.sim.world import World
from mpbond.core.handshake import Initiator
from mpbond.core.noise import public_key

POOLS = [ip_network("10.77.0.0/24"), ip_network("fd77::/64")]
MILLION = 1_000_000
WARM_UP = 50_000
ALLOWANCE = 2 << 20  # bytes


@pytest.mark.parametrize("victim", ["server", "client"])
def test_a_million_hostile_datagrams_leave_no_memory_behind(victim: str) -> None:
    world = connected_world()
    datagrams = hostile_datagrams(world, Random(7))
    bombard(world, victim, islice(datagrams, WARM_UP))
    gc.collect()
    before = resident_bytes()

    bombard(world, victim, islice(datagrams, MILLION))

    gc.collect()
    assert resident_bytes() - before <= ALLOWANCE
    side = world.server if victim == "server" else world.client
    assert sum(side.endpoint.drops.values()) >= MILLION
    assert len(side.endpoint.sessions) == 1


def test_a_session_works_on_amid_the_bombardment() -> None:
    world = connected_world()
    bombard(world, "server", islice(hostile_datagrams(world, Random(8)), 20_000))

    world.send("client", [packet_from_client(world)])
    world.run(world.now + 1.0)

    assert len(world.server.packets) == 1


def test_the_server_answers_strangers_with_nothing_longer_or_more_often_than_it_was_asked() -> None:
    world = connected_world()
    asked = answered = 0
    server = world.server.endpoint
    for at, (source, datagram) in enumerate(islice(hostile_datagrams(world, Random(9)), 20_000)):
        now = world.now + at * 1e-5
        server.handle_datagrams(0, source, datagram, None, now, now)
        asked += len(datagram)
        while (transmit := server.poll_transmit(now)) is not None:
            size = sum(map(len, transmit.buffers))
            answered += size
            assert size <= len(datagram), "an answer is longer than what it answers"

    assert answered < asked / 20


def connected_world() -> World:
    world = World([(Link(), Link()), (Link(), Link())], POOLS)
    world.run(1.0)
    assert world.client_endpoint.session is not None
    return world


def bombard(world: World, victim: str, datagrams: Iterator[tuple[object, bytes]]) -> None:
    endpoint = (world.server if victim == "server" else world.client).endpoint
    now = world.now
    for at, (source, datagram) in enumerate(datagrams):
        now += 1e-5
        endpoint.handle_datagrams(0, source, datagram, None, now, now)
        if at % 64 == 0:
            while endpoint.poll_transmit(now) is not None:
                pass
            endpoint.poll_packets()
    while endpoint.poll_transmit(now) is not None:
        pass


def hostile_datagrams(world: World, rng: Random) -> Iterator[tuple[object, bytes]]:
    """Without end: (source, datagram) of every kind that the network can bring from a stranger."""
    server_key = public_key(world.server_private_key)
    strange = Initiator(rng.randbytes(32), server_key, bytes(32), rng)
    elsewhere = Initiator(rng.randbytes(32), public_key(rng.randbytes(32)), bytes(32), rng)
    strange.start(1, {"version": 1, "ciphers": ["AES-256-GCM"]})
    elsewhere.start(2, {"version": 1})
    greeting = strange.datagram()
    session = world.client_endpoint.session
    assert session is not None
    index = session.keys.current.remote_index
    own = session.keys.current.local_index
    kinds = [
        b"",
        bytes([4]),
        rng.randbytes(60),
        rng.randbytes(65507),
        greeting,
        greeting[:100],
        greeting + b"x",
        bytes([1, 9]) + greeting[2:],
        greeting[:60] + bytes([greeting[60] ^ 1]) + greeting[61:],
        elsewhere.datagram(),
        bytes([2]) + greeting[1:],
        bytes([3, 1, 0, 0]) + rng.randbytes(60),
        bytes([5, 1, 0, 0]) + pack(">I", index) + bytes(24),
        *(pack(">BBII", 4, path, i, low) + rng.randbytes(80)
          for path in (0, 1, 2, 200, 255)
          for i in (index, own, 12345)
          for low in (0, 3, 1000, 2**32 - 1)),
    ]  # fmt: skip
    for at, datagram in enumerate(cycle(kinds)):
        yield (f"nat{at % 7}", at % 65536), datagram


def packet_from_client(world: World) -> bytes:
    address = world.client_endpoint.addresses[0].split("/")[0]
    source = bytes(map(int, address.split(".")))
    return pack(">BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, source, bytes([1, 2, 3, 4])) + bytes(
        8
    )


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
