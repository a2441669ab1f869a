"""New keys under way: nothing is lost, and nobody is woken without need."""

from collections import Counter
from itertools import pairwise

import pytest

from mpbond.core.transmit import Rekeyed
from tests.sim.worlds import (
    arrived,
    change_links,
    cut,
    drops_of,
    session_of,
    states,
    stream,
    world_of,
)

SIX = (0.030,) * 6
RECEIVER = {"client": "server", "server": "client"}


@pytest.mark.parametrize("side", ["client", "server"])
def test_under_traffic_there_is_a_new_key_every_120_seconds_and_no_packet_is_lost(side):
    world = world_of(*SIX)
    count = stream(world, side, 1.0, 365.0, 0.200)
    world.run(366.0)
    times = [time for time, event in world.client.events if isinstance(event, Rekeyed)]
    assert [round(time) for time in times] == [120, 240, 360]
    assert arrived(world, RECEIVER[side]) == list(range(count))
    assert drops_of(world, RECEIVER[side]) == {}


def test_both_sides_tell_of_the_rekey_and_the_session_stays_the_same():
    world = world_of(*SIX)
    before = session_of(world, "client").id
    stream(world, "client", 1.0, 130.0, 0.5)
    world.run(130.0)
    for side in (world.client, world.server):
        (event,) = [event for _, event in side.events if isinstance(event, Rekeyed)]
        assert event.session == before
    assert session_of(world, "client").handshakes == session_of(world, "server").handshakes == 2


def test_a_rekey_on_lossy_links_loses_only_what_the_links_lose():
    world = world_of(*SIX, rekey_after=5.0)
    change_links(world, loss=0.1)
    count = stream(world, "client", 1.0, 30.0, 0.020)
    world.run(32.0)
    assert session_of(world, "client").handshakes >= 6
    numbers = arrived(world, "server")
    assert len(numbers) == len(set(numbers))
    assert len(numbers) > 0.88 * count


def test_an_idle_session_asks_for_a_key_only_when_a_keepalive_would_find_none():
    world = world_of(*SIX)
    world.run(1000.0)
    times = [time for time, event in world.client.events if isinstance(event, Rekeyed)]
    gaps = [after - before for before, after in pairwise([0.0, *times])]
    assert gaps
    assert all(150.0 < gap < 180.0 for gap in gaps)
    assert states(world, "client") == ["up"] * 6


def test_an_idle_session_with_a_dead_link_is_no_busier():
    world = world_of(*SIX)
    cut(world, 2)
    world.run(1000.0)
    assert session_of(world, "client").handshakes <= 1 + 1000 / 150


@pytest.mark.parametrize("dead", [False, True])
def test_idle_paths_cost_at_most_a_kilobit_a_second_with_keepalives_and_probes(dead):
    world = world_of(*SIX)
    stream(world, "client", 1.0, 3.0, 0.002)
    stream(world, "server", 1.0, 3.0, 0.002)
    world.run(5.0)
    if dead:
        cut(world, 2)
    world.run(40.0)
    sent = Counter()

    def watch(side, transmit):
        if transmit.numbers is not None:
            sent[side.name, transmit.numbers[0]] += len(transmit.buffers[0]) + 28

    world.on_transmit = watch
    steps = world.steps
    world.run(140.0)
    rates = {who: size * 8 / 100 for who, size in sent.items()}
    # a dead path's probe each second is 688 bit/s, a keepalive in 20 s 34; answers take two paths
    assert max(rates.values()) < 1000
    assert sum(rate > 300 for rate in rates.values()) == dead
    assert {("client", path_id) for path_id in range(6)} <= set(rates)
    assert world.steps - steps < (2000 if dead else 500)


def test_every_idle_path_is_kept_alive_every_20_seconds():
    world = world_of(*SIX)
    world.run(5.0)
    times = {index: [5.0] for index in range(6)}

    def watch(side, transmit):
        if side.name == "client" and transmit.numbers is not None:
            times[transmit.socket].append(world.now)

    world.on_transmit = watch
    world.run(105.0)
    for sent in times.values():
        pauses = [after - before for before, after in pairwise(sent)]
        assert max(pauses) < 20.001
        assert len(sent) < 20
