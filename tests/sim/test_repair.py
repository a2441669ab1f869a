"""What one link loses comes on another, once; what nobody wants any more is called off."""

import pytest

from bench.links.shape import Constant, LinkSpec, Shape
from mpbond.core.packet import NORMAL, Packet
from mpbond.core.recovery import Sent
from mpbond.core.repair import LIFETIME
from tests.packets import number_of
from tests.sim.worlds import (
    arrived,
    change_links,
    cut,
    drops_of,
    link_pair,
    packets_from,
    paths_of,
    session_of,
    states,
    stream,
    world_of,
)

SIX = (0.030,) * 6
UNEQUAL = (0.020, 0.040, 0.060)
RECEIVER = {"client": "server", "server": "client"}
SIDES = pytest.mark.parametrize("side", ["client", "server"])


@SIDES
@pytest.mark.parametrize("size", [300, 1400, 2600])
def test_what_links_lose_comes_all_the_same_in_order_and_once(side, size):
    world = adaptive(*UNEQUAL)
    change_links(world, loss=0.03)
    count = stream(world, side, 1.0, 5.0, 0.004, size=size)
    world.run(7.0)
    assert arrived(world, RECEIVER[side]) == list(range(count))
    repair = session_of(world, side).sender.outbound.repair
    assert repair.repaired > 0.01 * count
    assert repair.given_up == 0
    assert sum(path.stats.repaired for path in paths_of(world, side)) >= repair.repaired
    assert session_of(world, RECEIVER[side]).receiver.stats.skipped == 0


@pytest.mark.parametrize("scheduler", ["rr", "weighted", "xor"])
def test_a_scheduler_that_knows_no_rates_repairs_nothing(scheduler):
    world = world_of(*SIX, scheduler=scheduler)
    change_links(world, loss=0.03)
    count = stream(world, "client", 1.0, 3.0, 0.004)
    world.run(5.0)
    assert session_of(world, "client").sender.outbound.repair.repaired == 0
    assert not session_of(world, "server").receiver.repaired
    assert 0.9 * count < len(arrived(world, "server")) < count


def test_the_peer_knows_that_losses_are_repaired_and_waits_for_that():
    world = adaptive(*SIX)
    stream(world, "client", 1.0, 1.5, 0.004)
    world.run(1.5)
    for side in ("client", "server"):
        receiver = session_of(world, side).receiver
        assert receiver.repaired
        path = paths_of(world, RECEIVER[side])[0]
        assert receiver.hold > path.silence_limit
    world.client_endpoint.set_scheduler("rr", "up")
    stream(world, "client", 1.5, 2.0, 0.004)
    world.run(2.5)
    assert not session_of(world, "server").receiver.repaired
    assert session_of(world, "client").receiver.repaired


@SIDES
def test_a_dying_link_loses_nothing(side):
    world = adaptive(*SIX)
    count = stream(world, side, 1.0, 6.0, 0.001)
    world.at(3.0, lambda: cut(world, carrying(world, side)))
    world.run(8.0)
    assert arrived(world, RECEIVER[side]) == list(range(count))


@pytest.mark.parametrize("apart", [0.0, 0.02, 0.1])
def test_two_links_that_die_together_lose_nothing_though_one_is_to_repair_the_other(apart):
    world = adaptive(*SIX)
    count = stream(world, "client", 1.0, 6.0, 0.002)
    world.at(3.0, lambda: cut(world, 1))
    world.at(3.0 + apart, lambda: cut(world, 2))
    world.run(9.0)
    # what waits for two suspicions one after the other may come after the hold
    assert sorted(arrived(world, "server")) == list(range(count))


def test_what_is_called_off_while_sending_is_told_in_the_same_turn():
    world = adaptive(0.030, 0.030)
    world.run(2.0)
    repair = session_of(world, "client").sender.outbound.repair
    packet = Packet(b"data", 5, NORMAL, 1.0)
    packet.sent, packet.tries, packet.flights = 2.0 - LIFETIME + 0.001, 1, 1
    assert repair.lost(Sent(packet.sent, 100, (packet,)), 2.0) == 1
    world.run(2.002)
    world.send("client", [])
    world.run(2.002)
    assert packet.done
    assert not repair.untold


@SIDES
def test_a_link_on_which_datagrams_overtake_each_other_soon_seems_to_lose_next_to_nothing(side):
    world = adaptive(0.010, 0.010)
    shape = Shape(rate=Constant(20e6), delay=0.010, jitter=0.020, reorder=True)
    spec = LinkSpec(down=shape, up=shape)
    world.renew_links([link_pair(spec, 1, index) for index in range(2)])
    count = stream(world, side, 1.0, 8.0, 0.001)
    world.run(4.0)
    before = [(path.sent.spurious_count, path.sent.acked_count) for path in paths_of(world, side)]
    world.run(10.0)
    assert arrived(world, RECEIVER[side]) == list(range(count))
    for path, (spurious, acked) in zip(paths_of(world, side), before, strict=True):
        assert path.sent.overtaking > 0
        share = (path.sent.spurious_count - spurious) / (path.sent.acked_count - acked)
        assert share < 0.01


def test_nobody_waits_for_a_dying_link_longer_than_for_suspicion_and_a_repair():
    world = adaptive(*SIX)
    stream(world, "client", 1.0, 6.0, 0.001)
    world.run(3.0)
    path = paths_of(world, "client")[carrying(world, "client")]
    longest = path.silence_limit + 0.060 + 0.030
    cut(world, path.socket)
    world.run(8.0)
    delays = [time - 1.0 - number_of(packet) * 0.001 for time, packet in world.server.packets]
    assert path.state == "down"
    assert session_of(world, "client").sender.outbound.repair.repaired > 0
    assert 0.040 < max(delays) < longest + 0.040


def test_a_stall_that_ends_delivers_nothing_twice():
    world = adaptive(*SIX)
    count = stream(world, "client", 1.0, 6.0, 0.001)
    world.run(3.0)
    index = carrying(world, "client")
    link = world.links[index][0]
    delay = link.shape.delay
    # what leaves from now on is late by 400 ms: long enough to be suspected
    link.change(delay=delay + 0.4)
    world.at(3.3, lambda: link.change(delay=delay))
    world.run(3.39)
    assert paths_of(world, "client")[index].state == "suspect"
    assert session_of(world, "client").sender.outbound.repair.repaired > 0
    world.run(8.0)
    assert arrived(world, "server") == list(range(count))
    stats = session_of(world, "server").receiver.stats
    assert stats.duplicate > 0
    assert states(world, "client") == ["up"] * 6


def test_a_packet_refused_by_the_system_comes_on_another_path():
    world = adaptive(*SIX)
    refused = []

    def refuse(side, transmit):
        full = transmit.numbers is not None and len(transmit.buffers[0]) > 1400
        if side.name == "client" and full and world.now > 1.2 + 0.1 * len(refused):
            refused.append(world.now)
            world.client_endpoint.handle_refused(transmit, "send_unreachable", world.now)
            world.links[transmit.socket][0].up = False
        else:
            world.links[transmit.socket][0].up = True

    world.on_transmit = refuse
    count = stream(world, "client", 1.0, 2.0, 0.004)
    world.run(4.0)
    assert drops_of(world, "client") == {"send_unreachable": len(refused)}
    assert session_of(world, "client").sender.outbound.repair.repaired == len(refused) == 8
    assert arrived(world, "server") == list(range(count))


@SIDES
def test_a_packet_in_two_parts_survives_the_loss_of_either(side):
    for victim in (0, 1):
        world = adaptive(*SIX)
        world.run(2.0)
        lose_nth_full_datagram(world, side, victim)
        world.send(side, packets_from(world, side, 1, size=2600))
        world.run(2.04)
        assert arrived(world, RECEIVER[side]) == []
        world.send(side, packets_from(world, side, 6, size=1400, first=1))
        world.run(4.0)
        assert arrived(world, RECEIVER[side]) == list(range(7))
        assert session_of(world, side).sender.outbound.repair.repaired == 1


def test_a_lane_goes_on_at_once_when_what_it_waits_for_is_called_off():
    world = adaptive(0.030, 0.030)
    world.run(2.0)
    sender = session_of(world, "client").sender
    sender.hold_override = 0.5
    stream(world, "client", 1.9, 2.0, 0.010)  # the receiver learns the hold
    world.run(2.3)
    assert session_of(world, "server").receiver.hold == 0.5
    before = len(world.server.packets)
    lose_nth_full_datagram(world, "client", 0)
    world.send("client", packets_from(world, "client", 4, first=100))
    world.run(2.34)
    assert len(world.server.packets) == before, "the first is missing"
    missing = under_way(sender, 100)
    missing.done = True
    sender.outbound.repair.call_off(missing)
    world.send("client", [])
    world.run(2.40)
    assert arrived(world, "server")[before:] == [101, 102, 103]
    assert session_of(world, "server").receiver.stats.skipped == 0


def test_packets_that_nobody_can_deliver_are_given_up_after_their_lifetime():
    world = adaptive(0.030, 0.030)
    stream(world, "client", 1.0, 6.0, 0.010)
    world.run(2.0)
    for index in range(2):
        cut(world, index)
    world.run(4.0)
    for index in range(2):
        cut(world, index, up=True)
    world.run(8.0)
    sender = session_of(world, "client").sender
    numbers = arrived(world, "server")
    assert sender.outbound.repair.given_up > 0
    assert len(sender.outbound.repair) == 0
    assert len(numbers) == len(set(numbers))
    assert set(range(450, 500)) <= set(numbers)


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.python_core
def test_a_packet_is_sent_at_most_three_times_even_where_half_is_lost(seed):
    world = adaptive(*SIX, seed=seed)
    tries = watch_tries(world)
    for up, _ in world.links:
        up.change(loss=0.5)
    stream(world, "client", 1.0, 3.0, 0.010)
    world.run(6.0)
    assert max(tries.values()) == 3
    numbers = arrived(world, "server")
    assert len(numbers) == len(set(numbers))


def adaptive(*delays, **more):
    return world_of(*delays, scheduler="adaptive", **more)


def carrying(world, side):
    """The index of the link that got data last."""
    paths = paths_of(world, side)
    return max(range(len(paths)), key=lambda at: paths[at].last_data)


def lose_nth_full_datagram(world, side, victim):
    """Of the datagrams full of data that a side sends from now on, lose this one."""
    seen = 0

    def watch(sender, transmit):
        nonlocal seen
        for pair in world.links:
            pair[0].up = pair[1].up = True
        if sender.name != side or len(transmit.buffers[0]) < 1300:
            return
        if seen == victim:
            index = transmit.socket if side == "client" else transmit.address[1]
            world.links[index][0 if side == "client" else 1].up = False
        seen += 1

    world.on_transmit = watch


def under_way(sender, number):
    """The packet of that number, which has left and is not known to have come."""
    (found,) = {
        packet
        for path in sender._paths.values()
        for sent in path.sent.outstanding()
        for packet in sent.packets
        if number_of(packet.data) == number
    }
    return found


def watch_tries(world):
    """How often the client has sent each packet that it lost at least once, by number."""
    tries: dict[int, int] = {}
    repair = session_of(world, "client").sender.outbound.repair
    lost = repair.lost

    def watch(sent, now):
        tries.update((number_of(packet.data), packet.tries) for packet in sent.packets)
        return lost(sent, now)

    repair.lost = watch
    return tries
