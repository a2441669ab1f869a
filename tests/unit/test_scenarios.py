"""The scenarios: that all can be made, and are what they say."""

import dataclasses
import itertools

import pytest

from bench import scenarios
from bench.errors import BenchError
from bench.links import modems, traces
from bench.links.capacity import capacity, timeline
from bench.links.ledger import Ledger
from bench.links.shape import Constant, Profile, Trace
from bench.systems import mean_rates

SECOND = 1_000_000_000
DIRECTIONS = ("down", "up")
STEADY = [name for name in scenarios.SCENARIOS if name != "lte_drive"]


def rounded(rates):
    return [round(rate / 1e6, 1) for rate in rates]


@pytest.mark.parametrize("name", STEADY)
def test_every_scenario_can_be_made_without_recordings(name, monkeypatch, tmp_path):
    monkeypatch.setenv(traces.VARIABLE, str(tmp_path))
    made = scenarios.get(name)
    assert made.name == name
    assert made.title
    assert len(made.links) >= 2
    assert made.rival is None or made.rival < len(made.links)
    for direction in DIRECTIONS:
        assert all(rate > 0 for rate in mean_rates(made.links, direction))
        for link in made.links:
            shape = getattr(link, direction)
            assert shape.queue is not None or shape.queue_bytes is not None
            assert capacity(shape, Ledger(), SECOND, 11 * SECOND) > 0


@pytest.mark.parametrize("name", STEADY)
def test_a_scenario_is_the_same_every_time(name):
    modems.opportunities.cache_clear()
    first = scenarios.get(name)
    modems.opportunities.cache_clear()
    assert scenarios.get(name) == first


def test_the_issue_and_the_matrix_have_their_scenarios():
    named = {
        *("equal4", "article6", "article6_calm", "cable_adsl", "fiber_lte", "lossy3", "lte_drive"),
        *("lte_synthetic", "fast2", "starlink_5g", "policer", "shallow", "shared_link"),
        *("falling", "noisy3"),
    }
    rows = (
        "baseline rtt40 rtt70 rtt120 rtt320 jit5 jit20 loss05 loss2 bw4 bw10 duallte fiberlte"
        " starlink geo congested"
    )
    jittered = "jit5 jit20 duallte fiberlte starlink geo congested"
    named |= {f"mq_{row}" for row in rows.split()}
    named |= {f"mq_{row}_reorder" for row in jittered.split()}
    assert set(scenarios.SCENARIOS) == named


def test_an_unknown_scenario_is_told_with_what_is_close():
    with pytest.raises(BenchError, match=r"'article7'; did you mean article6 or"):
        scenarios.get("article7")
    with pytest.raises(BenchError, match=r"'zzz'; there are equal4, article6"):
        scenarios.get("zzz")


def test_a_scenario_is_put_together_of_links_of_others():
    made = scenarios.get("fiber_lte.1+article6.3+fiber_lte.1")
    lte, modem = scenarios.get("fiber_lte").links[1], scenarios.get("article6").links[3]
    assert made.links == (lte, modem, lte)
    assert made.name == "fiber_lte.1+article6.3+fiber_lte.1"
    assert scenarios.get("cable_adsl.0").links == scenarios.get("cable_adsl").links[:1]


def test_two_boxes_have_the_same_links_each():
    made = scenarios.get("cable_adsl*2")
    own = scenarios.get("cable_adsl").links
    assert made.links[:2] == own
    assert [link.client for link in made.links] == [0, 0, 1, 1]
    assert tuple(dataclasses.replace(link, client=0) for link in made.links[2:]) == own


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cable_asdl*2", "did you mean cable_adsl"),
        ("cable_adsl.2", "names no link of cable_adsl; write cable_adsl.0 to cable_adsl.1"),
        ("cable_adsl.0+fiber_lte", "names no link of fiber_lte"),
        ("cable_adsl.x", "names no link"),
        ("cable_asdl.0", "did you mean cable_adsl"),
    ],
)
def test_what_names_no_link_is_told(name, said):
    with pytest.raises(BenchError, match=said):
        scenarios.get(name)


def test_the_falling_link_falls_to_a_sixteenth_for_eight_seconds_both_ways():
    link, other = scenarios.get("falling").links
    fall, rise = scenarios.FALLING
    for way in DIRECTIONS:
        rates = [
            at(getattr(link, way).rate, time).rate for time in (fall - 1, fall, rise, rise + 99)
        ]
        assert rates == [8e6, 0.5e6, 8e6, 8e6]
        assert getattr(other, way).rate == Constant(8e6)


def test_recorded_drives_are_read_from_the_directory_that_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv(traces.VARIABLE, str(tmp_path))
    for modem, direction in itertools.product(modems.DRIVES, DIRECTIONS):
        traces.write(tmp_path / f"{modem.recording}.{direction}", [1, 2, 1000])
    made = scenarios.get("lte_drive")
    assert [link.down.rate.times for link in made.links] == [(1, 2, 1000)] * 4
    assert [link.up.queue_bytes for link in made.links] == [m.queue_up for m in modems.DRIVES]


def test_missing_recordings_are_told_with_what_does_without(monkeypatch, tmp_path):
    monkeypatch.setenv(traces.VARIABLE, str(tmp_path))
    with pytest.raises(
        BenchError, match=r"ATT-LTE-driving-2016\.down.*MPBOND_TRACES.*lte_synthetic"
    ):
        scenarios.get("lte_drive")


def test_rates_and_delays_of_steady_links_are_as_written():
    made = scenarios.get("cable_adsl")
    assert rounded(mean_rates(made.links, "down")) == [30, 20]
    assert rounded(mean_rates(made.links, "up")) == [5, 1]
    assert [link.down.delay + link.up.delay for link in made.links] == [0.020, 0.040]
    assert rounded(mean_rates(scenarios.get("policer").links, "down")) == [20, 10]


def test_round_trips_of_the_modems_are_60_to_70_ms_and_nearly_6_and_2_to_5_mbits():
    made = scenarios.get("article6_calm")
    trips = [link.down.delay + link.up.delay for link in made.links]
    assert trips == pytest.approx([0.060, 0.062, 0.064, 0.066, 0.068, 0.070])
    assert rounded(mean_rates(made.links, "up")) == [0.5] * 6
    for number, link in enumerate(made.links):
        low, high = (5.6e6, 6.4e6) if number < 3 else (2e6, 5e6)
        assert all(low <= step.rate <= high for step in link.down.rate.steps)


def test_spikes_last_8_s_of_a_round_trip_of_2_s_and_differ_from_the_calm_twin_by_nothing_else():
    wild, calm = scenarios.get("article6").links, scenarios.get("article6_calm").links
    for link, twin in zip(wild, calm, strict=True):
        (begin,) = [step.time for step in link.down.rate.steps if step.delay]
        for time in (time / 4 for time in range(480)):
            down, up = (at(getattr(link, direction).rate, time) for direction in DIRECTIONS)
            if begin <= time < begin + 8:
                trip = link.down.delay + link.up.delay + down.delay + up.delay
                assert trip == pytest.approx(2.0)
                assert (down.rate, up.rate) == (0.5e6, 0.5e6)
            else:
                assert (down.delay, up.delay) == (0, 0)
                assert (down.rate, up.rate) == (at(twin.down.rate, time).rate, 0.5e6)
        same = dataclasses.replace(
            link,
            down=dataclasses.replace(link.down, rate=twin.down.rate),
            up=dataclasses.replace(link.up, rate=twin.up.rate),
        )
        assert same == twin


def test_spikes_are_spread_over_the_links_so_that_every_30_s_have_one():
    begins = sorted(
        step.time
        for link in scenarios.get("article6").links
        for step in link.down.rate.steps
        if step.delay
    )
    assert begins == [5, 25, 45, 65, 85, 105]


def test_a_satellite_that_is_left_passes_nothing_for_90_ms_every_15_s():
    shape = scenarios.get("starlink_5g").links[0].down
    assert [at(shape.rate, time).delay for time in (0, 12, 27, 119)] == [0, 0.008, 0.003, 0]
    bins = timeline(shape, Ledger(), 0, 30 * SECOND, SECOND // 100)
    assert [place for place, count in enumerate(bins) if not count] == [
        *range(1200, 1209),
        *range(2700, 2709),
    ]


def test_a_row_of_the_matrix_has_round_trips_and_jitter_in_halves():
    first, second = scenarios.get("mq_geo").links
    assert (first.down.delay, second.down.delay) == (0.0175, 0.160)
    assert (first.down.jitter, second.up.jitter) == (0, 0.010)
    assert (first.down.loss, second.up.loss.probability) == (None, 0.005)
    assert not second.down.reorder
    first, second = scenarios.get("mq_geo_reorder").links
    assert (first.down.reorder, second.down.reorder) == (False, True)


def test_only_scenarios_of_drives_have_traces():
    for name in STEADY:
        kinds = {
            type(getattr(link, way).rate)
            for link in scenarios.get(name).links
            for way in DIRECTIONS
        }
        assert kinds <= ({Trace} if name == "lte_synthetic" else {Constant, Profile})


def at(rate, time):
    """The step of a profile at a time."""
    return next(step for step in reversed(rate.steps) if step.time <= time % (rate.period or 1e9))
