"""What the laboratory tells a person when something cannot be done."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class BenchError(Exception):
    """One sentence that names the guilty thing, and what would be right."""


def unknown(kind: str, name: str, existing: Iterable[str]) -> BenchError:
    """Say that there is no such thing, and which one may be meant, or which there are."""
    names = list(existing)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return BenchError(f"there is no {kind} {name!r}; did you mean {_alternatives(near)}?")
    return BenchError(f"there is no {kind} {name!r}; there are {', '.join(names)}")


def _alternatives(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
