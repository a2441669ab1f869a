"""The compiled kernel for the tests: always made of the sources as they stand, never the one installed.

MPBOND_TEST_KERNEL=sanitized asks for the build that checks its own memory and arithmetic; the process
must then run under libasan (see tests/property/test_kernel_sanitized.py).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sysconfig
from functools import cache
from pathlib import Path

import mpbond.native
from bench.lab.native import SANITIZE, compile_to
from bench.lab.native import cache as kept_in
from mpbond.core.aead import Arrival
from mpbond.core.unfinished import Unfinished
from mpbond.core.wire import DataFrame, Frames, LoneRun, WireError

SOURCES = Path(mpbond.native.__file__).parent
FLAGS = ("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")
VARIABLE = "MPBOND_TEST_KERNEL"


def built(flags: tuple[str, ...] = ()) -> Path:
    """Compiles the kernel for this Python, unless that has been done, and returns where it lies."""
    headers = sysconfig.get_path("include")
    # Python's own headers are not ours to warn about
    options = (*FLAGS, *flags, "-isystem", headers)
    digest = hashlib.sha256(repr((options, sysconfig.get_config_var("SOABI"))).encode())
    for file in sorted(SOURCES.glob("*.[ch]")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    target = kept_in() / f"kernel-{digest.hexdigest()[:16]}" / "_kernel.so"
    if not target.exists():
        sources = sorted(str(file) for file in SOURCES.glob("*.c"))
        compile_to(target, [*sources, "-lcrypto"], options)
    return target


@cache
def compiled():
    """The compiled twin as a module, apart from the one that mpbond itself may use."""
    flags = SANITIZE if os.environ.get(VARIABLE) == "sanitized" else ()
    spec = importlib.util.spec_from_file_location("_kernel", built(flags))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.adopt(Unfinished, Frames, DataFrame, LoneRun, Arrival, WireError)
    return module


def libasan() -> str:
    """Where the sanitizers' library is, which must be loaded before anything else."""
    compiler = os.environ.get("CC") or "cc"
    found = subprocess.run(
        [compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert Path(found).is_file(), "gcc's libasan is not installed"
    return found
