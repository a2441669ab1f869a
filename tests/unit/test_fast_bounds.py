"""What the fast path is held to, and the tables that say so."""

import dataclasses

import pytest

from bench import results
from bench.errors import BenchError
from bench.fast import bounds
from bench.fast.bounds import BOUNDS, MISSED, REACHED, UNKNOWN, Figures
from bench.fast.run import CLOCK, WORKLOADS
from bench.results import Quantiles, Udp


def result(system, workload, *, scenario="wires", repetition=0, rate=None, **fields):
    direction = "up" if "_up" in workload else "down"
    if rate is not None:
        fields["goodput"] = {direction: rate}
    return results.Result(
        clock=CLOCK,
        scenario=scenario,
        system=system,
        workload=workload,
        seed=0,
        repetition=repetition,
        seconds=5.0,
        started=f"2026-11-22T00:00:{repetition:02}+00:00",
        versions={},
        machine={},
        **fields,
    )


def trip(p50, p99):
    return Quantiles(p50=p50, p95=p99, p99=p99, max=p99)


def bound(title):
    (found,) = [one for one in BOUNDS if title in one.title]
    return found


DOWN = "tcp1_down_cubic"


def test_one_path_is_held_to_the_fastest_of_the_others():
    found = bound("flow down, one path")
    figures = Figures(
        [
            result("mpbond:1", DOWN, rate=870e6),
            result("wireguard", DOWN, rate=420e6),
            result("fastd", DOWN, rate=500e6),
            result("veth", DOWN, rate=29e9),
        ]
    )
    assert found.figure(figures) == pytest.approx(1.74)
    assert found.verdict(found.figure(figures), found.pure) == REACHED
    assert found.verdict(found.figure(figures), found.compiled) == MISSED


def test_several_paths_are_held_to_one():
    figures = Figures([result("mpbond:1", DOWN, rate=800e6), result("mpbond:6", DOWN, rate=600e6)])
    found = bound("flow down, 6 paths")
    assert found.figure(figures) == 0.75
    assert found.verdict(0.75, found.pure) == MISSED
    assert bound("flow down, 2 paths").figure(figures) is None


def test_figures_are_medians_of_repetitions_that_count():
    figures = Figures(
        [
            result("mpbond:1", "udp64_up", repetition=n, packets_per_second=rate, valid=n < 3)
            for n, rate in enumerate((31_000.0, 20_000.0, 30_500.0, 99_000.0))
        ]
    )
    found = bound("64 bytes up")
    assert found.figure(figures) == 30_500
    assert found.verdict(30_500, found.pure) == REACHED


def test_delay_counts_beyond_that_of_the_bare_wire_and_less_is_better():
    figures = Figures(
        [
            result("veth", "ping", round_trip=trip(0.00005, 0.0004)),
            result("mpbond:1", "ping", round_trip=trip(0.00045, 0.0030)),
        ]
    )
    median, tail = bound("added, p50"), bound("added, p99")
    assert median.figure(figures) == pytest.approx(0.4)
    assert median.verdict(0.4, median.pure) == REACHED
    assert median.verdict(0.4, median.compiled) == MISSED
    assert tail.verdict(tail.figure(figures), tail.pure) == MISSED


def test_loss_is_a_share_in_percent():
    lost = Udp(sent=100_000, lost=50, reordered=0)
    found = bound("bytes down at .9")
    figures = Figures([result("mpbond:1", "udp1300_down", udp=lost)])
    assert found.figure(figures) == pytest.approx(0.05)
    assert found.verdict(0.05, found.pure) == REACHED


def test_two_limited_wires_are_measured_by_their_sum():
    figures = Figures([result("mpbond:2", DOWN, scenario="fast2", rate=400e6)])
    assert bound("down over 300 + 150").figure(figures) == pytest.approx(400 / 450)


def test_what_was_not_measured_is_neither_reached_nor_missed():
    nothing = Figures([])
    assert {one.verdict(one.figure(nothing), one.pure) for one in BOUNDS} == {UNKNOWN}
    assert bounds.all_reached(nothing, bounds.PURE)


def test_a_core_is_judged_by_its_own_limits():
    both = [result("mpbond:1", DOWN, rate=870e6), result("wireguard", DOWN, rate=420e6)]
    assert bounds.all_reached(Figures(both), bounds.PURE)
    assert not bounds.all_reached(Figures(both), bounds.COMPILED)


def test_bounds_name_what_is_measured():
    assert {one.workload for one in BOUNDS} <= set(WORKLOADS)
    assert {workload for workload, _, _ in bounds.SHOWN} <= set(WORKLOADS)
    assert {reading for _, reading, _ in bounds.SHOWN} <= set(bounds.READINGS)


def test_the_table_has_ratios_to_the_best_of_the_others():
    figures = Figures(
        [
            result("veth", DOWN, rate=29e9),
            result(
                "mpbond:1", DOWN, rate=870e6, cpu_per_gb={"mpbond client": 6.0, "generators": 9}
            ),
            result("wireguard", DOWN, rate=420e6, cpu_per_gb={"wireguard-go client": 12.0}),
            result("fastd", DOWN, rate=500e6),
        ]
    )
    head, goodput, cpu = bounds.table(figures)
    assert head == ["", "veth", "mpbond:1", "wireguard", "fastd"]
    assert goodput[1:] == ["29,000 (58.00)", "870 (1.74)", "420 (0.84)", "500 (1.00)"]
    assert cpu[1:] == ["–", "6.0 (0.50)", "12.0 (1.00)", "–"]
    first, second, _ = bounds.text([head, goodput, cpu]).splitlines()
    assert first.index("veth") + len("veth") == second.index("58.00)") + len("58.00)")


def test_the_judgement_shows_both_limits():
    figures = Figures([result("mpbond:1", "udp64_down", packets_per_second=31_234.5)])
    (row,) = [row for row in bounds.judged(figures) if "64 bytes down" in row[0]]
    assert row[1:] == ["31,234", "≥ 30,000", REACHED, "≥ 50,000", MISSED]


def test_why_something_does_not_count_is_told():
    spoilt = result("fastd", DOWN, valid=False, reason="it ended")
    assert Figures([spoilt]).refused() == ["wires fastd tcp1_down_cubic: it ended"]


def test_results_of_other_clocks_are_none_of_the_fast_path():
    with pytest.raises(BenchError, match="clock lab"):
        Figures([dataclasses.replace(result("veth", DOWN), clock="lab")])


def test_a_result_comes_back_from_its_line():
    one = result("veth", "ping", round_trip=trip(0.1, 0.2), packets_per_second=1.5)
    assert results.Result.from_json(one.to_json()) == one
