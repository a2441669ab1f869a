"""The laboratory's C programs, compiled when they are first needed.

They are kept in the user's cache under a name made of their source, so that any change of it makes a
new one, and several laboratories may start at the same time.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCES = Path(__file__).parent
FLAGS = ("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PROGRAMS = {
    "emulator": (
        "emulator.c",
        "flight.c",
        "lines.c",
        "link.c",
        "orders.c",
        "shape.c",
        "text.c",
    ),
    "blast": ("blast.c",),
    "packets": ("packets.c",),
}
"""Which files make which program."""


def program(name: str, flags: Sequence[str] = ()) -> Path:
    """Returns the path of a compiled program; raises BenchError when it cannot be compiled."""
    options = (*FLAGS, *flags)
    digest = hashlib.sha256(repr((options, platform.machine())).encode())
    for file in sorted(SOURCES.glob("*.[ch]")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    kept = cache() / f"{name}-{digest.hexdigest()[:16]}"
    if not kept.exists():
        compile_to(kept, [str(SOURCES / file) for file in PROGRAMS[name]], options)
    return kept


def compile_to(target: Path, sources: Sequence[str], options: Sequence[str]) -> None:
    """Compiles beside the target and moves the result there, so that it is never half there."""
    compiler = os.environ.get("CC") or "cc"
    if shutil.which(compiler) is None:
        raise BenchError(
            f"there is no C compiler {compiler!r}, which the laboratory's link emulator needs;"
            " install gcc and libc6-dev, or run scripts/bootstrap"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as place:
        fresh = Path(place) / target.name
        done = subprocess.run(
            [compiler, *options, *sources, "-o", str(fresh)],
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
        )
        if done.returncode != 0:
            raise BenchError(
                f"{compiler} could not compile {Path(sources[0]).name} of the laboratory"
                f" (is libc6-dev installed?); it said: {done.stderr.strip()[:2000]}"
            )
        fresh.replace(target)


def cache() -> Path:
    """Returns the directory in which compiled programs are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mpbond-lab"
