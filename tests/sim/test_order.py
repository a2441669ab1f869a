"""Order over links of unequal delay, with the hold on and off, and with losses."""

import pytest

from tests.sim.worlds import arrived, change_links, drops_of, session_of, stream, world_of

UNEQUAL = (0.020, 0.040, 0.060)
RECEIVER = {"client": "server", "server": "client"}


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("scheduler", ["rr", "weighted"])
def test_order_is_restored_over_links_of_20_40_and_60_ms(side, scheduler):
    world = world_of(*UNEQUAL, scheduler=scheduler)
    count = stream(world, side, 1.0, 3.0, 0.002)
    world.run(4.0)
    assert arrived(world, RECEIVER[side]) == list(range(count))
    stats = order_of(world, RECEIVER[side])
    assert (stats.late, stats.skipped, stats.duplicate) == (0, 0, 0)
    assert stats.held == pytest.approx(count * 2 / 3, abs=3)


def test_without_a_hold_everything_comes_at_once_and_out_of_order():
    world = world_of(*UNEQUAL, hold=0.0)
    count = stream(world, "client", 1.0, 3.0, 0.002)
    world.run(4.0)
    numbers = arrived(world, "server")
    assert sorted(numbers) == list(range(count))
    # between the quickest link and the slowest lie 40 ms, twenty packets
    assert max(at - number for at, number in enumerate(numbers)) > 5
    assert order_of(world, "server").held == 0
    delays = [
        time - 1.0 - number * 0.002
        for (time, _), number in zip(world.server.packets, numbers, strict=True)
    ]
    assert min(delays) < 0.023


def test_no_packet_waits_longer_than_the_slowest_link_takes():
    world = world_of(*UNEQUAL)
    stream(world, "client", 1.0, 3.0, 0.002)
    world.run(4.0)
    delays = [
        time - 1.0 - number * 0.002
        for (time, _), number in zip(world.server.packets, arrived(world, "server"), strict=True)
    ]
    assert max(delays) < 0.064


def test_over_equal_links_nothing_is_held():
    world = world_of(*[0.030] * 6)
    stream(world, "client", 1.0, 2.0, 0.002)
    world.run(3.0)
    assert order_of(world, "server").held == 0


def test_xor_needs_no_order_and_holds_nothing():
    world = world_of(*UNEQUAL, scheduler="xor")
    for port in range(20):
        stream(world, "client", 1.0, 2.0, 0.020, port=port, size=600)
    world.run(3.0)
    assert len(world.server.packets) == 20 * 50
    assert order_of(world, "server").held == 0


def test_a_lost_packet_delays_its_lane_until_it_is_proven_lost_and_no_longer():
    world = world_of(0.030, 0.030, 0.030)
    count = stream(world, "client", 1.0, 2.0, 0.002)
    lose_one_datagram(world, 1, at=1.5)
    world.run(3.0)
    numbers = arrived(world, "server")
    assert len(numbers) == count - 1
    assert numbers == sorted(numbers)
    stats = order_of(world, "server")
    assert (stats.skipped, stats.late) == (1, 0)
    delays = [
        time - 1.0 - number * 0.002
        for (time, _), number in zip(world.server.packets, numbers, strict=True)
    ]
    # every path passes the gap within a round of packets: far below the hold of about 60 ms
    assert max(delays) < 0.032 + 0.010


@pytest.mark.parametrize("seed", range(1, 6))
def test_with_losses_on_every_link_what_comes_comes_in_order_and_once(seed):
    world = world_of(*UNEQUAL, seed=seed)
    for up, _ in world.links:
        up.change(loss=0.05)
    count = stream(world, "client", 1.0, 4.0, 0.002)
    world.run(6.0)
    numbers = arrived(world, "server")
    assert numbers == sorted(set(numbers))
    assert 0.92 * count < len(numbers) < 0.98 * count
    stats = order_of(world, "server")
    # what the link lost behind the newest packet of the stream is missed by nobody
    assert stats.skipped == pytest.approx(count - len(numbers), abs=3)
    assert drops_of(world, "server") == {}


def test_jitter_within_the_hold_changes_nothing():
    world = world_of(*UNEQUAL)
    for up, _ in world.links:
        up.change(delay=up.shape.delay + 0.010, jitter=0.010)
    count = stream(world, "client", 1.0, 4.0, 0.002)
    world.run(6.0)
    assert arrived(world, "server") == list(range(count))


def test_datagrams_that_come_twice_are_delivered_once():
    world = world_of(*UNEQUAL)
    change_links(world, duplicate=0.3)
    count = stream(world, "client", 1.0, 2.0, 0.002)
    world.run(3.0)
    assert arrived(world, "server") == list(range(count))
    assert drops_of(world, "server")["replayed"] > count / 5


def order_of(world, side):
    return session_of(world, side).receiver.stats


def lose_one_datagram(world, index, *, at):
    """The first datagram with data that the client sends on a link from `at` on is lost."""
    link = world.links[index][0]

    def watch(sender, transmit):
        if sender.name == "client" and transmit.socket == index and world.now >= at:
            link.up = len(transmit.buffers[0]) < 1400
            if not link.up:
                world.on_transmit = restore

    def restore(sender, transmit):
        link.up = True

    world.on_transmit = watch
