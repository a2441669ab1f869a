"""What mpbond is held to: that it is all there, can be measured, and is asked for by its names."""

import pytest

from bench import plans, scenarios, systems, targets, workloads
from bench.errors import BenchError
from bench.report.readings import READINGS
from bench.targets import TARGETS, Target


def target(**more):
    given = {
        "group": "table",
        "scenario": "equal4",
        "workload": "tcp1_down_cubic",
        "reading": "efficiency",
    }
    return Target(**given | more)


@pytest.mark.parametrize("clock", ["sim", "lab"])
def test_every_target_can_be_measured_on_its_clocks(clock):
    for one in targets.select([], clock):
        workload = workloads.get(one.workload)
        assert one.reading in READINGS
        assert one.metric.better != 0
        for scenario, system in ((one.scenario, targets.SYSTEM), *one.beside):
            assert plans.can_be(clock, systems.System.parse(system), workload), one.name
            for part in scenario.split("+"):
                assert part.split(".")[0].removesuffix("*2") in scenarios.SCENARIOS


def test_links_that_are_put_together_exist(monkeypatch):
    monkeypatch.setitem(scenarios.SCENARIOS, "lte_drive", scenarios.SCENARIOS["lte_synthetic"])
    for name in {one.scenario for one in TARGETS} | {
        scenario for one in TARGETS for scenario, _ in one.beside
    }:
        assert scenarios.get(name).links


def test_all_rows_of_the_table_and_the_matrix_are_there():
    table = [one for one in TARGETS if one.group == "table"]
    assert len(table) == 6 * 6
    matrix = {(one.scenario, one.workload) for one in TARGETS if one.group == "mq" and one.beside}
    assert len(matrix) == 16 * 2


def test_the_better_link_is_measured_by_running_both_unless_they_are_alike():
    beside = {one.scenario: one.beside for one in TARGETS if one.group == "mq" and one.beside}
    assert beside["mq_baseline"] == (("mq_baseline", "single:0"),)
    assert beside["mq_starlink"] == (("mq_starlink", "single:0"), ("mq_starlink", "single:1"))


def test_trouble_befalls_the_link_with_the_shortest_round_trip_and_another_one():
    for name in {one.scenario for one in TARGETS if one.group == "trouble"}:
        trips = [link.down.delay + link.up.delay for link in scenarios.get(name).links]
        assert trips.index(min(trips)) == workloads.get("pull").victim
        assert workloads.get("pull_other").victim != workloads.get("pull").victim


def test_a_bound_is_reached_from_the_better_side():
    more, less = target(bound=0.9), target(reading="voice_p95", bound=45)
    assert more.reached(0.9, more.limit([]))
    assert not more.reached(0.899, more.limit([]))
    assert less.reached(45, less.limit([]))
    assert not less.reached(45.1, less.limit([]))


def test_a_bound_that_goes_by_others_goes_by_the_best_of_them():
    beside = (("equal4", "single:0"), ("equal4", "single:1"))
    more = target(reading="goodput", factor=0.97, beside=beside)
    less = target(reading="voice_p95", bound=10, beside=beside)
    assert more.limit([50.0, 100.0]) == pytest.approx(97)
    assert less.limit([50.0, 100.0]) == 60


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("table", True),
        ("equal4", True),
        ("equal4/tcp1", True),
        ("equal4/tcp1_down_cubic/eff", True),
        ("*/tcp1", True),
        ("eq*", True),
        ("equal", False),
        ("mq", False),
        ("equal4/tcp8", False),
        ("equal4/tcp1/voice", False),
    ],
)
def test_a_target_is_meant_by_its_group_or_the_beginning_of_its_name(pattern, meant):
    assert target().matches(pattern) == meant


def test_a_whole_name_does_not_mean_another_one_that_begins_with_it():
    assert not target(workload="pull_other").matches("equal4/pull")
    assert target(workload="pull_other").matches("equal4/pull_")
    assert target(workload="pull_other").matches("equal4/pull*")


def test_targets_are_chosen_by_any_pattern_in_their_own_order():
    chosen = targets.select(["lossy3/voice", "equal4/tcp8"], "sim")
    assert [one.name for one in chosen[:3]] == [
        "equal4/tcp8_down_cubic/efficiency",
        "lossy3/voice_tcp/voice_p95",
        "lossy3/voice_tcp/voice_300",
    ]


def test_a_pattern_that_means_nothing_is_told():
    with pytest.raises(BenchError, match="nothing is held to 'articel6' on the sim clock"):
        targets.select(["equal4", "articel6"], "sim")
    with pytest.raises(BenchError, match="on the lab clock"):
        targets.select(["equal4/fair"], "lab")
