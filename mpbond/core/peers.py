"""The clients a server knows, their inner addresses, and which inner address belongs to whom.

A peer is a public key. Its addresses are fixed by configuration or taken from the pools: the one it
wishes for if that is free, else the one its key hashes to, or the next free one after it; so a client
gets the same address again after either side has restarted. An address stays with its key while the
server runs, unless a pool is exhausted: then the peer that has been away longest gives its up.

`owner` maps a packet's address (4 or 16 bytes) to its peer by longest prefix; the same table answers
both "where does this go" and "may it come from there" (cryptokey routing, as in WireGuard).
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_interface,
)
from zlib import crc32

from mpbond.core.session import Session

IPAddress = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network
ANSWERED = 64  # digests of answered handshake messages that are remembered against replays
_TRIES = 1 << 16  # addresses looked at before a pool counts as exhausted


@dataclass(slots=True, eq=False)
class Peer:
    """A client known by its public key; `session` is in use, `pending` not yet confirmed."""

    name: str
    public_key: bytes
    preshared_key: bytes = bytes(32)
    fixed: tuple[IPAddress, ...] = ()
    routes: tuple[IPNetwork, ...] = ()
    addresses: tuple[Interface, ...] = ()  # with their pools' prefix lengths
    session: Session | None = None
    pending: list[Session] = field(default_factory=list)
    last_seen: float = float("-inf")
    replacements: list[float] = field(default_factory=list)  # times sessions were replaced
    answered: deque[bytes] = field(default_factory=lambda: deque(maxlen=ANSWERED))  # of its INITs


class Peers:
    """All peers of a server."""

    def __init__(self, pools: Sequence[IPNetwork], peers: Iterable[Peer]) -> None:
        self._pools = tuple(pools)
        self._by_key: dict[bytes, Peer] = {}
        self._hosts: dict[bytes, Peer] = {}
        self._prefixes: dict[tuple[int, int], dict[int, Peer]] = {}  # (address bits, length)
        self._lengths: dict[int, list[int]] = {32: [], 128: []}
        self._reserved = {pool.network_address + 1 for pool in pools}
        for peer in peers:
            self.add(peer)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._by_key.values())

    def get(self, public_key: bytes) -> Peer | None:
        """The peer with this key."""
        return self._by_key.get(public_key)

    def add(self, peer: Peer) -> None:
        """Make a peer known."""
        self._by_key[peer.public_key] = peer
        for address in peer.fixed:
            other = self._hosts.get(address.packed)
            if other is not None and other is not peer:
                other.addresses = tuple(item for item in other.addresses if item.ip != address)
            self._hosts[address.packed] = peer
        for route in peer.routes:
            bits = route.max_prefixlen
            self._prefixes.setdefault((bits, route.prefixlen), {})[
                int(route.network_address) >> (bits - route.prefixlen)
            ] = peer
            if route.prefixlen not in self._lengths[bits]:
                self._lengths[bits].append(route.prefixlen)
                self._lengths[bits].sort(reverse=True)

    def owner(self, address: bytes) -> Peer | None:
        """The peer that an inner address of 4 or 16 bytes belongs to."""
        peer = self._hosts.get(address)
        if peer is not None:
            return peer
        bits = 8 * len(address)
        lengths = self._lengths.get(bits)
        if lengths:
            value = int.from_bytes(address, "big")
            for length in lengths:
                peer = self._prefixes[bits, length].get(value >> (bits - length))
                if peer is not None:
                    return peer
        return None

    def remove(self, peer: Peer) -> None:
        """Forget a peer, its addresses and routes."""
        self._by_key.pop(peer.public_key, None)
        for address in [at for at, owner in self._hosts.items() if owner is peer]:
            del self._hosts[address]
        for table in self._prefixes.values():
            for prefix in [at for at, owner in table.items() if owner is peer]:
                del table[prefix]

    def assign(self, peer: Peer, wanted: Sequence[str]) -> tuple[Interface, ...]:
        """Give a peer one address of each pool, the same as before if it has some."""
        chosen: list[Interface] = []
        wishes = _parse_addresses(wanted)
        for pool in self._pools:
            before = (*peer.fixed, *(interface.ip for interface in peer.addresses))
            mine = [
                address
                for address in before
                if address in pool and self._hosts.get(address.packed, peer) is peer
            ]
            address = mine[0] if mine else self._pick(peer, pool, wishes)
            if address is not None:
                self._hosts[address.packed] = peer
                chosen.append(ip_interface(f"{address}/{pool.prefixlen}"))
        peer.addresses = tuple(chosen)
        return peer.addresses

    def _pick(self, peer: Peer, pool: IPNetwork, wishes: list[IPAddress]) -> IPAddress | None:
        for wish in wishes:
            if wish in pool and self._free(wish, pool):
                return wish
        count = pool.num_addresses
        start = crc32(peer.public_key)
        for step in range(min(count, _TRIES)):
            address = pool.network_address + (start + step) % count
            if self._free(address, pool):
                return address
        return self._reclaim(peer, pool)

    def _free(self, address: IPAddress, pool: IPNetwork) -> bool:
        if address in self._reserved or address == pool.network_address:
            return False
        if address == pool.broadcast_address and pool.version == 4:
            return False
        return address.packed not in self._hosts

    def _reclaim(self, peer: Peer, pool: IPNetwork) -> IPAddress | None:
        away = [
            (other.last_seen, address)
            for address, other in self._pooled(pool)
            if other is not peer and other.session is None and not other.pending
        ]
        if not away:
            return None
        address = min(away)[1]
        other = self._hosts[address.packed]
        other.addresses = tuple(item for item in other.addresses if item.ip != address)
        return address

    def _pooled(self, pool: IPNetwork) -> list[tuple[IPAddress, Peer]]:
        return [
            (interface.ip, peer)
            for peer in self._by_key.values()
            for interface in peer.addresses
            if interface.ip in pool and interface.ip not in peer.fixed
        ]


def source_of(packet: bytes) -> bytes | None:
    """The source address of an inner packet, None if it is neither IPv4 nor IPv6."""
    version = packet[0] >> 4
    if version == 4 and len(packet) >= 20:
        return packet[12:16]
    if version == 6 and len(packet) >= 40:
        return packet[8:24]
    return None


def destination_of(packet: bytes) -> bytes | None:
    """The destination address of an inner packet, None if it is neither IPv4 nor IPv6."""
    version = packet[0] >> 4
    if version == 4 and len(packet) >= 20:
        return packet[16:20]
    if version == 6 and len(packet) >= 40:
        return packet[24:40]
    return None


def _parse_addresses(texts: Sequence[str]) -> list[IPAddress]:
    addresses = []
    for text in texts:
        try:
            addresses.append(ip_interface(text).ip)
        except ValueError:
            continue
    return addresses
