"""Links that go silent, vanish and come back, with traffic on them. Asserts are on virtual times."""

from itertools import pairwise

import pytest

from bench.sim.world import SERVER_ADDRESS
from mpbond.core.acks import ack_interval
from mpbond.core.link import Link as ClientLink
from mpbond.core.link import Target
from mpbond.core.liveness import silence_limit
from mpbond.core.watch import PROGRESS
from tests.sim.worlds import (
    arrived,
    bytes_carried,
    cut,
    paths_of,
    session_of,
    states,
    stream,
    world_of,
)

SIX = (0.030,) * 6
RECEIVER = {"client": "server", "server": "client"}


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("delays", [SIX, (0.020, 0.040, 0.060)])
def test_a_link_that_goes_silent_with_data_in_flight_gets_nothing_new_after_its_limit(side, delays):
    world = world_of(*delays)
    stream(world, side, 1.0, 5.0, 0.002)
    world.run(3.0)
    path = paths_of(world, side)[1]
    times = data_times(world, side, path.id)
    cut(world, 1)
    world.run(5.5)
    limit = silence_limit(path.rtt.smoothed, path.rtt.variation)  # with the last answers in it
    # the first datagram after the cut is the first that stays unanswered
    first = min(times)
    # an answer that came so lately says that the path is slow, not silent
    slow = path.last_answer + ack_interval(path.rtt.smoothed) + PROGRESS
    assert max(times) < max(first + limit, slow) + 0.001
    assert max(times) > first + limit / 2
    assert states(world, side)[1] in ("suspect", "down")


def test_a_dead_link_costs_only_what_was_in_flight_on_it():
    world = world_of(*SIX)
    count = stream(world, "client", 1.0, 6.0, 0.002)
    world.at(3.0, lambda: cut(world, 1))
    world.run(7.0)
    numbers = arrived(world, "server")
    assert numbers == sorted(numbers)
    lost = set(range(count)) - set(numbers)
    # one packet in six, for the 120 ms and more until it is suspect, all from around the cut
    assert 5 < len(lost) < 30
    assert {1.0 + number * 0.002 for number in lost} < {
        1.0 + number * 0.002 for number in range(960, 1110)
    }


def test_a_silent_link_is_suspect_then_down_and_says_why():
    world = world_of(*SIX)
    stream(world, "client", 1.0, 3.0, 0.002)
    world.at(1.5, lambda: cut(world, 1))
    world.run(1.9)
    path = paths_of(world, "client")[1]
    assert path.state == "suspect"
    assert path.liveness.reason.startswith("silent for 1")
    world.run(2.5)
    assert (path.state, path.liveness.reason) == ("down", "5 probes unanswered")
    assert states(world, "client").count("up") == 5


def test_a_link_comes_back_on_evidence_and_takes_part_again():
    world = world_of(*SIX)
    count = stream(world, "client", 1.0, 8.0, 0.002)
    world.at(2.0, lambda: cut(world, 1))
    world.at(4.0, lambda: cut(world, 1, up=True))
    world.run(4.0)
    assert states(world, "client")[1] == "down"
    before = bytes_carried(world.links[1][0])
    world.run(5.5)  # a probe a second, then three answers
    assert states(world, "client")[1] == "up"
    world.run(9.0)
    assert bytes_carried(world.links[1][0]) > before + 300_000
    numbers = arrived(world, "server")
    assert numbers == sorted(numbers)
    assert set(range(count)) - set(numbers) < set(range(460, 600))  # the second around the cut


def test_a_short_stall_makes_a_link_suspect_and_it_recovers_quickly():
    world = world_of(*SIX)
    stream(world, "client", 1.0, 4.0, 0.002)
    world.at(2.0, lambda: cut(world, 1))
    world.at(2.3, lambda: cut(world, 1, up=True))
    world.run(2.29)
    assert states(world, "client")[1] == "suspect"
    world.run(2.7)
    assert states(world, "client")[1] == "up"


def test_a_link_whose_way_back_is_dead_still_carries_what_goes_out():
    world = world_of(*SIX)
    world.links[1][1].up = False
    count = stream(world, "client", 1.0, 4.0, 0.002)
    world.run(5.0)
    assert states(world, "client")[1] == "up"
    assert arrived(world, "server") == list(range(count))
    assert bytes_carried(world.links[1][0]) > 350_000


def test_one_idle_link_that_dies_is_not_missed_by_traffic_that_starts_later():
    world = world_of(*SIX, scheduler="xor")
    cut(world, 1)
    world.run(30.0)
    assert states(world, "client")[1] == "down"
    count = stream(world, "client", 30.0, 31.0, 0.002)
    world.run(32.0)
    assert arrived(world, "server") == list(range(count))


def test_when_all_links_are_silent_the_least_bad_goes_on_being_tried():
    world = world_of(*SIX)
    stream(world, "client", 1.0, 20.0, 0.010)
    for index in range(6):
        cut(world, index)
    sent = []
    world.on_transmit = lambda side, transmit: (
        sent.append(world.now)
        if side.name == "client" and len(transmit.buffers[0]) > 1400
        else None
    )
    world.run(10.0)
    assert "up" not in states(world, "client")
    assert max(after - before for before, after in pairwise(sent)) < 0.5
    assert sent[-1] > 9.9


def test_after_all_links_were_silent_the_session_goes_on():
    world = world_of(*SIX)
    identity = session_of(world, "client").id
    stream(world, "client", 1.0, 12.0, 0.010)
    for index in range(6):
        world.at(2.0, lambda index=index: cut(world, index))
        world.at(6.0, lambda index=index: cut(world, index, up=True))
    world.run(13.0)
    numbers = arrived(world, "server")
    assert numbers == sorted(set(numbers))
    assert set(range(700, 1100)) <= set(numbers)  # all from 8 s on: two seconds after their return
    assert session_of(world, "client").id == identity
    assert states(world, "client") == ["up"] * 6


def test_a_link_without_carrier_gets_nothing_from_either_side_and_all_again_when_it_is_back():
    world = world_of(*SIX)
    up = stream(world, "client", 1.0, 4.0, 0.004)
    down = stream(world, "server", 1.0, 4.0, 0.004)
    world.run(2.0)
    world.client_endpoint.set_link_usable("wwan1", False, world.now)
    there = data_times(world, "client", 1)
    world.run(2.033)
    back = data_times(world, "server", 1)
    world.run(3.0)
    assert there == []
    assert back == []
    assert states(world, "client")[1] == states(world, "server")[1] == "down"
    world.client_endpoint.set_link_usable("wwan1", True, world.now)
    world.run(5.0)
    assert len(back) > 30
    assert states(world, "client") == states(world, "server") == ["up"] * 6
    assert arrived(world, "server") == list(range(up))
    assert arrived(world, "client") == list(range(down))


def test_a_link_that_is_removed_and_added_has_a_new_path_id():
    world = world_of(*SIX)
    count = stream(world, "client", 1.0, 4.0, 0.002)
    world.run(2.0)
    world.client_endpoint.remove_link("wwan1", world.now)
    world.run(3.0)
    assert sorted(session_of(world, "client").paths) == [0, 2, 3, 4, 5]
    assert sorted(session_of(world, "server").paths) == [0, 2, 3, 4, 5]
    world.client_endpoint.add_link(ClientLink("wwan1", (Target(1, SERVER_ADDRESS),)), world.now)
    world.run(5.0)
    assert sorted(session_of(world, "client").paths) == [0, 2, 3, 4, 5, 6]
    assert states(world, "server") == ["up"] * 6
    assert arrived(world, "server") == list(range(count))


@pytest.mark.parametrize("scheduler", ["rr", "adaptive"])
def test_a_link_plugged_in_and_out_three_hundred_times_brings_new_sessions_and_breaks_none(
    scheduler,
):
    world = world_of(0.020, 0.020, scheduler=scheduler)
    removed = []
    sessions = {session_of(world, "client").id}
    count = stream(world, "client", 1.0, 61.0, 0.050)
    for turn in range(300):
        world.run(1.1 + turn * 0.2)
        removed.append(world.now)
        world.client_endpoint.remove_link("wwan1", world.now)
        world.run(1.2 + turn * 0.2)
        world.client_endpoint.add_link(ClientLink("wwan1", (Target(1, SERVER_ADDRESS),)), world.now)
        sessions.add(session_of(world, "client").id)
    world.run(63.0)
    assert len(sessions) == 2
    assert states(world, "client") == states(world, "server") == ["up", "up"]
    numbers = arrived(world, "server")
    assert len(set(numbers)) == len(numbers)
    lost = sorted(set(range(count)) - set(numbers))
    if scheduler == "adaptive":
        assert lost == []
    # without repair, what was under way on the link is lost
    for number in lost:
        assert any(-1e-6 < time - 1.0 - number * 0.050 < 0.023 for time in removed)


def data_times(world, side, path_id):
    """The times at which a side sends datagrams full of data on a path, from now on."""
    times = []

    def watch(sender, transmit):
        if previous is not None:
            previous(sender, transmit)
        if (
            sender.name == side
            and transmit.numbers is not None
            and transmit.numbers[0] == path_id
            and len(transmit.buffers[0]) > 1400
        ):
            times.append(world.now)

    previous = world.on_transmit
    world.on_transmit = watch
    return times
