"""scripts/bench, with stand-ins for what it sources and calls."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/bench"

BOOTSTRAP = """\
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/bin/python
log=$root/log
echo "namespaces ${namespaces:-yes}, others ${others:-no}" >>"$root/calls"
[ "${counting:-no}" = no ] || echo "counting $counting" >>"$root/calls"
fail() { echo "mpbond: $*" >&2; exit 1; }
"""
PROGRAMS = {
    "python": 'echo "$*" >>calls\ncase "$*" in *"${FAILING:-none}"*) exit $STATUS ;; esac',
    "sudo": 'echo "results: $(ls -d results 2>/dev/null)" >>calls\nexec "$@"',
    "id": "echo ${ID:-0}",
}
PAGE = [
    "-m bench run --plan agreement --out results/lab.jsonl --resume",
    "-m bench run --plan quick --out results/lab.jsonl --resume",
    "-m bench sim --plan agreement --out results/sim.jsonl --resume",
    "-m bench sim --plan sim-all --out results/sim.jsonl --resume",
    "-m bench docs results/lab.jsonl results/sim.jsonl",
    "-m bench docs results/lab.jsonl results/sim.jsonl --out README.md",
]


@pytest.fixture
def script(tmp_path):
    """Runs the script, and returns its status and what it has sourced and called."""
    for directory in ("scripts", "bin"):
        (tmp_path / directory).mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts/bench")
    (tmp_path / "scripts/bootstrap").write_text(BOOTSTRAP)
    for name, text in PROGRAMS.items():
        (tmp_path / "bin" / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    def run(*arguments, **environment):
        done = subprocess.run(
            [tmp_path / "scripts/bench", *arguments],
            env=os.environ
            | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
            | {name: str(value) for name, value in environment.items()},
            capture_output=True,
            text=True,
            check=False,
        )
        calls = tmp_path / "calls"
        return done.returncode, calls.read_text().splitlines() if calls.exists() else []

    return run


def test_the_page_is_measured_on_both_clocks_and_written(script):
    status, calls = script("page")
    assert status == 0
    assert calls[1:] == PAGE


@pytest.mark.parametrize(("word", "status"), [("-h", 0), ("--help", 0), ("equal4", 2)])
def test_whoever_asks_what_the_page_is_does_not_start_an_hour_of_measuring(script, word, status):
    assert script("page", word) == (status, [])


@pytest.mark.parametrize("step", [0, 1, 2, 3])
@pytest.mark.parametrize("status", [1, 2, 130])
def test_a_step_that_is_broken_off_or_goes_wrong_is_the_last(script, step, status):
    ended, calls = script("page", FAILING=PAGE[step], STATUS=status)
    assert ended == status
    assert calls[1:] == PAGE[: step + 1]


@pytest.mark.parametrize("step", [0, 2])
def test_measurements_that_cannot_be_used_do_not_keep_the_page_from_being_written(script, step):
    status, calls = script("page", FAILING=PAGE[step], STATUS=3)
    assert status == 3
    assert calls[1:] == PAGE


def test_the_lab_is_entered_by_sudo_with_a_directory_of_ones_own(script):
    status, calls = script("page", ID=1000)
    assert status == 0
    assert [call for call in calls[1:] if call != "results: results"] == PAGE
    assert calls.count("results: results") == 2


@pytest.mark.parametrize("verb", ["list", "sim", "report", "compare", "docs", "trace", "--help"])
def test_what_makes_no_namespaces_needs_neither_their_programs_nor_root(script, verb):
    status, calls = script(verb, ID=1000)
    assert status == 0
    assert calls == ["namespaces no, others no", f"-m bench {verb}"]


@pytest.mark.parametrize("verb", ["run", "page"])
def test_other_tunnels_are_there_where_they_are_measured(script, verb):
    assert script(verb)[1][0] == "namespaces yes, others yes"


@pytest.mark.parametrize("status", [0, 1, 2, 3, 130])
def test_the_status_of_a_verb_is_that_of_the_script(script, status):
    assert script("run", FAILING="run", STATUS=status)[0] == status


def test_targets_need_root_in_namespaces_only(script):
    status, calls = script("targets", "--only", "equal4", ID=1000)
    assert status == 0
    assert calls == ["namespaces no, others no", "-m bench targets --only equal4"]


@pytest.mark.parametrize("clock", [["--clock", "lab"], ["--clock=lab"]])
def test_targets_in_namespaces_are_entered_by_sudo(script, clock):
    status, calls = script("targets", *clock, ID=1000)
    assert status == 0
    assert calls[0] == "namespaces yes, others no"
    assert calls[-1] == " ".join(["-m bench targets", *clock])
    assert calls[1].startswith("results:")


def test_the_fast_path_is_measured_beside_other_tunnels(script):
    status, calls = script("fast", "--repetitions", "1")
    assert status == 0
    assert calls == ["namespaces yes, others yes", "-m bench fast --repetitions 1"]


def test_single_steps_need_neither_namespaces_nor_root(script):
    assert script("micro", ID=1000)[1] == ["namespaces no, others no", "-m bench micro"]


def test_a_program_to_count_instructions_is_there_where_they_are_counted(script):
    assert "counting yes" not in script("micro", "--only", "seal")[1]
    assert "counting yes" in script("micro", "--instructions")[1]
