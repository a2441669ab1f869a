"""Transport keys: one pair per handshake, their age and use, sealing and opening in batches.

A key pair has its own receiver index on each side. The session's packet numbers go on across a rekey,
so a nonce is `path id ‖ 64-bit packet number`, unique under a key because neither is ever reused in a
session. `KeyRing` holds up to three pairs: `current` (sent with), `previous` (datagrams under it may
still arrive) and, on the responder, `next`, which becomes current when the first datagram opens under
it: only then does the initiator surely have it (key confirmation).
"""

from struct import Struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from mpbond.core.envelope import TRANSPORT
from mpbond.core.wire import HEADER

CIPHERS: dict[str, type[AESGCM] | type[ChaCha20Poly1305]] = {
    "AES-256-GCM": AESGCM,
    "ChaCha20-Poly1305": ChaCha20Poly1305,
}
REKEY_AFTER = 120.0  # seconds of a key's life after which its user asks for a new one
REJECT_AFTER = 180.0  # seconds after which nothing is sent under a key
REKEY_AFTER_DATAGRAMS = 1 << 28
REKEY_AFTER_FORGERIES = 1 << 30  # far below AES-GCM's 2**52 (RFC 9001, 6.6)

_NONCE = Struct(">3xBQ")


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
        aead = CIPHERS[cipher]
        self.cipher = cipher
        self.send = aead(send_key)
        self.receive = aead(receive_key)
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


def seal(pair: Keypair, batch: list[tuple[int, int, bytes]]) -> list[bytes]:
    """Seal (path id, packet number, frames) into datagrams."""
    encrypt = pair.send.encrypt
    index = pair.remote_index
    pair.sent += len(batch)
    datagrams = []
    for path_id, number, frames in batch:
        header = HEADER.pack(TRANSPORT, path_id, index, number & 0xFFFFFFFF)
        datagrams.append(header + encrypt(_NONCE.pack(path_id, number), frames, header))
    return datagrams


def unseal(pair: Keypair, batch: list[tuple[int, int, bytes]]) -> list[bytes | None]:
    """Open (path id, packet number, datagram) into frames; None where the tag is wrong."""
    decrypt = pair.receive.decrypt
    opened: list[bytes | None] = []
    for path_id, number, datagram in batch:
        try:
            opened.append(decrypt(_NONCE.pack(path_id, number), datagram[10:], datagram[:10]))
        except InvalidTag:
            pair.forgeries += 1
            opened.append(None)
    return opened
