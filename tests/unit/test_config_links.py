"""What can be said of a link: when it is used, how much it may carry, and in which words."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpbond import config
from mpbond.config import amounts, keys
from mpbond.config.place import Place
from mpbond.errors import ConfigError

SERVER = keys.encode(keys.public_key_of(bytes([8]) * 32))
PLACE = Place(Path("mpbond.toml"), "link.wwan0.key")


@pytest.fixture
def link(tmp_path, monkeypatch):
    """Reads the settings of wwan0 from lines of its table."""
    monkeypatch.chdir(tmp_path)
    keys.write_secret_file(Path("own.key"), bytes([7]) * 32, replace=False)

    def read(*lines):
        path = Path("mpbond.toml")
        path.write_text(
            'version = 1\n[client]\nprivate_key_file = "own.key"\nlinks = ["wwan*"]\n'
            f'[concentrator]\npublic_key = "{SERVER}"\nendpoints = ["192.0.2.1:4510"]\n'
            "[link.wwan0]\n" + "\n".join(lines)
        )
        return config.load_client(path).settings_of("wwan0")

    return read


def test_a_link_is_used_always_and_without_limits_unless_told(link):
    found = link()
    assert (found.tier, found.cap_up, found.cap_down, found.quota) == (0, 0.0, 0.0, None)


def test_everything_that_can_be_said(link):
    found = link(
        'tier = "overflow"',
        'cap_up = "500 kbit/s"',
        "cap_down = 8e6",
        'quota = "20 GB per month"',
        'quota_action = "off"',
    )
    assert (found.tier, found.cap_up, found.cap_down) == (1, 500e3, 8e6)
    assert found.quota == config.Quota(volume=20 * 10**9, period="month")
    assert found.quota_action == "off"


def test_a_link_past_its_quota_is_a_last_resort_unless_told(link):
    assert link('quota = "1 GB per day"').quota_action == "last resort"


@pytest.mark.parametrize(("word", "tier"), [("always", 0), ("overflow", 1), ("last resort", 2)])
def test_tiers(link, word, tier):
    assert link(f'tier = "{word}"').tier == tier


RATES = {
    "8 Mbit/s": 8e6,
    "8Mbit/s": 8e6,
    "8 mbit/s": 8e6,
    "7.5 Mbit/s": 7.5e6,
    "500 kbit/s": 500e3,
    "500 Kbit/s": 500e3,
    "1 Gbit/s": 1e9,
    "64000 bit/s": 64e3,
    "100 Gbit/s": 100e9,
    "10 kbit/s": 10e3,
}


@pytest.mark.parametrize("text", RATES)
def test_rates(text):
    assert amounts.read_rate(text) == RATES[text]
    assert amounts.cap(PLACE, text) == RATES[text]


VOLUMES = {
    "20 GB per month": (20 * 10**9, "month"),
    "1 GiB per day": (2**30, "day"),
    "1.5 GB per day": (1_500_000_000, "day"),
    "500MB per month": (500 * 10**6, "month"),
    "2 TB per month": (2 * 10**12, "month"),
}


@pytest.mark.parametrize("text", VOLUMES)
def test_volumes(text):
    found = amounts.quota(PLACE, text)
    assert (found.volume, found.period) == VOLUMES[text]


@pytest.mark.parametrize(
    "text",
    ["8", "8 Mbit", "8 Mbps", "8 MB/s", "-8 Mbit/s", "9 kbit/s", "101 Gbit/s", "8,5 Mbit/s", ""],
)
def test_no_rate(text):
    assert amounts.read_rate(text) is None


SENTENCES = {
    'tier = "never"': 'tier: "never" is not a choice here; use "always", "overflow" or '
    '"last resort".',
    "tier = 1": 'tier: 1 is not a choice here; use "always", "overflow" or "last resort".',
    'cap_up = "8 Mbps"': 'cap_up: "8 Mbps" is no rate that can be used; write a rate such as '
    '"8 Mbit/s" or "500 kbit/s", from 10 kbit/s to 100 Gbit/s.',
    "cap_down = 8": "cap_down: 8 bit/s is out of range; write a rate such as "
    '"8 Mbit/s" or "500 kbit/s", from 10 kbit/s to 100 Gbit/s.',
    "cap_down = nan": "cap_down: NaN bit/s is out of range; write a rate such as "
    '"8 Mbit/s" or "500 kbit/s", from 10 kbit/s to 100 Gbit/s.',
    "cap_down = true": "cap_down: true is a boolean; write a rate such as "
    '"8 Mbit/s" or "500 kbit/s", from 10 kbit/s to 100 Gbit/s.',
    'quota = "20 GB"': 'quota: "20 GB" is no volume for a day or a month; write a volume such as '
    '"20 GB per month" or "500 MB per day".',
    'quota = "20 GB per week"': 'quota: "20 GB per week" is no volume for a day or a month; '
    'write a volume such as "20 GB per month" or "500 MB per day".',
    'quota = "20 Gb per day"': 'quota: "20 Gb per day" is no volume for a day or a month; '
    'write a volume such as "20 GB per month" or "500 MB per day".',
    'quota = "0 GB per day"': 'quota: "0 GB per day" is out of range; write a volume such as '
    '"20 GB per month" or "500 MB per day".',
    "quota = 20": 'quota: 20 is a whole number; write a volume such as "20 GB per month" or '
    '"500 MB per day".',
    'quota_action = "off"': 'quota_action: there is no quota; add quota, such as quota = "20 GB '
    'per month", or remove this.',
    'quota = "1 GB per day"\nquota_action = "stop"': 'quota_action: "stop" is not a choice here; '
    'use "last resort" or "off".',
}


@pytest.mark.parametrize("lines", SENTENCES)
def test_the_sentence_names_place_fault_and_remedy(link, lines):
    with pytest.raises(ConfigError) as caught:
        link(lines)
    assert str(caught.value) == f"mpbond.toml: link.wwan0.{SENTENCES[lines]}"


@given(st.text(max_size=30) | st.from_regex(amounts._RATE) | st.from_regex(amounts._QUOTA))
def test_any_text_is_read_or_refused(text):
    for parse in (amounts.cap, amounts.quota):
        with contextlib.suppress(ConfigError):
            parse(PLACE, text)
