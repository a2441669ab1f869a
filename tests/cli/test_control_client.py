"""What can go wrong between the command line and a daemon, each as its sentence."""

from __future__ import annotations

import grp
import os
import socket

import pytest

from mpbond.cli import control_client
from mpbond.errors import ControlError


def sentence(path, **kwargs):
    with pytest.raises(ControlError) as caught:
        control_client.request(path, {"verb": "status"}, **kwargs)
    return str(caught.value)


def test_a_reply_comes_back_whole(stand_in):
    daemon = stand_in(lambda request: {"ok": True, "asked": request, "much": "x" * 300_000})
    reply = control_client.request(daemon.path, {"verb": "set", "value": 3})
    assert reply["asked"] == {"verb": "set", "value": 3}
    assert len(reply["much"]) == 300_000


def test_a_refusal_is_the_daemons_own_sentence(stand_in):
    daemon = stand_in(lambda _: {"ok": False, "error": "no client is called van."})
    assert sentence(daemon.path) == "no client is called van."


def test_a_refusal_without_a_word(stand_in):
    daemon = stand_in(lambda _: {"ok": False})
    assert sentence(daemon.path) == f"mpbond at {daemon.path} refused, without a word."


def test_silence_ends_after_the_time_given(stand_in):
    daemon = stand_in(lambda _: None)
    assert sentence(daemon.path, timeout=0.05) == (
        f"mpbond at {daemon.path} did not answer within 0.05 seconds; look at its log."
    )


@pytest.mark.parametrize("reply", [b"", b"\0\0", b"\0\0\0\x09\x81"])
def test_a_reply_cut_short(stand_in, reply):
    daemon = stand_in(lambda _: reply)
    assert sentence(daemon.path) == (
        f"mpbond at {daemon.path} hung up without an answer; look at its log."
    )


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\0\0\0\x01\xc1",
        b"\0\0\0\x02\xc0\xc0",
        b"\0\0\0\x01\x93",
        b"\0\0\0\x00",
        b"\0\0\0\x03\x81\x01\x02\x00",
    ],
    ids=["http", "reserved", "extra", "truncated", "empty", "number as key"],
)
def test_a_reply_in_another_language(stand_in, reply):
    daemon = stand_in(lambda _: reply)
    assert sentence(daemon.path) == (
        f"what answers at {daemon.path} does not speak mpbond's control protocol."
    )


def refusing(monkeypatch):
    def refuse(*_args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(control_client.socket.socket, "connect", refuse)


def test_who_may_not_ask_hears_which_group_may(sockets, monkeypatch):
    path = sockets / "mpbond0.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    stranger = next(entry for entry in grp.getgrall() if entry.gr_gid != 0)
    real = os.stat_result([*path.stat()[:5], stranger.gr_gid, *path.stat()[6:]])
    monkeypatch.setattr("pathlib.Path.stat", lambda _self: real)
    refusing(monkeypatch)
    assert sentence(path) == (
        f"you may not ask mpbond at {path}; run as root or join the group {stranger.gr_name}."
    )


def test_who_may_not_even_look_hears_of_root(sockets, monkeypatch):
    refusing(monkeypatch)
    path = sockets / "closed" / "mpbond0.sock"
    assert sentence(path) == f"you may not ask mpbond at {path}; run as root."


def test_a_path_too_long_for_a_socket(sockets):
    path = sockets / ("x" * 200)
    assert sentence(path) == f"{path} is no control socket of mpbond (AF_UNIX path too long)."


def test_a_directory_that_cannot_be_read(sockets, monkeypatch):
    def refuse(_self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(ControlError) as caught:
        control_client.find_sockets()
    assert str(caught.value) == f"{sockets} cannot be read (Permission denied); run as root."


def test_only_sockets_are_found_in_order(sockets):
    for name in ("b.sock", "a.sock", "journal.json"):
        (sockets / name).touch()
    assert [path.name for path in control_client.find_sockets()] == ["a.sock", "b.sock"]
