"""Figures for one question each, on results whose timelines are made by hand."""

import dataclasses

import pytest

from bench import scenarios
from bench.report.readings import READINGS
from bench.results import Tunnel
from tests.results import made

LINK = 800_000
"""Bytes that a link of 8 Mbit/s carries in a second."""


def read(name, result):
    return READINGS[name].read(result)


def over_time(result, **series):
    """The result with series of its timeline, each a function of the links' clock."""
    timeline = result.timeline
    times = [timeline.start + n * timeline.step for n in range(len(timeline.down[0]))]
    replaced = {
        name: [[of(link, time + 1e-9) for time in times] for link in range(len(timeline.down))]
        for name, of in series.items()
    }
    return dataclasses.replace(result, timeline=dataclasses.replace(timeline, **replaced))


def steady(_link, _time):
    return LINK / 10


@pytest.mark.parametrize(("workload", "link"), [("pull", 0), ("pull_other", 1), ("silent", 0)])
def test_a_link_that_is_back_is_used_as_much_as_before_or_less(workload, link):
    # away from 11 to 19 s; what happens before 22 s is nobody's concern
    def used(number, time):
        half = number == link and 12 <= time < 22
        return LINK / 10 * (0.2 if half else 0.4 if time >= 19 else 0.8)

    result = over_time(made(workload=workload, seconds=30.0), down=used, capacity_down=steady)
    assert read("use_again", result) == pytest.approx(0.5)


def test_a_run_that_ends_too_early_does_not_say_how_a_link_is_used_again():
    assert read("use_again", made(workload="pull", seconds=12.0)) is None
    assert read("use_again", made(workload="flap", seconds=30.0)) is None
    assert read("use_again", made(seconds=30.0)) is None


def test_the_queue_of_a_link_that_fell_counts_what_has_stood_in_it_since_before_the_second():
    # it falls at 9: what left from 10.6 to 10.7 came at 9.4, and stood there for 0.65 s from 10 on
    def waits(_link, time):
        return 1.25 if 10.6 <= time < 10.7 else 0.25 if 12 <= time < 12.1 else 0.01

    result = over_time(made(scenario="falling", seconds=20.0), wait_down=waits)
    assert read("queue_after_fall", result) == pytest.approx(650)


def test_what_left_a_link_that_fell_within_the_second_is_no_queue_after_it():
    def waits(_link, time):
        return 0.9 if 9.8 <= time < 9.9 else 0.25 if 12 <= time < 12.1 else 0.01

    result = over_time(made(scenario="falling", seconds=20.0), wait_down=waits)
    assert read("queue_after_fall", result) == pytest.approx(250)


def test_the_queue_of_a_link_that_fell_may_grow_later():
    grown = over_time(made(scenario="falling", seconds=20.0), wait_down=lambda *_: 0.4)
    assert read("queue_after_fall", grown) == pytest.approx(400)
    assert read("queue_after_fall", made(scenario="falling", seconds=10.0)) is None
    assert read("queue_after_fall", made(seconds=20.0)) is None


def test_the_use_of_a_link_that_rose_is_that_from_three_seconds_later_on():
    assert scenarios.FALLING[1] == 17.0
    result = over_time(
        made(scenario="falling", seconds=25.0),
        down=lambda link, time: LINK / 10 * (0.95 if time >= 20 and link == 0 else 0.1),
        capacity_down=steady,
    )
    assert read("use_after_rise", result) == pytest.approx(0.95)
    assert read("use_after_rise", made(scenario="falling", seconds=20.0)) is None


def learned(*series, scenario="noisy3"):
    ways = {"down": 0, "up": 0}
    tunnel = Tunnel(sent=ways, received=ways, dropped=ways, rates={"down": [*series], "up": []})
    return dataclasses.replace(made(scenario=scenario), tunnel=tunnel)


def test_a_learned_rate_is_as_wrong_as_that_of_the_worst_link_when_it_has_learned():
    true = 8e6 * 1472 / 1500
    good, bad = [0.1 * true] * 5 + [true] * 5, [true] * 5 + [1.2 * true] * 5
    assert read("rate_error", learned(good, good, good)) == pytest.approx(0)
    assert read("rate_error", learned(good, bad, good)) == pytest.approx(20)
    assert read("rate_error", learned([None] * 10, good, good)) == pytest.approx(100)
    assert read("rate_error", learned(good, good, good, good, scenario="equal4")) is None
    assert read("rate_error", learned(bad, scenario="noisy3.2")) == pytest.approx(20)
    assert read("rate_error", made(scenario="noisy3")) is None


def test_lost_packets_are_those_that_neither_came_nor_were_dropped_on_purpose():
    tunnel = Tunnel(
        sent={"down": 100, "up": 50},
        received={"down": 90, "up": 49},
        dropped={"down": 8, "up": 0},
        rates={},
    )
    assert read("lost", dataclasses.replace(made(), tunnel=tunnel)) == 3
    assert read("lost", made()) is None


def test_the_cost_of_idleness_is_that_of_the_busiest_link_both_ways():
    result = over_time(
        made(workload="idle", seconds=10.0),
        down=lambda link, time: 250 if link == 2 and time < 2 else 0,
        up=lambda *_: 10,
    )
    assert read("idle_cost", result) == pytest.approx((10 * 250 + 100 * 10) * 8 / 10 / 1e3)
    assert read("idle_cost", made()) is None


def test_the_cost_of_acknowledgements_is_a_share_of_all_uplinks():
    result = over_time(
        made(workload="udp"),
        up=lambda link, _time: 500 if link < 2 else 0,
        capacity_up=lambda _link, _time: 12_500,
    )
    assert read("reply_cost", result) == pytest.approx(2.0)
    assert read("reply_cost", made()) is None


def test_boxes_are_as_fair_as_the_least_is_near_the_most():
    assert read("fairness", dataclasses.replace(made(), boxes=[90, 100])) == 0.9
    assert read("fairness", made()) is None
    assert read("fairness", dataclasses.replace(made(), boxes=[0, 0])) is None
