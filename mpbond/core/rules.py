"""The user's rules: which class or scheduler the packets get that look a certain way.

A rule names what must be so, by mark, protocol, ports and prefixes; what it does not name may be
anything. Ports and prefixes are met by the source or the destination, so that a rule holds for both
directions of a flow. The first rule that matches wins.

All a rule looks at stands in the headers and is the same for every packet of a flow with the same mark.
So the answer is remembered by exactly these bytes, and a packet of a known flow costs one look-up however
many rules there are. All fragments of a datagram are taken to have no ports, since later ones have none.

A client tells its rules to the server, one CONTROL message each, in the form of `rule_to_map`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from mpbond.core.flow import WITH_PORTS
from mpbond.core.packet import BULK, KINDS, NORMAL, REALTIME

CACHE_LIMIT = 4096  # flows
LONGEST_WORD = 64  # bytes of a rule's name or a scheduler's
CLASSES = {KINDS[kind]: kind for kind in (NORMAL, REALTIME, BULK)}
"""What a rule can say, by name."""

Answer = tuple[int | None, str | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """Packets with one of these DSCPs, this IP protocol, one of these spans of ports (both ends in it)
    and an address in one of these prefixes get the class `kind`, the scheduler, or both.

    None: any, or as without the rule.
    """

    dscp: frozenset[int] | None = None
    protocol: int | None = None
    ports: tuple[tuple[int, int], ...] | None = None
    prefixes: tuple[IPv4Network | IPv6Network, ...] | None = None
    kind: int | None = None
    scheduler: str | None = None
    name: str = ""


class RuleTable:
    """Rules in their order."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [(_Conditions(rule), (rule.kind, rule.scheduler)) for rule in rules]
        self._known: dict[tuple[int, bytes], Answer | None] = {}

    @property
    def remembered(self) -> int:
        """How many flows have their answer at hand."""
        return len(self._known)

    def decide(self, packet: bytes, dscp: int, protocol: int, at: int) -> Answer | None:
        """Return (class or None, scheduler or None) of the first rule that matches; None: no rule does.

        The numbers are those of `flow.locate`.
        """
        if protocol < 0:
            return None
        version = packet[0] >> 4
        addresses = packet[12:20] if version == 4 else packet[8:40]
        ports = packet[at : at + 4] if at and protocol in WITH_PORTS else b""
        key = protocol << 6 | dscp, addresses + ports
        try:
            return self._known[key]
        except KeyError:
            pass
        answer = None
        for conditions, found in self._rules:
            if conditions.match(dscp, protocol, addresses, ports):
                answer = found
                break
        if len(self._known) >= CACHE_LIMIT:
            self._known.clear()
        self._known[key] = answer
        return answer


class _Conditions:
    """A rule's conditions as numbers."""

    def __init__(self, rule: Rule) -> None:
        self._dscp = rule.dscp
        self._protocol = rule.protocol
        self._ports = rule.ports
        self._prefixes = None
        if rule.prefixes is not None:
            self._prefixes = [
                (
                    prefix.max_prefixlen // 8,
                    int(prefix.network_address),
                    int(prefix.netmask),
                )
                for prefix in rule.prefixes
            ]

    def match(self, dscp: int, protocol: int, addresses: bytes, ports: bytes) -> bool:
        """Whether all hold; `addresses` and `ports` are source and destination as on the wire."""
        if self._dscp is not None and dscp not in self._dscp:
            return False
        if self._protocol is not None and protocol != self._protocol:
            return False
        if self._ports is not None:
            ends = (int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big"))
            if not ports or not any(
                low <= end <= high for low, high in self._ports for end in ends
            ):
                return False
        if self._prefixes is not None:
            size = len(addresses) // 2
            source = int.from_bytes(addresses[:size], "big")
            destination = int.from_bytes(addresses[size:], "big")
            return any(
                length == size and network in (source & mask, destination & mask)
                for length, network, mask in self._prefixes
            )
        return True


def rule_to_map(rule: Rule) -> dict[str, Any]:
    """Return a rule as a map for a CONTROL message; what it leaves open is left out."""
    message: dict[str, Any] = {}
    if rule.name:
        message["name"] = rule.name
    if rule.dscp is not None:
        message["dscp"] = sorted(rule.dscp)
    if rule.protocol is not None:
        message["protocol"] = rule.protocol
    if rule.ports is not None:
        message["ports"] = [end for span in rule.ports for end in span]
    if rule.prefixes is not None:
        message["prefixes"] = [
            prefix.network_address.packed + bytes((prefix.prefixlen,)) for prefix in rule.prefixes
        ]
    if rule.kind is not None:
        message["class"] = KINDS[rule.kind]
    if rule.scheduler is not None:
        message["scheduler"] = rule.scheduler
    return message


def rule_from_map(message: object) -> Rule:
    """Return the rule that such a map means. Raises ValueError with one sentence when it means none."""
    if not isinstance(message, dict):
        raise ValueError("A rule is a map.")
    unknown = [key for key in message if key not in _KEYS]
    if unknown:
        raise ValueError(f"A rule has no key {str(unknown[0])[:LONGEST_WORD]!r}.")
    kind = message.get("class")
    if kind is not None and (not isinstance(kind, str) or kind not in CLASSES):
        raise ValueError(f"A rule's class is one of {', '.join(CLASSES)}.")
    scheduler = _word(message, "scheduler")
    if kind is None and scheduler is None:
        raise ValueError("A rule names a class or a scheduler.")
    protocol = message.get("protocol")
    if protocol is not None and not _is_number(protocol, 255):
        raise ValueError("A rule's protocol is a number from 0 to 255.")
    return Rule(
        dscp=_marks(message.get("dscp")),
        protocol=protocol,
        ports=_spans(message.get("ports")),
        prefixes=_prefixes(message.get("prefixes")),
        kind=None if kind is None else CLASSES[kind],
        scheduler=scheduler,
        name=_word(message, "name") or "",
    )


_KEYS = frozenset(("name", "dscp", "protocol", "ports", "prefixes", "class", "scheduler"))


def _is_number(value: object, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= highest


def _word(message: dict[str, Any], key: str) -> str | None:
    value = message.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value.encode()) > LONGEST_WORD:
        raise ValueError(f"A rule's {key} is a text of 1 to {LONGEST_WORD} bytes.")
    return value


def _marks(value: object) -> frozenset[int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(_is_number(mark, 63) for mark in value):
        raise ValueError("A rule's dscp is a list of numbers from 0 to 63.")
    return frozenset(value)


def _spans(value: object) -> tuple[tuple[int, int], ...] | None:
    if value is None:
        return None
    if (
        isinstance(value, list)
        and len(value) % 2 == 0
        and all(_is_number(end, 65535) for end in value)
    ):
        spans = tuple(zip(value[::2], value[1::2], strict=True))
        if all(low <= high for low, high in spans):
            return spans
    raise ValueError("A rule's ports are a list of pairs, the lower end first, from 0 to 65535.")


def _prefixes(value: object) -> tuple[IPv4Network | IPv6Network, ...] | None:
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(each, bytes) and each for each in value):
        try:
            return tuple(ip_network((each[:-1], each[-1])) for each in value)
        except ValueError:
            pass
    raise ValueError("A rule's prefixes are a list of network addresses with a prefix length.")
