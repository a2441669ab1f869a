"""The laboratory's command line, with fakes in the places of both clocks."""

import contextlib
import os
import signal

import pytest
from click.testing import CliRunner

from bench import results
from bench.__main__ import main
from bench.errors import BenchError
from bench.runners import Runners
from tests.results import made


def simulate(case):
    """Stands in for the simulator, in processes of its own too."""
    if case.system == "xor":
        raise ValueError("a fault of our own")
    if case.system == "rr" and case.seconds == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return made(
        clock="sim",
        scenario=case.scenario,
        system=case.system,
        workload=case.workload,
        seed=case.seed,
        repetition=case.repetition,
        seconds=case.seconds,
        wall=0.5,
    )


class Lab:
    """Stands in for the lab, and notes what happens to it."""

    def __init__(self):
        self.events = []
        self.trusted = True
        self.spoilt = {}

    @contextlib.contextmanager
    def opening(self, scenario, say):
        self.events.append(f"build {scenario}")
        if self.spoilt.get(scenario):
            raise self.spoilt[scenario]
        try:
            yield self.measure
        finally:
            self.events.append(f"remove {scenario}")

    def measure(self, case):
        self.events.append(f"{case.system} {case.workload} {case.repetition}")
        if case.system in self.spoilt:
            raise self.spoilt[case.system]
        return made(
            scenario=case.scenario,
            system=case.system,
            workload=case.workload,
            seed=case.seed,
            repetition=case.repetition,
            seconds=case.seconds,
            late=case.system == "xor",
        )

    def check(self):
        self.events.append("check")
        return {"ok": self.trusted, "text": "rates within 1 %", "loads": {}}


@pytest.fixture
def lab():
    return Lab()


@pytest.fixture
def bench(lab, tmp_path, monkeypatch):
    """Runs the command line in a directory of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        runners = Runners(simulate, lab.opening, lab.check)
        return CliRunner().invoke(main, [str(arg) for arg in args], obj=runners, prog_name="bench")

    return run


def test_everything_is_named_in_a_line_each(bench):
    done = bench("list")
    assert done.exit_code == 0
    for word in ("equal4", "mq_baseline", "weighted", "voice_tcp", "trouble", "quick", "agreement"):
        assert len([line for line in done.output.splitlines() if f"  {word} " in line]) == 1


def test_one_kind_can_be_named(bench):
    done = bench("list", "systems")
    assert "mptcp" in done.output
    assert "equal4" not in done.output


def test_measurements_in_the_lab_begin_with_a_check_and_share_networks(bench, lab):
    done = bench(
        *("run", "equal4", "cable_adsl", "--systems", "bare,rr", "--seconds", "3"),
        *("--repetitions", "2", "--out", "found/a.jsonl"),
    )
    assert done.exit_code == 0, done.output
    assert lab.events == [
        *("check", "build equal4"),
        *("bare tcp1_down_cubic 0", "rr tcp1_down_cubic 0"),
        *("bare tcp1_down_cubic 1", "rr tcp1_down_cubic 1"),
        *("remove equal4", "build cable_adsl"),
        *("bare tcp1_down_cubic 0", "rr tcp1_down_cubic 0"),
        *("bare tcp1_down_cubic 1", "rr tcp1_down_cubic 1"),
        "remove cable_adsl",
    ]
    assert "8 measurements; about" in done.output
    assert "rates within 1 %" in done.output
    assert "8 of 8 measured, in found/a.jsonl" in done.output


def kept(path="results.jsonl"):
    from pathlib import Path

    return results.read(Path(path))


def test_results_say_by_what_they_were_asked_for_and_what_the_check_found(bench, monkeypatch):
    monkeypatch.setattr("sys.argv", ["x", "run", "equal4"])
    bench("run", "equal4", "--systems", "bare", "--seconds", "3")
    (result,) = kept()
    assert result.command == "python -m bench run equal4"
    assert result.check == {"ok": True, "loads": {}}


def test_nothing_is_measured_by_an_emulator_that_is_not_to_be_trusted(bench, lab):
    lab.trusted = False
    done = bench("run", "equal4")
    assert done.exit_code == 1
    assert "bench: the emulator does not keep its rates" in done.output
    assert lab.events == ["check"]
    assert bench("run", "equal4", "--no-check", "--systems", "bare").exit_code == 0


def test_a_failed_measurement_is_recorded_and_the_rest_goes_on(bench, lab):
    lab.spoilt["rr"] = BenchError("the server did not start")
    done = bench("run", "equal4", "--systems", "bare,rr,weighted", "--seconds", "3")
    assert done.exit_code == 1
    assert "the server did not start" in done.output
    assert "1 of them failed" in done.output
    assert [(one.system, one.valid, one.reason) for one in kept()] == [
        ("bare", True, None),
        ("rr", False, "the server did not start"),
        ("weighted", True, None),
    ]
    assert lab.events[-1] == "remove equal4"


def test_a_network_that_cannot_be_built_fails_its_measurements_only(bench, lab):
    lab.spoilt["equal4"] = RuntimeError("no room")
    done = bench("run", "equal4", "cable_adsl", "--systems", "bare,rr", "--seconds", "3")
    assert done.exit_code == 1
    assert [(one.scenario, one.reason) for one in kept()] == [
        *[("equal4", "no room")] * 2,
        *[("cable_adsl", None)] * 2,
    ]


def test_a_campaign_goes_on_with_what_is_missing(bench, lab):
    lab.spoilt["rr"] = BenchError("the server did not start")
    same = ("run", "equal4", "--systems", "bare,rr,xor", "--seconds", "3")
    bench(*same)
    lab.spoilt.clear()
    lab.events.clear()
    done = bench(*same, "--resume")
    assert "2 measurements, 1 are there already" in done.output
    assert [event for event in lab.events if "tcp1" in event] == [
        *("rr tcp1_down_cubic 0", "xor tcp1_down_cubic 0"),  # the latter was not valid
    ]
    assert [(one.system, one.valid) for one in kept()] == [
        *(("bare", True), ("rr", True), ("xor", False)),
    ]


def test_a_campaign_that_is_complete_measures_nothing(bench, lab):
    same = ("run", "equal4", "--systems", "bare", "--seconds", "3")
    bench(*same)
    lab.events.clear()
    done = bench(*same, "--resume")
    assert done.exit_code == 0
    assert lab.events == []


def test_results_are_not_mixed_unawares(bench, lab):
    bench("run", "equal4", "--systems", "bare", "--seconds", "3")
    done = bench("run", "equal4", "--systems", "bare", "--seconds", "3")
    assert done.exit_code == 1
    assert "results.jsonl has results already; --resume goes on with it" in done.output


def test_ctrl_c_removes_the_network_and_keeps_what_is_there(bench, lab):
    lab.spoilt["rr"] = KeyboardInterrupt()
    done = bench("run", "equal4", "--systems", "bare,rr,weighted", "--seconds", "3")
    assert done.exit_code == 130
    assert lab.events[-1] == "remove equal4"
    assert [one.system for one in kept()] == ["bare"]
    assert "1 of 3 measured" in done.output
    assert "--resume measures what is missing" in done.output


def test_a_dry_run_names_measurements_and_makes_none(bench, lab):
    done = bench("run", "equal4", "--systems", "bare,rr", "--dry-run")
    assert done.exit_code == 0
    assert "equal4 bare tcp1_down_cubic 1\nequal4 rr tcp1_down_cubic 1\n" in done.output
    assert lab.events == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_simulations_run_in_processes_and_failures_are_recorded(bench, jobs):
    done = bench(
        *("sim", "equal4", "--systems", "bare,xor,weighted", "--seconds", "3"),
        *("--jobs", jobs),
    )
    assert done.exit_code == 1, done.output
    found = {one.system: one for one in kept()}
    assert found["bare"].valid
    assert found["weighted"].valid
    assert found["xor"].reason.startswith("ValueError: a fault of our own (")
    assert "virtual s/s" in done.output


def test_a_simulation_that_is_killed_does_not_end_the_campaign(bench):
    done = bench(
        *("sim", "equal4", "--systems", "rr,bare,weighted", "--seconds", "2", "--jobs", "1")
    )
    assert done.exit_code == 1, done.output
    found = {one.system: one.reason for one in kept()}
    assert found == {
        "rr": "the simulating process was killed",
        "bare": None,
        "weighted": None,
    }


def test_a_plan_measures_its_own_clock(bench, lab):
    done = bench("sim", "--plan", "agreement", "--dry-run")
    assert done.exit_code == 0
    assert "18 measurements" in done.output
    done = bench("sim", "--plan", "quick", "--dry-run")
    assert done.exit_code == 1
    assert "the plan quick has nothing on this clock; use `run`" in done.output


def test_a_plan_may_be_cut_down(bench, lab):
    done = bench(
        *("run", "--plan", "quick", "--systems", "bare", "--workloads", "pages", "--dry-run")
    )
    assert done.output.count("equal4 bare pages 1") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run"], "name scenarios or a --plan, not both"),
        (["run", "equal4", "--plan", "quick"], "name scenarios or a --plan, not both"),
        (["run", "equl4"], "equal4"),
        (["sim", "equal4", "--systems", "weigted"], "did you mean weighted"),
        (["sim", "equal4", "--workloads", "voice_tpc"], "did you mean voice_tcp"),
        (["run", "--plan", "quik"], "did you mean quick"),
        (["sim", "equal4", "--systems", "mptcp"], "nothing can be measured"),
        (["report", "nowhere.jsonl"], "cannot read results from nowhere.jsonl"),
        (["trace", "write", "hspaa", "down", "x"], "there is no modem 'hspaa'; did you mean hspa"),
    ],
)
def test_what_is_wrong_is_one_sentence(bench, arguments, complaint):
    done = bench(*arguments)
    assert done.exit_code == 1
    assert done.output.startswith("bench: ")
    assert complaint in done.output
    assert len(done.output.splitlines()) == 1


def test_a_report_is_made_of_files(bench, tmp_path):
    results.append(tmp_path / "a.jsonl", [made()])
    results.append(tmp_path / "b.jsonl", [made(system="bare")])
    done = bench("report", "a.jsonl", "b.jsonl", "--out", "made", "--no-plots")
    assert done.output == "made/report.md tells of 2 measurements\n"
    assert "`weighted`" in (tmp_path / "made/report.md").read_text()


def test_two_files_are_compared(bench, tmp_path):
    results.append(tmp_path / "a.jsonl", [made(share=0.5)])
    results.append(tmp_path / "b.jsonl", [made(share=0.9)])
    done = bench("compare", "a.jsonl", "b.jsonl")
    assert done.exit_code == 0
    assert "**better**" in done.output


def test_the_page_of_benchmarks_is_renewed(bench, tmp_path):
    results.append(tmp_path / "a.jsonl", [made()])
    (tmp_path / "page.md").write_text("<!-- made: provenance -->\n<!-- end -->\n")
    done = bench("docs", "a.jsonl", "--out", "page.md")
    assert done.output == "page.md is up to date\n"
    assert "* 1 measurement of 6 s each" in (tmp_path / "page.md").read_text()


def test_traces_are_generated_and_described(bench, tmp_path):
    written = bench("trace", "write", "hspa", "down", "x.down", "--seed", "3", "--seconds", "20")
    assert written.exit_code == 0, written.output
    shown = bench("trace", "show", "x.down")
    assert shown.output == written.output
    assert shown.output.startswith("x.down: 20 s, mean ")
