"""What is measured, with what, and on what: the versions and the machine that a result carries.

The commit is for people. What tells whether a measurement has to be made again is the tree: a hash of
all files of `mpbond` and `bench` as they lie on the disk, so that a commit to documents or tests changes
nothing, an edit that is not committed does, and committing it afterwards does not. Both are looked up
once by a command, at its start: what is edited while it runs is not what it measures.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MEASURED = ("mpbond", "bench")
"""The directories whose content decides what a measurement finds."""


@functools.cache
def versions() -> dict[str, Any]:
    """Return the versions of what takes part; "commit" ends in "+" if the files were changed since."""
    commit = _git("rev-parse", "--short=10", "HEAD") or "unknown"
    dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
    return {
        "mpbond": importlib.metadata.version("mpbond"),
        "commit": commit + "+" * dirty,
        "tree": tree(),
        "dirty": dirty,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cryptography": importlib.metadata.version("cryptography"),
    }


def tree(root: Path = ROOT) -> str:
    """Return a short hash of the files that are measured, by name and content."""
    total = hashlib.sha256()
    for file in sorted(_files(root)):
        content = file.read_bytes()
        total.update(f"{file.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()[:10]


def _files(root: Path) -> Iterator[Path]:
    """Return all files but those that interpreters and editors leave."""
    for name in MEASURED:
        for directory, below, files in os.walk(root / name):
            below[:] = [one for one in below if one != "__pycache__" and not one.startswith(".")]
            yield from (
                Path(directory, one) for one in files if one[0] not in ".#" and one[-1] != "~"
            )


@functools.cache
def machine() -> dict[str, Any]:
    """Return what the measurement ran on: CPU, cores, bytes of memory."""
    info = Path("/proc/cpuinfo").read_text()
    names = [
        line.partition(":")[2].strip()
        for line in info.splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def now() -> str:
    """Return date and time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-c", f"safe.directory={ROOT}", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
