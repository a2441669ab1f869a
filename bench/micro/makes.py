"""Which make of mpbond this process runs, and its batch functions.

    python       everything in Python
    kernel       the batch functions in C, the core in Python
    compiled     both compiled

A process has one of them for life, so each is measured in a process of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpbond import native
from mpbond.core import kernel
from mpbond.core.segments import Cut
from mpbond.core.unfinished import Unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PYTHON, KERNEL, COMPILED = "python", "kernel", "compiled"
MAKES: Mapping[str, str] = {PYTHON: "1", KERNEL: "core", COMPILED: "0"}
"""Names, and the value of MPBOND_PURE that asks for each."""
CIPHER, KEY = "AES-256-GCM", bytes(range(32))


def make_of(*, functions: bool, core: bool) -> str:
    """Return the name of what has its batch functions, and its core, compiled."""
    if functions:
        return COMPILED if core else KERNEL
    return "core" if core else PYTHON


IN_USE = make_of(functions=native.kernel is not None, core=native.core_absent is None)
"""What this process runs."""


def functions() -> dict[str, Callable[..., Any]]:
    """Return the batch functions by name; both sides have one key."""
    cipher = kernel.Aead(CIPHER, KEY)

    def seal(pair: Any, batch: Any) -> Any:
        return cipher.seal(pair.remote_index, batch)

    def unseal(_pair: Any, batch: Any) -> Any:
        return cipher.open(batch)

    def cut(packet: Unfinished) -> Any:
        made = Cut(packet)
        return made.segments(0, made.count)

    return {"seal": seal, "unseal": unseal, "cut": cut, "join": kernel.join}
