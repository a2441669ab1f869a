"""Workloads are data: what befalls links and what pages hold is the same for everyone who asks."""

import pytest

from bench import workloads
from bench.errors import BenchError
from bench.workloads import Event


def test_a_pulled_link_is_away_for_eight_seconds_from_a_third_of_the_time():
    pull = workloads.get("pull")
    assert workloads.events(pull, 30) == (Event(11.0, "pull"), Event(19.0, "restore"))
    assert workloads.absences(pull, 30) == ((0, 11.0, 19.0),)


def test_a_pulled_link_is_put_back_after_eight_seconds_or_a_third_of_a_short_window():
    assert workloads.absences(workloads.get("pull"), 9) == ((0, 4.0, 7.0),)
    assert workloads.absences(workloads.get("pull"), 30) == ((0, 11.0, 19.0),)


def test_a_flapping_link_goes_and_comes_every_three_seconds():
    events = workloads.events(workloads.get("flap"), 12)
    assert [(event.time, event.action) for event in events] == [
        *[(4.0, "pull"), (7.0, "restore"), (10.0, "pull"), (13.0, "restore")]
    ]


def test_a_flapping_link_may_be_away_until_the_end_and_is_put_back_then():
    absences = workloads.absences(workloads.get("flap"), 10)
    assert absences == ((0, 4.0, 7.0), (0, 10.0, 11.0))
    assert workloads.events(workloads.get("flap"), 10)[-1] == workloads.Event(11.0, "restore")


def test_a_silent_link_is_as_good_as_away():
    silent = workloads.get("silent")
    assert workloads.events(silent, 30) == (Event(11.0, "silence"), Event(19.0, "speak"))
    assert workloads.absences(silent, 30) == ((0, 11.0, 19.0),)


def test_another_link_than_the_first_may_be_the_victim():
    pull = workloads.get("pull_other")
    assert workloads.events(pull, 30) == (Event(11.0, "pull", 1), Event(19.0, "restore", 1))
    assert workloads.absences(pull, 30) == ((1, 11.0, 19.0),)


def test_a_bad_link_is_bad_for_the_middle_third():
    events = workloads.events(workloads.get("bad"), 30)
    assert [(event.time, event.loss) for event in events] == [(11.0, 0.5), (21.0, None)]
    assert workloads.absences(workloads.get("bad"), 30) == ()


def test_pages_are_the_same_for_the_same_seed_and_differ_otherwise():
    pages = [workloads.page(number, seed=7) for number in range(20)]
    assert pages == [workloads.page(number, seed=7) for number in range(20)]
    assert len(set(pages)) == 20
    assert all(page[0] == 30_000 and len(page) == 13 for page in pages)
    assert all(5_000 <= size <= 60_000 for page in pages for size in page[1:])


def test_groups_stand_for_their_members_each_once():
    names = [workload.name for workload in workloads.select(["voice_tcp", "voice", "pull"])]
    assert names == ["voice_tcp", "voice_idle", "pull"]


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(BenchError, match="no workload 'tcp1_down_cubik'; did you mean tcp1_down_c"):
        workloads.get("tcp1_down_cubik")
