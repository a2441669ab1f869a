"""What is remembered of links across restarts, and how seldom it is written."""

from __future__ import annotations

import json
import time

import pytest

from mpbond.config import LinkConfig, Quota
from mpbond.errors import PlatformError
from mpbond.io import journal
from mpbond.runtime.books import SAVE_INTERVAL, SOONEST_SAVE, Books, today
from tests.unit.test_usage import path

DAY = "2024-05-31"
METERED = LinkConfig(pattern="wwan0", quota=Quota(volume=100_000, period="month"))
FREE = LinkConfig(pattern="wwan0")


@pytest.fixture
def books(tmp_path):
    return opened(tmp_path)


def opened(directory):
    books = Books(directory, "mpbond0")
    books.load(0.0)
    return books


def saved(books, now=1.0):
    books.write(books.to_save(now))


def test_use_and_rates_survive_a_restart(books, tmp_path):
    books.collect([path("wwan0", 972)], DAY)
    books.learn("wwan0", 1e6, None)
    books.learn("eth1", None, 9e6)
    saved(books)
    again = opened(tmp_path)
    assert again.of("wwan0").usage.used("month", DAY) == 1000
    assert (again.of("wwan0").up, again.of("wwan0").down) == (1e6, None)
    assert (again.of("eth1").up, again.of("eth1").down) == (None, 9e6)


def test_two_tunnels_keep_books_of_their_own(books, tmp_path):
    books.collect([path("wwan0", 972)], DAY)
    saved(books)
    other = Books(tmp_path, "mpbond1")
    other.load(0.0)
    assert other.of("wwan0").usage.used("month", DAY) == 0


def test_a_used_up_quota_is_still_used_up_after_a_restart(books, tmp_path):
    books.collect([path("wwan0", 100_000)], DAY)
    assert books.exhausted("wwan0", METERED, DAY)
    saved(books)
    again = opened(tmp_path)
    assert again.exhausted("wwan0", METERED, DAY)
    assert not again.exhausted("wwan0", METERED, "2024-06-01")
    assert not again.exhausted("wwan0", FREE, DAY)


def test_what_status_shows(books):
    books.collect([path("wwan0", 972)], DAY)
    assert books.status("wwan0", FREE, DAY) is None
    assert books.status("wwan0", METERED, DAY) == {
        "used": 1000,
        "of": 100_000,
        "per": "month",
        "action": "last resort",
        "exhausted": False,
    }


def test_it_is_written_seldom(books):
    link = path("wwan0", 10)
    books.collect([link], DAY)
    links = [("wwan0", FREE)]
    assert not books.due(links, SAVE_INTERVAL - 1)
    assert books.due(links, SAVE_INTERVAL)
    saved(books, SAVE_INTERVAL)
    assert not books.due(links, 3 * SAVE_INTERVAL)  # nothing has changed
    link.stats.sent.add(10)
    books.collect([link], DAY)
    assert books.due(links, 3 * SAVE_INTERVAL)


def test_a_hundredth_of_a_quota_is_written_soon_but_not_at_once(books):
    links = [("wwan0", METERED)]
    link = path("wwan0", 971)
    books.collect([link], DAY)
    assert not books.due(links, SAVE_INTERVAL - 1)  # 999 bytes with their headers
    link.stats.sent.add(1)
    books.collect([link], DAY)
    assert books.due(links, SOONEST_SAVE)
    assert not books.due(links, SOONEST_SAVE - 1)
    assert not books.due([("wwan0", FREE)], SOONEST_SAVE)
    saved(books, SOONEST_SAVE)
    link.stats.sent.add(10)
    books.collect([link], DAY)
    assert not books.due(links, 3 * SOONEST_SAVE)


def test_what_could_not_be_written_is_in_the_next_record(books, monkeypatch):
    def full(_path, _record):
        raise PlatformError("no space")

    books.collect([path("wwan0", 972)], DAY)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "write", full)
        with pytest.raises(PlatformError):
            saved(books)
    assert books.due([], 1.0 + SAVE_INTERVAL)
    assert books.to_save(1.0)["links"]["wwan0"]["days"] == {DAY: 1000}


def test_a_rate_is_remembered_as_an_average(books):
    books.learn("wwan0", 8e6, 8e6)
    books.learn("wwan0", 0.5e6, None)
    assert 7e6 < books.of("wwan0").up < 8e6
    assert books.of("wwan0").down == 8e6
    for _ in range(600):
        books.learn("wwan0", 0.5e6, 0.5e6)
    assert books.of("wwan0").up == pytest.approx(0.5e6, rel=0.01)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "links": [1]}']
)
def test_a_file_that_says_nothing_is_an_empty_one(tmp_path, text):
    (tmp_path / "mpbond0.links.json").write_text(text)
    assert not opened(tmp_path).exhausted("wwan0", METERED, DAY)


@pytest.mark.parametrize(
    "spoilt",
    [3, {}, {"days": {}, "undated": 0}, {"up": -1, "down": None}, {"up": 1, "down": True}],
)
def test_one_spoilt_account_leaves_the_others(tmp_path, caplog, spoilt):
    good = {"days": {DAY: 5}, "undated": 0, "up": 1e6, "down": 2e6}
    record = {"format": 1, "links": {"a": spoilt, "b": good}}
    (tmp_path / "mpbond0.links.json").write_text(json.dumps(record))
    books = opened(tmp_path)
    assert books.of("b").usage.used("day", DAY) == 5
    assert (books.of("a").up, books.of("b").up) == (None, 1e6)
    assert "says nothing useful of link a" in caplog.text


@pytest.fixture
def zone(monkeypatch):
    def change(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield change
    monkeypatch.undo()
    time.tzset()


def test_a_day_begins_at_the_local_midnight(zone):
    evening = 1_717_196_400  # 2024-05-31 23:00 UTC
    zone("UTC")
    assert today(evening) == "2024-05-31"
    zone("CET-1")
    assert today(evening) == "2024-06-01"


def test_a_clock_that_is_not_set_names_no_day():
    assert today(0.0) is None
    assert today(86_400.0 * 365) is None
