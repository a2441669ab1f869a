"""The compiled kernel, where there is one: `kernel` is the extension module or None.

It is built when mpbond is installed, if there is a compiler and OpenSSL's headers, and may be missing.
The environment variable MPBOND_PURE (anything but empty and 0) leaves it aside. This is the place
that looks: the core, which reads no environment, only takes what it finds here (see core.kernel).
"""

import os
from importlib import import_module
from types import ModuleType

VARIABLE = "MPBOND_PURE"
kernel: ModuleType | None = None
absent: str | None = None
"""Why there is no compiled kernel, in words; None if there is one."""

if os.environ.get(VARIABLE, "0") not in ("", "0"):
    absent = f"{VARIABLE} is set"
else:
    try:
        kernel = import_module("mpbond.native._kernel")
    except ModuleNotFoundError:
        absent = "the compiled kernel was not built"
    except ImportError as error:  # built for another Python, or without its libcrypto
        absent = f"the compiled kernel cannot be loaded: {error}"
