"""A server that reads its clients again (SIGHUP).

client ──┬─ modem0 ─┬── net ── server
         └─ modem1 ─┘
"""

from __future__ import annotations

import signal

from bench.lab import LinkSpec
from tests.netns.observe import INNER


def answers(lab):
    return not lab.run("client", "ping", "-c", "1", "-W", "1", INNER, check=False).returncode


def test_a_removed_key_is_shut_out_until_it_is_back(laboratory):
    lab = laboratory(LinkSpec(), LinkSpec())
    server = lab.start_server()
    lab.start_client()
    file = lab.bond.config_file("server")
    with_client = file.read_text()
    without = with_client.partition("\n[[client]]")[0]
    assert answers(lab)

    file.write_text(without)
    server.send_signal(signal.SIGHUP)
    lab.wait_until(
        lambda: lab.status("server")["drops"].get("peer_unknown"),
        what="the server refusing the client's next handshake",
    )
    assert not lab.status("server")["sessions"]
    assert not answers(lab)

    file.write_text(with_client)
    server.send_signal(signal.SIGHUP)
    lab.wait_until(lambda: answers(lab), what="the client being let in again")


def test_sessions_outlive_a_reload_and_a_broken_file_changes_nothing(laboratory):
    lab = laboratory(LinkSpec(), LinkSpec())
    server = lab.start_server()
    lab.start_client()
    before = lab.bond.session("server")["id"]
    file = lab.bond.config_file("server")
    good = file.read_text()

    file.write_text(good + "\nnonsense\n")
    server.send_signal(signal.SIGHUP)
    warned = lab.wait_until(lambda: lab.status("server")["warnings"], what="a warning")
    assert "was not reloaded" in warned[0]
    assert "not TOML" in warned[0]

    file.write_text(good)
    server.send_signal(signal.SIGHUP)
    lab.wait_until(lambda: not lab.status("server")["warnings"], what="the warning being gone")
    assert lab.bond.session("server")["id"] == before
    assert answers(lab)
