"""Paths that fall silent, flap, stall or lose their way back, with packets on them under `adaptive`.

Nobody should notice: nothing is lost, nothing waits for long, and what is well is not suspected.
"""

from itertools import pairwise

import pytest

from mpbond.core.acks import return_paths
from mpbond.core.sender import PROBE_INTERVAL
from mpbond.core.transmit import PathChanged
from tests.packets import number_of
from tests.sim.worlds import (
    arrived,
    change_links,
    cut,
    paths_of,
    states,
    stream,
    world_of,
)

FOUR = (0.020, 0.030, 0.040, 0.050)
OTHER = {"client": "server", "server": "client"}
START = 2.0


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_link_that_falls_silent_is_left_in_a_fraction_of_a_second_and_nothing_is_lost(side):
    world, count = busy(side, 8.0)
    world.at(4.0, lambda: cut(world, 1))
    world.at(6.0, lambda: cut(world, 1, up=True))
    world.run(9.0)
    assert sorted(arrived(world, OTHER[side])) == list(range(count))
    assert longest_gap(world, side) < 0.2
    (left, back) = [time for time, state in changes(world, side, 1) if state in ("suspect", "up")]
    assert 4.0 < left < 4.2
    assert 6.0 < back < 7.0


def test_a_flapper_is_on_probation_from_its_second_failure_and_back_when_it_is_well():
    world, count = busy("server", 34.0, interval=0.004)
    for turn in range(4):
        world.at(4.0 + turn * 6.0, lambda: cut(world, 1))
        world.at(7.0 + turn * 6.0, lambda: cut(world, 1, up=True))
    world.run(27.0)
    path = paths_of(world, "server")[1]
    assert path.on_probation
    world.run(36.0)
    assert sorted(arrived(world, "client")) == list(range(count))
    assert longest_gap(world, "server") < 0.2
    suspected = [time for time, state in changes(world, "server", 1) if state == "suspect"]
    assert len(suspected) == 2  # of four times; it is not trusted any more
    assert path.state == "up"
    assert path.liveness.since < 25.0 + 8.0 + 3.0


def test_a_link_pulled_twice_is_in_use_at_once_and_the_third_time_on_probation():
    world, count = busy("server", 21.0, interval=0.004)
    seen = []
    for turn in range(3):
        world.at(4.0 + turn * 6.0, lambda: world.pull(1))
        world.at(7.0 + turn * 6.0, lambda: world.restore(1))
        world.at(7.3 + turn * 6.0, lambda: seen.append(states(world, "server")[1]))
    world.run(22.0)
    assert seen == ["up", "up", "probing"]
    assert sorted(arrived(world, "client")) == list(range(count))
    assert longest_gap(world, "server") < 0.2


def test_a_link_that_stalls_every_five_seconds_and_loses_nothing_gets_no_probation():
    world, count = busy("client", 24.0, interval=0.004)
    link = world.links[1][0]
    for turn in range(4):
        world.at(3.0 + turn * 5.0, lambda: link.change(delay=2.0))
        world.at(4.5 + turn * 5.0, lambda: link.change(delay=0.030))
    world.run(26.0)
    seen = [state for _, state in changes(world, "client", 1)]
    assert "down" in seen
    assert "probing" not in seen
    assert sorted(arrived(world, "server")) == list(range(count))


@pytest.mark.parametrize("delays", [(0.030,) * 6, (0.020, 0.040, 0.060, 0.080), (0.100,) * 4])
def test_when_the_paths_that_carry_the_acks_fall_silent_nobody_suspects_the_others(delays):
    world = world_of(*delays, scheduler="rr")
    stream(world, "server", START, 6.0, 0.002)
    world.run(3.0)
    for path in return_paths(paths_of(world, "client"), [], world.now):
        world.links[path.socket][0].up = False
    world.run(7.0)
    assert [changes(world, "server", number) for number in range(len(delays))] == [[]] * len(delays)
    assert [path.state for path in paths_of(world, "client")].count("up") == len(delays) - 2


def test_a_copy_of_a_packet_on_a_path_in_doubt_arrives_once():
    world, count = busy("server", 8.0)
    world.at(4.0, lambda: change_links_of(world, 1, delay=0.500))
    world.at(4.4, lambda: change_links_of(world, 1, delay=0.030))
    world.run(10.0)
    assert sorted(arrived(world, "client")) == list(range(count))


@pytest.mark.parametrize("delays", [FOUR, (0.150,) * 4])
@pytest.mark.parametrize("interval", [0.001, 0.020])
def test_random_loss_and_jitter_make_nobody_suspect(delays, interval):
    world, _ = busy("server", 12.0, delays=delays, interval=interval, loss=0.02, jitter=0.010)
    world.run(12.0)
    for side in ("client", "server"):
        assert [changes(world, side, number) for number in range(4)] == [[]] * 4


def test_when_every_link_is_silent_the_one_that_answered_last_is_tried_and_all_come_back():
    world, _ = busy("server", 12.0, interval=0.005)
    for index in range(4):
        world.at(4.0 + index * 0.3, lambda index=index: cut(world, index))
        world.at(8.0, lambda index=index: cut(world, index, up=True))
    world.run(7.0)
    carried = [path.stats.sent.bytes for path in paths_of(world, "server")]
    world.run(7.9)
    since = [
        path.stats.sent.bytes - before
        for path, before in zip(paths_of(world, "server"), carried, strict=True)
    ]
    assert max(since) == since[3]
    world.run(9.5)
    assert states(world, "server") == ["up"] * 4
    world.run(13.0)
    assert max(arrived(world, "client")) == round((12.0 - START) / 0.005) - 1


def test_a_path_that_carries_nothing_is_asked_how_it_is_while_another_carries():
    """The second is not needed for so little, apart from a while in which both are gone."""
    world, _ = busy("client", 8.0, delays=(0.020, 0.120), interval=0.020)
    for index in (0, 1):
        world.at(4.0, lambda index=index: cut(world, index))
        world.at(5.0, lambda index=index: cut(world, index, up=True))
    asked, waited = set(), []

    def look():
        path = paths_of(world, "client")[1]
        asked.add(path.last_eliciting)
        if path.up:
            waited.append(world.now - path.last_eliciting)

    for step in range(int(2.5 / 0.005), int(7.5 / 0.005)):
        world.at(step * 0.005, look)
    world.run(8.0)
    assert paths_of(world, "client")[1].last_data < 5.5
    assert max(waited) < PROBE_INTERVAL + 0.006
    assert len(asked) < 2 * 5.0 / PROBE_INTERVAL


def busy(side, stop, *, delays=FOUR, interval=0.001, **changed):
    """A world with packets from a side until a time; and how many."""
    world = world_of(*delays, scheduler="adaptive")
    change_links(world, **changed)
    return world, stream(world, side, START, stop, interval)


def change_links_of(world, index, **changed):
    for link in world.links[index]:
        link.change(**changed)


def changes(world, side, path_id):
    """When a path had which state, once packets flowed."""
    return [
        (time, event.state)
        for time, event in getattr(world, side).events
        if isinstance(event, PathChanged) and event.path_id == path_id and time > START
    ]


def longest_gap(world, side):
    """Seconds between two arrivals."""
    packets = getattr(world, OTHER[side]).packets
    assert number_of(packets[-1][1]) > 0
    return max(after - before for (before, _), (after, _) in pairwise(packets))
