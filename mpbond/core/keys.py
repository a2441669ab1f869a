"""Transport keys: one pair per handshake, their age and use, sealing and opening in batches.

A key pair has its own receiver index on each side. The session's packet numbers go on across a rekey,
so a nonce is `path id ‖ 64-bit packet number`, unique under a key because neither is ever reused in a
session. `KeyRing` holds up to three pairs: `current` (sent with), `previous` (datagrams under it may
still arrive) and, on the responder, `next`, which becomes current when the first datagram opens under
it: only then does the initiator surely have it (key confirmation).
"""

from collections.abc import Sequence

from mpbond.core.aead import CLASSES, Arrival, Buffer, Plain
from mpbond.core.kernel import Aead, Sealer
from mpbond.core.segments import Cut

CIPHERS = tuple(CLASSES)
REKEY_AFTER = 120.0  # seconds of a key's life after which its user asks for a new one
REJECT_AFTER = 180.0  # seconds after which nothing is sent under a key
REKEY_AFTER_DATAGRAMS = 1 << 28
REKEY_AFTER_FORGERIES = 1 << 30  # far below AES-GCM's 2**52 (RFC 9001, 6.6)


class Keypair:
    """Keys of one handshake. `created` in seconds; `local_index` is what the peer puts in headers."""

    __slots__ = (
        "cipher",
        "created",
        "forgeries",
        "local_index",
        "receive",
        "remote_index",
        "send",
        "sent",
    )

    def __init__(
        self,
        cipher: str,
        send_key: bytes,
        receive_key: bytes,
        local_index: int,
        remote_index: int,
        now: float,
    ) -> None:
        self.cipher = cipher
        self.send: Sealer = Aead(cipher, send_key)
        self.receive: Sealer = Aead(cipher, receive_key)
        self.local_index = local_index
        self.remote_index = remote_index
        self.created = now
        self.sent = 0
        self.forgeries = 0

    def expired(self, now: float) -> bool:
        """Must nothing be sent under this key any more?"""
        return now - self.created >= REJECT_AFTER

    def worn(self) -> bool:
        """Have use or forgeries brought the key near its cipher's limits?"""
        return self.sent >= REKEY_AFTER_DATAGRAMS or self.forgeries >= REKEY_AFTER_FORGERIES


class KeyRing:
    """The key pairs of a session."""

    def __init__(self, current: Keypair) -> None:
        self.current = current
        self.previous: Keypair | None = None
        self.next: Keypair | None = None

    def all(self) -> list[Keypair]:
        """Every pair whose index may still stand in a datagram for us."""
        return [pair for pair in (self.current, self.previous, self.next) if pair is not None]

    def install(self, pair: Keypair) -> None:
        """Send under `pair` from now on (initiator: the handshake proves that the peer has it)."""
        self.previous, self.current = self.current, pair
        self.next = None

    def offer(self, pair: Keypair) -> None:
        """Keep `pair` until the first datagram opens under it (responder)."""
        self.next = pair

    def confirm(self, pair: Keypair) -> bool:
        """Note that a datagram has opened under `pair`; True when that makes it current."""
        if pair is not self.next:
            return False
        self.install(pair)
        return True


def seal(pair: Keypair, batch: Sequence[tuple[int, int, Plain]]) -> list[bytes]:
    """Seal (path id, packet number, frames) into datagrams; frames may be in pieces (see aead)."""
    pair.sent += len(batch)
    return pair.send.seal(pair.remote_index, batch)


def seal_run(pair: Keypair, path_id: int, first: int, run: Sequence[Plain]) -> bytes:
    """Seal frames into datagrams of a path with numbers from `first` on, in one buffer.

    Raises ValueError unless all are equally long but the last, which may be shorter.
    """
    pair.sent += len(run)
    return pair.send.seal_run(pair.remote_index, path_id, first, run)


def seal_train(
    pair: Keypair,
    path_id: int,
    number: int,
    place: tuple[int, int, int, int],
    source: Cut | list[bytes],
    first: int,
    count: int,
) -> bytes:
    """Seal `count` packets of a series from `first` on, each alone in its datagram, in one buffer.

    `place` is the first one's flags, lane, lane sequence and send order; its packet number is `number`.
    """
    pair.sent += count
    return pair.send.seal_train(pair.remote_index, path_id, number, *place, source, first, count)


def unseal(pair: Keypair, batch: Sequence[tuple[int, int, Buffer]]) -> list[bytes | None]:
    """Open (path id, packet number, datagram) into frames; None where the tag is wrong."""
    opened = pair.receive.open(batch)
    pair.forgeries += opened.count(None)
    return opened


def unseal_run(
    pair: Keypair, buffer: Buffer, segment_size: int, at: int, expected: int
) -> tuple[int, list[Arrival]]:
    """Open a run of datagrams in one buffer; see Aead.open_run."""
    at, arrivals = pair.receive.open_run(buffer, segment_size, at, expected)
    pair.forgeries += sum(came.plain is None and came.run is None for came in arrivals)
    return at, arrivals
