"""A link that becomes slow at a blow, under a download that fills it."""

import pytest

from bench import scenarios
from bench.report.readings import queue_after_fall
from bench.sim.run import simulate
from bench.systems import System
from bench.workloads import WORKLOADS


@pytest.mark.parametrize("workload", ["tcp8_down_cubic", "tcp1_down_cubic"])
@pytest.mark.parametrize("fall", [9.0, 9.013, 9.027])
def test_a_second_after_a_fall_to_a_sixteenth_little_is_left_before_it(workload, fall, monkeypatch):
    # whatever of an ACK interval has passed; without an alarm some 800 ms are left
    monkeypatch.setattr(scenarios, "FALLING", (fall, fall + 2))
    result = simulate(
        scenarios.get("falling"),
        System.parse("adaptive"),
        WORKLOADS[workload],
        seed=1,
        seconds=11.0,
    )
    queue = queue_after_fall(result)
    assert queue is not None
    assert queue < 550
