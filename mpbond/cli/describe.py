"""A configuration in words: what mpbond would do on this machine, and what looks odd here now.

Facts come from the configuration alone; warnings compare it with the machine (which links exist, is
there a TUN device) and are never mistakes: a modem may be plugged in later.
"""

from __future__ import annotations

import fnmatch
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mpbond.cli import words
from mpbond.config import TIERS, ClientConfig, keys
from mpbond.config.model import NO_PRESHARED_KEY
from mpbond.config.rules import PROTOCOLS
from mpbond.core.packet import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mpbond.config import LinkConfig, PeerConfig, ServerConfig
    from mpbond.core.rules import Rule

TUN_DEVICE: Final = Path("/dev/net/tun")
VOLATILE: Final = Path("/run")  # lives in memory
Facts = list[tuple[str, str]]


def describe(config: ClientConfig | ServerConfig) -> tuple[Facts, list[str]]:
    """Lists what would be done, as names with words, and warnings."""
    if isinstance(config, ClientConfig):
        interfaces = _interfaces()
        return _client_facts(config, interfaces), list(_client_warnings(config, interfaces))
    return _server_facts(config), list(_server_warnings(config))


def _client_facts(config: ClientConfig, interfaces: list[str]) -> Facts:
    server = config.concentrator
    endpoints = ", then ".join(str(endpoint) for endpoint in server.endpoints)
    matched = [name for name in interfaces if config.wants_link(name)]
    wanted = ", ".join(str(address) for address in config.addresses)
    facts = [
        ("role", "client"),
        ("own public key", keys.encode(config.public_key)),
        ("server", f"{endpoints}{_psk_words(server.preshared_key)}"),
        ("server's public key", keys.encode(server.public_key)),
        ("links", f"{', '.join(config.links)}; now {', '.join(matched) or 'none'}"),
        *_links(config, matched),
        ("per link", "one socket bound to it, its own routing table and rule, its gateway found"),
        ("device", f"{config.tun}, MTU {config.mtu or 'by what the links allow'}"),
        ("addresses", f"asks for {wanted}" if wanted else "whatever the server gives"),
        ("scheduler", f"{config.scheduler} up, {config.downlink_scheduler} down"),
        ("hold", _hold_words(config.hold)),
        ("default route", _default_route_words(config)),
        ("NAT", "hides the network behind it" if config.masquerade else "none: routed as it is"),
        ("keepalive", f"every {config.keepalive:g} seconds"),
    ]
    return facts + _common_facts(config)


def _client_warnings(config: ClientConfig, interfaces: list[str]) -> Iterator[str]:
    for pattern in config.links:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in interfaces):
            yield f"no link matches {pattern} now; the client would wait for one."
    for settings in config.link_settings:
        if not any(_may_meet(pattern, settings.pattern) for pattern in config.links):
            yield f"[link.{settings.pattern}] has no effect: links names no such interface."
    lasting = not config.state_dir.is_relative_to(VOLATILE)
    if not lasting and any(settings.quota for settings in config.link_settings):
        yield (
            f"what links carried is kept in {config.state_dir}, which is empty after each start of "
            "the machine: for quotas, set state_dir to a directory on a disk."
        )
    if not config.default_route:
        yield (
            f"default_route is off: only what you route to {config.tun} yourself goes through "
            "the tunnel."
        )
    yield from _machine_warnings()


def _server_facts(config: ServerConfig) -> Facts:
    pairs = zip(config.pool, config.own_addresses, strict=True)
    facts = [
        ("role", "server"),
        ("own public key", keys.encode(config.public_key)),
        ("listens on", ", ".join(f"UDP {endpoint}" for endpoint in config.listen)),
        ("device", f"{config.tun}, MTU {config.mtu}"),
        ("addresses", ", ".join(f"{pool} (itself {own})" for pool, own in pairs)),
        *((f"client {client.name}", _peer_words(client)) for client in config.clients),
        ("NAT", _nat_words(config)),
        ("between clients", "passes packets" if config.client_to_client else "passes nothing"),
        ("scheduler", f"{config.scheduler}, unless a client wishes another"),
        ("hold", _hold_words(config.hold)),
    ]
    if config.dns:
        facts.append(("DNS", f"tells clients {', '.join(map(str, config.dns))}"))
    return facts + _common_facts(config)


def _server_warnings(config: ServerConfig) -> Iterator[str]:
    if not config.clients:
        yield "there is no [[client]] table: nobody may connect; mpbond init client prints one."
    yield from _machine_warnings()


def _machine_warnings() -> Iterator[str]:
    if not TUN_DEVICE.exists():
        yield f"there is no {TUN_DEVICE} here; load it by modprobe tun."


def _common_facts(config: ClientConfig | ServerConfig) -> Facts:
    who = f"root and the group {config.control_group}" if config.control_group else "root only"
    run = f"mpbond {'client' if isinstance(config, ClientConfig) else 'server'}"
    marks = "copied to datagrams" if config.dscp == "copy" else "kept inside, not shown outside"
    client = isinstance(config, ClientConfig)
    return [
        *_rules(config.rules),
        ("DSCP marks", marks),
        ("offloads", "those of the kernel" if config.offload else "none: packet by packet"),
        ("control socket", f"{config.control}, for {who}"),
        ("undo journal", f"in {config.state_dir}{', with what links carried' if client else ''}"),
        ("commands", f"shown by {run} --config {config.path} --dry-run"),
    ]


def _links(config: ClientConfig, matched: list[str]) -> Facts:
    """What is not as for any link."""
    facts = []
    for name in matched:
        told = ", ".join(_link_words(config.settings_of(name)))
        if told:
            facts.append((f"link {name}", told))
    return facts


def _link_words(settings: LinkConfig) -> Iterator[str]:
    if settings.weight != 1:
        yield f"weight {settings.weight:g}"
    if settings.gateway:
        yield f"gateway {settings.gateway}"
    if settings.tier:
        yield f"{TIERS[settings.tier]}"
    for cap, way in ((settings.cap_up, "up"), (settings.cap_down, "down")):
        if cap:
            yield f"at most {words.rate(cap)} {way}"
    if settings.quota:
        then = "off" if settings.quota_action == "off" else "a last resort"
        yield f"{words.volume(settings.quota.volume)} per {settings.quota.period}, then {then}"


def _rules(rules: Sequence[Rule]) -> Facts:
    return [(f"rule {number}", _rule_words(rule)) for number, rule in enumerate(rules, 1)]


def _rule_words(rule: Rule) -> str:
    conditions = []
    if rule.dscp is not None:
        conditions.append(f"DSCP {_either(sorted(rule.dscp))}")
    if rule.protocol is not None:
        names = {number: name for name, number in PROTOCOLS.items()}
        conditions.append(f"protocol {names.get(rule.protocol, rule.protocol)}")
    if rule.ports is not None:
        spans = [f"{low}" if low == high else f"{low}-{high}" for low, high in rule.ports]
        conditions.append(f"port {_either(spans)}")
    if rule.prefixes is not None:
        conditions.append(f"from or to {_either(rule.prefixes)}")
    becomes = [KINDS[rule.kind]] if rule.kind is not None else []
    if rule.scheduler is not None:
        becomes.append(f"scheduler {rule.scheduler}")
    return f"{rule.name}: {' and '.join(conditions)}: {', '.join(becomes)}"


def _either(items: Sequence[object]) -> str:
    *most, last = [str(item) for item in items]
    return f"{', '.join(most)} or {last}" if most else last


def _peer_words(client: PeerConfig) -> str:
    fixed = ", ".join(str(address) for address in client.addresses) or "addresses from the pool"
    routes = ", ".join(str(route) for route in client.routes)
    routed = f", routed without NAT: {routes}" if routes else ""
    return f"{keys.encode(client.public_key)}, {fixed}{routed}{_psk_words(client.preshared_key)}"


def _psk_words(key: bytes) -> str:
    return "" if key == NO_PRESHARED_KEY else ", with a preshared key"


def _nat_words(config: ServerConfig) -> str:
    if not config.nat:
        return "none: the pool is routed as it is"
    routed = any(client.routes for client in config.clients)
    return "hides the pool" + (", but not the clients' routes" if routed else "")


def _default_route_words(config: ClientConfig) -> str:
    if not config.default_route:
        return "not touched"
    down = "directly by the links" if config.when_down == "direct" else "nowhere"
    return f"through the tunnel; while the server cannot be reached, {down}"


def _hold_words(hold: float | None) -> str:
    if hold is None:
        return "follows the paths"
    return f"{hold * 1000:g} ms" if hold else "off: packets are passed on as they come"


def _may_meet(pattern: str, other: str) -> bool:
    return fnmatch.fnmatchcase(other, pattern) or fnmatch.fnmatchcase(pattern, other)


def _interfaces() -> list[str]:
    return sorted(name for _, name in socket.if_nameindex())
