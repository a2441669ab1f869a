"""A client's configuration: its own table, its concentrator, and settings by link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mpbond.config import amounts, common, rules, values
from mpbond.config.model import (
    QUOTA_ACTIONS,
    ClientConfig,
    ConcentratorConfig,
    LinkConfig,
)
from mpbond.config.place import read_table, table_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpbond.config.place import Parser, Place

_LONGEST_KEEPALIVE: Final = 120  # seconds; many NATs forget a silent mapping after two minutes


_FILE: Final[Mapping[str, Parser[Any]]] = {
    "version": common.version,
    "client": table_at,
    "concentrator": table_at,
    "link": table_at,
    "rule": rules.rules,
}
_CLIENT: Final[Mapping[str, Parser[Any]]] = {
    **common.PARSERS,
    "links": values.listed(
        values.link_pattern,
        of="interface names and globs",
        needed='name at least one interface or glob, such as "wwan*"',
    ),
    "mtu": values.mtu_or_auto,
    "downlink_scheduler": values.scheduler,
    "default_route": values.flag,
    "when_down": values.choice("direct", "block"),
    "masquerade": values.flag,
    "keepalive": values.number(1, _LONGEST_KEEPALIVE, "seconds"),
    "addresses": values.listed(values.address, of="addresses"),
}
_NEEDED: Final = {"links": 'add the interfaces to join, such as links = ["wwan*", "eth1"]'}
_CONCENTRATOR: Final[Mapping[str, Parser[Any]]] = {
    "public_key": values.public_key,
    "endpoints": values.listed(
        values.endpoint,
        of="endpoints",
        needed='name at least one, such as "vps.example.org:4510"',
    ),
    "preshared_key_file": values.secret_key_file,
}
_CONCENTRATOR_NEEDED: Final = {
    "public_key": "add the server's, as mpbond init server prints it",
    "endpoints": 'add where the server is reached, such as endpoints = ["vps.example.org:4510"]',
}
_LINK: Final[Mapping[str, Parser[Any]]] = {
    "weight": values.weight,
    "gateway": values.address,
    "tier": values.tier,
    "cap_up": amounts.cap,
    "cap_down": amounts.cap,
    "quota": amounts.quota,
    "quota_action": values.choice(*QUOTA_ACTIONS),
}


def parse_client(top: Place, document: dict[str, object]) -> ClientConfig:
    """Turns a document with a `[client]` table into a configuration; raises ConfigError."""
    tables = read_table(top, document, _FILE)
    own_place = top.under("client")
    found = read_table(own_place, tables["client"], _CLIENT, required=_NEEDED)
    own = common.complete(own_place, found)
    _check_links(own_place.under("links"), own)
    if "scheduler" in own:
        own.setdefault("downlink_scheduler", own["scheduler"])
    return ClientConfig(
        path=top.file,
        concentrator=_concentrator(top, tables, own),
        link_settings=_link_settings(top.under("link"), tables.get("link", {})),
        rules=tables.get("rule", ()),
        **own,
    )


def _concentrator(
    top: Place, tables: Mapping[str, Any], own: Mapping[str, Any]
) -> ConcentratorConfig:
    if "concentrator" not in tables:
        right = (
            "add a [concentrator] table with public_key and endpoints, as mpbond init server prints"
        )
        raise top.error("names no server", right)
    place = top.under("concentrator")
    found = read_table(place, tables["concentrator"], _CONCENTRATOR, _CONCENTRATOR_NEEDED)
    common.refuse_own_key(place.under("public_key"), found["public_key"], own, "server")
    if "preshared_key_file" in found:
        found["preshared_key"] = found.pop("preshared_key_file")
    return ConcentratorConfig(**found)


def _link_settings(place: Place, tables: Mapping[str, object]) -> tuple[LinkConfig, ...]:
    settings = []
    for name, value in tables.items():
        here = place.under(name)
        pattern = values.link_pattern(here, name)
        found = read_table(here, value, _LINK)
        if "quota_action" in found and "quota" not in found:
            right = 'add quota, such as quota = "20 GB per month", or remove this'
            raise here.under("quota_action").error("there is no quota", right)
        settings.append(LinkConfig(pattern=pattern, **found))
    return tuple(settings)


def _check_links(place: Place, own: Mapping[str, Any]) -> None:
    tun = own.get("tun", "mpbond0")
    for index, pattern in enumerate(own["links"]):
        if pattern in (tun, "lo"):
            wrong = f"{pattern} is {'the tunnel itself' if pattern == tun else 'the loopback'}"
            raise place.item(index).error(wrong, "name a modem's interface")
