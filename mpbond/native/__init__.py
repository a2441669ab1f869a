"""What is compiled, where it is: the C kernel, and the core itself.

`kernel` is the C extension with the batch functions (see core.kernel) or None. The core is pure Python
that mypyc compiles as it stands (`sources`), into one library that its modules are looked up in.
Both are built when mpbond is installed, if there are a compiler and OpenSSL's headers, and may be missing.
A library made of other sources than those beside it is not used.

The environment variable MPBOND_PURE leaves them aside: `core` means the compiled core alone, anything
else but nothing and 0 means both. This is the place that looks; the core, which reads no
environment, only takes what it finds here.
"""

import os
import sys
from importlib import import_module
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from mpbond.native.sources import group

VARIABLE = "MPBOND_PURE"
kernel: ModuleType | None = None
absent: str | None = None
"""Why there is no compiled kernel, in words; None if there is one."""
core_absent: str | None = "the core has not been imported"
"""Why the core runs in Python, in words; None if it is compiled."""

_pure = os.environ.get(VARIABLE, "0")

if _pure not in ("", "0", "core"):
    absent = f"{VARIABLE} is set"
else:
    try:
        kernel = import_module("mpbond.native._kernel")
    except ModuleNotFoundError:
        absent = "the compiled kernel was not built"
    except ImportError as error:  # built for another Python, or without its libcrypto
        absent = f"the compiled kernel cannot be loaded: {error}"


def choose_core(directory: str) -> None:
    """Decide whether the core's modules in `directory` come compiled; before the first is imported."""
    global core_absent
    core_absent = _why_not(Path(directory))
    if core_absent is not None:
        only_sources = FileFinder(directory, (SourceFileLoader, SOURCE_SUFFIXES))
        sys.path_importer_cache[directory] = only_sources


def _why_not(core: Path) -> str | None:
    if _pure not in ("", "0"):
        return f"{VARIABLE} is set"
    try:
        library = f"{group(core)}__mypyc"
        if find_spec(library) is None:
            others = any(Path(__file__).parent.glob("core_*__mypyc*"))
            return (
                "the core has changed since it was compiled"
                if others
                else "the core was not compiled"
            )
        import_module(library)
    except (OSError, ImportError) as error:
        return f"the compiled core cannot be loaded: {error}"
    return None
