"""Days, months, and clocks that are wrong: what a quota is held against."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpbond.config import Quota
from mpbond.core.stats import Meter
from mpbond.runtime.usage import DAYS_KEPT, Tally, Usage

MAY, JUNE = "2024-05-31", "2024-06-01"


def booked(*entries):
    usage = Usage()
    for size, day in entries:
        usage.add(size, day)
    return usage


def test_a_month_is_the_sum_of_its_days():
    usage = booked((10, "2024-05-01"), (5, MAY), (7, JUNE))
    assert [usage.used("month", day) for day in (MAY, JUNE, "2024-07-01")] == [15, 7, 0]
    assert [usage.used("day", day) for day in (MAY, JUNE, "2024-06-02")] == [5, 7, 0]


def test_the_same_month_of_another_year_is_another_month():
    assert booked((10, "2023-05-31")).used("month", MAY) == 0


def test_a_quota_is_used_up_at_its_last_byte():
    quota = Quota(volume=100, period="day")
    usage = booked((99, MAY))
    assert not usage.exceeds(quota, MAY)
    usage.add(1, MAY)
    assert usage.exceeds(quota, MAY)
    assert not usage.exceeds(quota, JUNE)


def test_what_is_carried_before_the_clock_is_set_counts_at_once_and_is_booked_later():
    usage = booked((60, MAY), (30, None))
    assert usage.used("day", None) == 90
    usage.add(0, JUNE)  # the clock has been set: it was June all the time
    assert usage.used("day", JUNE) == 30
    assert usage.used("day", MAY) == 60
    assert usage.undated == 0


def test_a_machine_that_never_knows_the_time_counts_all_it_carries():
    usage = booked((60, None), (30, None))
    assert usage.used("month", None) == usage.used("day", None) == 90


def test_a_restart_in_1970_does_not_give_a_used_up_quota_back():
    quota = Quota(volume=100, period="month")
    usage = booked((100, MAY))
    assert usage.exceeds(quota, None)
    assert not usage.exceeds(quota, JUNE)


def test_a_clock_that_runs_ahead_and_is_put_right_clears_nothing():
    usage = booked((60, MAY), (5, "2099-01-01"), (7, MAY))
    assert usage.used("month", MAY) == 67


def test_days_of_a_wrong_clock_do_not_displace_those_in_use():
    usage = Usage()
    usage.add(1000, MAY)
    for number in range(3 * DAYS_KEPT):
        usage.add(1, f"{2100 + number}-01-01")
        usage.add(1, MAY)
    assert len(usage.days) == DAYS_KEPT
    assert usage.used("day", MAY) == 1000 + 3 * DAYS_KEPT


def test_of_all_days_a_whole_month_is_kept():
    usage = Usage()
    for month in ("2024-04", "2024-05"):
        for day in range(1, 32):
            usage.add(1, f"{month}-{day:02}")
    assert usage.used("month", MAY) == 31


DAYS = st.none() | st.dates().map(str)


@given(st.lists(st.tuples(st.integers(0, 1 << 40), DAYS), max_size=40))
def test_an_account_survives_its_file_and_loses_no_byte(entries):
    usage = booked(*entries)
    again = Usage.from_map(json.loads(json.dumps(usage.to_map())))
    assert again.to_map() == usage.to_map()
    assert list(again.days) == list(usage.days)
    assert sum(again.days.values()) + again.undated == sum(size for size, _ in entries)


@pytest.mark.parametrize(
    "record",
    [
        {"days": [1]},
        {"days": {"2024-05-31": -1}},
        {"days": {"2024-05-31": 1.5}},
        {"days": {"2024-05-31": True}},
        {"undated": "1"},
        {"undated": None},
    ],
)
def test_a_spoilt_record_is_refused(record):
    with pytest.raises(ValueError, match="not an account"):
        Usage.from_map(record)


def path(link, *sizes, remote=("192.0.2.1", 4510)):
    made = SimpleNamespace(
        link=link, remote=remote, stats=SimpleNamespace(sent=Meter(), received=Meter())
    )
    for size in sizes:
        made.stats.sent.add(size)
    return made


def test_a_tally_counts_both_ways_and_the_headers():
    one = path("wwan0", 100)
    one.stats.received.add(1000)
    tally = Tally()
    assert tally.collect([one]) == {"wwan0": 100 + 1000 + 2 * 28}
    assert tally.collect([one]) == {}
    one.stats.sent.add(50)
    assert tally.collect([one]) == {"wwan0": 50 + 28}


def test_ipv6_has_longer_headers():
    assert Tally().collect([path("a", 100, remote=("2001:db8::1", 4510))]) == {"a": 148}


def test_the_last_bytes_of_a_path_count_though_it_is_gone_when_asked():
    tally = Tally()
    old = path("wwan0", 100)
    tally.collect([old])
    old.stats.sent.add(70)
    new = path("wwan0", 10)
    assert tally.collect([new]) == {"wwan0": 70 + 10 + 2 * 28}
    assert tally.collect([new]) == {}


def test_a_path_without_a_link_is_nobodys():
    assert Tally().collect([path(None, 100)]) == {}
