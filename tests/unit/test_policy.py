"""How links may be used: by the file, by `mpbond set`, and by what is left of their quotas."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from mpbond.config import ClientConfig, LinkConfig, Quota
from mpbond.errors import ControlError
from mpbond.runtime.books import Books
from mpbond.runtime.policy import LAST_RESORT, LinkPolicy
from tests.unit.test_usage import path

MAY, JUNE = 1_717_070_400.0, 1_717_329_600.0  # 2024-05-30 12:00 and 2024-06-02 12:00 UTC
LIMIT = Quota(volume=100_000, period="month")


@pytest.fixture
def policy(tmp_path):
    """Makes a policy of settings for links."""

    def make(*settings):
        return LinkPolicy(config(*settings), Books(tmp_path, "mpbond0"))

    return make


def config(*settings):
    return ClientConfig(
        path=Path("client.toml"),
        private_key=bytes(32),
        public_key=bytes(32),
        concentrator=None,
        links=("wwan*",),
        link_settings=settings,
    )


def carried(link, size, *, rate=None, peer_rate=None, up=True):
    made = path(link, size)
    made.up = up
    made.rate = SimpleNamespace(rate=rate or 0.0, learned=rate is not None)
    made.peer_rate = peer_rate
    return made


def test_the_file_has_the_first_word(policy):
    found = policy(LinkConfig(pattern="wwan0", tier=1, cap_up=5e5)).settings("wwan0")
    assert (found.tier, found.cap_up) == (1, 5e5)


def test_a_link_is_a_last_resort_once_its_quota_is_used_up(policy, caplog):
    metered = policy(LinkConfig(pattern="wwan*", quota=LIMIT))
    metered.count([carried("wwan0", 99_000)], ["wwan0"], MAY)
    assert metered.settings("wwan0").tier == 0
    metered.count([carried("wwan0", 2_000)], ["wwan0"], MAY)
    assert metered.settings("wwan0").tier == LAST_RESORT
    assert metered.settings("wwan1").tier == 0  # the same glob, but a link of its own
    assert metered.allows("wwan0")
    assert metered.status("wwan0")["exhausted"]
    assert "link wwan0 has used up its quota: it is a last resort now" in caplog.text


def test_or_off_if_the_file_says_so(policy):
    metered = policy(LinkConfig(pattern="wwan0", quota=LIMIT, quota_action="off"))
    assert metered.allows("wwan0")
    metered.count([carried("wwan0", 200_000)], ["wwan0"], MAY)
    assert not metered.allows("wwan0")
    assert metered.settings("wwan0").tier == 0


def test_a_new_month_gives_the_link_back(policy, caplog):
    caplog.set_level(logging.INFO)
    metered = policy(LinkConfig(pattern="wwan0", quota=LIMIT, tier=1))
    metered.count([carried("wwan0", 200_000)], ["wwan0"], MAY)
    metered.count([], ["wwan0"], MAY)
    assert metered.settings("wwan0").tier == LAST_RESORT
    metered.count([], ["wwan0"], JUNE)
    assert metered.settings("wwan0").tier == 1
    assert caplog.text.count("wwan0 has") == 2


def test_a_clock_back_in_1970_gives_nothing_back(policy):
    metered = policy(LinkConfig(pattern="wwan0", quota=LIMIT))
    metered.count([carried("wwan0", 200_000)], ["wwan0"], MAY)
    metered.count([], ["wwan0"], 30.0)
    assert metered.settings("wwan0").tier == LAST_RESORT


def test_a_larger_quota_after_a_reload_gives_the_link_back(policy):
    metered = policy(LinkConfig(pattern="wwan0", quota=LIMIT))
    metered.count([carried("wwan0", 200_000)], ["wwan0"], MAY)
    metered.reload(config(LinkConfig(pattern="wwan0", quota=Quota(volume=10**9, period="month"))))
    metered.count([], ["wwan0"], MAY)
    assert metered.settings("wwan0").tier == 0


def test_set_changes_one_link_until_the_next_reload(policy):
    changed = policy(LinkConfig(pattern="wwan*", tier=1))
    assert changed.change("tier", "always", {"link": "wwan0"}) == "wwan0"
    assert [changed.settings(name).tier for name in ("wwan0", "wwan1")] == [0, 1]
    changed.reload(config(LinkConfig(pattern="wwan*", tier=1)))
    assert changed.settings("wwan0").tier == 1


def test_set_does_not_get_around_a_quota(policy):
    metered = policy(LinkConfig(pattern="wwan0", quota=LIMIT))
    metered.count([carried("wwan0", 200_000)], ["wwan0"], MAY)
    metered.change("tier", "always", {"link": "wwan0"})
    assert metered.settings("wwan0").tier == LAST_RESORT


@pytest.mark.parametrize(
    ("direction", "caps"), [("up", (8e6, 2e6)), ("down", (1e6, 8e6)), ("both", (8e6, 8e6))]
)
def test_a_cap_is_set_for_a_direction(policy, direction, caps):
    capped = policy(LinkConfig(pattern="wwan0", cap_up=1e6, cap_down=2e6))
    capped.change("cap", 8e6, {"link": "wwan0", "direction": direction})
    capped.change("tier", "overflow", {"link": "wwan0"})
    found = capped.settings("wwan0")
    assert (found.cap_up, found.cap_down, found.tier) == (*caps, 1)


def test_a_cap_can_be_taken_away(policy):
    capped = policy(LinkConfig(pattern="wwan0", cap_up=1e6))
    capped.change("cap", 0, {"link": "wwan0"})
    assert capped.settings("wwan0").cap_up == 0.0


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "tier",
            "never",
            "There is no tier named 'never'; there are always, overflow, last resort.",
        ),
        ("tier", 1, "There is no tier named 1; there are always, overflow, last resort."),
        ("tier", ["always"], "There is no tier named ['always']; there are always, overflow,"),
        ("cap", 5, "A cap is 0 or 10 kbit/s to 100 Gbit/s, in bit/s, not 5."),
        ("cap", -1, "A cap is 0 or 10 kbit/s to 100 Gbit/s, in bit/s, not -1."),
        ("cap", True, "A cap is 0 or 10 kbit/s to 100 Gbit/s, in bit/s, not True."),
        ("cap", float("nan"), "A cap is 0 or 10 kbit/s to 100 Gbit/s, in bit/s, not nan."),
        ("cap", "8 Mbit/s", "A cap is 0 or 10 kbit/s to 100 Gbit/s, in bit/s, not '8 Mbit/s'."),
    ],
)
def test_what_cannot_be_set_is_told_and_changes_nothing(policy, name, value, told):
    unchanged = policy()
    with pytest.raises(ControlError) as caught:
        unchanged.change(name, value, {"link": "wwan0"})
    assert str(caught.value).startswith(told)
    assert unchanged.settings("wwan0") == LinkConfig(pattern="wwan0")


def test_only_what_was_learned_is_remembered(policy):
    of = policy()
    of.count([carried("wwan0", 1, rate=1e6, peer_rate=9e6), carried("wwan1", 1)], [], MAY)
    of.count([carried("wwan0", 1, rate=5e3, up=False)], [], MAY)  # a dead path's rate says nothing
    assert of.remembered("wwan0") == (8e6, 9e6)
    assert of.remembered("wwan1") == (None, None)
