"""How a laboratory begins after others, and ends when its own ending fails; without a network."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from types import SimpleNamespace

import pytest

from bench.lab import Lab, LabError, LinkSpec, namespaces
from bench.lab.namespaces import Namespaces


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """What would have been done to the machine; a command named in `fail` does not succeed."""
    made = SimpleNamespace(done=[], fail=None)

    def command(*argv, **_options):
        made.done.append(" ".join(argv))
        if made.done[-1] == made.fail:
            raise LabError(f"{made.fail} did not end")
        return SimpleNamespace(stdout="")

    monkeypatch.setattr(namespaces, "command", command)
    monkeypatch.setattr(namespaces, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(namespaces, "NAMED", tmp_path / "netns")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "netns").mkdir()
    return made


class Program:
    """A program that has ended already, or cannot be ended."""

    stdin = stdout = stderr = None
    returncode = 0

    def __init__(self, failure=None):
        self.failure = failure
        self.asked = False

    def poll(self):
        self.asked = True
        if self.failure is not None:
            raise self.failure
        return 0


def test_what_a_killed_run_of_the_same_process_id_has_left_is_cleared_first(commands):
    spaces = Namespaces()
    (spaces.directory / "configs").mkdir(parents=True)
    (spaces.directory / "lock").touch()
    (namespaces.NAMED / spaces.full("web")).touch()
    spaces.open()
    assert f"ip netns del {spaces.full('web')}" in commands.done
    assert [each.name for each in spaces.directory.iterdir()] == ["lock"]
    spaces.close()
    assert not spaces.directory.exists()


def test_a_run_that_lives_keeps_what_is_its_own(commands):
    first, second = Namespaces(), Namespaces()
    first.open()
    (namespaces.NAMED / first.full("web")).touch()
    second.open()
    assert commands.done == []
    assert first.directory.exists()
    for spaces in (second, first):
        spaces.close()


@pytest.mark.parametrize("part", ["pids", "del"])
def test_a_namespace_that_cannot_be_removed_keeps_no_other_one(commands, part):
    spaces = Namespaces()
    spaces.open()
    for name in ("lan", "client", "web"):
        spaces.add(name)
    commands.done.clear()
    commands.fail = f"ip netns {part} {spaces.full('client')}"
    with pytest.raises(LabError, match="client did not end"):
        spaces.close()
    removed = [each.rsplit("-", 1)[1] for each in commands.done if "netns del" in each]
    assert removed == ["web", "client", "lan"]
    assert not spaces.directory.exists()


def test_a_program_that_cannot_be_ended_keeps_no_other_one_and_no_lock(commands, monkeypatch):
    spaces = Namespaces()
    spaces.open()
    programs = [Program(), Program(PermissionError("it is not yours")), Program()]
    started = iter(programs)
    monkeypatch.setattr(subprocess, "Popen", lambda *_argv, **_options: next(started))
    spaces.add("web")
    for _ in programs:
        spaces.popen("web", "sleep", "9")
    again = (spaces.directory / "lock").open("r")
    with pytest.raises(PermissionError, match="not yours"):
        spaces.close()
    assert [program.asked for program in programs] == [True] * 3
    assert f"ip netns del {spaces.full('web')}" in commands.done
    with again:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_network_that_does_not_go_keeps_neither_emulator_nor_signals(monkeypatch):
    closed = []

    def build(lab):
        lab._emulator = SimpleNamespace(close=lambda: closed.append("emulator"))

    def refuse(_spaces):
        raise LabError("the network stays")

    def state():
        return signal.getsignal(signal.SIGTERM), signal.pthread_sigmask(signal.SIG_BLOCK, ())

    monkeypatch.setattr(Lab, "_build", build)
    monkeypatch.setattr(Namespaces, "open", lambda _spaces: None)
    monkeypatch.setattr(Namespaces, "close", refuse)
    before = state()
    with pytest.raises(LabError, match="the network stays"), Lab(links=[LinkSpec()]):
        assert state() != before
    assert closed == ["emulator"]
    assert state() == before
