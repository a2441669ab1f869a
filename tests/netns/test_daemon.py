"""The programs as processes: what refuses to start and why, who may ask them, and reloading.

client ─── modem0 ─┐
client1 ── modem1 ─┴── net ── server
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
import tomllib

import pytest

from bench.lab import LinkSpec
from bench.lab.bond import to_toml
from bench.lab.probe import Probe
from tests.netns.observe import INNER, PORT, system

NOBODY, GROUP = 65534, "daemon"
WITHOUT_NET_ADMIN = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")


@pytest.fixture(scope="module")
def lab(module_laboratory):
    lab = module_laboratory(LinkSpec(), LinkSpec(client=1))
    lab.start_server()
    lab.start_client(0, control_group=GROUP)
    lab.start_client(1)
    return lab


def another(lab, side, **changes):
    """Writes the configuration of a second program beside one that runs, and returns the file."""
    config = tomllib.loads(lab.bond.config_file(side).read_text())
    verb = "server" if side == "server" else "client"
    config[verb] |= {
        "tun": "mpbond9",
        "log_level": "warning",
        "control": str(lab.directory / "another.sock"),
        "state_dir": str(lab.directory / "another-state"),
        **changes,
    }
    file = lab.directory / "another.toml"
    file.write_text(to_toml(config))
    return file


def refusal(lab, side, file, *wrapped):
    """Starts a program that cannot run and returns the one line it says."""
    verb = "server" if side == "server" else "client"
    argv = (*wrapped, sys.executable, "-m", "mpbond", verb, "--config", str(file))
    ended = lab.run(side, *argv, check=False)
    assert ended.returncode == 1, ended
    (said,) = ended.stderr.splitlines()
    assert said.startswith("mpbond: ")
    return said


@pytest.mark.parametrize(
    ("side", "changes", "words"),
    [
        ("server", {}, (f"port {PORT}", "in use")),
        ("server", {"listen": ["203.0.113.99:4999"]}, ("203.0.113.99", "listen")),
        ("server", {"listen": ["0.0.0.0:4999"], "tun": "mpbond0"}, ("mpbond0", "in use")),
        ("server", {"listen": ["0.0.0.0:4999"], "tun": "eth0"}, ("eth0", "another kind")),
        ("server", {"listen": ["0.0.0.0:4999"], "control_group": "nobodies"}, ("nobodies",)),
        ("client", {"tun": "mpbond0"}, ("mpbond0", "in use")),
        ("client", {"control": "/proc/mpbond.sock"}, ("/proc/mpbond.sock", "control")),
    ],
    ids=["port", "address", "tun", "no-tun", "group", "client-tun", "control"],
)
def test_what_cannot_start_says_why_in_one_sentence_and_changes_nothing(lab, side, changes, words):
    before = system(lab, side)
    said = refusal(lab, side, another(lab, side, **changes))
    assert all(word in said for word in words), said
    assert system(lab, side) == before


@pytest.mark.parametrize("side", ["client", "server"])
def test_without_net_admin_it_says_what_is_missing(lab, side):
    file = another(lab, side)
    assert "CAP_NET_ADMIN" in refusal(lab, side, file, *WITHOUT_NET_ADMIN)


def connects(path, group=None):
    """Tells whether a user without rights, in one group only, may speak to a control socket."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(group if group is not None else NOBODY)
            os.setuid(NOBODY)
            with socket.socket(socket.AF_UNIX) as asking:
                asking.connect(str(path))
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_root_and_the_named_group_may_ask_and_nobody_else(lab):
    asked, closed = lab.bond.control_socket("client"), lab.bond.control_socket("server")
    group = os.stat(asked).st_gid
    assert stat.S_IMODE(os.stat(asked).st_mode) == 0o660
    assert stat.S_IMODE(os.stat(closed).st_mode) == 0o600
    lab.directory.chmod(0o711)
    try:
        assert connects(asked, group)
        assert not connects(asked)
        assert not connects(closed, group)
    finally:
        lab.directory.chmod(0o700)


def peers(lab):
    return {session["peer"] for session in lab.status("server")["sessions"]}


def test_a_removed_client_is_cut_off_by_a_reload_and_let_in_again_by_another(lab):
    file, server = lab.bond.config_file("server"), lab.bond.running["server"]
    config = tomllib.loads(file.read_text())
    only = {**config, "client": [each for each in config["client"] if each["name"] == "client"]}
    session = lab.bond.session("client")["id"]
    probe = Probe(lab, INNER)
    file.write_text(to_toml(only))
    server.send_signal(signal.SIGHUP)
    lab.wait_until(lambda: peers(lab) == {"client"}, what="the removed client being cut off")
    lab.wait_until(lambda: lab.status("client1")["state"] != "connected", what="it knowing that")
    refused = lab.status("server")["drops"].get("peer_unknown", 0)
    lab.wait_until(
        lambda: lab.status("server")["drops"].get("peer_unknown", 0) > refused,
        what="the removed client being refused",
    )
    file.write_text(to_toml(config))
    server.send_signal(signal.SIGHUP)
    lab.wait_until(lambda: peers(lab) == {"client", "client1"}, what="its coming back")
    trace = probe.finish()
    assert trace.lost == 0
    assert lab.bond.session("client")["id"] == session


def test_a_reload_of_nonsense_changes_nothing_and_says_so(lab):
    file, server = lab.bond.config_file("server"), lab.bond.running["server"]
    right = file.read_text()
    before = peers(lab)
    file.write_text(right.replace('"name"', '"nmae"').replace("name =", "nmae ="))
    server.send_signal(signal.SIGHUP)
    warned = lab.wait_until(lambda: lab.status("server")["warnings"], what="a warning")
    assert "nmae" in warned[0]
    assert peers(lab) == before
    file.write_text(right)
    server.send_signal(signal.SIGHUP)
    lab.wait_until(lambda: not lab.status("server")["warnings"], what="the warning's end")
