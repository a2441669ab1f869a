"""Firewall rules in a table of our own: NAT, MSS clamp, and what forwarding must not open.

A side says what it wants as data (`ServerRules`, `ClientRules`); `render` turns that into the JSON
nft takes, `as_text` into the same in nft's own language, for people. Both are pure. `apply` and
`remove` hand it to `nft -j -f -` as one transaction (make, delete, make again), so that there is
never a moment with half the rules, and each is idempotent.

Three chains, all with policy accept: what we do not speak of is left to the rest of the firewall.

    postrouting  nat,    srcnat   server: the pool leaves under the server's address, except no-NAT prefixes
                                  client: the LAN enters the TUN under the tunnel's address, and leaves
                                  under a link's own while the tunnel is down
    clamp        filter, mangle   SYNs through the TUN promise segments that fit it; never raises
    forward      filter, filter   who may open connections to whom

`forward` guards two things. Nobody outside opens connections to addresses that are hidden behind
our NAT. And where a family was not forwarded before we switched forwarding on (`guard`), connections
that have nothing to do with a tunnel are still not forwarded: bridges (containers) and connections
another table has DNATed excepted, since their owners rely on forwarding once it is on.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mpbond.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv6Address

IPV4_TCP_HEADERS: Final = 40
IPV6_TCP_HEADERS: Final = 60
_NFT_TIMEOUT: Final = 30.0

_PRIORITIES: Final = {"srcnat": 100, "translated": 110, "mangle": -150, "filter": 0}
_IP: Final = {4: "ip", 6: "ip6"}
_NFPROTO: Final = {4: "ipv4", 6: "ipv6"}
_UNIQUE_LOCAL: Final = IPv6Network("fc00::/7")

Statement: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRules:
    """What the concentrator wants of the firewall.

    Attributes:
        mtu: of the TUN, bytes.
        pool: the clients' inner addresses.
        no_nat: prefixes routed to clients, which keep their addresses.
        nat: whether the pool leaves under the server's address.
        client_to_client: whether packets may go from the TUN back into it.
        guard: IP versions that were not forwarded before we switched forwarding on.
    """

    tun: str
    mtu: int
    pool: tuple[IPv4Network | IPv6Network, ...]
    no_nat: tuple[IPv4Network | IPv6Network, ...] = ()
    nat: bool = True
    client_to_client: bool = False
    guard: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRules:
    """What the client wants of the firewall.

    Attributes:
        mtu: of the TUN, bytes.
        addresses: our own inner addresses.
        links: names of the links there are now.
        routed: prefixes the server routes to us, which keep their addresses in the tunnel.
        masquerade: whether the LAN enters the TUN under our inner address.
        direct: whether the LAN may leave by a link under that link's address (tunnel down).
        guard: IP versions that were not forwarded before we switched forwarding on.
    """

    tun: str
    mtu: int
    addresses: tuple[IPv4Address | IPv6Address, ...]
    links: tuple[str, ...] = ()
    routed: tuple[IPv4Network | IPv6Network, ...] = ()
    masquerade: bool = True
    direct: bool = True
    guard: frozenset[int] = frozenset()


def table_name(tun: str) -> str:
    """Returns the name of the table that belongs to a TUN device."""
    return "mpbond_" + "".join(
        c if c.isascii() and (c.isalnum() or c in "_-.") else f"_{ord(c):02x}" for c in tun
    )


def render(rules: ServerRules | ClientRules) -> dict[str, Any]:
    """Returns the transaction that puts these rules in the place of any earlier ones, as nft JSON."""
    table = {"family": "inet", "name": table_name(rules.tun)}
    commands: list[dict[str, Any]] = [
        {"add": {"table": table}},
        {"delete": {"table": table}},
        {"add": {"table": table}},
    ]
    if isinstance(rules, ServerRules):
        translated, forwarded, astray = _server_nat(rules), _server_forward(rules), []
    else:
        translated, forwarded = _client_nat(rules), _client_forward(rules)
        astray = _client_astray(rules)
    for name, kind, hook, priority, content in (
        ("postrouting", "nat", "postrouting", "srcnat", translated),
        ("astray", "filter", "postrouting", "translated", astray),
        ("clamp", "filter", "forward", "mangle", _clamp(rules.tun, rules.mtu)),
        ("forward", "filter", "forward", "filter", forwarded),
    ):
        place: dict[str, Any] = {"family": "inet", "table": table["name"]}
        chain = place | {"name": name, "type": kind, "hook": hook}
        chain |= {"prio": _PRIORITIES[priority], "policy": "accept"}
        if name == "astray" and not content:
            continue
        commands.append({"add": {"chain": chain}})
        commands += [{"add": {"rule": place | {"chain": name, "expr": e}}} for e in content]
    return {"nftables": commands}


def render_removal(tun: str) -> dict[str, Any]:
    """Returns the transaction that takes the table away, whether it is there or not."""
    table = {"family": "inet", "name": table_name(tun)}
    return {"nftables": [{"add": {"table": table}}, {"delete": {"table": table}}]}


def as_text(document: dict[str, Any]) -> str:
    """Returns a rendered transaction as the shell command that does the same."""
    lines = []
    for command in document["nftables"]:
        ((verb, what),) = command.items()
        ((kind, item),) = what.items()
        if kind == "table":
            lines.append(f"{verb} table inet {item['name']}")
        elif kind == "chain":
            lines.append(
                f"{verb} chain inet {item['table']} {item['name']} {{ type {item['type']} hook"
                f" {item['hook']} priority {item['prio']}; policy {item['policy']}; }}"
            )
        else:
            words = " ".join(_words(statement) for statement in item["expr"])
            lines.append(f"{verb} rule inet {item['table']} {item['chain']} {words}")
    return "\n".join(["nft -f - <<'END'", *lines, "END"])


def apply(rules: ServerRules | ClientRules) -> None:
    """Puts these rules in force, in the place of any earlier ones of the same TUN.

    Raises:
        PlatformError: nft is missing or refuses.
    """
    _run_nft(render(rules), rules.tun)


def remove(tun: str) -> None:
    """Takes a TUN's table away; that it is gone already is no error.

    Raises:
        PlatformError: nft is missing or refuses.
    """
    _run_nft(render_removal(tun), tun)


def _server_nat(rules: ServerRules) -> list[list[Statement]]:
    if not rules.nat:
        return []
    outside = _match(_meta("oifname"), "!=", rules.tun)
    content = []
    for version in (4, 6):
        pool = _networks(rules.pool, version)
        kept = _networks(rules.no_nat, version)
        if pool and kept:
            content.append([outside, _match(_address("saddr", version), "==", kept), _RETURN])
        if pool:
            content.append([outside, _match(_address("saddr", version), "==", pool), _MASQUERADE])
    return content


def _server_forward(rules: ServerRules) -> list[list[Statement]]:
    tun_in, tun_out = _match(_meta("iifname"), "==", rules.tun), _into(rules.tun)
    content = [[tun_in, tun_out, _ACCEPT if rules.client_to_client else _DROP]]
    for version in (4, 6) if rules.nat else ():
        pool = _networks(rules.pool, version)
        if pool:
            hidden = [tun_out, _match(_address("daddr", version), "==", pool)]
            kept = _networks(rules.no_nat, version)
            if kept:
                hidden.append(_match(_address("daddr", version), "!=", kept))
            content.append([*hidden, _NOT_ASKED_FOR, _NOT_DNATED, _DROP])
    past_tunnels = [
        _match(_meta("iifkind"), "!=", _one_or_set(["bridge", "tun"])),
        _match(_meta("oifkind"), "!=", "tun"),
    ]
    content += [
        [_family(version), *past_tunnels, _NOT_ASKED_FOR, _NOT_DNATED, _DROP]
        for version in sorted(rules.guard)
    ]
    return content


def _client_nat(rules: ClientRules) -> list[list[Statement]]:
    content = []
    if rules.masquerade:
        for address in _first_of_each_version(rules.addresses):
            version = address.version
            own = _networks([*map(ip_network, rules.addresses), *rules.routed], version)
            # not masquerade: that forgets its connections when the device goes
            hide = {"snat": {"family": _IP[version], "addr": str(address)}}
            content.append([_into(rules.tun), _match(_address("saddr", version), "!=", own), hide])
    if rules.direct and rules.links:
        leaving = [_match(_meta("oifname"), "==", _one_or_set(rules.links)), _NOT_OURSELVES]
        content.append([*leaving, _family(4), _MASQUERADE])
        # a global IPv6 prefix may have been delegated by this very link, and needs no NAT
        foreign = _networks([_UNIQUE_LOCAL, *rules.routed], 6)
        content.append([*leaving, _match(_address("saddr", 6), "==", foreign), _MASQUERADE])
    return content


def _client_astray(rules: ClientRules) -> list[list[Statement]]:
    """Nothing with our inner address leaves by a link.

    A connection that began in the tunnel keeps that address while the tunnel is down. By a link its
    packets would reach the far end from a stranger and be answered with a reset; unanswered, the
    connection goes on when the tunnel is back.
    """
    if not rules.links:
        return []
    leaving = _match(_meta("oifname"), "==", _one_or_set(rules.links))
    content = []
    for version in sorted({a.version for a in rules.addresses}):
        own = _networks(map(ip_network, rules.addresses), version)
        content.append([leaving, _match(_address("saddr", version), "==", own), _DROP])
    return content


def _client_forward(rules: ClientRules) -> list[list[Statement]]:
    content = []
    if rules.masquerade:
        # what went in untranslated now would stay so for as long as its connection lives
        for version in sorted({4, 6} - {address.version for address in rules.addresses}):
            kept = _networks(rules.routed, version)
            others = [_match(_address("saddr", version), "!=", kept)] if kept else []
            content += [[_into(rules.tun), _family(version), *others, _DROP]]
        tun_in = _match(_meta("iifname"), "==", rules.tun)
        for version in (4, 6):
            routed = _networks(rules.routed, version)
            if routed:
                content.append([tun_in, _match(_address("daddr", version), "==", routed), _ACCEPT])
        content.append([tun_in, _NOT_ASKED_FOR, _NOT_DNATED, _DROP])
    if rules.links:
        entering = [
            _match(_meta("iifname"), "==", _one_or_set(rules.links)),
            _match(_meta("oifkind"), "!=", "tun"),
        ]
        content += [
            [_family(version), *entering, _NOT_ASKED_FOR, _NOT_DNATED, _DROP]
            for version in sorted(rules.guard)
        ]
    return content


def _clamp(tun: str, mtu: int) -> list[list[Statement]]:
    size = {"tcp option": {"name": "maxseg", "field": "size"}}
    flags = {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["syn", "rst"]]}
    content = []
    for side in ("iifname", "oifname"):
        for version, headers in ((4, IPV4_TCP_HEADERS), (6, IPV6_TCP_HEADERS)):
            most = mtu - headers
            content.append(
                [
                    _match(_meta(side), "==", tun),
                    _family(version),
                    _match(flags, "==", "syn"),
                    _match(size, ">", most),
                    {"mangle": {"key": size, "value": most}},
                ]
            )
    return content


def _match(left: Any, operator: str, right: Any) -> Statement:
    return {"match": {"op": operator, "left": left, "right": right}}


def _meta(key: str) -> dict[str, Any]:
    return {"meta": {"key": key}}


def _address(field: str, version: int) -> dict[str, Any]:
    return {"payload": {"protocol": _IP[version], "field": field}}


def _into(tun: str) -> Statement:
    return _match(_meta("oifname"), "==", tun)


def _family(version: int) -> Statement:
    return _match(_meta("nfproto"), "==", _NFPROTO[version])


_ACCEPT: Final[Statement] = {"accept": None}
_DROP: Final[Statement] = {"drop": None}
_RETURN: Final[Statement] = {"return": None}
_MASQUERADE: Final[Statement] = {"masquerade": None}
_NOT_ASKED_FOR: Final = _match({"ct": {"key": "state"}}, "in", ["invalid", "new"])
_NOT_DNATED: Final = _match({"&": [{"ct": {"key": "status"}}, "dnat"]}, "==", 0)
_NOT_OURSELVES: Final = _match({"fib": {"result": "type", "flags": ["saddr"]}}, "!=", "local")


def _first_of_each_version(
    addresses: Iterable[IPv4Address | IPv6Address],
) -> list[IPv4Address | IPv6Address]:
    first: dict[int, IPv4Address | IPv6Address] = {}
    for address in addresses:
        first.setdefault(address.version, address)
    return list(first.values())


def _one_or_set(values: Iterable[Any]) -> Any:
    listed = list(values)
    return listed[0] if len(listed) == 1 else {"set": listed}


def _networks(networks: Iterable[IPv4Network | IPv6Network], version: int) -> Any:
    """Returns the right side of a match on addresses; None if there are none of this version.

    Overlapping prefixes are merged, because nft takes none in one set.
    """
    merged: Iterable[IPv4Network | IPv6Network]
    if version == 4:
        merged = collapse_addresses([n for n in networks if isinstance(n, IPv4Network)])
    else:
        merged = collapse_addresses([n for n in networks if isinstance(n, IPv6Network)])
    listed = [
        str(n.network_address)
        if n.num_addresses == 1
        else {"prefix": {"addr": str(n.network_address), "len": n.prefixlen}}
        for n in merged
    ]
    return _one_or_set(listed) if listed else None


def _words(statement: Statement) -> str:
    ((kind, body),) = statement.items()
    if kind == "match":
        operator = "" if body["op"] in ("==", "in") else body["op"] + " "
        named = "meta" in body["left"] and body["left"]["meta"]["key"] != "nfproto"
        value = _value_words(body["right"], quote='"' if named else "")
        return f"{_left_words(body['left'])} {operator}{value}"
    if kind == "mangle":
        return f"{_left_words(body['key'])} set {body['value']}"
    if kind == "snat":
        return f"snat {body['family']} to {body['addr']}"
    return str(kind)


def _left_words(left: dict[str, Any]) -> str:
    ((kind, body),) = left.items()
    if kind == "payload":
        return f"{body['protocol']} {body['field']}"
    if kind == "tcp option":
        return f"tcp option {body['name']} {body['field']}"
    if kind == "fib":
        return f"fib {' . '.join(body['flags'])} {body['result']}"
    if kind == "&":
        mask = body[1] if isinstance(body[1], str) else f"({' | '.join(body[1])})"
        return f"{_left_words(body[0])} & {mask} =="
    return f"{kind} {body['key']}"


def _value_words(value: Any, quote: str = "") -> str:
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, dict) and "set" in value:
        return "{ " + ", ".join(_value_words(v, quote) for v in value["set"]) + " }"
    if isinstance(value, dict):
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    return f"{quote}{value}{quote}"


def _run_nft(document: dict[str, Any], tun: str) -> None:
    try:
        result = subprocess.run(
            ["nft", "-j", "-f", "-"],
            input=json.dumps(document).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_NFT_TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise PlatformError("nft is not installed; apt install nftables") from None
    except subprocess.TimeoutExpired:
        raise PlatformError(
            f"nft did not finish within {_NFT_TIMEOUT:.0f} s; is it stuck?"
        ) from None
    if result.returncode != 0:
        said = result.stderr.decode(errors="replace").strip().splitlines()
        reason = said[0].removeprefix("Error: ") if said else f"exit status {result.returncode}"
        raise PlatformError(
            f"nft refused the table inet {table_name(tun)}: {reason}; mpbond needs CAP_NET_ADMIN and"
            " a kernel with nf_tables, NAT and conntrack"
        )
