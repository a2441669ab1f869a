"""Coming up: any one link is enough, and the others join at once."""

import pytest

from mpbond.core.transmit import SessionStarted
from tests.sim.worlds import (
    arrived,
    cut,
    packets_from,
    session_of,
    states,
    stream,
    world_of,
)

SIX = (0.030,) * 6


def test_six_paths_are_up_on_both_sides_within_three_round_trips():
    world = world_of(*SIX, connect=False)
    world.run(3 * 2 * 0.031)
    assert states(world, "client") == ["up"] * 6
    assert states(world, "server") == ["up"] * 6


def test_the_session_is_there_after_one_round_trip_of_the_quickest_link():
    world = world_of(0.080, 0.020, 0.060, connect=False)
    world.run(0.1)
    times = [time for time, event in world.client.events if isinstance(event, SessionStarted)]
    assert len(times) == 1
    assert 0.040 < times[0] < 0.043


@pytest.mark.parametrize("alive", range(6))
def test_any_one_living_link_is_enough(alive):
    world = world_of(*SIX, connect=False)
    for index in range(6):
        cut(world, index, up=index == alive)
    world.run(1.0)
    stream(world, "client", 1.0, 1.1, 0.01)
    world.run(2.0)
    assert arrived(world, "server") == list(range(10))


def test_links_that_come_to_life_later_join_the_session():
    world = world_of(*SIX, connect=False)
    for index in range(1, 6):
        cut(world, index)
    world.run(3.0)
    before = session_of(world, "client").id
    for index in range(1, 6):
        cut(world, index, up=True)
    world.run(6.0)
    assert states(world, "client") == ["up"] * 6
    assert session_of(world, "client").id == before


def test_all_links_ask_with_one_message_and_the_server_makes_one_session():
    world = world_of(*SIX)
    assert len(world.server.endpoint.sessions) == 1
    assert [type(event) for _, event in world.server.events].count(SessionStarted) == 1
    assert session_of(world, "server").handshakes == 1


def test_packets_that_come_before_the_session_wait_for_it():
    world = world_of(*SIX, connect=False)
    later = world_of(*SIX)
    world.send("client", packets_from(later, "client", 10))
    world.run(1.0)
    assert arrived(world, "server") == list(range(10))


def test_a_client_asks_again_until_the_server_is_there():
    world = world_of(0.030, connect=False)
    cut(world, 0)
    world.run(11.8)
    cut(world, 0, up=True)
    world.run(12.2)
    assert states(world, "client") == ["up"]
