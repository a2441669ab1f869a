"""How generators find out that they did not run when they should have; on a clock of their own."""

from __future__ import annotations

import select
import socket
from types import SimpleNamespace

import pytest

from bench.lab.traffic import program, tcp
from bench.lab.traffic.program import MARK, Stopwatch, TrafficError

PLAN = {"target": "127.0.0.1", "port": 7, "piece": None, "device": None}


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on only when somebody sleeps or works on it."""
    made = SimpleNamespace(now=90.0, worked=0.0)

    def sleep(seconds):
        made.now += seconds

    def work(seconds):
        made.now += seconds
        made.worked += seconds

    made.work = work
    times = SimpleNamespace(
        monotonic=lambda: made.now, process_time=lambda: made.worked, sleep=sleep
    )
    monkeypatch.setattr(program, "time", times)
    monkeypatch.setattr(tcp, "time", times)
    return made


def test_the_first_mark_is_the_beginning_and_processor_time_counts_from_there(clock):
    watch = Stopwatch(100.0, 10.0)
    clock.work(2.0)
    assert watch.until_mark() == 8.0
    clock.now = 100.0
    assert watch.until_mark() == MARK
    clock.work(0.5)
    figures = watch.figures()
    assert figures["cpu"] == 0.5
    assert (figures["lateness"]["count"], figures["lateness"]["max"]) == (1, 0)


def test_who_waits_for_the_beginning_has_met_the_first_mark(clock):
    watch = Stopwatch(100.0, 10.0)
    clock.work(1.0)
    watch.wait()
    clock.work(0.005)
    assert watch.until_mark() == pytest.approx(MARK - 0.005)
    assert watch.figures()["cpu"] == pytest.approx(0.005)
    assert watch.figures()["lateness"]["count"] == 1


def test_a_loop_that_did_not_run_is_late_at_its_mark(clock):
    watch = Stopwatch(100.0, 10.0)
    watch.wait()
    clock.now += MARK + 0.3
    assert watch.until_mark() == MARK
    assert watch.figures()["lateness"]["max"] == pytest.approx(0.3)


class Poll:
    """An epoll of which nothing comes, or always the same, and that may come back late."""

    def __init__(self, clock, late, ready):
        self.clock = clock
        self.late = late
        self.ready = ready
        self.longest = 0.0

    def register(self, *_arguments):
        pass

    def poll(self, timeout):
        self.longest = max(self.longest, timeout)
        self.clock.now += (0.001 if self.ready else timeout) + self.late
        return self.ready


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("late", [0.0, 0.2])
def test_a_sender_notes_that_it_starved_whether_it_was_waiting_or_not(
    clock, monkeypatch, busy, late
):
    ours, far = socket.socketpair()
    with ours, far:
        ready = [(ours.fileno(), select.EPOLLOUT)] if busy else []
        poll = Poll(clock, late, ready)
        monkeypatch.setattr(select, "epoll", lambda: poll)
        monkeypatch.setattr(tcp.sys, "stdin", far)
        watch = Stopwatch(100.0, 2.0)
        watch.wait()
        exchange = tcp.Exchange(PLAN, watch)
        exchange.accept_from(ours)
        monkeypatch.setattr(exchange, "_accept", lambda: None)
        exchange.run(watch.end)
    told = watch.figures()["lateness"]
    assert poll.longest <= MARK
    assert told["count"] >= 2.0 / (MARK + late + 0.001) - 1
    assert told["p50"] == pytest.approx(late, abs=MARK)
    assert (told["p99"] > 0.05) == (late > 0.05)


def test_a_refused_connection_is_nobodys_finding():
    program.require_listener(PLAN, 0)
    with pytest.raises(TrafficError, match=r"no generator serves at 127\.0\.0\.1 port 7"):
        program.require_listener(PLAN, 111)


def test_a_route_to_oneself_is_always_there():
    program.require_route(PLAN)
