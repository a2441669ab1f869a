"""Keeping what was measured: result files that are there before anything is measured, and an orderly end."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import signal
import sys
from typing import TYPE_CHECKING, Any

from bench import results
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def recorder(out: Path, **more: Any) -> Callable[[results.Result], None]:
    """Return what appends results to a file, with the command and the versions as they are now."""
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    at_start = results.versions()

    def record(result: results.Result) -> None:
        versions = result.versions | at_start
        whole = dataclasses.replace(result, command=command, versions=versions, **more)
        results.append(out, [whole])

    return record


def prepare(out: Path) -> None:
    """See to it that results can be kept before any are made; by sudo, they are whose who asked."""
    new = [path for path in (out, *out.parents) if not path.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("ab"):
            pass
    except OSError as error:
        raise BenchError(f"cannot write results to {out}: {error.strerror}") from None
    if os.geteuid() == 0 and "SUDO_UID" in os.environ:
        for path in new:
            os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: what runs is ended, what is there is kept."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
