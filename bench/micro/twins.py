"""The batch functions of which there may be several, each doing the same: in Python, and compiled.

Everything that measures twins takes them from `twins`, so a further extension is one line in EXTENSIONS.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any

from mpbond import native
from mpbond.core import aead, segments
from mpbond.core.unfinished import Unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PYTHON = "python"
EXTENSIONS: tuple[tuple[str, str], ...] = (("compiled", "bench.micro.compiled"),)
"""Names, and the modules that have some of FUNCTIONS under these names."""


IN_USE = PYTHON if native.kernel is None else "compiled"
"""What the core itself uses here (MPBOND_PURE=1 asks for Python)."""

CIPHER, KEY = "AES-256-GCM", bytes(range(32))


def functions_of(cipher: Any, cut: Any, join: Any) -> dict[str, Callable[..., Any]]:
    """Return the functions that an `Aead`, a `Cut` and a `join` make; both sides have one key."""

    def seal(pair: Any, batch: Any) -> Any:
        return cipher.seal(pair.remote_index, batch)

    def unseal(_pair: Any, batch: Any) -> Any:
        return cipher.open(batch)

    def cut_all(packet: Unfinished) -> Any:
        made = cut(packet)
        return made.segments(0, made.count)

    return {"seal": seal, "unseal": unseal, "cut": cut_all, "join": join}


FUNCTIONS: Mapping[str, Callable[..., Any]] = functions_of(
    aead.Aead(CIPHER, KEY), segments.Cut, segments.join
)
"""Those in Python."""


@dataclasses.dataclass(frozen=True, slots=True)
class Twin:
    """One make of some functions."""

    name: str
    functions: Mapping[str, Callable[..., Any]]


def twins() -> list[Twin]:
    """Return all that can be had here, the Python one first."""
    found = [Twin(PYTHON, FUNCTIONS)]
    for name, module in EXTENSIONS:
        try:
            loaded = importlib.import_module(module)
        except ImportError:
            continue
        there = {each: getattr(loaded, each) for each in FUNCTIONS if hasattr(loaded, each)}
        found.append(Twin(name, there))
    return found
