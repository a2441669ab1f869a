"""Network namespaces of one laboratory run: made, entered, and always removed.

Every namespace is called `mpb<pid>x<n>-<name>`, so that runs do not meet. A run has a directory
`/run/mpbond-lab/<pid>x<n>` for its files, and while it lives it holds a lock there; the kernel lets
go of it however the run ends. A namespace whose lock is free is therefore left over from a run that
was killed: the next run ends what still runs inside and removes it. Nothing here touches the
namespace it was started in.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RUNS = Path("/run/mpbond-lab")
NAMED = Path("/run/netns")
REPOSITORY = Path(__file__).resolve().parents[2]
RUN = re.compile(r"\d+x\d+")
NAME = re.compile(rf"mpb(?P<run>{RUN.pattern})-")

_serial = itertools.count()


class LabError(BenchError):
    """The laboratory could not be built or used."""


class Namespaces:
    """The namespaces of one run, and the processes started inside."""

    def __init__(self) -> None:
        self.run_id = f"{os.getpid()}x{next(_serial)}"
        self._names: list[str] = []
        self._children: list[subprocess.Popen[str]] = []
        self._lock: IO[str] | None = None

    @property
    def directory(self) -> Path:
        """Where the run keeps its files; readable by root only, and removed at the end."""
        return RUNS / self.run_id

    def open(self) -> None:
        """Takes this run's lock and removes what killed runs have left."""
        if os.geteuid() != 0:
            raise LabError("the laboratory makes network namespaces and must be run as root")
        RUNS.mkdir(exist_ok=True)
        with (RUNS / "starting").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)  # else another start sees a run without its lock
            for run_id in leftovers():  # a killed run may even have had this process id
                remove(run_id)
            self.directory.mkdir(mode=0o700)
            self._lock = (self.directory / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def add(self, name: str) -> None:
        """Makes the namespace `name` with its loopback device up."""
        self._names.append(name)
        command("ip", "netns", "add", self.full(name))
        # an address must be usable at once, not after a second of duplicate detection
        self.sysctl(name, {"net/ipv6/conf/default/accept_dad": 0})
        self.ip(name, "link set lo up")

    def full(self, name: str) -> str:
        """Returns the name under which `ip netns` knows the namespace."""
        return f"mpb{self.run_id}-{name}"

    def ip(self, name: str, *lines: str) -> None:
        """Runs lines of the `ip` command in one namespace, in one process."""
        command("ip", "-n", self.full(name), "-batch", "-", feed="\n".join(lines) + "\n")

    def nft(self, name: str, rules: str) -> None:
        """Applies nft rules in one namespace."""
        self.run(name, "nft", "-f", "-", feed=rules)

    def sysctl(self, name: str, values: Mapping[str, int | str]) -> None:
        """Sets kernel parameters, given as paths under /proc/sys, in one namespace."""
        script = 'for each in "$@"; do echo "${each#*=}" > "/proc/sys/${each%%=*}" || exit 1; done'
        pairs = [f"{path}={value}" for path, value in values.items()]
        self.run(name, "sh", "-c", script, "sh", *pairs)

    def run(
        self, name: str, *argv: str, timeout: float = 60, check: bool = True, feed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program in a namespace to its end; output is kept as text."""
        return command(*self._entered(name, argv), timeout=timeout, check=check, feed=feed)

    def popen(
        self,
        name: str,
        *argv: str,
        stdin: int | IO[str] = subprocess.DEVNULL,
        stdout: int | IO[str] = subprocess.PIPE,
        stderr: int | IO[str] = subprocess.STDOUT,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Starts a program in a namespace; it is ended with the run at the latest.

        It gets a process group of its own: Ctrl-C reaches the laboratory, which then takes the
        programs down in order. The process id is the program's own.
        """
        child = subprocess.Popen(
            self._entered(name, argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        self._children.append(child)
        return child

    def close(self) -> None:
        """Ends every program and removes every namespace of this run.

        What goes wrong with one of them is raised when all others are gone.
        """
        children, self._children = self._children, []
        names, self._names = self._names, []
        lock, self._lock = self._lock, None
        with contextlib.ExitStack() as closing:  # last in, first out
            if lock is not None:
                closing.callback(lock.close)
                closing.callback(shutil.rmtree, self.directory, ignore_errors=True)
            for name in names:
                closing.callback(_delete, self.full(name))
            for child in children:
                closing.callback(stop, child)

    def _entered(self, name: str, argv: tuple[str, ...]) -> list[str]:
        return ["ip", "netns", "exec", self.full(name), *argv]


def command(
    *argv: str, timeout: float = 60, check: bool = True, feed: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs a program; a failure is a LabError that names the command and what it said."""
    try:
        done = subprocess.run(
            argv, input=feed, capture_output=True, text=True, timeout=timeout, cwd=REPOSITORY
        )
    except FileNotFoundError as missing:
        raise LabError(
            f"the program {argv[0]!r} is not installed; scripts/bootstrap installs it"
        ) from missing
    except subprocess.TimeoutExpired as late:
        raise LabError(f"{' '.join(argv)!r} did not end within {timeout:g} s") from late
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise LabError(f"{' '.join(argv)!r} failed with status {done.returncode}: {said}")
    return done


def stop(child: subprocess.Popen[str], patience: float = 10) -> int:
    """Ends a program by SIGTERM, or by SIGKILL when that takes too long; returns its status."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    return child.returncode


def leftovers() -> set[str]:
    """Returns the ids of runs that have namespaces or files, but no living process."""
    named = NAMED.iterdir() if NAMED.is_dir() else ()
    found = {match["run"] for each in named if (match := NAME.match(each.name))}
    found |= {each.name for each in RUNS.iterdir() if RUN.fullmatch(each.name)}
    return {run_id for run_id in found if not _held(run_id)}


def remove(run_id: str) -> None:
    """Removes the namespaces of a run that was killed, and the programs still inside them."""
    for each in _namespaces_of(run_id):
        _delete(each)
    shutil.rmtree(RUNS / run_id, ignore_errors=True)


def _namespaces_of(run_id: str) -> Iterator[str]:
    for each in NAMED.iterdir() if NAMED.is_dir() else ():
        if each.name.startswith(f"mpb{run_id}-"):
            yield each.name


def _held(run_id: str) -> bool:
    try:
        with (RUNS / run_id / "lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _delete(full_name: str) -> None:
    try:
        _end_inside(full_name)
    finally:
        command("ip", "netns", "del", full_name, check=False)


def _end_inside(full_name: str, patience: float = 2) -> None:
    """Ends the processes of a namespace: a namespace lives as long as a process is inside."""
    deadline = time.monotonic() + patience
    while pids := command("ip", "netns", "pids", full_name, check=False).stdout.split():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        if time.monotonic() > deadline:
            return
