"""What the core hands out: `Transmit`s to send, and rare events. Packets never become events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from mpbond.core.path import Address

MAXIMUM_SEGMENTS: Final = 64  # datagrams in one sendmsg: what kernels before 6.9 take


class Transmit(NamedTuple):
    """Exactly one sendmsg: `buffers` are gathered, and cut every `segment_size` bytes if that is set.

    `session` and `numbers` (path id, packet numbers) identify it when the system refuses it and it goes
    back in; both are None for handshake messages. `dscp` is the outer one.
    """

    socket: int
    address: Address
    buffers: list[bytes]
    segment_size: int | None = None
    session: bytes | None = None
    numbers: tuple[int, Sequence[int]] | None = None
    dscp: int = 0


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """A session is in use. `peer` is the other side's public key, `addresses` the client's inner ones."""

    peer: bytes
    session: bytes
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A session has ended, in words."""

    peer: bytes
    session: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """A session goes on under new keys."""

    peer: bytes
    session: bytes


@dataclass(frozen=True, slots=True)
class PathChanged:
    """A path has another state (a word of core.liveness) for a reason in words."""

    peer: bytes
    path_id: int
    link: str | None
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Configured:
    """The server's longer configuration has come (a CONTROL message; see docs/protocol.md)."""

    settings: dict[str, Any]


Event = SessionStarted | SessionEnded | Rekeyed | PathChanged | Configured
