"""The verbs about the fast path: what they say, and with which status they end."""

import json
import os

import pytest
from click.testing import CliRunner

from bench import keeping, results
from bench.__main__ import main
from bench.fast import run
from bench.micro.makes import IN_USE
from tests.unit.test_fast_bounds import result

DOWN = "tcp1_down_cubic"


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, arguments)


def test_single_steps_are_told_a_line_each_and_kept(bench, tmp_path):
    done = bench(
        *(
            "micro",
            "--make",
            IN_USE,
            "--only",
            "aes,cut/1",
            "--repetitions",
            "2",
            "--seconds",
            "0.001",
        ),
        *("--out", "micro.json"),
    )
    assert done.exit_code == 0, done.output
    assert [line.split()[:3] for line in done.output.splitlines()] == [
        [item, batch, IN_USE] for item, batch in (("aes", "1"), ("aes", "44"), ("cut", "1"))
    ]
    kept = json.loads((tmp_path / "micro.json").read_text())
    assert [figure["item"] for figure in kept["figures"]] == ["aes", "aes", "cut"]
    assert all(figure["nanoseconds"] > 0 for figure in kept["figures"])
    assert kept["versions"]["tree"] == results.versions()["tree"]


def test_every_make_is_measured_by_a_process_of_its_own(bench, tmp_path, capfd):
    done = bench(
        *("micro", "--only", "cut/44", "--repetitions", "1", "--seconds", "0.001"),
        *("--out", "micro.json"),
    )
    assert done.exit_code == 0, done.output
    made = [line.split()[2] for line in capfd.readouterr().out.splitlines()]
    assert made == ["python", "kernel", "compiled"]
    kept = json.loads((tmp_path / "micro.json").read_text())
    assert [figure["made"] for figure in kept["figures"]] == made


def test_an_item_that_is_none_is_an_error_before_anything_is_measured(bench):
    done = bench("micro", "--only", "sael")
    assert done.exit_code == 1
    assert "there is no item 'sael'; did you mean seal" in done.output


def test_without_a_counter_no_instructions_are_told(bench, monkeypatch):
    monkeypatch.setattr("bench.micro.instructions.counter", lambda: None)
    done = bench(
        *("micro", "--make", IN_USE, "--only", "aes/1", "--repetitions", "1"),
        *("--seconds", "0.001", "--instructions"),
    )
    assert "neither perf's counters nor valgrind is there" in done.output
    assert "instr." not in done.output


def test_a_dry_run_names_visits(bench):
    done = bench("fast", "--dry-run", "--repetitions", "1", "--systems", "veth,mpbond:2")
    assert done.exit_code == 0, done.output
    assert [line.partition(":")[0] for line in done.output.splitlines()] == [
        *("wires veth", "wires mpbond", "fast2 mpbond"),
    ]


@pytest.mark.parametrize(
    ("rate", "core", "status"), [(900e6, "pure", 0), (900e6, "compiled", 3), (500e6, "pure", 3)]
)
def test_files_are_shown_and_judged(bench, tmp_path, rate, core, status):
    found = [result("mpbond:1", DOWN, rate=rate), result("wireguard", DOWN, rate=450e6)]
    results.append(tmp_path / "fast.jsonl", found)
    done = bench("fast", "fast.jsonl", "--core", core)
    assert done.exit_code == status, done.output
    assert f"{rate / 1e6:.0f} ({rate / 450e6:.2f})" in done.output
    assert "450 (1.00)" in done.output


def test_what_does_not_count_is_told_and_is_no_success(bench, tmp_path):
    results.append(tmp_path / "fast.jsonl", [result("fastd", DOWN, valid=False, reason="it ended")])
    done = bench("fast", "fast.jsonl")
    assert done.exit_code == 3
    assert "not counted: wires fastd tcp1_down_cubic: it ended" in done.output


def test_files_without_anything_of_the_fast_path_are_an_error(bench, tmp_path):
    (tmp_path / "empty.jsonl").touch()
    done = bench("fast", "empty.jsonl")
    assert done.exit_code == 1
    assert "bench: there is nothing to show" in done.output


@pytest.fixture
def measured(monkeypatch):
    """Stands in for namespaces."""
    asked = []

    def measure(how, record, _say):
        asked.append(how)
        one = result("mpbond:1", DOWN, rate=900e6)
        record(one)
        return [one]

    monkeypatch.setattr(run, "measure", measure)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return asked


def test_what_is_asked_for_is_measured_and_kept_with_its_command(
    bench, measured, tmp_path, monkeypatch
):
    monkeypatch.setattr("sys.argv", ["x", "fast", "--out", "fast.jsonl"])
    done = bench(
        *("fast", "--systems", "veth,mpbond", "--workloads", "tcp1", "--seconds", "2"),
        *("--repetitions", "3", "--out", "fast.jsonl"),
    )
    assert done.exit_code == 0, done.output
    (how,) = measured
    assert [tunnel.name for tunnel in how.tunnels] == ["veth", "mpbond:1"]
    assert how.workloads == (DOWN, "tcp1_up_cubic")
    assert (how.seconds, how.repetitions) == (2.0, 3)
    (kept,) = results.read(tmp_path / "fast.jsonl")
    assert kept.command == "python -m bench fast --out fast.jsonl"


def test_wires_need_root(bench, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = bench("fast")
    assert done.exit_code == 1
    assert "run this as root" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--systems", "ipsec"), "no system 'ipsec'"),
        (("--workloads", "sctp"), "no workload 'sctp'"),
    ],
)
def test_a_wrong_name_is_one_sentence(bench, measured, arguments, said):
    done = bench("fast", *arguments)
    assert done.exit_code == 1
    assert f"bench: there is {said}" in done.output


def test_a_result_is_kept_by_versions_of_the_start(tmp_path):
    keeping.prepare(tmp_path / "new" / "file.jsonl")
    keep = keeping.recorder(tmp_path / "new" / "file.jsonl", wall=3.0)
    keep(result("veth", DOWN, rate=1e9))
    (one,) = results.read(tmp_path / "new" / "file.jsonl")
    assert one.wall == 3.0
    assert one.versions["commit"] == results.versions()["commit"]
