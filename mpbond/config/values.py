"""Parsers for single values: each takes a place and what stands there, and returns what is meant.

A parser raises ConfigError for anything it cannot use and never another exception, whatever TOML
can hold: TOML has booleans (which Python counts as integers), infinities and not-a-number.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, TypeVar

from mpbond.config import keys
from mpbond.config.model import DEFAULT_PORT, SCHEDULERS, TIERS, Address, Endpoint, Network
from mpbond.config.place import kind, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpbond.config.place import Parser, Place

T = TypeVar("T")

LONGEST_INTERFACE_NAME: Final = 15  # IFNAMSIZ - 1
SMALLEST_MTU: Final = 1280  # RFC 8200: IPv6 needs it
LARGEST_MTU: Final = 9000
LONGEST_HOLD_MS: Final = 500

_HOST_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_NOT_IN_A_NAME: Final = re.compile(r"[\s/:\x00-\x1f\x7f]")
_GLOB: Final = re.compile(r"[*?\[\]]")
_OPEN_BRACKET: Final = re.compile(r"\[(?![^\]]+\])")


def text(place: Place, value: object) -> str:
    """Reads non-empty text without control characters."""
    if not isinstance(value, str):
        raise place.error(f"{shown(value)} is {kind(value)}", "write text in quotes")
    if not value.strip() or not value.isprintable():
        raise place.error(f"{shown(value)} is no usable text", "write printable text")
    return value


def flag(place: Place, value: object) -> bool:
    """Reads a boolean."""
    if not isinstance(value, bool):
        raise place.error(f"{shown(value)} is {kind(value)}", "use true or false, without quotes")
    return value


def number(low: float, high: float, unit: str = "") -> Parser[float]:
    """Makes a parser for a number from `low` to `high`, both allowed."""
    return lambda place, value: _number(place, value, f"use {_span(low, high, unit)}", low, high)


def choice(*names: str) -> Parser[str]:
    """Makes a parser for one of the given words."""
    words = ", ".join(f'"{name}"' for name in names[:-1]) + f' or "{names[-1]}"'

    def parse(place: Place, value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise place.error(f"{shown(value)} is not a choice here", f"use {words}")
        return value

    return parse


def listed(parse_item: Parser[T], *, of: str, needed: str = "") -> Parser[tuple[T, ...]]:
    """Makes a parser for a list without repetitions; `needed` says what an empty one lacks."""

    def parse(place: Place, value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise place.error(f"{shown(value)} is {kind(value)}", f"write a list of {of}")
        if needed and not value:
            raise place.error("is empty", needed)
        items: list[T] = []
        for index, raw in enumerate(value):
            item = parse_item(place.item(index), raw)
            if item in items:
                raise place.item(index).error(f"{shown(raw)} stands here twice", "remove one")
            items.append(item)
        return tuple(items)

    return parse


scheduler: Final = choice(*SCHEDULERS)
_tier: Final = choice(*TIERS)


def hold(place: Place, value: object) -> float | None:
    """Reads a hold in milliseconds and returns seconds, or None for "auto"."""
    if value == "auto":
        return None
    right = f'use 0 to {LONGEST_HOLD_MS} (milliseconds; 0 switches reordering off) or "auto"'
    return _number(place, value, right, 0, LONGEST_HOLD_MS) / 1000


def mtu(place: Place, value: object) -> int:
    """Reads an MTU in bytes."""
    return _mtu(place, value, "")


def mtu_or_auto(place: Place, value: object) -> int | None:
    """Reads an MTU in bytes, or None for "auto"."""
    return None if value == "auto" else _mtu(place, value, ' or "auto"')


def weight(place: Place, value: object) -> float:
    """Reads a link's weight, a positive number."""
    right = "use a number from 0.001 to 1000000"
    return _number(place, value, right, 0.001, 1e6)


def tier(place: Place, value: object) -> int:
    """Reads when a link carries packets, and returns its place in TIERS."""
    return TIERS.index(_tier(place, value))


def interface(place: Place, value: object) -> str:
    """Reads the name of a network interface, as the kernel allows it."""
    name = text(place, value)
    if len(name.encode()) > LONGEST_INTERFACE_NAME:
        right = f"use at most {LONGEST_INTERFACE_NAME} characters"
        raise place.error(f"{shown(name)} is too long for an interface", right)
    if name in (".", "..") or _NOT_IN_A_NAME.search(name) or _GLOB.search(name):
        right = 'use letters, digits, "-", "_" and "."'
        raise place.error(f"{shown(name)} is no name of an interface", right)
    return name


def link_pattern(place: Place, value: object) -> str:
    """Reads an interface name or a glob of such names."""
    pattern = text(place, value)
    if not _GLOB.search(pattern):
        return interface(place, pattern)
    if _OPEN_BRACKET.search(pattern):
        raise place.error(f'{shown(pattern)} has a "[" without its "]"', 'write it as "wwan[0-3]"')
    if _NOT_IN_A_NAME.search(pattern):
        raise place.error(f"{shown(pattern)} can match no interface", 'use a glob such as "wwan*"')
    return pattern


def address(place: Place, value: object) -> Address:
    """Reads an IP address of a host, without a prefix length or zone."""
    right = 'write an address such as "10.77.0.2" or "fd77::2"'
    if not isinstance(value, str):
        raise place.error(f"{shown(value)} is {kind(value)}", right)
    found = _ip(value)
    if found is None:
        raise place.error(f"{shown(value)} is not an IP address", right)
    if found.is_multicast or found.is_unspecified or found.is_loopback:
        raise place.error(f"{found} is not the address of a host", right)
    return found


def network(place: Place, value: object) -> Network:
    """Reads a prefix, with no host bits set."""
    right = 'write a prefix such as "192.0.2.8/29" or "2001:db8:1::/56"'
    if not isinstance(value, str):
        raise place.error(f"{shown(value)} is {kind(value)}", right)
    try:
        found = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise place.error(f"{shown(value)} is not an IP prefix", right) from None
    if "%" in value:
        raise place.error(f"{shown(value)} is not an IP prefix", right)
    base = value.partition("/")[0]
    if ipaddress.ip_address(base) != found.network_address:
        raise place.error(f"{shown(value)} has host bits set", f"write {found}")
    return found


def endpoint(place: Place, value: object) -> Endpoint:
    """Reads HOST:PORT, where the host is a name, an IPv4 address or an IPv6 address in brackets."""
    return _endpoint(place, value, names=True)


def listen_endpoint(place: Place, value: object) -> Endpoint:
    """Reads ADDRESS:PORT of the machine itself; a wildcard address is welcome, a name is not."""
    return _endpoint(place, value, names=False)


def public_key(place: Place, value: object) -> bytes:
    """Reads another box's public key from base64."""
    return _key(place, text(place, value), keys.decode_public)


def secret_key(place: Place, value: object) -> bytes:
    """Reads a secret key that stands in the configuration, which must then be private itself."""
    if not isinstance(value, str):
        raise place.error(f"this is {kind(value)}", "write the key in quotes")
    try:
        keys.refuse_if_open_to_others(place.file, place.file.stat())
    except keys.UnusableKeyError as problem:
        raise place.error(f"holds a secret while {problem.wrong}", problem.right) from None
    except OSError as error:
        refusal = keys.unreadable(place.file, error)
        raise place.error(refusal.wrong, refusal.right) from None
    return _key(place, value, keys.decode_secret)


def secret_key_file(place: Place, value: object) -> bytes:
    """Reads a secret key from the file named here, relative to the configuration's directory."""
    path = place.file.parent / text(place, value)
    try:
        return keys.read_key_file(path)
    except keys.UnusableKeyError as problem:
        raise place.error(problem.wrong, problem.right) from None


def _key(place: Place, value: str, decode: Callable[[str], bytes]) -> bytes:
    try:
        return decode(value)
    except keys.UnusableKeyError as problem:
        raise place.error(problem.wrong, problem.right) from None


def _number(place: Place, value: object, right: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.error(f"{shown(value)} is {kind(value)}", right)
    if not low <= value <= high:
        raise place.error(f"{shown(value)} is out of range", right)
    return float(value)


def _mtu(place: Place, value: object, otherwise: str) -> int:
    right = f"use a whole number from {SMALLEST_MTU} to {LARGEST_MTU} (bytes){otherwise}"
    if isinstance(value, float):
        raise place.error(f"{shown(value)} is {kind(value)}", right)
    return int(_number(place, value, right, SMALLEST_MTU, LARGEST_MTU))


def _span(low: float, high: float, unit: str) -> str:
    return f"a number from {low:g} to {high:g}" + (f" ({unit})" if unit else "")


def _ip(value: str) -> Address | None:
    try:
        return None if "%" in value else ipaddress.ip_address(value)
    except ValueError:
        return None


def _endpoint(place: Place, value: object, *, names: bool) -> Endpoint:
    example = f"vps.example.org:{DEFAULT_PORT}" if names else f"0.0.0.0:{DEFAULT_PORT}"
    right = f'write it as "{example}" or "[2001:db8::1]:{DEFAULT_PORT}"'
    if not isinstance(value, str):
        raise place.error(f"{shown(value)} is {kind(value)}", right)
    if _ip(value.strip("[]")) is not None:
        bare = value.strip("[]")
        host = f"[{bare}]" if ":" in bare else bare
        raise place.error(f"{shown(value)} names no port", f'write "{host}:{DEFAULT_PORT}"')
    host, colon, port_text = value.rpartition(":")
    if not colon:
        _host(place, value, right, names=names)
        raise place.error(f"{shown(value)} names no port", f'write "{value}:{DEFAULT_PORT}"')
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise place.error(f"{shown(value)} has an IPv6 address without brackets", right)
    if not _PORT.fullmatch(port_text) or not 1 <= int(port_text) <= 65535:
        raise place.error(f"port {shown(port_text)} is out of range", "use 1 to 65535")
    return Endpoint(host=_host(place, host, right, names=names), port=int(port_text))


def _host(place: Place, host: str, right: str, *, names: bool) -> str:
    found = _ip(host.strip("[]"))
    if found is not None and host.startswith("[") == (found.version == 6):
        if found.is_multicast or (names and found.is_unspecified):
            raise place.error(f"nobody can be reached at {found}", right)
        return str(found)
    labels = host.removesuffix(".").split(".")
    looks_numeric = labels[-1].isdigit()
    fits = len(host) <= 253 and all(_HOST_LABEL.fullmatch(label) for label in labels)
    if not names and fits and not looks_numeric:
        raise place.error(f"{shown(host)} is a name", "write an address of this machine")
    if not fits or looks_numeric:
        raise place.error(f"{shown(host)} is neither an address nor a host name", right)
    return host
