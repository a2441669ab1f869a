"""One link more of whatever kind: a download never has less than over the better link alone."""

import dataclasses

import pytest

from bench import workloads
from bench.links.shape import Policer
from bench.scenarios import MEGA, Scenario, wire
from bench.sim import run
from bench.systems import System

SHORT_BUFFER = wire(8, 8, 30, queue=16)
SATELLITE = wire(8, 8, 320)
MODEM = wire(2, 1, 80, jitter=20)


def policed(rate, burst):
    """A fast line that a policer lets pass `rate` Mbit/s of."""
    line = wire(50, 20, 20)
    return dataclasses.replace(
        line, down=dataclasses.replace(line.down, policer=Policer(rate * MEGA, burst))
    )


@pytest.mark.parametrize(
    ("link", "other"),
    [(SHORT_BUFFER, SATELLITE), (policed(10, 50_000), MODEM)],
)
def test_a_link_more_costs_a_download_nothing(link, other):
    alone, both = goodput(link), goodput(link, other)
    assert both > 0.97 * alone


def goodput(*links):
    """Bits per second of a CUBIC download beside a call."""
    scenario = Scenario(name="made", title="made for this", links=links)
    system, workload = System.parse("adaptive"), workloads.get("voice_tcp")
    return run.simulate(scenario, system, workload, seed=1, seconds=30.0).goodput["down"]
