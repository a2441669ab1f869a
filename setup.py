"""Builds what is compiled: the C kernel, and the core by mypyc. All else stands in pyproject.toml.

Both are optional: without a compiler or OpenSSL's headers the installation goes on without them, and
mpbond runs the same in Python.
"""

import os
import runpy
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = Path("mpbond", "native")
CORE = Path("mpbond", "core")
BUILDING = {"build", "build_ext", "bdist_wheel", "editable_wheel", "install", "develop"}
# The same figures on all processors, and as Python's; warnings about made C take half of the time.
FLAGS = ["-ffp-contract=off", "-Wno-all"]


def kernel() -> Extension:
    """The batch functions, written in C."""
    return Extension(
        "mpbond.native._kernel",
        sources=sorted(map(str, NATIVE.glob("*.c"))),
        depends=sorted(map(str, NATIVE.glob("*.h"))),
        libraries=["crypto"],
        extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
        optional=True,
    )


def core() -> list[Extension]:
    """The modules of the core, translated to C; none where mypyc is missing or gives up."""
    try:
        from mypyc.build import mypycify
    except ImportError:
        return []
    named = runpy.run_path(str(NATIVE / "sources.py"))
    options = ["--config-file=", "--ignore-missing-imports", f"--cache-dir={os.devnull}"]
    try:
        made: list[Extension] = mypycify(
            [*options, *map(str, named["sources"](CORE))],
            opt_level="1",
            debug_level="0",
            group_name=named["group"](CORE),
        )
    except SystemExit:
        print("mypyc could not translate the core, which stays in Python", file=sys.stderr)
        return []
    for extension in made:
        extension.optional = True
        extension.extra_compile_args = [*extension.extra_compile_args, *FLAGS]
    return made


class BuildInPlace(build_ext):
    """build_ext, after which no library of other sources lies beside these."""

    def copy_extensions_to_source(self) -> None:
        """Put what was built beside the sources; setuptools calls it when that is asked for."""
        for old in (*NATIVE.glob("core_*__mypyc*"), *CORE.glob("*.so")):
            old.unlink()
        super().copy_extensions_to_source()


setup(
    cmdclass={"build_ext": BuildInPlace},
    ext_modules=[kernel(), *(core() if BUILDING & set(sys.argv) else [])],
)
