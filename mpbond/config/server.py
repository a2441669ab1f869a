"""A server's configuration: its own table, and one `[[client]]` table for each client.

Past the single values it is a question of who owns what: pools must not overlap each other, a
client's fixed address lies in a pool and belongs to nobody else, its routes overlap neither pools
nor the routes of others, and a public key names one client only.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

from mpbond.config import common, keys, rules, values
from mpbond.config.model import PeerConfig, ServerConfig, own_address
from mpbond.config.place import kind, read_table, shown, table_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mpbond.config.model import Address, Network
    from mpbond.config.place import Parser, Place

MAXIMUM_POOLS: Final = 4  # one address of each must fit a handshake message
_PREFIX_LENGTHS: Final = {4: (8, 30), 6: (32, 126)}  # from no internet-wide pool to two hosts


def _pool(place: Place, value: object) -> Network:
    pool = values.network(place, value)
    shortest, longest = _PREFIX_LENGTHS[pool.version]
    if not shortest <= pool.prefixlen <= longest:
        right = f"use a prefix length from {shortest} to {longest}"
        raise place.error(
            f"{pool} is {'too small' if pool.prefixlen > longest else 'too big'}", right
        )
    if pool.is_multicast or pool.is_loopback or pool.is_link_local:
        right = 'use a private prefix such as "10.77.0.0/24" or "fd77::/64"'
        raise place.error(f"{pool} holds no addresses for hosts", right)
    return pool


def _tables(place: Place, value: object) -> list[object]:
    if not isinstance(value, list):
        raise place.error(f"{shown(value)} is {kind(value)}", "write [[client]] for each client")
    return value


_FILE: Final[Mapping[str, Parser[Any]]] = {
    "version": common.version,
    "server": table_at,
    "client": _tables,
    "rule": rules.rules,
}
_SERVER: Final[Mapping[str, Parser[Any]]] = {
    **common.PARSERS,
    "listen": values.listed(
        values.listen_endpoint, of="endpoints", needed='write ["0.0.0.0:4510", "[::]:4510"]'
    ),
    "mtu": values.mtu,
    "pool": values.listed(
        _pool, of="prefixes", needed='write a private prefix such as "10.77.0.0/24"'
    ),
    "nat": values.flag,
    "client_to_client": values.flag,
    "dns": values.listed(values.address, of="addresses"),
}
_CLIENT: Final[Mapping[str, Parser[Any]]] = {
    "name": values.text,
    "public_key": values.public_key,
    "preshared_key_file": values.secret_key_file,
    "addresses": values.listed(values.address, of="addresses"),
    "routes": values.listed(values.network, of="prefixes"),
}
_CLIENT_NEEDED: Final = {"public_key": "add the client's, as mpbond init client prints it"}


def parse_server(top: Place, document: dict[str, object]) -> ServerConfig:
    """Turns a document with a `[server]` table into a configuration; raises ConfigError."""
    tables = read_table(top, document, _FILE)
    place = top.under("server")
    own = common.complete(place, read_table(place, tables["server"], _SERVER))
    own["rules"] = tables.get("rule", ())
    server = ServerConfig(path=top.file, **own)
    _check_listen(place.under("listen"), server)
    _check_pools(place.under("pool"), server.pool)
    clients = []
    for index, table in enumerate(tables.get("client", [])):
        clients.append(_client(top.under("client").item(index), table, own))
    _check_clients(top.under("client"), clients, server)
    return ServerConfig(path=top.file, clients=tuple(clients), **own)


def _client(place: Place, value: object, own: Mapping[str, Any]) -> PeerConfig:
    found = read_table(place, value, _CLIENT, required=_CLIENT_NEEDED)
    common.refuse_own_key(place.under("public_key"), found["public_key"], own, "client")
    if "preshared_key_file" in found:
        found["preshared_key"] = found.pop("preshared_key_file")
    found.setdefault("name", keys.encode(found["public_key"]))
    return PeerConfig(**found)


def _check_listen(place: Place, server: ServerConfig) -> None:
    for index, endpoint in enumerate(server.listen):
        if endpoint.port != server.port:
            wrong = f"port {endpoint.port} differs from {server.port} in the item before"
            raise place.item(index).error(wrong, "use one port for all addresses")


def _check_pools(place: Place, pools: tuple[Network, ...]) -> None:
    if len(pools) > MAXIMUM_POOLS:
        raise place.error(f"{len(pools)} pools", f"use at most {MAXIMUM_POOLS}")
    for (first, one), (second, other) in itertools.combinations(enumerate(pools), 2):
        if _overlap(one, other):
            wrong = f"{other} overlaps {one} in {place.item(first).key}"
            raise place.item(second).error(wrong, "use prefixes that share no address")


def _check_clients(place: Place, clients: list[PeerConfig], server: ServerConfig) -> None:
    for field in ("public_key", "name"):
        owners: dict[object, int] = {}
        for index, client in enumerate(clients):
            first = owners.setdefault(getattr(client, field), index)
            if first != index:
                wrong = f"is that of {place.item(first).key} too"
                right = f"give every client its own {field}"
                raise place.item(index).under(field).error(wrong, right)
    _check_addresses(place, clients, server)
    _check_routes(place, clients, server.pool)


def _check_addresses(place: Place, clients: list[PeerConfig], server: ServerConfig) -> None:
    owners: dict[Address, str] = {}
    for index, client in enumerate(clients):
        taken_pools: set[Network] = set()
        for number, address in enumerate(client.addresses):
            here = place.item(index).under("addresses").item(number)
            pool = _pool_of(here, address, server.pool)
            if pool in taken_pools:
                right = "keep one, and put others into routes"
                raise here.error(f"{address} is a second address from {pool}", right)
            taken_pools.add(pool)
            if address in owners:
                wrong = f"{address} is that of {owners[address]} too"
                raise here.error(wrong, "give every client its own address")
            owners[address] = here.key


def _pool_of(place: Place, address: Address, pools: tuple[Network, ...]) -> Network:
    for pool in pools:
        if address not in pool:
            continue
        if address == own_address(pool):
            right = f"use another address inside {pool}"
            raise place.error(f"{address} is the server's own address", right)
        if address in (pool.network_address, pool.broadcast_address) and pool.version == 4:
            right = f"use another address inside {pool}"
            raise place.error(f"{address} is the network's or its broadcast address", right)
        return pool
    inside = " or ".join(str(pool) for pool in pools)
    raise place.error(f"{address} lies in no pool", f"use an address inside {inside}")


def _check_routes(place: Place, clients: list[PeerConfig], pools: tuple[Network, ...]) -> None:
    seen: list[tuple[Network, str]] = [(pool, f"the pool {pool}") for pool in pools]
    for here, route in _routes(place, clients):
        for other, name in seen:
            if _overlap(route, other):
                right = "route every address to one client only"
                raise here.error(f"{route} overlaps {name}", right)
        seen.append((route, f"{route} in {here.key}"))


def _routes(place: Place, clients: list[PeerConfig]) -> Iterator[tuple[Place, Network]]:
    for index, client in enumerate(clients):
        for number, route in enumerate(client.routes):
            yield place.item(index).under("routes").item(number), route


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)
