"""Which modules of the core are compiled, and the name of the library that this makes of them.

The name holds a digest of all sources of the core, so that a library never runs in place of sources that have
changed since. setup.py reads this file by its path, so it imports nothing of mpbond.
"""

from hashlib import sha256
from pathlib import Path

LEFT = frozenset({"__init__", "kernel", "unfinished"})
"""Modules that stay as they are: a choice made when they are imported, and a class made of bytes."""


def sources(core: Path) -> list[Path]:
    """Return the modules in the directory `core` that are compiled, in order."""
    return [path for path in sorted(core.glob("*.py")) if path.stem not in LEFT]


def group(core: Path) -> str:
    """Return the group's name, which mypyc appends `__mypyc` to for the library.

    Raises OSError if a source cannot be read.
    """
    digest = sha256()
    for path in sorted(core.glob("*.py")):  # those that are left say what the others call
        body = path.read_bytes()
        digest.update(f"{path.stem} {len(body)}\n".encode() + body)
    return f"mpbond.native.core_{digest.hexdigest()[:16]}"
