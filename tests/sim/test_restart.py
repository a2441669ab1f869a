"""Either side dies without a word and comes back; the same key on two boxes."""

import pytest

from mpbond.core.transmit import SessionEnded, SessionStarted
from tests.sim.worlds import (
    arrived,
    change_links,
    cut,
    packets_from,
    session_of,
    states,
    stream,
    world_of,
)

SIX = (0.030,) * 6


def test_a_server_that_restarts_under_traffic_is_found_again_within_two_seconds():
    world = world_of(*SIX)
    stream(world, "client", 1.0, 6.0, 0.005)
    world.run(2.0)
    world.restart_server()
    world.run(4.0)
    assert any(2.0 < time < 2.3 for time, _ in world.server.packets)
    before = len(world.server.packets)
    world.run(5.0)
    assert len(world.server.packets) == before + 200
    assert states(world, "client") == states(world, "server") == ["up"] * 6


def test_a_server_that_restarts_while_idle_is_found_again_by_one_keepalive():
    world = world_of(*SIX, keepalive=20.0)
    world.run(30.0)
    world.restart_server()
    world.run(30.0 + 20.0 + 1.0)
    assert states(world, "server") == ["up"] * 6
    world.send("server", packets_from(world, "server", 6))
    world.run(52.0)
    assert arrived(world, "client") == list(range(6))


def test_a_server_that_stays_away_is_found_again_when_it_returns():
    world = world_of(*SIX)
    stream(world, "client", 1.0, 60.0, 0.050)
    world.run(2.0)
    for index in range(6):
        cut(world, index)
    world.restart_server()
    world.run(40.0)
    for index in range(6):
        cut(world, index, up=True)
    world.run(46.0)
    assert states(world, "server") == ["up"] * 6


def test_a_client_that_restarts_has_its_address_and_its_traffic_again_within_two_seconds():
    world = world_of(*SIX)
    stream(world, "server", 1.0, 6.0, 0.005)
    before = world.client_endpoint.addresses
    world.run(2.0)
    world.restart_client()
    world.run(4.0)
    assert world.client_endpoint.addresses == before
    assert states(world, "client") == states(world, "server") == ["up"] * 6
    assert any(2.0 < time < 2.3 for time, _ in world.client.packets)
    assert [type(event) for _, event in world.server.events].count(SessionStarted) == 2
    assert len(world.server.endpoint.sessions) == 1


def test_a_client_that_restarts_while_idle_is_there_at_once():
    world = world_of(*SIX)
    world.run(100.0)
    world.restart_client()
    world.run(100.2)
    assert states(world, "client") == states(world, "server") == ["up"] * 6


def test_the_old_session_lives_until_the_new_one_is_confirmed():
    world = world_of(0.030)
    stream(world, "server", 1.0, 3.0, 0.005)
    old = session_of(world, "server").id
    world.run(2.0)
    world.restart_client()
    cut(world, 0, up=True)
    world.links[0][1].up = False  # the answer does not arrive
    world.run(2.5)
    assert session_of(world, "server").id == old
    world.links[0][1].up = True
    world.run(4.0)
    assert session_of(world, "server").id != old


def test_the_same_key_on_two_boxes_the_newest_wins_and_the_other_is_told_why():
    world = world_of(*SIX)
    first = session_of(world, "client").id
    other = world.add_box("other")
    world.run(1.3)
    (winner,) = other.endpoint.sessions.values()
    assert session_of(world, "server").id == winner.id
    (ended,) = [event for _, event in world.client.events if isinstance(event, SessionEnded)]
    assert ended.session == first
    assert ended.reason == "another box or process uses the same key"
    assert world.client_endpoint.session is None


def test_the_box_that_lost_keeps_quiet_for_ten_seconds():
    world = world_of(*SIX)
    world.add_box("other")
    world.run(1.3)
    sent = []
    world.on_transmit = lambda side, _: sent.append(world.now) if side.name == "client" else None
    world.run(20.0)
    assert 11.0 < min(sent) < 11.3


def test_boxes_that_keep_replacing_each_other_are_reported():
    world = world_of(*SIX)
    world.add_box("other")
    world.run(30.0)
    assert world.server_endpoint.warnings(world.now) == []
    world.run(62.0)
    assert world.server_endpoint.warnings(world.now) == [
        "client changed sessions 6 times in a minute: is its key on two boxes?"
    ]


@pytest.mark.parametrize("seed", range(1, 6))
def test_restarts_of_both_sides_in_any_order_end_with_one_session(seed):
    world = world_of(0.020, 0.040, 0.060, seed=seed)
    change_links(world, loss=0.05)
    stream(world, "client", 1.0, 12.0, 0.010)
    for time in range(2, 10):
        again = world.restart_server if world.rng.random() < 0.5 else world.restart_client
        world.at(time + world.rng.random(), again)
    world.run(13.0)
    assert session_of(world, "client").id == session_of(world, "server").id
    assert states(world, "client") == states(world, "server") == ["up"] * 3
    before = len(world.client.packets)
    change_links(world, loss=0.0)
    world.send("server", packets_from(world, "server", 30))
    world.run(14.0)
    assert len(world.client.packets) == before + 30
