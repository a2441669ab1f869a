"""The emulator's orders and answers, and how its program comes to be."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.errors import BenchError
from bench.lab import native
from bench.lab.emulator import LATE, Emulator, description, lateness_of
from bench.links.shape import Shape
from tests.replay import replay, sanitized

ONE_LINK = [*description([(Shape(), Shape(), 1500)], None), "start"]


@pytest.fixture(scope="module")
def emulator():
    return sanitized()


@pytest.mark.parametrize(
    "order",
    [
        "",
        "sing",
        "start",
        "link 1500",
        "set 1 up delay 1",
        "set 0 sideways delay 1",
        "set 0 up",
        "set 0 up delay",
        "set 0 up delay 1 2",
        "set 0 up delay -1",
        "set 0 up delay 1e9",
        "set 0 up delay 99999999999999999999",
        "set 0 up steady 0",
        "set 0 up random 9007199254740993",
        "set 0 up stepped 0 0 0 0 0 0",
        "set 0 up stepped 0 0 5 8000000 0 0",
        "set 0 up seed",
        "set 0 up seed -1",
        "set 0 up seed 0x1",
        "set 0 up seed 18446744073709551616",
        "set 0 up stepped 0 3",
        "set 0 up stepped 0 0 0 8000000 0 0 5",
        "set 0 up stepped 0 0 0 8000000 0 0 5 8000000 0",
        "set 0 up stepped 0 0 0 8000000 0 9007199254740993",
        "set 0 up stepped 0 3 0 8000000 0 0 3 1000 0 0",
        "set 0 up recorded 0 1504",
        "set 0 up recorded 0 1504 0 0",
        "set 0 up recorded 0 1504 5 4",
        "set 0 up mask 0 7 7",
        "set 0 up mask 0 9223372036854775807 9223372036854775807",
        "set 0 up others 1500 1000 5 0",
        "set 0 up outages 0",
        "set 0 up outages 0 5",
        "set 0 up outages 0 5 9 20",
        "set 0 up outages 0 9 5",
        "set 0 up outages 0 5 5",
        "set 0 up outages 0 5 9 7 20",
        "set 0 up outages 0 5 9 9 20",
        "set 0 up outages 8 5 9",
        "packet 0 up 0 1",
        "packet 0 up 1500",
        "ledger 0",
        "advance 0 up -1",
    ],
)
def test_an_order_that_cannot_be_is_refused_and_changes_nothing(emulator, order):
    ask = ["packet 0 up 1500 0", "ledger 0 up"]
    *_, refused, first, books = replay(emulator, [*ONE_LINK, order, *ask])
    assert list(refused) == ["error"]
    assert [first, books] == replay(emulator, [*ONE_LINK, *ask])[-2:]


@pytest.mark.parametrize(
    "order",
    [
        "seed 18446744073709551615",
        "stepped 0 0 0 8000000 0 9007199254740992",
        "outages 0 0 1",
        "outages 9 5 7 8 9",
    ],
)
def test_the_largest_numbers_that_can_be_are_taken(emulator, order):
    assert list(replay(emulator, [*ONE_LINK, f"set 0 up {order}"])[-1]) == ["zero"]


def test_nothing_is_restarted_before_it_was_started(emulator):
    assert "error" in replay(emulator, ["link 1500", "restart"])[-1]


def test_after_a_refused_order_the_next_answer_is_still_the_next_questions():
    emulator = Emulator([], [], seed=1)
    try:
        with pytest.raises(BenchError, match=r"no such order.*asked of the emulator: 'sing'"):
            emulator.order("lateness", "sing", "traffic", "dance")
        assert emulator.order("traffic") == [[]]
        assert emulator.lateness().count == 0
    finally:
        emulator.close()


def test_lateness_is_told_in_steps_and_never_beyond_the_longest():
    told = {
        "count": 100,
        "longest": 2_500_000,
        "longest_round": 300_000,
        "step": 10_000,
        "steps": [[0, 60], [10, 38], [249, 2]],
    }
    seen = lateness_of(told, [{"refused": 1, "overrun": 2}, {"refused": 3, "overrun": 0}])
    assert (seen.p50, seen.p99, seen.longest) == (0.00001, 0.0025, 0.0025)
    assert seen.share_late == 0.02
    assert LATE == 0.002
    assert (seen.refused, seen.overrun) == (4, 2)


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(BenchError, match=r"no C compiler 'no-such-compiler'.*install gcc"):
        native.program("emulator")


def test_what_does_not_compile_is_an_error_with_the_compilers_words(tmp_path):
    source = tmp_path / "broken.c"
    source.write_text("int main(void) { return nothing; }\n")
    with pytest.raises(BenchError, match=r"(?s)could not compile broken\.c.*'nothing' undeclared"):
        native.compile_to(tmp_path / "broken", [str(source)], ())
    assert [each.name for each in tmp_path.iterdir()] == ["broken.c"]


def test_laboratories_that_start_at_once_compile_without_harm(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with ThreadPoolExecutor(3) as pool:
        made = {each.result() for each in [pool.submit(native.program, "blast") for _ in range(3)]}
    assert list(tmp_path.rglob("blast*")) == list(made)
    assert subprocess.run([*made], capture_output=True).returncode == 2
