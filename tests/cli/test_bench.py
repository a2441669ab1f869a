"""The laboratory's command line, with fakes in the places of both clocks."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import results
from bench.__main__ import main
from bench.errors import BenchError
from bench.links import modems
from bench.runners import Runners
from tests.results import made, made_of


def simulate(case):
    """Stands in for the simulator, in processes of its own too."""
    if case.system == "xor":
        raise ValueError("a fault of our own")
    if case.system == "rr" and case.seconds == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return made_of(case, clock="sim", wall=0.5)


class Lab:
    """Stands in for the lab, and notes what happens to it."""

    def __init__(self):
        self.events = []
        self.trusted = True
        self.spoilt = {}
        self.left_behind = None

    @contextlib.contextmanager
    def opening(self, scenario, say):
        self.events.append(f"build {scenario}")
        self.note = say
        if self.spoilt.get(scenario):
            raise self.spoilt[scenario]
        try:
            yield self.measure
        finally:
            self.events.append(f"remove {scenario}")
            if self.left_behind:
                raise RuntimeError(self.left_behind)

    def measure(self, case):
        self.events.append(f"{case.system} {case.workload} {case.repetition}")
        if case.system == "xor":
            self.note("once more, for the emulator was late")
        if case.system in self.spoilt:
            raise self.spoilt[case.system]
        return made_of(case, late=case.system == "xor")

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
    monkeypatch.setattr("bench.results.provenance.tree", lambda: "0123456789")

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
    assert done.exit_code == 3
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
    assert done.exit_code == 3
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


def test_a_campaign_begins_anew_when_what_is_measured_has_changed(bench, lab, monkeypatch):
    same = ("run", "equal4", "--systems", "bare", "--seconds", "3")
    bench(*same)
    lab.events.clear()
    monkeypatch.setattr("bench.results.provenance.tree", lambda: "9876543210")
    assert bench(*same, "--resume").exit_code == 0
    assert "bare tcp1_down_cubic 0" in lab.events
    assert [one.versions["tree"] for one in kept()] == ["0123456789", "9876543210"]


def test_a_campaign_goes_on_behind_a_line_that_was_broken_off(bench, lab):
    same = ("run", "equal4", "--systems", "bare,rr", "--seconds", "3")
    bench(*same)
    file = Path("results.jsonl")
    file.write_text(file.read_text()[:-20])
    lab.events.clear()
    done = bench(*same, "--resume")
    assert done.exit_code == 0, done.output
    assert "results.jsonl:2 was broken off and is passed over" in done.output
    assert [event for event in lab.events if "tcp1" in event] == ["rr tcp1_down_cubic 0"]
    assert [one.system for one in kept()] == ["bare", "rr"]


def test_nothing_is_measured_when_results_cannot_be_kept(bench, lab, tmp_path):
    (tmp_path / "file").write_text("")
    for out in ("file/a.jsonl", "/proc/a.jsonl"):
        done = bench("run", "equal4", "--systems", "bare", "--out", out)
        assert done.exit_code == 1
        assert f"bench: cannot write results to {out}: " in done.output.splitlines()[-1]
    assert lab.events == []


def test_a_full_disk_ends_the_campaign_with_a_sentence(bench, lab):
    done = bench("run", "equal4", "cable_adsl", "--systems", "bare,rr", "--out", "/dev/full")
    assert done.exit_code == 1
    assert "cannot write results to /dev/full: No space left on device" in done.output
    assert lab.events == ["check", "build equal4", "bare tcp1_down_cubic 0", "remove equal4"]


def test_a_full_disk_ends_simulations_too(bench):
    done = bench("sim", "equal4", "--systems", "bare,rr", "--jobs", "1", "--out", "/dev/full")
    assert done.exit_code == 1
    assert "cannot write results to /dev/full: No space left on device" in done.output
    assert "0 of 2 measured" in done.output


def test_what_sudo_makes_is_whose_who_asked(bench, monkeypatch):
    owned = {}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, *owner: owned.update({str(path): owner}))
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_GID", "1001")
    same = ("run", "equal4", "--systems", "bare", "--seconds", "3", "--out", "a/b.jsonl")
    bench(*same)
    assert owned == {"a": (1000, 1001), "a/b.jsonl": (1000, 1001)}
    owned.clear()
    bench(*same, "--resume")
    assert owned == {}


def test_what_is_left_behind_is_told_and_counts(bench, lab):
    lab.left_behind = "a namespace is still there"
    done = bench("run", "equal4", "cable_adsl", "--systems", "bare", "--seconds", "3")
    assert done.exit_code == 3
    told = [line for line in done.output.splitlines() if line.startswith("closing ")]
    assert len(told) == 2
    assert "closing equal4: a namespace is still there" in told[0]
    assert [one.valid for one in kept()] == [True, True]


def test_what_is_measured_once_more_is_told_on_a_line(bench):
    done = bench("run", "equal4", "--systems", "xor", "--seconds", "3")
    (told,) = [line for line in done.output.splitlines() if "once more" in line]
    assert "equal4 xor tcp1_down_cubic 1: once more, for the emulator was late" in told


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


def test_ctrl_c_ends_the_campaign_even_when_something_is_left_behind(bench, lab):
    lab.spoilt["rr"] = KeyboardInterrupt()
    lab.left_behind = "a namespace is still there"
    done = bench("run", "equal4", "cable_adsl", "--systems", "bare,rr", "--seconds", "3")
    assert done.exit_code == 130
    assert lab.events[-1] == "remove equal4"
    assert "closing equal4: a namespace is still there" in done.output


def test_sigterm_is_answered_like_ctrl_c(bench, lab, monkeypatch):
    measure = lab.measure

    def terminated(case):
        os.kill(os.getpid(), signal.SIGTERM)
        return measure(case)

    monkeypatch.setattr(lab, "measure", terminated)
    before = signal.getsignal(signal.SIGTERM)
    done = bench("run", "equal4", "--systems", "bare", "--seconds", "3")
    assert done.exit_code == 130
    assert lab.events == ["check", "build equal4", "remove equal4"]
    assert signal.getsignal(signal.SIGTERM) == before


WAITING = """\
import os, signal, sys
from bench.__main__ import main
from bench.runners import Runners

def simulate(case):
    with open(sys.argv[1], "w") as there:  # open as long as this process lives
        print("simulating", file=there, flush=True)
        signal.pause()

main(["sim", "equal4", "--systems", "bare,rr", "--jobs", "2"], obj=Runners(simulate, None, None))
"""


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_simulations_end_with_who_asked_for_them(number, status, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, fifo],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
    )
    try:
        with fifo.open() as there:
            assert [there.readline() for _ in range(2)] == ["simulating\n"] * 2
            process.send_signal(number)
            assert there.read() == ""  # nobody is left that could write
        assert process.wait() == status, process.stderr.read()
    finally:
        process.kill()
        process.communicate()


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
    assert done.exit_code == 3, done.output
    found = {one.system: one for one in kept()}
    assert found["bare"].valid
    assert found["weighted"].valid
    assert found["xor"].reason.startswith("ValueError: a fault of our own (")
    assert "virtual s/s" in done.output


def test_a_simulation_that_is_killed_does_not_end_the_campaign(bench):
    done = bench(
        *("sim", "equal4", "--systems", "rr,bare,weighted", "--seconds", "2", "--jobs", "1")
    )
    assert done.exit_code == 3, done.output
    found = {one.system: one.reason for one in kept()}
    assert found == {
        "rr": "the simulating process was killed",
        "bare": None,
        "weighted": None,
    }


def test_a_plan_measures_its_own_clock(bench, lab):
    done = bench("sim", "--plan", "agreement", "--dry-run")
    assert done.exit_code == 0
    assert "24 measurements" in done.output
    done = bench("sim", "--plan", "quick", "--dry-run")
    assert done.exit_code == 1
    assert "the plan quick has nothing on this clock; use `run`" in done.output


def test_a_plan_may_be_cut_down(bench, lab):
    done = bench(
        *("run", "--plan", "quick", "--systems", "bare", "--workloads", "pages", "--dry-run")
    )
    assert done.output.count("equal4 bare pages 1") == 1


def test_targets_are_measured_and_told_row_by_row(bench):
    done = bench(
        *("targets", "--only", "equal4/tcp1,cable_adsl/voice,equal4/pull/died", "--seconds", "3"),
        *("--repetitions", "1", "--jobs", "2", "--beside", "weighted"),
    )
    assert done.exit_code == 3, done.output
    rows = [line for line in done.output.splitlines() if " ≥ " in line or " ≤ " in line]
    assert len(rows) == 6
    assert len([row for row in rows if row.startswith("equal4 tcp1_")]) == 3
    assert all("(weighted " in row for row in rows)
    assert "1 reached, 5 missed, of 6" in done.output
    assert "10 measurements; about" in done.output
    assert not Path("results.jsonl").exists()


def test_targets_in_the_lab_begin_with_a_check_and_share_networks(bench, lab):
    done = bench(
        *("targets", "--clock", "lab", "--only", "equal4/tcp1,cable_adsl/tcp1"),
        *("--seconds", "3", "--repetitions", "2"),
    )
    assert done.exit_code == 3, done.output
    assert lab.events[:2] == ["check", "build equal4"]
    assert lab.events.count("adaptive tcp1_up_cubic 1") == 2
    assert len([event for event in lab.events if event.startswith("build ")]) == 2


def test_targets_go_on_with_what_is_missing_and_tell_all_rows(bench, lab):
    same = ("targets", "--clock", "lab", "--only", "equal4/tcp1", "--seconds", "3")
    lab.spoilt["adaptive"] = KeyboardInterrupt()
    done = bench(*same, "--repetitions", "1", "--out", "t.jsonl")
    assert done.exit_code == 130
    lab.spoilt.clear()
    bench(*same, "--repetitions", "1", "--out", "t.jsonl", "--resume")
    lab.events.clear()
    done = bench(*same, "--repetitions", "1", "--out", "t.jsonl", "--resume")
    assert lab.events == []
    assert "0 measurements" in done.output
    assert done.output.count("equal4 tcp1_") == 3
    assert len(kept("t.jsonl")) == 3


def test_targets_can_be_named_without_being_measured(bench, lab):
    done = bench("targets", "--clock", "lab", "--only", "lossy3", "--dry-run")
    assert done.exit_code == 0
    assert "table      lossy3/voice_tcp/voice_300" in done.output
    assert lab.events == []


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
        (["targets", "--only", "equl4"], "nothing is held to 'equl4' on the sim clock"),
        (["targets", "--system", "adaptiv"], "did you mean adaptive"),
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


def test_blocks_for_which_there_is_nothing_are_named(bench, tmp_path):
    results.append(tmp_path / "a.jsonl", [made()])
    kept, lab, sim = (f"overview {what} efficiency" for what in ("lab udp", "lab quic", "sim udp"))
    pages = [("provenance", ""), (kept, "old\n"), (lab, ""), (sim, "")]
    text = "".join(f"<!-- made: {what} -->\n{old}<!-- end -->\n" for what, old in pages)
    (tmp_path / "page.md").write_text(text)
    done = bench("docs", "a.jsonl", "--out", "page.md")
    assert done.exit_code == 1
    assert f"as they were, for want of results: {kept}\n" in done.output
    assert f"bench: page.md has nothing to show in {lab}; the rest is done" in done.output
    assert "* 1 measurement of 6 s each" in (tmp_path / "page.md").read_text()


@pytest.mark.parametrize(
    "arguments", [["docs", "a.jsonl", "--out", "page.md"], ["report", "a.jsonl"]]
)
def test_what_the_system_denies_is_a_sentence(bench, tmp_path, monkeypatch, arguments):
    results.append(tmp_path / "a.jsonl", [made()])
    (tmp_path / "page.md").write_text("<!-- made: provenance -->\n<!-- end -->\n")

    def deny(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "write_text", deny)
    done = bench(*arguments, *(["--no-plots"] if arguments[0] == "report" else []))
    assert done.exit_code == 1
    assert done.output.startswith("bench: ")
    assert done.output.endswith(".md: Permission denied\n")


def test_traces_are_generated_and_described(bench, tmp_path):
    written = bench("trace", "write", "hspa", "down", "x.down", "--seed", "3", "--seconds", "20")
    assert written.exit_code == 0, written.output
    shown = bench("trace", "show", "x.down")
    assert shown.output == written.output
    assert shown.output.startswith("x.down: 20 s, mean ")


def test_traces_are_compared_in_a_table(bench, monkeypatch):
    monkeypatch.setattr(modems, "PRESETS", {"hspa": modems.PRESETS["hspa"]})
    compared = bench("trace", "compare")
    assert compared.exit_code == 0, compared.output
    assert compared.output == modems.comparison_table()


def test_a_trace_that_cannot_be_written_is_named(bench):
    refused = bench("trace", "write", "hspa", "down", "no/x.down")
    assert refused.exit_code == 1
    assert refused.output == "bench: cannot write the trace no/x.down: No such file or directory\n"
