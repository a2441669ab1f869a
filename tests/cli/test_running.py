"""`mpbond client` and `mpbond server`: what reaches the runtime, and how its failures are told."""

from __future__ import annotations

import logging
import subprocess
import sys
import types

import pytest

from mpbond import __version__, config
from mpbond.config import keys
from mpbond.core.kernel import in_use
from mpbond.errors import PlatformError

OTHER = keys.encode(keys.public_key_of(bytes([8]) * 32))


@pytest.fixture(autouse=True)
def quiet_log():
    logger = logging.getLogger("mpbond")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.fixture
def runtime(monkeypatch):
    """A runtime that notes what it is asked to run and ends with `result`, or raises it."""
    module = types.ModuleType("mpbond.runtime.daemon")
    calls = []
    state = types.SimpleNamespace(calls=calls, result=0)

    def run(role):
        def runner(configuration, *, dry_run):
            calls.append((role, configuration, dry_run))
            if isinstance(state.result, Exception):
                raise state.result
            return state.result

        return runner

    module.run_client, module.run_server = run("client"), run("server")
    monkeypatch.setitem(sys.modules, "mpbond.runtime.daemon", module)
    return state


@pytest.fixture
def files(mpbond, tmp_path):
    mpbond("init", "server", "--dir", tmp_path)
    mpbond("init", "client", "--dir", tmp_path, "--server-key", OTHER, "--endpoint", "a.b:1")
    return tmp_path


@pytest.mark.parametrize("role", ["client", "server"])
def test_the_configuration_reaches_the_runtime(mpbond, runtime, files, role):
    path = files / f"{role}.toml"
    assert mpbond(role, "--config", path).exit_code == 0
    assert runtime.calls == [(role, config.load(path), False)]


def test_dry_run_is_passed_on(mpbond, runtime, files):
    mpbond("client", "-c", files / "client.toml", "--dry-run")
    assert runtime.calls[0][2] is True


def test_verbose_goes_over_the_log_level_of_the_file(mpbond, runtime, files):
    mpbond("server", "-c", files / "server.toml")
    assert logging.getLogger("mpbond").level == logging.INFO
    mpbond("server", "-v", "-c", files / "server.toml")
    assert runtime.calls[1][1].log_level == "debug"
    assert logging.getLogger("mpbond").level == logging.DEBUG


def test_the_path_can_come_from_the_environment(mpbond, runtime, files, monkeypatch):
    monkeypatch.setenv("MPBOND_CONFIG", str(files / "client.toml"))
    assert mpbond("client").exit_code == 0


def test_the_runtimes_exit_status_is_the_programs(mpbond, runtime, files):
    runtime.result = 3
    assert mpbond("client", "-c", files / "client.toml").exit_code == 3


def test_a_failure_of_the_runtime_is_one_sentence(mpbond, runtime, files):
    runtime.result = PlatformError("UDP port 4510 is in use; stop what uses it.")
    result = mpbond("server", "-c", files / "server.toml")
    assert (result.exit_code, result.stderr) == (
        1,
        "mpbond: UDP port 4510 is in use; stop what uses it.\n",
    )


@pytest.mark.parametrize(("role", "other"), [("client", "server"), ("server", "client")])
def test_the_file_of_the_other_side_is_refused(mpbond, runtime, files, role, other):
    path = files / f"{other}.toml"
    result = mpbond(role, "-c", path)
    assert (result.exit_code, runtime.calls) == (1, [])
    assert result.stderr == (
        f"mpbond: {path}: is a {other}'s configuration; run mpbond {other} --config {path}.\n"
    )


def test_a_wrong_use_ends_with_two(mpbond):
    assert mpbond("client", "--no-such-option").exit_code == 2
    assert mpbond("no-such-verb").exit_code == 2


@pytest.mark.parametrize("arguments", [["--version"], ["-h"], ["status", "--help"]])
def test_the_module_is_the_program_and_loads_no_runtime_for_small_things(arguments):
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['mpbond', *{arguments!r}]\n"
        "try:\n    runpy.run_module('mpbond', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "assert 'mpbond.runtime.daemon' not in sys.modules\n"
        "assert 'asyncio' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mpbond" in done.stdout


def test_the_version_says_whether_the_compiled_kernel_is_in_use(mpbond):
    result = mpbond("--version")
    assert result.stdout == f"mpbond {__version__}\nfast path: {in_use()}\n"


def test_completion_is_offered_by_click():
    code = "from mpbond.cli import main; main(prog_name='mpbond')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"_MPBOND_COMPLETE": "zsh_source"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "#compdef mpbond" in done.stdout
