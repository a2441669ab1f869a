"""What is to be measured follows from names, in an order that builds every network once."""

import dataclasses

import pytest

from bench import campaign, plans
from bench.errors import BenchError
from bench.plans import Case, Part
from bench.results import failed
from tests.results import made


def part(**more):
    given = {
        "clock": "lab",
        "scenarios": ("equal4",),
        "systems": ("bare",),
        "workloads": ("tcp1_down_cubic",),
    }
    return Part(**given | more)


def names(chosen):
    return [(case.scenario, case.system, case.workload) for case in chosen]


def test_a_part_is_multiplied_out():
    chosen = plans.cases(part(systems=("bare", "weighted"), workloads=("pages", "udp")))
    assert names(chosen) == [
        ("equal4", "bare", "pages"),
        ("equal4", "weighted", "pages"),
        ("equal4", "bare", "udp"),
        ("equal4", "weighted", "udp"),
    ]


def test_repetitions_take_the_next_seeds():
    chosen = plans.cases(part(repetitions=3), seed=5)
    assert [(case.repetition, case.seed) for case in chosen] == [(0, 5), (1, 6), (2, 7)]


def test_a_star_stands_for_every_link():
    chosen = plans.cases(part(scenarios=("cable_adsl",), systems=("bare:*",)))
    assert [case.system for case in chosen] == ["bare:0", "bare:1"]


def test_what_cannot_be_is_left_out():
    lab = plans.cases(part(systems=("mptcp", "rr"), workloads=("udp", "tcp1_up_bbr", "quic")))
    assert names(lab) == [
        ("equal4", "rr", "udp"),
        ("equal4", "mptcp", "tcp1_up_bbr"),
        ("equal4", "rr", "tcp1_up_bbr"),
        ("equal4", "rr", "quic"),
    ]
    sim = plans.cases(part(clock="sim", systems=("mptcp", "rr"), workloads=("udp", "quic")))
    assert names(sim) == [("equal4", "rr", "udp")]


def test_several_boxes_are_for_mpbond_only():
    sim = plans.cases(part(clock="sim", systems=("bare", "rr"), workloads=("fair",)))
    assert names(sim) == [("equal4", "rr", "fair")]


def test_nothing_left_to_measure_is_an_error():
    with pytest.raises(BenchError, match="nothing can be measured: mptcp cannot carry udp"):
        plans.cases(part(systems=("mptcp",), workloads=("udp",)))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"scenarios": ("equal5",)}, "equal4"),
        ({"systems": ("wheighted",)}, "did you mean weighted"),
        ({"workloads": ("page",)}, "did you mean pages"),
        ({"systems": ("bare:4",)}, "bare:4"),
    ],
)
def test_wrong_names_are_answered_with_near_ones(wrong, complaint):
    with pytest.raises(BenchError, match=complaint):
        plans.cases(part(**wrong))


def test_a_wrong_plan_is_answered_with_a_near_one():
    with pytest.raises(BenchError, match="did you mean quick"):
        plans.get("quik")


@pytest.mark.parametrize("name", plans.plans())
def test_every_plan_can_be_multiplied_out(name):
    for one in plans.get(name).parts:
        chosen = plans.cases(one)
        assert chosen
        assert plans.estimate(plans.ordered(chosen)) > 0


def test_cases_of_one_scenario_are_measured_together_and_once():
    both = ("equal4", "cable_adsl")
    chosen = plans.ordered(
        [
            *plans.cases(part(scenarios=both)),
            *plans.cases(part(scenarios=both, systems=("bare", "rr"))),
        ]
    )
    assert [(case.scenario, case.system) for case in chosen] == [
        ("equal4", "bare"),
        ("equal4", "rr"),
        ("cable_adsl", "bare"),
        ("cable_adsl", "rr"),
    ]


def test_a_case_has_the_key_of_its_result():
    result = made(scenario="cable_adsl", seed=2, repetition=1)
    case = Case(
        clock="lab",
        scenario="cable_adsl",
        system="weighted",
        workload="tcp1_down_cubic",
        seed=2,
        repetition=1,
        seconds=6.0,
    )
    assert case.key(result.versions["tree"]) == result.key
    assert campaign.pending([case], [result], result.versions["tree"]) == []
    assert campaign.pending([case], [result], "another") == [case]
    assert campaign.pending([case], [made(scenario="cable_adsl", seed=2)], "") == [case]


def test_what_failed_or_does_not_count_is_measured_again():
    (case,) = plans.cases(part())
    spoilt = made(system="bare", seconds=30.0, late=True)
    broken = failed(**dataclasses.asdict(case), reason="it fell over")
    for result in (spoilt, broken):
        assert campaign.pending([case], [result], result.versions["tree"]) == [case]


@pytest.mark.parametrize(
    ("seconds", "text"), [(3, "3 s"), (89.4, "89 s"), (95, "2 min"), (11_400, "3 h 10 min")]
)
def test_durations_are_told_in_the_units_people_think_in(seconds, text):
    assert plans.duration(seconds) == text
