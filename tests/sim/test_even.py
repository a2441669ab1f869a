"""A flow that goes by the least round trip, over links of which one is much farther than that."""

from bench import workloads
from bench.scenarios import Scenario, wire
from bench.sim import run
from bench.systems import System

CEILING = 0.925
"""Share of a 1,500-byte packet that is left for the payload of TCP in the tunnel."""
LAST = 2.5
"""Seconds at the end that are looked at."""


def test_bbr_comes_to_use_a_link_that_is_farther_than_its_round_trip():
    near, far = wire(20, 20, 20), wire(10, 10, 100)
    scenario = Scenario(name="far", title="one near, one far", links=(near, far))
    bbr = workloads.get("tcp1_down_bbr")
    result = run.simulate(scenario, System.parse("adaptive"), bbr, seed=1, seconds=17.0)
    timeline = result.timeline
    goodput = timeline.of("goodput", "down")[-round(LAST / timeline.step) :]
    # the near one alone is two thirds
    assert sum(goodput) * 8 / LAST / 30e6 > 0.9 * CEILING
