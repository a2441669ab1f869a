"""Tiers and caps: told by the client, obeyed by both sides; and the rates that both tell each other."""

import pytest

from bench.sim.apps import Call, Transfers, Window
from bench.sim.hosts import Host
from tests.sim.worlds import (
    arrived,
    bytes_carried,
    client_address,
    cut,
    drops_of,
    paths_of,
    session_of,
    states,
    stream,
    world_of,
)

RECEIVER = {"client": "server", "server": "client"}
SIDES = pytest.mark.parametrize("side", ["client", "server"])
MEGABIT = 1e6 / 8  # bytes per second
PROBES = 8_000  # bytes of probes, markers and ACKs that no tier forbids, in some seconds


@SIDES
def test_an_overflow_link_carries_nothing_while_the_others_suffice(side):
    world = tiered(0, 1)
    count = stream(world, side, 1.0, 5.0, 0.0056)  # 2 of 4 Mbit/s
    before = carried(world, side, 1)
    world.run(6.0)
    assert arrived(world, RECEIVER[side]) == list(range(count))
    assert carried(world, side, 1) - before < PROBES


@SIDES
def test_an_overflow_link_carries_what_the_others_cannot(side):
    world = tiered(0, 1)
    count = stream(world, side, 1.0, 6.0, 0.00187)  # 6 Mbit/s
    world.run(3.0)
    before = [carried(world, side, index) for index in range(2)]
    world.run(6.0)
    always, overflow = (carried(world, side, at) - before[at] for at in range(2))
    assert always > 0.93 * 3.0 * 4 * MEGABIT
    assert overflow == pytest.approx(3.0 * 2 * MEGABIT, rel=0.25)
    world.run(9.0)
    assert arrived(world, RECEIVER[side]) == list(range(count))


@SIDES
def test_an_overflow_link_carries_everything_while_the_others_are_down(side):
    world = tiered(0, 1)
    count = stream(world, side, 1.0, 6.0, 0.0056)
    world.at(2.0, lambda: cut(world, 0))
    world.at(4.0, lambda: cut(world, 0, up=True))
    world.run(3.0)
    before = carried(world, side, 1)
    world.run(4.0)
    assert carried(world, side, 1) - before > 0.9 * 2 * MEGABIT
    world.run(5.9)
    before = carried(world, side, 1)
    world.run(7.0)
    assert states(world, side) == ["up", "up"]
    assert carried(world, side, 1) - before < PROBES
    assert arrived(world, RECEIVER[side]) == list(range(count))


@SIDES
def test_a_last_resort_carries_nothing_even_when_the_others_are_full(side):
    world = tiered(0, 2)
    stream(world, side, 1.0, 4.0, 0.00187)  # 6 of 4 Mbit/s
    before = carried(world, side, 1)
    world.run(5.0)
    assert carried(world, side, 1) - before < PROBES
    assert carried(world, side, 0) > 0.9 * 3.0 * 4 * MEGABIT


@SIDES
def test_a_last_resort_carries_everything_when_all_else_is_down_and_only_then(side):
    world = tiered(0, 1, 2)
    count = stream(world, side, 1.0, 8.0, 0.0112)  # 1 Mbit/s
    world.at(2.0, lambda: cut(world, 0))
    world.run(3.5)
    assert carried(world, side, 2) < 20_000
    cut(world, 1)
    world.run(4.5)
    before = carried(world, side, 2)
    world.run(5.5)
    assert carried(world, side, 2) - before > 0.9 * MEGABIT
    cut(world, 1, up=True)
    world.run(7.0)
    before = carried(world, side, 2)
    world.run(9.0)
    assert carried(world, side, 2) - before < PROBES
    # it begins slowly, and CoDel may think that what waits meanwhile is a standing queue
    numbers = arrived(world, RECEIVER[side])
    assert numbers == sorted(set(numbers))
    assert count - len(numbers) == drops_of(world, side).get("codel", 0) <= 2


@pytest.mark.parametrize("seed", [1, 2])
def test_a_download_and_a_call_survive_the_fall_onto_a_last_resort_of_unknown_rate(seed):
    world = world_of(0.020, 0.030, 0.050, scheduler="adaptive", connect=False, seed=seed)
    world.client_endpoint.links["wwan2"].tier = 2
    world.run(5.0)
    client = Host(world, world, "client", client_address(world), mss=1360)
    server = Host(world, world, "server", bytes((1, 2, 3, 4)), mss=1360)
    window = Window(6.0, 13.0)
    download = Transfers(
        client, server, window, direction="down", flows=1, congestion="cubic", port=80
    )
    call = Call(client, server, window, port=4000)
    for index in range(2):
        world.at(10.0 + 0.013 * seed, lambda index=index: world.silence(index))
    world.run(14.0)
    assert download.meter.longest_stall < 0.45
    for delays in (call.figures().up, call.figures().down):
        assert None not in delays
        assert max(delays) < 0.25


@pytest.mark.parametrize("scheduler", ["rr", "weighted", "xor"])
def test_a_scheduler_that_knows_no_rates_uses_only_the_lowest_tier_that_is_up(scheduler):
    world = tiered(0, 1, 2, scheduler=scheduler)
    before = [carried(world, "client", index) for index in range(3)]
    count = stream(world, "client", 1.0, 2.0, 0.010)
    world.run(2.5)
    assert carried(world, "client", 0) - before[0] > 1400 * count
    assert max(carried(world, "client", at) - before[at] for at in (1, 2)) < PROBES


@SIDES
def test_a_tier_that_changes_is_obeyed_at_once(side):
    world = tiered(0, 0)
    stream(world, side, 1.0, 5.0, 0.00187)
    world.run(3.0)
    world.client_endpoint.set_link("wwan1", world.now, tier=2)
    world.run(3.1)
    assert [path.tier for path in paths_of(world, side)] == [0, 2]
    before = carried(world, side, 1)
    world.run(4.0)
    assert carried(world, side, 1) - before < PROBES
    world.client_endpoint.set_link("wwan1", world.now, tier=0)
    world.run(4.5)
    before = carried(world, side, 1)
    world.run(5.0)
    assert carried(world, side, 1) - before > 0.5 * 0.5 * 2 * MEGABIT


# -- caps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "cap"), [("client", "cap_up"), ("server", "cap_down")])
def test_a_cap_holds_for_its_direction_whatever_the_link_could_do(side, cap):
    world = world_of(0.030, 0.030, scheduler="adaptive", connect=False)
    setattr(world.client_endpoint.links["wwan1"], cap, 1e6)
    world.run(1.0)
    stream(world, side, 1.0, 5.0, 0.0014)  # 8 Mbit/s of 16
    before = [carried(world, side, index) for index in range(2)]
    world.run(5.0)
    free, capped = (carried(world, side, at) - before[at] for at in range(2))
    assert 0.7 * 4 * MEGABIT < capped < 4 * MEGABIT + 20_000
    assert free > 4 * 6 * MEGABIT


def test_a_cap_up_does_not_hold_down():
    world = world_of(0.030, scheduler="adaptive", connect=False)
    world.client_endpoint.links["wwan0"].cap_up = 1e6
    world.run(1.0)
    assert [paths_of(world, side)[0].cap for side in ("client", "server")] == [1e6, 0.0]
    count = stream(world, "server", 1.0, 3.0, 0.0028)  # 4 Mbit/s
    world.run(4.0)
    assert arrived(world, "client") == list(range(count))


@pytest.mark.parametrize(("side", "cap"), [("client", "cap_up"), ("server", "cap_down")])
def test_a_cap_that_comes_and_goes_under_traffic_is_obeyed(side, cap):
    world = world_of(0.030, scheduler="adaptive")
    stream(world, side, 1.0, 7.0, 0.0028)
    world.run(2.5)
    world.client_endpoint.set_link("wwan0", world.now, **{cap: 1e6})
    world.run(3.0)
    before = carried(world, side, 0)
    world.run(4.0)
    assert 0.7 * MEGABIT < carried(world, side, 0) - before < 1.05 * MEGABIT
    world.client_endpoint.set_link("wwan0", world.now, **{cap: 0.0})
    world.run(5.5)
    before = carried(world, side, 0)
    world.run(6.5)
    assert carried(world, side, 0) - before > 3.5 * MEGABIT


# -- what both know of each other -----------------------------------------------------------------


@SIDES
def test_what_one_side_has_learned_the_other_shows_as_its_rate_of_receiving(side):
    world = world_of(0.030, 0.030, scheduler="adaptive", rate=2e6)
    stream(world, side, 1.0, 6.0, 0.0025)  # 4.5 Mbit/s: more than both carry
    world.run(5.5)
    for ours, theirs in zip(paths_of(world, side), paths_of(world, RECEIVER[side]), strict=True):
        sent = ours.status(world.now)["rate"]["sent"]
        assert sent == pytest.approx(2e6, rel=0.15)
        assert theirs.status(world.now)["rate"]["received"] == pytest.approx(sent, rel=0.12)
        assert ours.status(world.now)["rate"]["received"] is None
    whole = session_of(world, RECEIVER[side]).status(world.now)["rate"]["received"]
    assert whole == pytest.approx(4e6, rel=0.15)


@pytest.mark.python_core
def test_rates_that_hardly_change_are_not_told_again():
    world = world_of(0.030, scheduler="adaptive", rate=2e6)
    told = []
    post = session_of(world, "client").control.post
    session_of(world, "client").control.post = lambda message: (told.append(message), post(message))
    stream(world, "client", 1.0, 11.0, 0.005)  # 2.2 Mbit/s
    world.run(11.0)
    assert 1 <= sum("rates" in message for message in told) <= 5


def tiered(*tiers, scheduler="adaptive"):
    """Links of 4 Mbit/s and 30 ms in these tiers."""
    world = world_of(*[0.030] * len(tiers), scheduler=scheduler, rate=4e6, connect=False)
    for index, tier in enumerate(tiers):
        world.client_endpoint.links[f"wwan{index}"].tier = tier
    world.run(1.0)
    for side in ("client", "server"):
        assert states(world, side) == ["up"] * len(tiers)
        assert [path.tier for path in paths_of(world, side)] == list(tiers)
    return world


def carried(world, side, index):
    """Bytes that a link has carried in the direction in which a side sends."""
    return bytes_carried(world.links[index][0 if side == "client" else 1])
