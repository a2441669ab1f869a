"""`[[rule]]` tables: which class or scheduler a packet gets, by what stands in its headers.

A rule says what a packet must be (every condition that is given has to hold; of a list, one item) and
what becomes of it. The first rule that matches wins. A client tells its rules to the server, which uses
them for what it sends back, so each must fit a control message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgpack

from mpbond.config import values
from mpbond.config.place import kind, read_table, shown
from mpbond.core.flow import WITH_PORTS
from mpbond.core.rules import CLASSES, LONGEST_WORD, Rule, rule_to_map

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpbond.config.place import Parser, Place

T = TypeVar("T")

MAXIMUM_RULES: Final = 64
LARGEST_RULE: Final = 450  # bytes of msgpack, so that it fits a control message with its frame
PROTOCOLS: Final = {
    "icmp": 1,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "sctp": 132,
    "udplite": 136,
}
MARKS: Final = {
    "be": 0,
    "df": 0,
    "le": 1,
    "va": 44,
    "voice-admit": 44,
    "ef": 46,
    **{f"cs{number}": 8 * number for number in range(8)},
    **{f"af{row}{drop}": 8 * row + 2 * drop for row in range(1, 5) for drop in range(1, 4)},
}
_CONDITIONS: Final = ("dscp", "protocol", "ports", "prefixes")


def rules(place: Place, value: object) -> tuple[Rule, ...]:
    """Reads the list of `[[rule]]` tables; raises ConfigError."""
    if not isinstance(value, list):
        raise place.error(f"{shown(value)} is {kind(value)}", "write [[rule]] for each rule")
    if len(value) > MAXIMUM_RULES:
        right = f"keep to {MAXIMUM_RULES}; one rule can name many ports and prefixes"
        raise place.error(f"{len(value)} rules", right)
    return tuple(_rule(place.item(index), table, index) for index, table in enumerate(value))


def _rule(place: Place, value: object, index: int) -> Rule:
    found = read_table(place, value, _RULE)
    if not any(name in found for name in _CONDITIONS):
        right = f"say what it is for, by {', '.join(_CONDITIONS[:-1])} or {_CONDITIONS[-1]}"
        raise place.error("matches every packet", right)
    if "class" not in found and "scheduler" not in found:
        raise place.error("does nothing", "add class or scheduler")
    if "ports" in found and found.get("protocol") not in (None, *WITH_PORTS):
        right = 'leave out one of them, or use "tcp" or "udp"'
        raise place.under("ports").error("this protocol has no ports", right)
    rule = Rule(
        name=found.get("name", f"rule {index + 1}"),
        dscp=frozenset(found["dscp"]) if "dscp" in found else None,
        protocol=found.get("protocol"),
        ports=found.get("ports"),
        prefixes=found.get("prefixes"),
        kind=CLASSES[found["class"]] if "class" in found else None,
        scheduler=found.get("scheduler"),
    )
    if len(msgpack.packb(rule_to_map(rule))) > LARGEST_RULE:
        raise place.error("is too long to be told to the server", "make two rules of it")
    return rule


def _one_or_more(parse_item: Parser[T], *, of: str) -> Parser[tuple[T, ...]]:
    """Makes a parser for a list, or for its only item without brackets."""
    several = values.listed(parse_item, of=of, needed="name at least one, or leave the key out")

    def parse(place: Place, value: object) -> tuple[T, ...]:
        return several(place, value) if isinstance(value, list) else (parse_item(place, value),)

    return parse


def _name(place: Place, value: object) -> str:
    name = values.text(place, value)
    if len(name.encode()) > LONGEST_WORD:
        raise place.error(f"{shown(name)} is too long", f"use at most {LONGEST_WORD} bytes")
    return name


def _named_number(names: Mapping[str, int], highest: int, right: str) -> Parser[int]:
    def parse(place: Place, value: object) -> int:
        number = names.get(value.lower()) if isinstance(value, str) else value
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= highest:
            raise place.error(f"{shown(value)} is not known here", right)
        return number

    return parse


def _ports(place: Place, value: object) -> tuple[int, int]:
    """Reads a port or a span of ports, `5060-5070`, both ends in it."""
    right = 'write a port such as 5060 or a span such as "5060-5070", within 1 to 65535'
    if isinstance(value, int) and not isinstance(value, bool):
        low = high = value
    elif isinstance(value, str):
        first, _, last = value.partition("-")
        if not all(part.isascii() and part.isdigit() for part in (first, last or first)):
            raise place.error(f"{shown(value)} is no port", right)
        low, high = int(first), int(last or first)
    else:
        raise place.error(f"{shown(value)} is {kind(value)}", right)
    if not 1 <= low <= high <= 65535:
        raise place.error(f"{shown(value)} is out of range", right)
    return low, high


_RULE: Final[Mapping[str, Parser[Any]]] = {
    "name": _name,
    "dscp": _one_or_more(
        _named_number(
            MARKS, 63, 'use a name such as "EF", "CS1" or "AF41", or a number from 0 to 63'
        ),
        of="DSCP names and numbers",
    ),
    "protocol": _named_number(
        PROTOCOLS, 255, f"use {', '.join(PROTOCOLS)} in quotes, or a number from 0 to 255"
    ),
    "ports": _one_or_more(_ports, of="ports and spans"),
    "prefixes": _one_or_more(values.network, of="prefixes"),
    "class": values.choice(*CLASSES),
    "scheduler": values.scheduler,
}
