"""`mpbond status`: what a person reads, what a program reads, and what is said if nothing runs."""

from __future__ import annotations

import copy
import json
import socket

import pytest

from mpbond.cli import status
from mpbond.cli.report import report

NOW = 1_700_000_000.0


def path(link, **changes):
    return {
        "id": 1,
        "link": link,
        "state": "up",
        "reason": "answers",
        "local": None,
        "remote": "192.0.2.1:4510",
        "mtu": 1500,
        "rtt": 0.0614,
        "rtt_var": 0.003,
        "rtt_min": 0.06,
        "queue_delay": 0.0011,
        "rate": {"sent": 1_500_000.0, "received": 8_120_000.0},
        "tier": 0,
        "cap": {"sent": None, "received": None},
        "repaired": 1042,
        "loss": 0.003,
        "sent": {"datagrams": 10, "bytes": 9000, "rate": 1_210_000.0},
        "received": {"datagrams": 90, "bytes": 90000, "rate": 7_820_000.0},
        "share": {"sent": 0.17, "received": 0.183},
        "weight": 1,
    } | changes


CLIENT = {
    "format": 1,
    "role": "client",
    "version": "0.1.0",
    "pid": 77,
    "uptime": 7400.0,
    "tun": {"name": "mpbond0", "mtu": 1438, "addresses": ["10.77.0.2", "fd77::2"]},
    "when_down": "direct",
    "state": "connected",
    "warnings": ["no link matches eth1; waiting for one."],
    "sessions": [
        {
            "peer": "vps",
            "public_key": "x",
            "id": "0a",
            "since": 125.0,
            "addresses": ["10.77.0.2", "fd77::2"],
            "routes": [],
            "cipher": "AES-256-GCM",
            "key_age": 41.0,
            "scheduler": {"up": "adaptive", "down": "weighted"},
            "hold": 0.084,
            "even": {"sent": 0.0, "received": 0.0},
            "rate": {"sent": 1_500_000.0, "received": 16_240_000.0},
            "queue": {"packets": 12, "bytes": 9000, "flows": 3, "delay": 0.023, "marked": 0},
            "classes": {
                "normal": {"packets": 40233, "bytes": 1},
                "acknowledgement": {"packets": 20100, "bytes": 1},
                "realtime": {"packets": 1204, "bytes": 1},
                "bulk": {"packets": 0, "bytes": 0},
            },
            "repaired": 77,
            "given_up": 2,
            "handshakes": 2,
            "order": {"held": 1204, "late": 3, "duplicate": 0, "skipped": 9, "hold_seconds": {}},
            "sent": {"packets": 1, "bytes": 1},
            "received": {"packets": 1, "bytes": 1},
            "paths": [
                path("wwan0"),
                path(
                    "wwan1",
                    state="suspect",
                    reason="silent for 310 ms",
                    rtt=None,
                    queue_delay=None,
                    rate={"sent": None, "received": None},
                    loss=0.1234,
                    sent={"datagrams": 0, "bytes": 0, "rate": 0.0},
                    share={"sent": 0.0, "received": None},
                ),
            ],
        }
    ],
    "drops": {"replay": 20, "bad tag": 7, "oversized": 0, "garbage": 1021},
    "links": [
        {"name": "wwan0", "state": "up"},
        {"name": "wwan1", "state": "up"},
        {"name": "wwan2", "state": "no address yet"},
    ],
}


@pytest.fixture
def utc(monkeypatch):
    monkeypatch.setattr("mpbond.cli.report.time.localtime", __import__("time").gmtime)


def text_of(status_map):
    return "\n".join(line.text for line in report(status_map, NOW))


def answering(status_map):
    return lambda _request: {"ok": True, "status": status_map}


def test_a_clients_report_has_a_row_for_each_path(utc):
    assert text_of(CLIENT) == (
        "mpbond client on mpbond0, 10.77.0.2 fd77::2, MTU 1438, running for 2 h 3 min\n"
        "connected to vps at 192.0.2.1:4510 since 22:11:15 (2 min 5 s)\n"
        "  scheduler adaptive up, weighted down, hold 84 ms, AES-256-GCM, key 41 s old\n"
        "  learned 1.50 Mbit/s up, 16.2 Mbit/s down; 12 packets of 3 flows waiting, delay 23 ms\n"
        "  classes: 40,233 normal, 1,204 realtime, 20,100 acknowledgement, 0 bulk\n"
        "  path   state       up Mbit/s   down Mbit/s   RTT ms   queue   loss  repaired    share\n"
        "  wwan0  up       1.21 of 1.50  7.82 of 8.12  61 (60)  1.1 ms  0.3 %     1,042  17/18 %\n"
        "  wwan1  suspect             0          7.82        -       -   12 %     1,042    0/- %\n"
        "         silent for 310 ms\n"
        "  order: 1,204 held, 3 late, 0 duplicate, 9 skipped\n"
        "  repair: 77 sent again, 2 given up\n"
        "  wwan2: no address yet\n"
        "dropped: 1,021 garbage, 20 replay, 7 bad tag\n"
        "# no link matches eth1; waiting for one."
    )


def test_offloads_are_told_once_where_all_links_have_the_same(utc):
    told = copy.deepcopy(CLIENT)
    told["tun"]["offloads"] = ["csum", "tso4"]
    paths = told["sessions"][0]["paths"]
    for each in paths:
        each["offloads"] = ["gso", "gro"]
    assert "\noffloads: mpbond0 csum, tso4; sockets gso, gro\n" in text_of(told)
    paths[1]["offloads"] = []
    assert "\noffloads: mpbond0 csum, tso4; wwan0 gso, gro; wwan1 none\n" in text_of(told)
    paths[:0] = [path(f"eth{n}", offloads=["gso", "gro"]) for n in range(6)]
    told["tun"]["offloads"] = []
    line = "\noffloads: mpbond0 none; eth0 eth1 eth2 eth3 and 3 more gso, gro; wwan1 none\n"
    assert line in text_of(told)


def test_up_is_from_the_client_also_on_the_server(utc):
    server = copy.deepcopy(CLIENT) | {"role": "server", "when_down": None, "links": []}
    session = server["sessions"][0]
    session["routes"] = ["192.0.2.8/29"]
    session["paths"] = [path(None, remote="198.51.100.7:33000")]
    lines = text_of(server).splitlines()
    assert lines[2] == "  has 10.77.0.2, fd77::2, 192.0.2.8/29"
    assert lines[4].startswith("  learned 16.2 Mbit/s up, 1.50 Mbit/s down; ")
    assert " ".join(lines[7].split()) == (
        "198.51.100.7:33000 up 7.82 of 8.12 1.21 of 1.50 61 (60) 1.1 ms 0.3 % 1,042 18/17 %"
    )


def test_the_delay_of_bulk_flows_is_told_while_it_is_evened_out(utc):
    even = copy.deepcopy(CLIENT)
    even["sessions"][0]["even"] = {"sent": 0.0, "received": 0.026}
    assert "  bulk flows evened out: 26 ms down\n" in text_of(even)
    even["sessions"][0]["even"]["sent"] = 0.012
    assert "  bulk flows evened out: 12 ms up, 26 ms down\n" in text_of(even)
    assert "evened" not in text_of(CLIENT)


def test_a_session_whose_paths_are_all_down_is_not_called_connected(utc):
    lost = copy.deepcopy(CLIENT) | {"state": "down"}
    lost["sessions"][0] |= {"paths": [path("wwan0", state="down", reason="silent for 9 s")]}
    lines = text_of(lost).splitlines()
    assert lines[1] == "not connected: the server cannot be reached"
    assert lines[3] == (
        "no contact with vps at 192.0.2.1:4510, connected since 22:11:15 (2 min 5 s)"
    )
    assert lines[9] == "         silent for 9 s"


def test_two_paths_over_one_link_are_told_apart(utc):
    both = copy.deepcopy(CLIENT)
    both["sessions"][0]["paths"] = [path("eth0"), path("eth0", remote="[2001:db8::1]:4510")]
    text = text_of(both)
    assert "  eth0 to 192.0.2.1:4510 " in text
    assert "  eth0 to [2001:db8::1]:4510 " in text


@pytest.mark.parametrize(
    ("state", "when_down", "expected"),
    [
        (
            "connecting",
            "block",
            [
                "connecting: no answer from the server yet",
                '# traffic is held back (when_down = "block")',
            ],
        ),
        (
            "down",
            "direct",
            [
                "not connected: the server cannot be reached",
                '# traffic goes out by the links themselves (when_down = "direct")',
            ],
        ),
        ("down", None, ["not connected: the server cannot be reached"]),
    ],
)
def test_a_client_without_a_session_says_what_becomes_of_traffic(state, when_down, expected):
    lonely = CLIENT | {"state": state, "when_down": when_down, "sessions": [], "drops": {}}
    lonely |= {"links": [], "warnings": []}
    assert text_of(lonely).splitlines()[1:] == expected


def test_a_server_without_clients_says_so():
    idle = CLIENT | {"role": "server", "state": "down", "when_down": None, "sessions": []}
    idle |= {"links": [], "warnings": [], "drops": {}}
    assert text_of(idle).splitlines()[1:] == ["no client is connected"]


def test_keys_that_are_missing_are_not_known_rather_than_an_error():
    bare = {"role": "client", "state": "connected", "sessions": [{"paths": [{"link": "a"}]}]}
    assert text_of(bare).splitlines()[0] == "mpbond client on no device, running for -"
    assert text_of(bare).splitlines()[-1].split() == ["a", "-", "-", "-", "-", "-", "-", "-", "-"]


def notes_of(role="client", **changes):
    """What stands below the only path's row."""
    one = copy.deepcopy(CLIENT) | {"role": role, "links": [], "warnings": [], "drops": {}}
    one["sessions"][0] |= {"paths": [path("wwan0", **changes)], "repaired": 0, "given_up": 0}
    one["sessions"][0]["order"] = {}
    lines = text_of(one).splitlines()
    (heading,) = [at for at, line in enumerate(lines) if line.startswith("  path ")]
    return [line.strip() for line in lines[heading + 2 :]]


GB = 10**9


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"tier": 1}, ["overflow"]),
        ({"tier": 2}, ["last resort"]),
        ({"cap": {"sent": 5e5, "received": None}}, ["at most 500 kbit/s up"]),
        (
            {"tier": 1, "cap": {"sent": 5e5, "received": 8e6}},
            ["overflow; at most 500 kbit/s up and 8.00 Mbit/s down"],
        ),
        (
            {"quota": {"used": 12_340_000_000, "of": 20 * GB, "per": "month", "exhausted": False}},
            ["12.3 GB of 20 GB this month"],
        ),
        (
            {
                "state": "down",
                "reason": "its quota is used up",
                "quota": {"used": GB + 1, "of": GB, "per": "day", "exhausted": True},
            },
            ["its quota is used up; 1 GB of 1 GB today"],
        ),
        (
            {"tier": 2, "quota": {"used": GB, "of": GB, "per": "day", "exhausted": True}},
            ["last resort; quota used up: 1 GB of 1 GB today"],
        ),
        ({"state": "up", "reason": "answers"}, []),
    ],
)
def test_what_is_special_about_a_path_stands_below_it(utc, changes, expected):
    assert notes_of(**changes) == expected


def test_caps_are_up_and_down_also_on_the_server(utc):
    assert notes_of("server", cap={"sent": 8e6, "received": None}) == ["at most 8.00 Mbit/s down"]


def test_rows_fit_into_100_columns(utc):
    full = path(
        "wwan10",
        state="suspect",
        rtt=2.413,
        queue_delay=2.2,
        loss=0.123,
        repaired=1_234_567,
        sent={"datagrams": 0, "bytes": 0, "rate": 123.4e6},
        received={"datagrams": 0, "bytes": 0, "rate": 123.4e6},
        rate={"sent": 234.5e6, "received": 234.5e6},
    )
    crowded = copy.deepcopy(CLIENT)
    crowded["sessions"][0]["paths"] = [full, path("wwan11")]
    crowded["sessions"][0]["queue"] |= {"packets": 12345, "flows": 1234}
    assert max(map(len, text_of(crowded).splitlines())) <= 100
    assert len(text_of(crowded).splitlines()) > 8


@pytest.mark.parametrize("unlearned", [{"ramping": True}, {"ramping": False, "learned": False}])
def test_a_rate_that_is_only_the_most_ever_asked_is_not_called_learned(utc, unlearned):
    ramping = copy.deepcopy(CLIENT)
    ramping["sessions"][0]["paths"] = [path("wwan0", **unlearned)]
    assert " up 1.21 7.82 of 8.12 " in " ".join(text_of(ramping).split())
    assert " up 7.82 of 8.12 1.21 " in " ".join(text_of(ramping | {"role": "server"}).split())


def test_what_was_learned_is_shown_also_while_it_is_tried_again(utc):
    again = copy.deepcopy(CLIENT)
    again["sessions"][0]["paths"] = [path("wwan0", ramping=True, learned=True)]
    assert " 1.21 of 1.50 " in text_of(again)


def test_an_empty_queue_is_said_in_two_words(utc):
    idle = copy.deepcopy(CLIENT)
    idle["sessions"][0]["queue"]["packets"] = 0
    assert "16.2 Mbit/s down; nothing waiting\n" in text_of(idle)


def test_no_verb_means_status(mpbond, stand_in):
    daemon = stand_in(answering(CLIENT))
    assert mpbond().output == mpbond("status").output
    assert "wwan0" in mpbond().output
    assert daemon.requests[0] == {"verb": "status"}


def test_json_is_the_status_map_as_it_came(mpbond, stand_in):
    stand_in(answering(CLIENT))
    result = mpbond("status", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == CLIENT


def test_every_running_mpbond_is_shown(mpbond, stand_in):
    stand_in(answering(CLIENT), "a.sock")
    stand_in(answering(CLIENT | {"tun": {"name": "second"}}), "b.sock")
    output = mpbond("status").output
    assert output.index("client on mpbond0") < output.index("client on second")


def test_the_socket_can_be_named(mpbond, stand_in, monkeypatch):
    stand_in(answering(CLIENT), "a.sock")
    other = stand_in(answering(CLIENT | {"tun": {"name": "second"}}), "b.sock")
    assert "mpbond0" not in mpbond("status", "--control", other.path).output
    monkeypatch.setenv("MPBOND_CONTROL", str(other.path))
    output = mpbond().output
    assert "on second" in output
    assert "mpbond0" not in output


def test_a_dead_daemons_socket_is_passed_over(mpbond, stand_in, sockets):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(sockets / "a.sock"))
    stand_in(answering(CLIENT), "b.sock")
    result = mpbond("status")
    assert result.exit_code == 0
    assert "a.sock" not in result.output


def test_one_that_fails_does_not_hide_the_others(mpbond, stand_in):
    stand_in(lambda _: {"ok": False, "error": "the daemon is ending."}, "a.sock")
    stand_in(answering(CLIENT), "b.sock")
    result = mpbond("status")
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "# the daemon is ending."


def test_without_a_daemon_the_command_that_starts_one_is_named(mpbond, sockets):
    result = mpbond("status")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "mpbond: no mpbond is running here; start it by mpbond client --config FILE or "
        f"mpbond server --config FILE, or name its socket by --control if it is not in "
        f"{sockets}.\n"
    )


def test_without_a_run_directory_nothing_runs(mpbond, sockets):
    sockets.rmdir()
    assert "no mpbond is running here" in mpbond("status").stderr


def test_a_named_socket_that_is_not_there(mpbond, tmp_path):
    result = mpbond("status", "--control", tmp_path / "x.sock")
    assert result.exit_code == 1
    assert result.stderr == (
        f"mpbond: no mpbond is running at {tmp_path}/x.sock; start it by mpbond client --config "
        "FILE or mpbond server --config FILE.\n"
    )


def test_watch_looks_again_until_ctrl_c(mpbond, stand_in, monkeypatch):
    daemon = stand_in(answering(CLIENT))
    naps = []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", nap)
    result = mpbond("status", "--watch")
    assert result.exit_code == 0
    assert naps == [1.0, 1.0, 1.0]
    assert len(daemon.requests) == 3
    assert result.output.count("connected to vps") == 3


def test_watch_survives_a_restart_of_the_daemon(mpbond, stand_in, monkeypatch):
    daemon = stand_in(answering(CLIENT))

    def nap(_seconds):
        if not daemon.path.exists():
            raise KeyboardInterrupt
        daemon.path.unlink()

    monkeypatch.setattr(status.time, "sleep", nap)
    result = mpbond("status", "--watch")
    assert result.exit_code == 0
    assert "# no mpbond is running here; " in result.output


def test_watch_without_a_daemon_ends_at_once(mpbond, sockets):
    assert mpbond("status", "--watch").exit_code == 1


def test_status_says_which_twin_of_the_fast_path_is_in_use():
    assert "fast path: compiled (OpenSSL 3.0.19)" in text_of(
        CLIENT | {"fast_path": "compiled (OpenSSL 3.0.19)"}
    )
    assert "fast path" not in text_of(CLIENT)
