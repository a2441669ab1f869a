"""Builds the compiled kernel; everything else stands in pyproject.toml.

It is optional: without a compiler or OpenSSL's headers the installation goes on without it, and
mpbond uses the same functions in Python.
"""

from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("mpbond", "native")

setup(
    ext_modules=[
        Extension(
            "mpbond.native._kernel",
            sources=sorted(map(str, NATIVE.glob("*.c"))),
            depends=sorted(map(str, NATIVE.glob("*.h"))),
            libraries=["crypto"],
            extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
            optional=True,
        )
    ]
)
