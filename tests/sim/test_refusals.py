"""Links into which the system lets nothing, or not all: no packet is lost by that, and status says why."""

from itertools import pairwise

import pytest

from mpbond.core.refusals import LONGEST_REST, OTHER_REASON, REASONS
from tests.sim.worlds import (
    arrived,
    drops_of,
    packets_from,
    paths_of,
    session_of,
    states,
    stream,
    world_of,
)

GONE = "send_unreachable"
EF = 46 << 2
RECEIVER = {"client": "server", "server": "client"}
SIDES = pytest.mark.parametrize("side", ["client", "server"])


@SIDES
@pytest.mark.parametrize("reason", [*REASONS, "send_failed"])
def test_a_path_on_which_everything_is_refused_loses_no_packet_and_says_why_it_is_down(
    side, reason
):
    world = adaptive(3)
    count = stream(world, side, 1.0, 4.0, 0.002)
    world.run(2.0)
    refused = refuse(world, side, 0, reason)
    world.run(2.2)  # a link with nothing to carry is tried a tenth of a second later
    path = paths_of(world, side)[0]
    assert states(world, side) == ["down", "up", "up"]
    assert path.reason == REASONS.get(reason, OTHER_REASON)
    assert len(refused) < 60
    world.run(6.0)
    assert arrived(world, RECEIVER[side]) == list(range(count))
    assert session_of(world, side).sender.outbound.repair.given_up == 0
    assert drops_of(world, side)[reason] == len(refused) < 80


@SIDES
def test_a_path_comes_back_when_it_answers_again(side):
    world = adaptive(3)
    count = stream(world, side, 1.0, 6.0, 0.002)
    world.run(2.0)
    refuse(world, side, 0, GONE)
    world.run(3.0)
    assert states(world, side)[0] == "down"
    world.refuses = None
    world.run(4.2)
    assert states(world, side) == ["up"] * 3
    before = paths_of(world, side)[0].stats.sent.bytes
    world.run(6.5)
    assert paths_of(world, side)[0].stats.sent.bytes > before + 300_000
    assert arrived(world, RECEIVER[side]) == list(range(count))


@SIDES
def test_a_path_on_which_one_in_a_hundred_is_refused_goes_on_and_loses_nothing(side):
    world = adaptive(2)
    count = stream(world, side, 1.0, 6.0, 0.001)
    refused = refuse(world, side, 0, GONE, every=100)
    world.run(3.0)
    before = paths_of(world, side)[0].stats.sent.bytes
    world.run(7.0)
    assert arrived(world, RECEIVER[side]) == list(range(count))
    path = paths_of(world, side)[0]
    assert len(refused) > 15
    assert (path.state, path.liveness.transitions) == ("up", 2)
    assert path.stats.sent.bytes - before > 1_200_000


def test_a_full_buffer_makes_a_path_wait_but_neither_go_down_nor_lose_anything():
    world = adaptive(2)
    count = stream(world, "client", 1.0, 4.0, 0.002)
    world.run(2.0)
    transitions = paths_of(world, "client")[0].liveness.transitions
    refused = refuse(world, "client", 0, "send_buffer_full", every=3)
    world.run(5.0)
    assert len(refused) > 30
    path = paths_of(world, "client")[0]
    assert (path.state, path.liveness.transitions) == ("up", transitions)
    assert arrived(world, "server") == list(range(count))


@SIDES
def test_calls_lose_nothing_on_a_path_that_refuses_though_it_was_the_quickest(side):
    world = world_of(0.020, 0.030, 0.040, scheduler="adaptive")
    count = call(world, side, 1.0, 4.0)
    world.run(2.0)
    refuse(world, side, 0, GONE)
    world.run(5.0)
    assert sorted(arrived(world, RECEIVER[side])) == list(range(count))
    delays = arrival_gaps(world, RECEIVER[side])
    assert max(delays) < 0.060


@SIDES
def test_the_only_path_is_tried_again_and_again_but_ever_more_seldom(side):
    world = adaptive(1)
    world.run(2.0)
    refused = refuse(world, side, 0, GONE)
    stream(world, side, 2.0, 8.0, 0.010)
    world.run(6.0)
    assert states(world, side) == ["down"]
    late = [time for time in refused if time > 4.0]
    assert 2 <= len(late) < 30
    assert max(b - a for a, b in pairwise(late)) <= LONGEST_REST + 0.01
    world.refuses = None
    world.run(9.0)
    assert states(world, side) == ["up"]
    numbers = arrived(world, RECEIVER[side])
    assert set(range(460, 600)) <= set(numbers)
    assert numbers == sorted(set(numbers))


def test_what_must_arrive_goes_another_way_at_once():
    world = adaptive(2)
    world.run(2.0)
    refuse(world, "client", 0, GONE)
    world.client_endpoint.set_link("wwan0", world.now, tier=2)
    world.client_endpoint.set_link("wwan1", world.now, tier=1)
    world.run(2.1)
    assert [path.tier for path in paths_of(world, "server")] == [2, 1]


def test_news_of_the_link_end_a_path_s_rest():
    world = adaptive(1)
    world.run(2.0)
    refuse(world, "client", 0, GONE)
    stream(world, "client", 2.0, 6.0, 0.010)
    world.run(5.0)
    assert paths_of(world, "client")[0].resting
    world.refuses = None
    link = world.client_endpoint.links["wwan0"]
    world.client_endpoint.change_link("wwan0", link.targets, world.now)
    assert not paths_of(world, "client")[0].resting


def test_a_refusal_of_an_address_that_only_claims_to_be_the_path_s_says_nothing_of_the_path():
    world = adaptive(1)
    world.run(2.0)
    path = paths_of(world, "server")[0]
    world.server.endpoint.handle_packets(packets_from(world, "server", 1), world.now)
    transmit = world.server.endpoint.poll_transmit(world.now)
    world.server.endpoint.handle_refused(transmit._replace(address="elsewhere"), GONE, world.now)
    assert not path.resting


def adaptive(count):
    return world_of(*[0.030] * count, scheduler="adaptive")


def refuse(world, side, index, reason, every=1):
    """Of what a side sends on a link, refuse every so manieth datagram; return when it did."""
    times = []
    seen = 0

    def refuses(sender, transmit):
        nonlocal seen
        if sender.name != side or transmit.numbers is None:
            return None
        link = transmit.socket if side == "client" else transmit.address[1]
        if link != index:
            return None
        seen += 1
        if seen % every:
            return None
        times.append(world.now)
        return reason

    world.refuses = refuses
    return times


def call(world, side, start, stop):
    """Send a marked packet every 20 ms; return how many those are."""
    count = round((stop - start) / 0.020)
    for number, packet in enumerate(packets_from(world, side, count, size=200)):
        marked = packet[:1] + bytes((EF,)) + packet[2:]
        world.at(start + 0.020 * number, lambda marked=marked: world.send(side, [marked]))
    return count


def arrival_gaps(world, side):
    """Seconds between the packets that came out at a side."""
    times = [time for time, _ in getattr(world, side).packets]
    return [after - before for before, after in pairwise(times)]
