"""What the two handshake messages say beside keys: msgpack maps, checked field by field.

Whoever is on the other side is authenticated by then, which makes it no better informed: a field of a
wrong type or out of range is a HandshakeError before anything has changed. docs/protocol.md lists the keys.
"""

from collections.abc import Mapping
from ipaddress import ip_interface
from typing import Any, NamedTuple

from mpbond.core.envelope import VERSION
from mpbond.core.handshake import optional, required
from mpbond.core.keys import CIPHERS
from mpbond.core.path import DEFAULT_MTU, DEFAULT_OVERHEAD
from mpbond.core.scheduler import SCHEDULERS
from mpbond.errors import HandshakeError

SESSION_ID_SIZE = 8  # bytes
MAXIMUM_ADDRESSES = (
    4  # that fit a message beside everything else; also the limit of a server's pools
)
KEEPALIVE_RANGE = (1.0, 120.0)  # seconds
LINK_MTU_RANGE = (576, 65535)  # bytes of an IP packet


class Request(NamedTuple):
    """The client's: `session` is the one to go on with (empty: a new one), `rekey` rises within it."""

    session: bytes
    rekey: int
    ciphers: tuple[str, ...]
    addresses: tuple[str, ...]
    scheduler: str | None
    capabilities: tuple[str, ...] = ()

    def to_map(self) -> dict[str, Any]:
        """Return the payload of INIT."""
        return {
            "version": VERSION,
            "session": self.session,
            "rekey": self.rekey,
            "ciphers": list(self.ciphers),
            "addresses": list(self.addresses[:MAXIMUM_ADDRESSES]),
            "scheduler": self.scheduler,
            "capabilities": list(self.capabilities),
        }


class Welcome(NamedTuple):
    """The server's: `addresses` with prefix lengths, `keepalive` in seconds, `link_mtu` in bytes."""

    receiver_index: int
    session: bytes
    cipher: str
    addresses: tuple[str, ...]
    keepalive: float
    link_mtu: int
    capabilities: tuple[str, ...] = ()

    def to_map(self) -> dict[str, Any]:
        """Return the payload of RESPONSE."""
        return {
            "version": VERSION,
            "index": self.receiver_index,
            "session": self.session,
            "cipher": self.cipher,
            "addresses": list(self.addresses[:MAXIMUM_ADDRESSES]),
            "keepalive": self.keepalive,
            "mtu": self.link_mtu,
            "capabilities": list(self.capabilities),
        }


def read_request(payload: Mapping[str, Any]) -> Request:
    """Check the payload of INIT. Raises HandshakeError."""
    scheduler = optional(payload, "scheduler", str, "")
    return Request(
        optional(payload, "session", bytes, b""),
        optional(payload, "rekey", int, 0),
        _texts(payload, "ciphers"),
        _texts(payload, "addresses"),
        scheduler if scheduler in SCHEDULERS else None,
        _texts(payload, "capabilities"),
    )


def read_welcome(payload: Mapping[str, Any]) -> Welcome:
    """Check the payload of RESPONSE. Raises HandshakeError."""
    session: bytes = required(payload, "session", bytes)
    cipher: str = required(payload, "cipher", str)
    keepalive = payload.get("keepalive", KEEPALIVE_RANGE[1])
    link_mtu = optional(payload, "mtu", int, DEFAULT_MTU + DEFAULT_OVERHEAD)
    addresses = _texts(payload, "addresses")
    is_number = isinstance(keepalive, int | float) and not isinstance(keepalive, bool)
    if cipher not in CIPHERS or len(session) != SESSION_ID_SIZE or not is_number:
        raise HandshakeError("handshake_payload")
    if not KEEPALIVE_RANGE[0] <= keepalive <= KEEPALIVE_RANGE[1]:
        raise HandshakeError("handshake_payload")
    if not LINK_MTU_RANGE[0] <= link_mtu <= LINK_MTU_RANGE[1]:
        raise HandshakeError("handshake_payload")
    for text in addresses:
        try:
            ip_interface(text)
        except ValueError:
            raise HandshakeError("handshake_payload") from None
    return Welcome(
        required(payload, "index", int),
        session,
        cipher,
        addresses,
        float(keepalive),
        link_mtu,
        _texts(payload, "capabilities"),
    )


def _texts(payload: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The texts of a list, at most a dozen; what is no text is passed over."""
    items: list[Any] = optional(payload, key, list, [])
    return tuple(item for item in items[:12] if isinstance(item, str))
