"""Modems made from a seed."""

import itertools
from bisect import bisect_left, bisect_right

import pytest

from bench.errors import BenchError
from bench.links import modems, traces
from bench.links.modems import PRESETS, Modem, Radio


def modem(**changes):
    """A modem of a steady 1,504-byte opportunity by ms, that nothing befalls."""
    steady = Radio(low=12.032e6, middle=12.032e6, high=12.032e6, dwell=1, turn=1)
    plain = {
        "name": "plain",
        "down": steady,
        "up": steady,
        "stalls": 1e9,
        "longest": 1.0,
        "spikes": None,
        "round_trip": 0.05,
        "queue_down": 100_000,
        "queue_up": 50_000,
    }
    return Modem(**{**plain, **changes})


def test_a_steady_radio_passes_its_rate_in_turns():
    times = modem().trace("down", seed=1, length=20.0).times
    assert traces.statistics(times).mean == pytest.approx(12.032e6, rel=0.001)
    assert len(set(times)) < 0.8 * len(times)  # several in one turn
    assert max(b - a for a, b in itertools.pairwise(times)) > 3


def test_levels_have_the_rates_that_a_radio_names():
    radio = Radio(low=1e6, middle=4e6, high=16e6, dwell=0.1, turn=2)
    times = modem(down=radio).trace("down", seed=1, length=300.0).times
    by_100_ms = [0] * 3000
    for time in times:
        by_100_ms[time // 100] += traces.OPPORTUNITY * 80
    by_100_ms.sort()
    assert by_100_ms[150] == pytest.approx(1e6, rel=0.35)
    assert by_100_ms[1500] == pytest.approx(4e6, rel=0.2)
    assert by_100_ms[2850] == pytest.approx(16e6, rel=0.15)


def test_equal_seeds_give_equal_traces_and_others_others():
    first, again = (modems.opportunities.__wrapped__(PRESETS["att"], "up", 7, 30.0) for _ in "ab")
    assert first == again
    assert first != modems.opportunities(PRESETS["att"], "up", 8, 30.0)
    assert first != modems.opportunities(PRESETS["att"], "down", 7, 30.0)


def test_a_longer_trace_begins_like_a_shorter_one():
    short, long = (PRESETS["hspa"].trace("down", 3, length).times for length in (20.0, 40.0))
    assert long[: len(short)] == short


def within(times, start, end):
    """Opportunities (ms) after `start` and before `end` (s)."""
    return times[bisect_right(times, start * 1000) : bisect_left(times, int(end * 1000))]


def test_stalls_befall_both_directions_together_and_are_mostly_short():
    slow = Radio(low=1e6, middle=1e6, high=1e6, dwell=1, turn=10)
    stalling = modem(stalls=5.0, longest=4.0, down=slow, up=slow)
    lengths = []
    for mishap in modems.mishaps(stalling, 1, 600.0):
        assert not mishap.drips
        assert 0.2 <= mishap.end - mishap.start <= 4.0
        lengths.append(mishap.end - mishap.start)
        for direction in ("down", "up"):
            times = stalling.trace(direction, 1, 600.0).times
            assert not within(times, mishap.start, mishap.end)
    assert 80 < len(lengths) < 160
    assert (
        0.35 < sorted(lengths)[len(lengths) // 2] < 0.5
    )  # half are no longer than twice the least


def test_a_spike_drips_so_that_round_trips_take_up_to_two_seconds():
    spiky = modem(spikes=20.0)
    times = spiky.trace("down", 1, 300.0).times
    spikes = modems.mishaps(spiky, 1, 300.0)
    assert len(spikes) > 5
    for spike in spikes[:-1]:
        assert spike.drips
        assert 2 <= spike.end - spike.start <= 8
        inside = within(times, spike.start, spike.end)
        assert len(inside) * traces.OPPORTUNITY * 8 / (spike.end - spike.start) < 0.6e6
        gaps = [b - a for a, b in itertools.pairwise(sorted(set(inside)))]
        assert all(399 <= gap <= 1001 for gap in gaps)


def test_mishaps_come_in_order_and_apart():
    found = modems.mishaps(modem(stalls=2.0, longest=5.0, spikes=5.0), 4, 600.0)
    assert {mishap.drips for mishap in found} == {True, False}
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))


def test_a_generated_link_has_the_round_trip_and_the_deep_queues_of_its_modem():
    link = PRESETS["umts"].generated(1)
    assert link.down.delay + link.up.delay == PRESETS["umts"].round_trip
    assert (link.down.queue, link.up.queue) == (None, None)
    assert (link.down.queue_bytes, link.up.queue_bytes) == (500_000, 250_000)
    assert link.down.rate != link.up.rate


RECORDED = {
    # mean, 5th, 50th and 95th percentile per second (Mbit/s), longest gap (s) of the recordings
    ("att", "down"): (4.57, 0.59, 3.75, 11.18, 1.1),
    ("att", "up"): (1.92, 0.04, 1.58, 5.01, 4.1),
    ("tmobile", "down"): (16.75, 4.08, 13.85, 37.28, 0.9),
    ("tmobile", "up"): (13.35, 2.49, 11.78, 27.88, 0.7),
    ("umts", "down"): (2.03, 0.01, 1.90, 5.39, 5.8),
    ("umts", "up"): (0.95, 0.06, 1.08, 1.44, 5.8),
    ("verizon", "down"): (5.04, 1.08, 4.36, 11.14, 1.4),
    ("verizon", "up"): (5.96, 1.18, 5.75, 11.48, 1.7),
}


@pytest.mark.parametrize(("name", "direction"), RECORDED)
def test_a_preset_resembles_its_recording(name, direction):
    *rates, gap = RECORDED[name, direction]
    like = modems.typical(PRESETS[name], direction)
    for figure, rate in zip(("mean", "p5", "p50", "p95"), rates, strict=True):
        assert getattr(like, figure) / 1e6 == pytest.approx(rate, rel=0.3, abs=0.03), figure
    assert gap / 3 < like.longest_gap < gap * 3


def test_every_drive_has_a_recording_to_resemble():
    assert {name for name, _ in RECORDED} == {modem.name for modem in modems.DRIVES}


def test_modems_of_one_seed_do_not_stall_together():
    first = {round(modems.mishaps(it, 1, 600.0)[0].start / it.stalls, 3) for it in modems.DRIVES}
    assert len(first) == len(modems.DRIVES)


def test_the_table_shows_generated_traces_where_there_is_no_recording(monkeypatch, tmp_path):
    monkeypatch.setenv(traces.VARIABLE, str(tmp_path))
    monkeypatch.setattr(modems, "PRESETS", {"hspa": PRESETS["hspa"]})
    _, _, down, up = modems.comparison_table().splitlines()
    assert down.startswith("| `hspa` down | generated | 180 s | ")
    assert up.startswith("| `hspa` up | generated | 180 s | ")


def test_the_table_puts_a_recording_beside_what_is_like_it(monkeypatch, tmp_path):
    monkeypatch.setenv(traces.VARIABLE, str(tmp_path))
    monkeypatch.setattr(modems, "PRESETS", {"verizon": PRESETS["verizon"]})
    traces.write(tmp_path / "Verizon-LTE-short.down", [5 * number for number in range(1, 601)])
    recorded = modems.comparison_table().splitlines()[2]
    assert recorded == (
        "| Verizon-LTE-short.down | recorded | 3 s | 2.41 | 2.39 / 2.41 / 2.41 | 0.0 s |"
    )


@pytest.mark.parametrize("length", [0.0, -3.0, float("nan"), float("inf"), 0.0005])
def test_a_trace_of_no_use_is_refused(length):
    with pytest.raises(BenchError, match=r"longer than 0 s|nothing passes"):
        PRESETS["umts"].trace("down", 1, length)
