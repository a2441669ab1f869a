"""The world itself: what its links do to datagrams reaches the endpoints."""

import dataclasses
from ipaddress import ip_interface

import pytest

from bench.links.link import Link
from bench.links.shape import LinkSpec, Shape
from bench.sim.world import OVERHEAD, World, damaged
from tests.packets import ipv4
from tests.sim.worlds import POOLS, arrived, drops_of, link_pair, packets_from, states, stream


def world_over(*shapes):
    """A world whose links towards the server have these shapes."""
    specs = [LinkSpec(up=shape) for shape in shapes]
    world = World([link_pair(spec, 1, index) for index, spec in enumerate(specs)], POOLS)
    world.run(1.0)
    return world


def test_a_damaged_datagram_is_dropped_by_its_tag_or_by_the_checksums_before_it():
    world = world_over(Shape(corrupt=0.3), Shape(corrupt=0.3))
    count = stream(world, "client", 1.0, 3.0, 0.002)
    world.run(4.0)
    corrupted = sum(up.ledger.corrupted for up, _ in world.links)
    numbers = arrived(world, "server")
    assert 0.6 * count < len(numbers) < 0.8 * count
    assert set(drops_of(world, "server")) <= {
        "auth_failed",
        "index_unknown",
        "path_unknown",
        "type_unknown",
        "handshake_length",
        "replayed",
    }
    assert 0 < drops_of(world, "server")["auth_failed"] <= corrupted


def test_damage_flips_one_bit_and_takes_all_of_a_datagram_whose_headers_it_hits():
    assert damaged(b"\x00\xff", 9) == b"\x00\xfd"
    assert damaged(b"\x00\xff", -1) == b""


def test_links_carry_the_headers_around_a_datagram_too():
    world = world_over(Shape())
    sizes = []
    world.on_transmit = lambda side, transmit: (
        sizes.append(len(transmit.buffers[0]) + OVERHEAD) if side.name == "client" else None
    )
    before = world.links[0][0].ledger.carried
    stream(world, "client", 1.0, 1.1, 0.01)
    world.run(2.0)
    assert world.links[0][0].ledger.carried - before == sum(sizes)


def test_a_link_with_a_smaller_mtu_gets_no_datagram_above_it():
    specs = [dataclasses.replace(LinkSpec.plain(), mtu=mtu) for mtu in (1500, 1400)]
    world = World([link_pair(spec, 1, index) for index, spec in enumerate(specs)], POOLS)
    world.run(1.0)
    for side in ("client", "server"):
        world.send(side, packets_from(world, side, 20))
    world.run(2.0)
    assert arrived(world, "server") == arrived(world, "client") == list(range(20))
    assert [link.ledger.oversize for pair in world.links for link in pair] == [0] * 4


def test_a_pulled_link_gets_nothing_and_takes_part_again_when_it_is_back():
    world = world_over(Shape(), Shape())
    world.pull(1)
    assert states(world, "client") == ["up", "down"]
    before = packets_on(world.links[1][0])
    count = stream(world, "client", 1.0, 2.0, 0.002)
    world.run(2.0)
    assert packets_on(world.links[1][0]) == before
    world.restore(1)
    world.run(3.0)
    assert states(world, "client") == states(world, "server") == ["up", "up"]
    assert arrived(world, "server") == list(range(count))


def test_a_silent_link_swallows_both_ways_and_the_client_is_told_nothing():
    world = world_over(Shape(), Shape())
    world.silence(1)
    assert states(world, "client") == ["up", "up"]
    before = packets_on(world.links[1][0])
    stream(world, "client", 1.0, 1.5, 0.002)
    world.run(3.0)
    assert world.links[1][0].ledger.swallowed > 0
    assert packets_on(world.links[1][0]) > before  # it goes on being asked
    assert states(world, "client")[1] != "up"
    world.unsilence(1)
    world.run(20.0)
    assert states(world, "client") == ["up", "up"]


def test_boxes_with_keys_of_their_own_have_sessions_and_packets_of_their_own():
    specs = [LinkSpec(), LinkSpec()]
    links = [link_pair(spec, 1, index) for index, spec in enumerate(specs)]
    world = World(links, POOLS, others=["second"])
    world.run(1.0)
    assert len(world.server_endpoint.sessions) == 2
    came = {"client": [], "second": []}
    for name, packets in came.items():
        world.attach(name, packets.extend)
        assert world.side(name).endpoint.session is not None
    addresses = [
        ip_interface(world.side(name).endpoint.addresses[0]).ip.packed
        for name in ("client", "second")
    ]
    assert len(set(addresses)) == 2
    for count, address in enumerate(addresses, 1):
        world.send("server", [ipv4(destination=address)] * count)
    world.run(2.0)
    assert {name: len(packets) for name, packets in came.items()} == {"client": 1, "second": 2}
    assert [world.side(name).left for name in ("client", "second")] == [1, 2]
    assert world.server.entered == 3


@pytest.mark.python_core
def test_timers_of_a_loop_are_exact_or_late_by_half_a_step():
    for step, late in ((0.0, 0.0), (0.001, 0.0005)):
        links = [link_pair(LinkSpec(), 1, index) for index in range(2)]
        world = World(links, POOLS, timer_step=step)
        world.run(1.0)
        endpoint, times, due = world.client.endpoint, [], world.client.due
        handle = endpoint.handle_timeout
        endpoint.handle_timeout = lambda now, times=times, handle=handle: times.append(handle(now))
        world.run(due + late - 1e-4)
        assert times == []
        world.run(due + late + 1e-4)
        assert times


def test_what_is_under_way_when_a_link_is_pulled_still_goes_up_but_no_longer_comes_down():
    world = world_over(Shape(delay=0.1))
    for link in world.links[0]:
        link.change(delay=0.1)
    for side in ("client", "server"):
        world.send(side, packets_from(world, side, 20))
    world.run(1.05)
    assert arrived(world, "server") == arrived(world, "client") == []
    world.pull(0)
    for side in ("client", "server"):
        world.send(side, packets_from(world, side, 5))
    world.run(1.5)
    assert arrived(world, "server") == list(range(20))
    assert arrived(world, "client") == []


def test_what_reaches_the_modem_after_a_link_is_back_comes_down():
    world = world_over(Shape(), Shape())
    world.links[0][1].change(delay=0.3)
    world.links[1][1].change(delay=0.3)
    world.pull(0)
    world.send("server", packets_from(world, "server", 20))
    world.run(1.1)
    world.restore(0)
    world.run(2.0)
    assert sorted(arrived(world, "client")) == list(range(20))


def test_two_worlds_with_one_seed_do_the_same_to_the_bit():
    def transmits(seed):
        shape = Shape(loss=None, corrupt=0.1, duplicate=0.1, jitter=0.005)
        links = [(Link(shape, seed), Link(shape, seed + 1))]
        world = World(links, POOLS, seed=seed)
        seen = []
        world.on_transmit = lambda side, transmit: seen.append(
            (world.now, side.name, transmit.buffers[0])
        )
        world.run(1.0)
        stream(world, "client", 1.0, 2.0, 0.002)
        world.run(3.0)
        return seen

    assert transmits(4) == transmits(4)
    assert transmits(4) != transmits(5)


def packets_on(link):
    return link.ledger.packets
