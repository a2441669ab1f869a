"""Writing files for the user: never over an existing one unasked, and never half a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mpbond.config import keys
from mpbond.errors import PlatformError

if TYPE_CHECKING:
    from pathlib import Path


def refuse_existing(*paths: Path) -> None:
    """Raises PlatformError if one of the files exists."""
    for path in paths:
        if os.path.lexists(path):
            raise _exists(path)


def write_key(path: Path, key: bytes, *, replace: bool) -> None:
    """Writes a secret key with mode 0600; raises PlatformError."""
    try:
        keys.write_secret_file(path, key, replace=replace)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise _unwritable(path, error) from None


def write_text(path: Path, text: str) -> None:
    """Writes a file, or replaces it in one step; raises PlatformError."""
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None


def make_directory(path: Path) -> None:
    """Makes a directory and its parents unless they exist; raises PlatformError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from None


def _exists(path: Path) -> PlatformError:
    return PlatformError(f"{path} exists already; keep it, or replace it by --force.")


def _unwritable(path: Path, error: OSError) -> PlatformError:
    reason = error.strerror or str(error)
    return PlatformError(f"{path} cannot be written ({reason}); run as root or name another place.")
