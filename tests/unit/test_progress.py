"""The display of a campaign says how long it will still take, and leaves a line of everything."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from bench import plans
from bench.progress import Display
from tests.results import made

CASES = plans.cases(
    plans.Part(
        clock="lab",
        scenarios=("equal4",),
        systems=("bare", "rr", "weighted"),
        workloads=("tcp1_down_cubic",),
        seconds=2.0,
    )
)


@pytest.fixture
def shown():
    """A display, what it has written, and a function that moves its clock."""
    now = [100.0]
    console = Console(file=io.StringIO(), width=120)
    display = Display(CASES, Path("x.jsonl"), console=console, clock=lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return display, console.file, wait


def finish(display, number, **more):
    case = CASES[number]
    display.begin(case)
    display.end(case, made(system=case.system, seconds=2.0, **more))


def test_the_time_to_go_begins_with_the_estimate_and_goes_down(shown):
    display, _, wait = shown
    estimate = plans.estimate(CASES)
    assert display.to_go() == estimate
    wait(5)
    assert display.to_go() == pytest.approx(estimate - 5)
    wait(1000)
    assert display.to_go() == 0


def test_the_time_to_go_follows_what_measurements_really_take(shown):
    display, _, wait = shown
    first, rest = plans.estimate(CASES[:1]), plans.estimate(CASES) - plans.estimate(CASES[:1])
    wait(3 * first)
    finish(display, 0)
    assert display.to_go() == pytest.approx(3 * rest)
    wait(5)
    assert display.to_go() == pytest.approx(3 * rest - 5)


def test_every_measurement_leaves_a_line_and_the_end_sums_up(shown):
    display, written, _ = shown
    with display:
        finish(display, 0)
        finish(display, 1, late=True)
        finish(display, 2)
    lines = written.getvalue().splitlines()
    assert "1 of 3  equal4 bare tcp1_down_cubic 1" in lines[0]
    assert "of what was offered" in lines[0]
    assert "the emulator was late" in lines[1]
    assert lines[-1].startswith("3 of 3 measured, in x.jsonl; 1 of them failed")


def test_without_a_terminal_each_line_has_the_time_to_go(shown):
    display, written, wait = shown
    wait(plans.estimate(CASES[:1]))
    finish(display, 0)
    display.note("something")
    rest = plans.duration(plans.estimate(CASES) - plans.estimate(CASES[:1]))
    assert [line.endswith(f"({rest} to go)") for line in written.getvalue().splitlines()] == [
        True
    ] * 2


def test_what_happens_besides_has_a_line_that_names_the_measurement(shown):
    display, written, _ = shown
    display.begin(CASES[1])
    display.note("once more, for the emulator was late")
    (line,) = written.getvalue().splitlines()
    assert "equal4 rr tcp1_down_cubic 1: once more, for the emulator was late" in line
    assert display.clean


def test_what_is_left_behind_has_a_line_and_counts(shown):
    display, written, _ = shown
    with display:
        display.fault("closing equal4: a namespace is still there")
    lines = written.getvalue().splitlines()
    assert lines[0].startswith("closing equal4: a namespace is still there")
    assert "not all was taken down" in lines[1]
    assert not display.clean


def test_on_a_terminal_lines_stay_above_the_bar():
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with Display(CASES, Path("x.jsonl"), console=console) as display:
        display.note("once more")
    written = console.file.getvalue()
    assert "once more\n" in written
    assert "once more  (" not in written
