"""A comparison tells what has changed beyond the noise, and only that."""

import dataclasses

import pytest

from bench.compare import compare, table
from tests.results import made


def with_rate(rate, **more):
    """A result of another goodput: Mbit/s of the 32 that are offered."""
    base = made(seconds=2.0, **more)
    return dataclasses.replace(base, goodput={"down": rate * 1e6, "up": None}, cpu_per_gb={})


def repeated(rates, **more):
    return [with_rate(rate, repetition=n, seed=n + 1, **more) for n, rate in enumerate(rates)]


def efficiency(before, after):
    (change,) = [one for one in compare(before, after) if one.metric.name == "efficiency"]
    return change


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ((16, 16, 16), (20, 20, 20), "better"),
        ((16, 16, 16), (12, 12, 12), "worse"),
        ((16, 16, 16), (16.3, 16.3, 16.3), "same"),  # 2 %, below the floor of 3 %
        ((16,), (17,), "same"),  # 6 %: one measurement knows no spread
        ((16,), (18,), "better"),
        ((14, 16, 18), (17, 19, 21), "same"),  # the spreads overlap
        ((15.8, 16, 16.2), (17, 17.2, 17.4), "better"),
    ],
)
def test_a_change_counts_when_it_exceeds_the_noise(before, after, verdict):
    change = efficiency(repeated(before), repeated(after))
    assert change.verdict == verdict


def test_the_simulator_has_less_noise():
    before, after = repeated((16, 16, 16), clock="sim"), repeated((16.3, 16.3, 16.3), clock="sim")
    assert efficiency(before, after).verdict == "better"


def test_less_delay_is_better():
    before, after = (made(workload="voice_tcp", delay=delay) for delay in (0.2, 0.1))
    verdicts = {one.metric.name: one.verdict for one in compare([before], [after])}
    assert verdicts["voice_p95"] == verdicts["mos"] == "better"
    assert verdicts["efficiency"] == "same"


def test_what_is_lost_or_fails_is_compared():
    call, pages = made(workload="voice_tcp", seconds=2.0), made(workload="pages", seconds=2.0)
    losing = dataclasses.replace(
        call, alive=False, voice=dataclasses.replace(call.voice, lost_down=0.1, lost_up=0.2)
    )
    failing = dataclasses.replace(pages, pages=dataclasses.replace(pages.pages, failed=2))
    found = compare([call, pages], [losing, failing])
    worse = {one.metric.name for one in found if one.verdict == "worse"}
    assert worse == {"died", "voice_lost", "voice_lost_up", "pages_failed"}


def test_what_only_one_side_has_is_told():
    assert efficiency([with_rate(16)], []).verdict == "gone"
    assert efficiency([], [with_rate(16)]).verdict == "new"


def test_other_seconds_are_another_measurement():
    found = compare([made(seconds=2.0)], [made(seconds=3.0)])
    assert {change.verdict for change in found} == {"gone", "new"}


def test_results_that_do_not_count_are_not_compared():
    assert compare([made(late=True)], [made(late=True)]) == []


def test_the_table_marks_changes_and_sums_up():
    text = table(compare(repeated((16, 16, 16)), repeated((20, 20, 20))))
    assert "| lab equal4 weighted tcp1_down_cubic | of the capacity of all links |" in text
    assert "| 0.50 | 0.62 | 1.25 | **better** |" in text
    assert "1 better, 2 same" in text
    assert "longest stall" not in text


def test_the_table_has_everything_when_asked():
    text = table(compare([made()], [made()]), everything=True)
    assert "longest stall" in text


def test_nothing_to_compare_is_said():
    assert table([]) == "Nothing to compare."
