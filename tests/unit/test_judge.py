"""Rows are told once all they need is there, and held to their bounds."""

import dataclasses

import pytest

from bench import campaign
from bench.errors import BenchError
from bench.judge import MISSED, REACHED, UNKNOWN, Board, How
from bench.results import Tunnel
from bench.targets import Target
from tests.results import made, made_of

ROW = Target(
    group="table",
    scenario="equal4",
    workload="tcp1_down_cubic",
    reading="efficiency",
    bound=0.7,
)
CALL = Target(group="table", scenario="equal4", workload="voice_tcp", reading="voice_p95", bound=45)
BESIDE = dataclasses.replace(
    ROW,
    group="mq",
    reading="goodput",
    bound=0.0,
    factor=0.97,
    beside=(("equal4", "single:0"), ("equal4", "single:1")),
)


class Judged:
    """A board over some targets, and what it has told."""

    def __init__(self, *targets, **how):
        given = {"clock": "sim", "seconds": 6.0, "repetitions": 1} | how
        self.told = []
        self.board = Board(targets, How(**given), self.told.append, self.told.append)

    def give(self, case, **more):
        self.board.end(case, made_of(case, clock="sim", **more))


def names(cases):
    return [(case.scenario, case.system, case.workload, case.repetition) for case in cases]


def test_what_several_rows_need_is_measured_once_and_in_their_order():
    board = Judged(ROW, BESIDE, CALL, repetitions=2).board
    assert names(board.cases()) == [
        ("equal4", "adaptive", "tcp1_down_cubic", 0),
        ("equal4", "adaptive", "tcp1_down_cubic", 1),
        ("equal4", "single:0", "tcp1_down_cubic", 0),
        ("equal4", "single:0", "tcp1_down_cubic", 1),
        ("equal4", "single:1", "tcp1_down_cubic", 0),
        ("equal4", "single:1", "tcp1_down_cubic", 1),
        ("equal4", "adaptive", "voice_tcp", 0),
        ("equal4", "adaptive", "voice_tcp", 1),
    ]


def test_repetitions_take_the_next_seeds_and_a_row_may_have_a_length_of_its_own():
    fixed = dataclasses.replace(CALL, seconds=25)
    cases = Judged(ROW, fixed, repetitions=2, seed=7).board.cases()
    assert [(case.seed, case.seconds) for case in cases] == [(7, 6), (8, 6), (7, 25), (8, 25)]


def test_another_system_may_be_judged():
    board = Judged(ROW, system="weighted").board
    assert names(board.cases()) == [("equal4", "weighted", "tcp1_down_cubic", 0)]


def test_a_row_is_told_as_soon_as_its_last_measurement_is_there():
    judged = Judged(CALL, ROW, repetitions=3)
    call, row = judged.board.cases()[:3], judged.board.cases()[3:]
    for case, share in zip(row, (0.5, 0.9, 0.95), strict=True):
        assert judged.told == []
        judged.give(case, share=share)
    (line,) = judged.told
    assert "equal4 tcp1_down_cubic" in line
    assert "≥ 0.700   reached" in line
    (told,) = judged.board.rows
    figures = [made(share=share, clock="sim").efficiency["down"] for share in (0.5, 0.9, 0.95)]
    assert told.figure == pytest.approx(figures[1], abs=0.01)
    assert told.spread == pytest.approx((figures[2] - figures[0]) / 2, abs=0.01)
    for case in call:
        judged.give(case, delay=0.05)
    assert judged.board.rows[1].verdict == MISSED
    assert "≤ 45      missed" in judged.told[1]
    assert judged.board.summary() == "1 reached, 1 missed, of 2"
    assert not judged.board.clean


def test_a_row_is_held_to_the_best_of_those_beside_it():
    judged = Judged(BESIDE)
    own, *others = judged.board.cases()
    judged.give(own, share=0.24)
    for case, share in zip(others, (0.9, 0.5), strict=True):
        judged.give(case, share=share)
    (row,) = judged.board.rows
    best = row.beside["single:0"]
    assert best > row.beside["single:1"]
    assert row.limit == pytest.approx(0.97 * best)
    assert row.verdict == (REACHED if row.figure >= row.limit else MISSED)
    assert f"single:0 {best:.2f}" in row.text()


def test_systems_may_be_shown_beside_where_they_carry_the_workload():
    board = Judged(ROW, CALL, clock="lab", also=("mptcp",)).board
    assert names(board.cases()) == [
        ("equal4", "adaptive", "tcp1_down_cubic", 0),
        ("equal4", "mptcp", "tcp1_down_cubic", 0),
        ("equal4", "adaptive", "voice_tcp", 0),
        ("equal4", "mptcp", "voice_tcp", 0),
    ]
    stream = dataclasses.replace(ROW, workload="udp")
    assert len(Judged(stream, clock="lab", also=("mptcp",)).board.cases()) == 1


def test_a_row_without_a_valid_measurement_says_why():
    judged = Judged(ROW)
    (case,) = judged.board.cases()
    judged.board.end(case, campaign.failure_of(case, BenchError("no room")))
    (row,) = judged.board.rows
    assert (row.verdict, row.figure) == (UNKNOWN, None)
    assert "adaptive: no room" in row.text()
    assert not judged.board.clean


def test_a_row_whose_run_was_too_short_has_no_figure():
    again = dataclasses.replace(ROW, workload="pull", reading="use_again")
    judged = Judged(again)
    judged.give(judged.board.cases()[0])
    assert judged.board.rows[0].verdict == UNKNOWN
    assert "the run is too short" in judged.told[0]


def test_a_call_that_lost_too_much_to_have_a_figure_has_missed():
    judged = Judged(CALL)
    (case,) = judged.board.cases()
    result = made(clock="sim", workload="voice_tcp", system="adaptive", seconds=6.0)
    nothing = dataclasses.replace(result.voice.round_trip, p95=None)
    voice = dataclasses.replace(result.voice, round_trip=nothing)
    judged.board.end(case, dataclasses.replace(result, voice=voice))
    assert judged.board.rows[0].verdict == MISSED


def test_no_packet_too_many_is_reached_to_the_number():
    lost = dataclasses.replace(ROW, workload="pull", reading="lost", bound=5)
    for count, verdict in ((5, REACHED), (6, MISSED)):
        judged = Judged(lost)
        (case,) = judged.board.cases()
        ways = {"down": count}
        none = {"down": 0}
        tunnel = Tunnel(sent=ways, received=none, dropped=none, rates={})
        result = made(clock="sim", workload="pull", seconds=6.0)
        judged.board.end(case, dataclasses.replace(result, tunnel=tunnel))
        assert judged.board.rows[0].verdict == verdict
