"""Which path carries what, in both directions."""

import pytest

from tests.sim.worlds import (
    arrived,
    bytes_carried,
    cut,
    packets_from,
    paths_of,
    session_of,
    stream,
    world_of,
)

SIX = (0.030,) * 6
OTHER = {"client": "server", "server": "client"}


@pytest.mark.parametrize("side", ["client", "server"])
def test_rr_gives_every_path_every_sixth_packet(side):
    world = world_of(*SIX, scheduler="rr")
    assert carried(world, side, 600) == [100] * 6


@pytest.mark.parametrize("side", ["client", "server"])
def test_weighted_gives_every_path_its_share_of_the_packets(side):
    world = world_of(*SIX, scheduler="weighted", connect=False)
    for index, weight in enumerate((8, 6, 4, 3, 2, 1)):
        world.client_endpoint.links[f"wwan{index}"].weight = weight
    world.run(1.0)
    assert carried(world, side, 240) == [80, 60, 40, 30, 20, 10]


@pytest.mark.parametrize("side", ["client", "server"])
def test_xor_keeps_a_flow_on_one_path(side):
    world = world_of(*SIX, scheduler="xor")
    assert sorted(carried(world, side, 100)) == [0, 0, 0, 0, 0, 100]


def test_xor_spreads_flows_and_moves_only_those_of_a_path_that_dies():
    world = world_of(*SIX, scheduler="xor")
    before = paths_of_flows(world, 1.0)
    assert set(before.values()) == set(range(6))
    cut(world, 2)
    paths_of_flows(world, 1.5)  # only traffic shows that it is dead
    world.run(3.0)
    during = paths_of_flows(world, 3.0)
    assert {flow for flow in before if before[flow] != during[flow]} == {
        flow for flow in before if before[flow] == 2
    }
    assert 2 not in during.values()
    cut(world, 2, up=True)
    world.run(6.0)
    assert paths_of_flows(world, 6.0) == before


def test_the_client_chooses_the_schedulers_of_both_directions():
    world = world_of(*SIX, scheduler="rr")
    world.client_endpoint.set_scheduler("xor", "down")
    world.run(1.2)
    assert session_of(world, "client").sender.outbound.scheduler.name == "rr"
    assert session_of(world, "server").sender.outbound.scheduler.name == "xor"
    world.client_endpoint.set_scheduler("weighted", "both")
    world.run(1.4)
    assert session_of(world, "client").sender.outbound.scheduler.name == "weighted"
    assert session_of(world, "server").sender.outbound.scheduler.name == "weighted"


def test_a_change_of_scheduler_under_traffic_loses_and_reorders_nothing():
    world = world_of(0.020, 0.040, 0.060, scheduler="rr")
    count = stream(world, "client", 1.0, 2.0, 0.002)
    for time, name in ((1.25, "weighted"), (1.5, "rr")):
        world.at(time, lambda name=name: world.client_endpoint.set_scheduler(name, "up"))
    world.run(3.0)
    assert arrived(world, "server") == list(range(count))


def test_small_packets_share_datagrams():
    world = world_of(*SIX, scheduler="rr")
    before = sum(bytes_carried(link) for link, _ in world.links)
    world.send("client", packets_from(world, "client", 200, size=60))
    world.run(1.5)
    assert arrived(world, "server") == list(range(200))
    overhead = sum(bytes_carried(link) for link, _ in world.links) - before - 200 * 60
    assert overhead < 200 * 18  # alone, each would need 34


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_packet_too_big_for_its_path_goes_in_two_parts(side):
    world = world_of(0.020, 0.040, 0.060)
    world.send(side, packets_from(world, side, 30, size=2600))
    world.run(2.0)
    assert arrived(world, OTHER[side]) == list(range(30))


def carried(world, side, count):
    """Send full-size packets of one flow; return how many datagrams with data each path carried."""
    index = {path.id: at for at, path in enumerate(paths_of(world, side))}
    sizes = [0] * len(index)

    def watch(sender, transmit):
        if sender.name == side and transmit.numbers is not None and len(transmit.buffers[0]) > 1400:
            sizes[index[transmit.numbers[0]]] += 1

    world.on_transmit = watch
    number = stream(world, side, world.now, world.now + count * 0.002 - 0.001, 0.002)
    world.run(world.now + count * 0.002 + 1.0)
    assert number == count
    assert arrived(world, OTHER[side]) == list(range(count))
    return sizes


def paths_of_flows(world, now):
    """One packet for each of 60 flows; return which path took it."""
    took: dict[int, int] = {}
    flow = 0

    def watch(sender, transmit):
        if sender.name == "client" and len(transmit.buffers[0]) > 1400:
            took[flow] = transmit.numbers[0]

    world.on_transmit = watch
    assert world.now == now
    for flow in range(60):
        world.send("client", packets_from(world, "client", 1, port=2000 + flow))
    world.on_transmit = None
    world.run(now + 0.5)
    return took
