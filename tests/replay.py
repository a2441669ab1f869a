"""The emulator's own links, without devices: packets and times as told, answers as given."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.lab.native import SANITIZE, program

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def sanitized() -> Path:
    """The emulator that checks its own memory and arithmetic; the plain one without libasan."""
    plain = program("emulator")
    try:
        return program("emulator", SANITIZE)
    except BenchError:
        return plain


def replay(emulator: Path, orders: Iterable[str]) -> list[Any]:
    """Gives orders to an emulator without devices and returns its answers."""
    done = subprocess.run(
        [str(emulator), "--replay"],
        input="".join(f"{order}\n" for order in orders),
        capture_output=True,
        text=True,
        timeout=60,
        # numbers of an order that is refused are not given back: the laboratory ends with it
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]
