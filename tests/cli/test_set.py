"""`mpbond set`: what is asked of the daemon, and which daemon is asked."""

from __future__ import annotations

import pytest


def agreeing(_request):
    return {"ok": True}


@pytest.mark.parametrize(
    ("args", "asked", "told"),
    [
        (
            ["scheduler", "rr"],
            {"name": "scheduler", "value": "rr", "direction": "both"},
            "The scheduler is now rr (up and down).\n",
        ),
        (
            ["scheduler", "xor", "--direction", "down", "--client", "van"],
            {"name": "scheduler", "value": "xor", "direction": "down", "client": "van"},
            "The scheduler is now xor (down).\n",
        ),
        (
            ["hold", "auto"],
            {"name": "hold", "value": "auto"},
            "The hold now follows the paths.\n",
        ),
        (
            ["hold", "0"],
            {"name": "hold", "value": 0.0},
            "The hold is now off: packets are passed on as they come.\n",
        ),
        (["hold", "62.5"], {"name": "hold", "value": 62.5}, "The hold is now 62.5 ms.\n"),
        (
            ["tier", "wwan0", "last resort"],
            {"name": "tier", "value": "last resort", "link": "wwan0"},
            "wwan0 is now used only while no other link is up.\n",
        ),
        (
            ["tier", "wwan0", "overflow"],
            {"name": "tier", "value": "overflow", "link": "wwan0"},
            "wwan0 is now used for what the other links cannot carry.\n",
        ),
        (
            ["tier", "wwan0", "always"],
            {"name": "tier", "value": "always", "link": "wwan0"},
            "wwan0 is now used always.\n",
        ),
        (
            ["cap", "wwan0", "8 Mbit/s", "--direction", "down"],
            {"name": "cap", "value": 8e6, "link": "wwan0", "direction": "down"},
            "wwan0 now carries at most 8.00 Mbit/s (down).\n",
        ),
        (
            ["cap", "wwan0", "none"],
            {"name": "cap", "value": 0.0, "link": "wwan0", "direction": "both"},
            "wwan0 now has no cap (up and down).\n",
        ),
    ],
)
def test_what_is_asked(mpbond, stand_in, args, asked, told):
    daemon = stand_in(agreeing)
    result = mpbond("set", *args, "--control", daemon.path)
    assert (result.exit_code, result.output) == (0, told)
    assert daemon.requests == [{"verb": "set"} | asked]


def test_the_only_daemon_needs_no_name(mpbond, stand_in):
    daemon = stand_in(agreeing)
    assert mpbond("set", "hold", "auto").exit_code == 0
    assert daemon.requests[-1]["name"] == "hold"


def test_of_several_one_must_be_named(mpbond, stand_in):
    one, other = stand_in(agreeing, "a.sock"), stand_in(agreeing, "b.sock")
    result = mpbond("set", "hold", "auto")
    assert result.exit_code == 1
    assert result.stderr == (
        f"mpbond: several mpbond run here ({one.path}, {other.path}); name one by --control.\n"
    )


def test_the_daemons_refusal_is_shown(mpbond, stand_in):
    stand_in(lambda request: {"ok": request["verb"] == "status", "error": "no such client."})
    result = mpbond("set", "scheduler", "rr", "--client", "x")
    assert (result.exit_code, result.stderr) == (1, "mpbond: no such client.\n")


def test_without_a_daemon(mpbond, sockets):
    result = mpbond("set", "hold", "0")
    assert result.exit_code == 1
    assert result.stderr.startswith("mpbond: no mpbond is running here; start it by ")


@pytest.mark.parametrize("value", ["501", "-1", "nan", "soon", "inf"])
def test_a_hold_out_of_range_is_a_wrong_use(mpbond, sockets, value):
    result = mpbond("set", "hold", "--", value)
    assert result.exit_code == 2
    assert f'"{value}" is no hold; use "auto" or 0 to 500 milliseconds.' in result.stderr


def test_an_unknown_scheduler_is_a_wrong_use(mpbond, sockets):
    result = mpbond("set", "scheduler", "best")
    assert result.exit_code == 2
    assert "'best' is not one of 'adaptive', 'redundant', 'weighted', 'xor', 'rr'" in result.stderr


@pytest.mark.parametrize("value", ["8", "8 Mbps", "9 kbit/s", "-8 Mbit/s", ""])
def test_an_unusable_cap_is_a_wrong_use(mpbond, sockets, value):
    result = mpbond("set", "cap", "wwan0", "--", value)
    assert result.exit_code == 2
    assert f'"{value}" is no cap; use a rate such as "8 Mbit/s",' in " ".join(result.stderr.split())


def test_an_unknown_tier_is_a_wrong_use(mpbond, sockets):
    result = mpbond("set", "tier", "wwan0", "never")
    assert result.exit_code == 2
    assert "'never' is not one of 'always', 'overflow', 'last resort'" in result.stderr
