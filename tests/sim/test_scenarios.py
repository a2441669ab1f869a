"""Short simulations of every scenario: what must hold on any links, and what is known of some."""

import dataclasses
import json

import pytest

from bench import scenarios, workloads
from bench.errors import BenchError
from bench.links.capacity import mean_rate
from bench.links.link import Link
from bench.links.shape import Constant, Shape
from bench.scenarios import Scenario, wire
from bench.sim import run
from bench.systems import System
from bench.workloads import Workload

MEGABIT = 1_000_000
EFFORT = 60 * MEGABIT
"""About how many bits the links of a scenario carry in a test."""
CEILING = 0.925
"""Share of a 1,500-byte packet that is left for the payload of TCP in the tunnel."""


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_every_scenario_carries_a_download_and_a_call(name):
    scenario = scenario_of(name)
    offered = sum(mean_rate(link.down) for link in scenario.links)
    result = measure(
        scenario, "weighted", "voice_tcp", seconds=max(0.6, min(2.0, EFFORT / offered))
    )
    assert result.alive
    assert 0 < result.efficiency["down"] < CEILING
    assert result.longest_stall < result.seconds
    nothing_is_lost_that_may_not_be(scenario, result)
    nothing_arrives_before_it_can(scenario, result)


def nothing_is_lost_that_may_not_be(scenario, result):
    for link, books in zip(scenario.links, result.links, strict=True):
        for way in ("down", "up"):
            shape, counted = getattr(link, way), books[way]
            assert counted["oversize"] == 0
            assert (counted["lost"] > 0) <= (shape.loss is not None), (way, counted)
            assert (counted["policed"] > 0) <= (shape.policer is not None), (way, counted)
            assert (counted["swallowed"] > 0) <= (shape.outages is not None), (way, counted)
            assert counted["duplicated"] == counted["corrupted"] == 0


def nothing_arrives_before_it_can(scenario, result):
    voice = result.voice
    for way, delay in (("down", voice.delay_down), ("up", voice.delay_up)):
        quickest = min(getattr(link, way).delay for link in scenario.links)
        if getattr(scenario.links[0], way).reorder or voice.sent == 0:
            continue
        jitter = max(getattr(link, way).jitter for link in scenario.links)
        assert delay.p50 is None or delay.p50 >= quickest - jitter, (way, delay)
    carried = sum(books["down"]["carried"] for books in result.links)
    assert result.goodput["down"] * result.seconds / 8 < carried


@pytest.mark.parametrize(
    ("name", "system", "low", "high"),
    [
        # on equal links without chance a flow has nearly all that headers leave of them
        ("equal4", "weighted", 0.85, CEILING),
        ("equal4", "rr+hold", 0.85, CEILING),
        ("equal4", "rr", 0.85, CEILING),
        # one link of four, with the headers of the tunnel and without
        ("equal4", "single", 0.85 / 4, CEILING / 4),
        ("equal4", "bare", 0.90 / 4, 0.966 / 4),
        ("mq_baseline", "weighted", 0.80, CEILING),
        # a rotation that ignores rates drives every link at the slowest one's
        ("mq_bw10", "rr+hold", 0.05, 2 * 10 / 110),
    ],
)
def test_one_flow_has_the_share_of_the_links_that_is_known(name, system, low, high):
    result = measure(scenarios.get(name), system, "tcp1_down_cubic", seconds=2.5)
    assert low < result.efficiency["down"] < high


def test_both_congestion_controls_both_ways_fill_equal_links():
    for workload in ("tcp1_up_cubic", "tcp1_up_bbr", "tcp1_down_bbr", "tcp8_down_cubic"):
        direction = workloads.get(workload).direction
        result = measure(scenarios.get("equal4"), "weighted", workload, seconds=2.0)
        assert 0.7 < result.efficiency[direction] < CEILING, workload


def test_both_directions_at_once_share_nothing_but_their_acknowledgements():
    result = measure(scenarios.get("equal4"), "weighted", "tcp1_both_cubic", seconds=2.0)
    assert 0.7 < result.efficiency["down"] < CEILING
    assert 0.7 < result.efficiency["up"] < CEILING


def test_weights_by_rate_beat_turns_on_unequal_links():
    scenario = scenarios.get("cable_adsl")
    shares = [
        measure(scenario, system, "tcp1_down_cubic", seconds=2.0).efficiency["down"]
        for system in ("rr", "weighted")
    ]
    assert shares[0] < shares[1]


def test_the_tunnel_costs_a_single_link_its_headers_and_hardly_more():
    scenario = scenarios.get("cable_adsl")
    bare, single = (
        measure(scenario, system, "tcp1_down_cubic", seconds=2.5) for system in ("bare", "single")
    )
    assert bare.link == single.link == 0
    ratio = single.efficiency["down"] / bare.efficiency["down"]
    assert 0.93 < ratio < 1386 / 1448 * 1.005


def test_any_link_can_be_used_alone():
    scenario = scenarios.get("cable_adsl")
    for system in ("bare:1", "single:1"):
        result = measure(scenario, system, "tcp1_down_cubic", seconds=1.0)
        assert result.link == 1
        assert result.links[0]["down"]["packets"] == 0
        assert result.efficiency_of_link["down"] > 0.5


def test_a_call_over_idle_links_takes_their_propagation_and_its_own_transmission():
    scenario = Scenario(name="two", title="", links=(wire(8, 8, 20), wire(8, 8, 20)))
    bare = measure(scenario, "bare", "voice_idle", seconds=2.0).voice
    tunnel = measure(scenario, "weighted", "voice_idle", seconds=2.0).voice
    for voice, size in ((bare, 172 + 28), (tunnel, 172 + 28 + 34 + 28)):
        alone = 0.010 + size * 8 / (8 * MEGABIT)
        assert voice.sent == 100
        assert voice.lost_up == voice.lost_down == 0
        assert voice.delay_up.p50 == pytest.approx(alone, abs=1e-6)
        assert voice.delay_down.p50 == pytest.approx(alone, abs=1e-6)
        assert voice.round_trip.p50 == pytest.approx(2 * alone, abs=2e-6)
        assert voice.later_than_150 == 0
        assert voice.mos > 4.3
    assert bare.delay_down.max == bare.delay_down.p50


def test_udp_below_capacity_arrives_whole_over_links_without_loss():
    result = measure(scenarios.get("equal4"), "weighted", "udp", seconds=2.0)
    assert result.udp.lost == result.udp.reordered == 0
    assert result.udp.sent * 1200 * 8 / 2.0 == pytest.approx(
        workloads.UDP_SHARE * 32 * MEGABIT, rel=1e-3
    )


def test_pages_and_pieces_come_over_a_tunnel():
    scenario = scenarios.get("equal4")
    pages = measure(scenario, "weighted", "pages", seconds=2.5)
    assert pages.pages.failed == 0
    assert pages.pages.count >= 2
    assert 0.1 < pages.pages.p50 < 1.0
    pieces = measure(scenario, "weighted", "tcp30_down_cubic", seconds=2.0)
    assert len(pieces.flows) == 30
    assert min(pieces.flows) > 0
    assert pieces.efficiency["down"] > 0.7


def test_a_pulled_link_costs_a_call_little_and_a_transfer_goes_on():
    result = measure(scenarios.get("equal4"), "weighted", "pull", seconds=3.0)
    assert result.alive
    assert result.voice.lost_down < 0.1
    assert result.voice.longest_gap < 0.7
    assert result.longest_stall < 1.0
    # while it is pulled a link offers nothing
    ((_, since, until),) = workloads.absences(workloads.get("pull"), 3.0)
    there = round((3.0 - (until - since)) * MEGABIT)
    assert result.capacity_by_link["down"] == [there, 3 * MEGABIT, 3 * MEGABIT, 3 * MEGABIT]


def test_a_bare_connection_stands_still_while_its_link_is_pulled():
    scenario = scenarios.get("equal4")
    result = measure(scenario, "bare:0", "pull", seconds=3.0)
    ((_, since, until),) = workloads.absences(workloads.get("pull"), 3.0)
    assert result.longest_stall >= until - since  # not even what its queue held comes meanwhile
    assert result.links[0]["down"]["swallowed"] == 0


def test_a_link_that_turns_bad_loses_half_and_then_its_own_share_again():
    scenario = Scenario(name="two", title="", links=(wire(4, 4, 20), wire(4, 4, 20)))
    result = measure(scenario, "weighted", "bad", seconds=3.0)
    books = [link["down"] for link in result.links]
    assert books[0]["lost"] > 10
    assert books[1]["lost"] == 0
    stage = run.Stage(scenario, System.parse("weighted"), workloads.get("bad"), 1)
    stage.play(1, 3.0)
    link = stage.world.links[0][1]
    lost = link.ledger.lost
    for number in range(1000):
        link.transmit(100, 60_000_000_000 + number * 1_000_000)
    assert link.ledger.lost == lost


def test_somebody_elses_download_shares_the_link_it_was_given():
    result = measure(scenarios.get("shared_link"), "bare:0", "tcp1_down_cubic", seconds=2.0)
    rival = result.links[1]["down"]["carried"]
    assert rival > 0.8 * 3.0 * 20 * MEGABIT / 8
    assert result.efficiency_of_link["down"] > 0.85


def test_a_link_with_rebinds_goes_on_behind_its_new_address():
    link = dataclasses.replace(wire(4, 4, 20), rebinds=(1.5, 2.0))
    scenario = Scenario(name="two", title="", links=(link, wire(4, 4, 20)))
    result = measure(scenario, "weighted", "tcp1_down_cubic", seconds=3.0)
    assert result.alive
    assert result.efficiency["down"] > 0.5


@pytest.mark.parametrize("name", ["article6", "lossy3", "mq_jit20_reorder"])
@pytest.mark.parametrize("system", ["bare", "rr+hold"])
def test_one_seed_gives_one_result_to_the_bit(name, system):
    first, second, other = (
        comparable(measure(scenarios.get(name), system, "voice_tcp", seconds=0.7, seed=seed))
        for seed in (5, 5, 6)
    )
    assert first == second
    assert name == "article6" or first != other


def test_what_only_the_lab_can_do_is_refused_by_name():
    scenario = scenarios.get("equal4")
    with pytest.raises(BenchError, match="mptcp"):
        measure(scenario, "mptcp", "tcp1_down_cubic", seconds=1.0)
    with pytest.raises(BenchError, match="quic"):
        measure(scenario, "bare", "quic", seconds=1.0)


def test_a_tunnel_comes_up_over_likenesses_of_links_and_leaves_the_links_untouched():
    shape = Shape(rate=Constant(8 * MEGABIT), delay=0.030)
    pair = Link(shape), Link(shape)
    world = run.tunnel([wire(8, 8, 60)], [pair], System.parse("weighted"), [1.0], 1)
    assert [link.ledger.packets for link in pair] == [0, 0]
    assert world.epoch == world.now
    world.run(world.now + 25.0)
    assert pair[0].ledger.packets > 0


def scenario_of(name: str) -> Scenario:
    """The scenario; a test of one whose recordings are not there ends here and says so."""
    try:
        return scenarios.get(name)
    except BenchError as error:
        if "recorded trace" not in str(error):
            raise
        pytest.skip(str(error))


def measure(scenario: Scenario, system: str, workload: str, *, seconds: float, seed: int = 1):
    """Simulate; what is measured is the name of a workload."""
    what: Workload = workloads.get(workload)
    return run.simulate(scenario, System.parse(system), what, seed=seed, seconds=seconds)


def comparable(result) -> dict:
    """All of a result that does not depend on the machine and its clock."""
    document = json.loads(result.to_json())
    for name in ("cpu", "cpu_per_gb", "wall", "started", "seed"):
        del document[name]
    return document
