"""Where in a file a value stands, and how a table of it is read.

A `Place` goes along with every value, so that whoever finds it wrong can name it. A table is read
against a dict of parsers: first unknown keys are refused (a misspelt key is more often the cause
than a missing one), then missing ones, then each value is parsed. Keys that are absent stay
absent: defaults belong to the dataclasses.
"""

from __future__ import annotations

import datetime
import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mpbond.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
Parser = Callable[["Place", object], T]

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_NEAR: Final = 0.7  # difflib's measure; at its own 0.6 "link" is taken for "client"
_LONGEST_SHOWN: Final = 60  # characters of a value that a message repeats


@dataclass(frozen=True, slots=True)
class Place:
    """A key path in a file, such as `client[1].addresses[0]`; the empty path is the whole file."""

    file: Path
    key: str = ""

    def under(self, name: str) -> Place:
        """Goes to a key of the table that stands here."""
        shown = name if _BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)
        return Place(self.file, f"{self.key}.{shown}" if self.key else shown)

    def item(self, index: int) -> Place:
        """Goes to an item, counted from 0, of the list that stands here."""
        return Place(self.file, f"{self.key}[{index}]")

    def error(self, wrong: str, right: str) -> ConfigError:
        """Makes the sentence that names this place, what is wrong, and what would be right."""
        return ConfigError.at(self.file, self.key, wrong, right)


def read_table(
    place: Place,
    value: object,
    parsers: Mapping[str, Parser[Any]],
    required: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Parses the keys that are present; raises ConfigError on an unknown, missing or wrong one.

    `required` tells for each key that must be there what would be right if it is missing.
    """
    table = table_at(place, value)
    for name in table:
        if name not in parsers:
            raise _unknown_key(place, name, parsers)
    for name, right in (required or {}).items():
        if name not in table:
            raise place.under(name).error("is missing", right)
    return {name: parsers[name](place.under(name), item) for name, item in table.items()}


def table_at(place: Place, value: object) -> dict[str, object]:
    """Returns the table that stands here, or raises ConfigError if it is something else."""
    if not isinstance(value, dict):
        raise place.error(f"{shown(value)} is {kind(value)}", f"write it as a table, [{place.key}]")
    return value


def shown(value: object) -> str:
    """Repeats a value as it would stand in the file, shortened if long."""
    if isinstance(value, dict | list):
        return "this"
    if isinstance(value, int) and value.bit_length() > _LONGEST_SHOWN:
        return f"a number of {value.bit_length()} bits"
    text = value.isoformat() if isinstance(value, _DATES) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def kind(value: object) -> str:
    """Names the type of a value in words."""
    for types, words in _KINDS:
        if isinstance(value, types):
            return words
    return "something else"


def _unknown_key(place: Place, name: str, parsers: Mapping[str, object]) -> ConfigError:
    near = difflib.get_close_matches(name, parsers, n=1, cutoff=_NEAR)
    right = f"did you mean {near[0]}?" if near else f"known here are {', '.join(parsers)}"
    error = place.under(name).error("is not a key that mpbond knows", right)
    return ConfigError(str(error).replace("?.", "?")) if near else error


_DATES: Final = (datetime.date, datetime.time)
_KINDS: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    (bool, "a boolean"),
    (int, "a whole number"),
    (float, "a number with a fraction"),
    (str, "text"),
    (list, "a list"),
    (dict, "a table"),
    (_DATES, "a date or time"),
)
