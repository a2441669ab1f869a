"""Tiers, caps and quotas with real programs: both ends obey, at once and after a restart.

client ──┬─ wwan0 ─┬── net ── server
         └─ wwan1 ─┘
"""

from __future__ import annotations

import signal

import pytest

from bench.lab import LinkSpec
from bench.lab.iperf import Measurement
from tests.netns.observe import INNER, carried, mpbond

LINK = LinkSpec.plain(rate_down=8e6, delay=0.010)
OVERFLOW, LAST_RESORT = 1, 2


@pytest.fixture
def lab(laboratory):
    lab = laboratory(LINK, LINK)
    lab.start_server()
    return lab


def tiers(lab, side):
    return sorted(path["tier"] for path in lab.bond.paths(side).values())


def told(lab, expected):
    """Waits until the server has heard which tiers the client's paths have."""
    lab.wait_until(lambda: tiers(lab, "server") == expected, what=f"the server knowing {expected}")


def ping(lab, count):
    lab.run(
        "client", "ping", "-q", "-i", "0.01", "-s", "1000", "-c", str(count), INNER, check=False
    )


def test_what_is_set_is_obeyed_at_both_ends(lab):
    lab.start_client()
    assert "wwan1 is now used only while no other link is up." in mpbond(
        lab, "client", "set", "tier", "wwan1", "last resort"
    )
    told(lab, [0, LAST_RESORT])
    before = [carried(lab, 1, way) for way in ("up", "down")]
    ping(lab, 200)
    after = [carried(lab, 1, way) for way in ("up", "down")]
    assert max(now - then for now, then in zip(after, before, strict=True)) < 100
    lab.pull(0)
    ping(lab, 300)
    assert min(carried(lab, 1, way) for way in ("up", "down")) > max(after) + 100


def test_a_cap_holds_in_its_direction(lab):
    lab.start_client(links=["wwan0"])
    mpbond(lab, "client", "set", "cap", "wwan0", "2 Mbit/s", "--direction", "down")
    lab.wait_until(
        lambda: lab.bond.session("server")["paths"][0]["cap"]["sent"] == 2e6,
        what="the server knowing the cap",
    )
    down = Measurement(lab, INNER, server="server", seconds=5).result().rate
    up = Measurement(lab, INNER, server="server", direction="up", seconds=5).result().rate
    assert down < 2.1e6
    assert up > 3e6


def test_a_used_up_quota_outlives_kill_and_restart(lab):
    metered = {"wwan1": {"quota": "300 kB per month", "tier": "overflow"}}
    client = lab.start_client(link=metered)
    told(lab, [0, OVERFLOW])
    mpbond(lab, "client", "set", "scheduler", "rr")
    mpbond(lab, "client", "set", "tier", "wwan1", "always")
    ping(lab, 500)
    told(lab, [0, LAST_RESORT])
    path = lab.bond.paths()["wwan1"]
    assert path["quota"]["exhausted"]
    assert "quota used up: " in mpbond(lab, "client", "status")
    lab.stop(client)
    lab.start_client(link=metered)
    told(lab, [0, LAST_RESORT])
    assert lab.bond.paths()["wwan1"]["quota"]["used"] >= path["quota"]["used"]


def test_a_link_whose_quota_is_used_up_can_be_off(lab):
    lab.start_client(link={"wwan1": {"quota": "20 kB per day", "quota_action": "off"}})
    mpbond(lab, "client", "set", "scheduler", "rr")
    ping(lab, 100)
    lab.wait_until(
        lambda: lab.bond.paths()["wwan1"]["reason"] == "its quota is used up", what="the quota"
    )
    assert [path["state"] for path in lab.bond.paths("server").values()].count("down") == 1
    before = carried(lab, 1, "up") + carried(lab, 1, "down")
    ping(lab, 100)
    assert carried(lab, 1, "up") + carried(lab, 1, "down") - before <= 2  # what was under way


def test_a_reload_applies_links_and_rules_without_losing_the_session(lab):
    client = lab.start_client()
    session = lab.bond.session()["id"]
    file = lab.bond.config_file("client")
    plain = file.read_text()
    file.write_text(
        plain + '\n[link.wwan1]\ntier = "overflow"\ncap_up = "1 Mbit/s"\n'
        '[[rule]]\nprotocol = "icmp"\nclass = "realtime"\n'
    )
    client.send_signal(signal.SIGHUP)
    told(lab, [0, OVERFLOW])
    assert lab.bond.paths()["wwan1"]["cap"]["sent"] == 1e6
    ping(lab, 20)
    for side in ("client", "server"):
        assert lab.bond.session(side)["classes"]["realtime"]["packets"] >= 20
    file.write_text(plain + "\nnonsense\n")
    client.send_signal(signal.SIGHUP)
    lab.wait_until(lambda: lab.status("client")["warnings"], what="a warning")
    assert tiers(lab, "client") == [0, OVERFLOW]
    file.write_text(plain)
    client.send_signal(signal.SIGHUP)
    told(lab, [0, 0])
    assert not lab.status("client")["warnings"]
    assert lab.bond.session()["id"] == session


def test_rates_are_remembered(lab):
    client = lab.start_client(links=["wwan0"])
    Measurement(lab, INNER, server="server", direction="up", seconds=5).result()
    lab.wait_until(lambda: lab.bond.paths()["wwan0"]["rate"]["sent"], what="a learned rate")
    lab.stop(client)
    lab.start_client(links=["wwan0"])
    assert lab.bond.paths()["wwan0"]["rate"]["sent"] > 2e6
