"""The Noise handshake both sides agree keys with: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s.

This is the one pattern mpbond speaks, written out after the Noise Protocol Framework, revision 34,
instead of an interpreter of patterns:

    <- s                          the client knows the server's static key beforehand
    ...
    -> e, es, s, ss      payload  message 1 proves who the client is
    <- e, ee, se, psk    payload  message 2 proves who the server is and mixes the shared secret in

Three values make up the state: the chaining key, into which every Diffie-Hellman result goes, the
hash of everything said so far, and the cipher derived from the former, whose associated data is
always the latter. Since the preshared key enters last, a responder may learn who is asking from
message 1 and choose that peer's key before it writes message 2.

Invariants: `read_message` either succeeds or leaves the state exactly as it was, so a forged answer
cannot spoil the real one that follows; a Diffie-Hellman result of zeros (a public key of low order)
is refused, although the framework permits it; nothing here keeps time or draws randomness of its
own.
"""

from dataclasses import dataclass, field
from hashlib import blake2s
from typing import TYPE_CHECKING, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import BLAKE2s
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    import random

PROTOCOL_NAME = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
KEY_SIZE = 32
TAG_SIZE = 16
MESSAGE_1_OVERHEAD = KEY_SIZE + KEY_SIZE + TAG_SIZE + TAG_SIZE  # e, sealed s, tag of the payload
MESSAGE_2_OVERHEAD = KEY_SIZE + TAG_SIZE
NO_PRESHARED_KEY = bytes(KEY_SIZE)

_HASH_SIZE = 32


class NoiseError(Exception):
    """A message that cannot be accepted; `reason` is one of "short", "key", "decrypt"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 private key, ready for use, and its public key's 32 bytes."""

    private: X25519PrivateKey = field(repr=False)
    public: bytes

    @classmethod
    def from_private(cls, raw: bytes) -> Self:
        """Reads a private key of 32 raw bytes; any other length is a ValueError."""
        private = X25519PrivateKey.from_private_bytes(_sized("private key", raw))
        return cls(private, private.public_key().public_bytes_raw())

    def exchange(self, public: bytes) -> bytes:
        """Returns the shared secret with `public`; NoiseError "key" where that would be zeros."""
        try:
            return self.private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            raise NoiseError("key") from None


class HandshakeState:
    """One side of one handshake.

    The initiator calls `write_message`, `read_message`, `split`; the responder `read_message`
    (after which `remote_public` is known), `set_preshared_key`, `write_message`, `split`. Calling
    them in another order is a programming error and raises ValueError.
    """

    __slots__ = (
        "_chaining_key",
        "_cipher",
        "_ephemeral",
        "_hash",
        "_initiator",
        "_nonce",
        "_preshared_key",
        "_remote_ephemeral",
        "_rng",
        "_static",
        "_step",
        "remote_public",
    )

    def __init__(
        self,
        *,
        initiator: bool,
        static: KeyPair,
        remote_public: bytes,
        preshared_key: bytes,
        prologue: bytes,
        rng: "random.Random",
    ) -> None:
        self._initiator = initiator
        self._static = static
        self._rng = rng
        self._ephemeral: KeyPair | None = None
        self._remote_ephemeral = b""
        self._preshared_key = _sized("preshared key", preshared_key)
        self._step = 0
        self.remote_public = remote_public
        self._cipher: ChaCha20Poly1305 | None = None
        self._nonce = 0
        # the name is longer than a hash, so its hash stands for it
        self._hash = self._chaining_key = blake2s(PROTOCOL_NAME).digest()
        self._mix_hash(prologue)
        self._mix_hash(remote_public if initiator else static.public)

    @classmethod
    def initiator(
        cls,
        static: KeyPair,
        remote_public: bytes,
        preshared_key: bytes,
        prologue: bytes,
        rng: "random.Random",
    ) -> Self:
        """Begins a handshake with the holder of `remote_public` (32 bytes)."""
        return cls(
            initiator=True,
            static=static,
            remote_public=_sized("public key", remote_public),
            preshared_key=preshared_key,
            prologue=prologue,
            rng=rng,
        )

    @classmethod
    def responder(cls, static: KeyPair, prologue: bytes, rng: "random.Random") -> Self:
        """Awaits message 1; `remote_public` is empty until it has been read."""
        return cls(
            initiator=False,
            static=static,
            remote_public=b"",
            preshared_key=NO_PRESHARED_KEY,
            prologue=prologue,
            rng=rng,
        )

    @property
    def hash(self) -> bytes:
        """The hash of all said so far; after message 2 it names this handshake uniquely."""
        return self._hash

    def set_preshared_key(self, preshared_key: bytes) -> None:
        """Sets the 32-byte secret that message 2 mixes in (zeros: none)."""
        self._preshared_key = _sized("preshared key", preshared_key)

    def write_message(self, payload: bytes) -> bytes:
        """Returns this side's message around `payload`; NoiseError "key" for a useless peer key."""
        self._expect(0 if self._initiator else 1)
        self._ephemeral = KeyPair.from_private(self._rng.randbytes(KEY_SIZE))
        if self._initiator:
            message = self._write_1(self._ephemeral, payload)
        else:
            message = self._write_2(self._ephemeral, payload)
        self._step += 1
        return message

    def read_message(self, message: bytes) -> bytes:
        """Returns the payload of the peer's message; on NoiseError nothing has changed."""
        self._expect(1 if self._initiator else 0)
        before = self._hash, self._chaining_key, self._cipher, self._nonce
        try:
            payload = self._read_2(message) if self._initiator else self._read_1(message)
        except NoiseError:
            self._hash, self._chaining_key, self._cipher, self._nonce = before
            raise
        self._step += 1
        return payload

    def split(self) -> tuple[bytes, bytes]:
        """Returns the finished handshake's keys: this side's for sending, then for receiving."""
        self._expect(2)
        keys = _hkdf(self._chaining_key, b"", 2)
        first, second = keys[:KEY_SIZE], keys[KEY_SIZE:]
        return (first, second) if self._initiator else (second, first)

    def _write_1(self, ephemeral: KeyPair, payload: bytes) -> bytes:
        self._mix_ephemeral(ephemeral.public)
        self._mix_key(ephemeral.exchange(self.remote_public))
        sealed_static = self._seal(self._static.public)
        self._mix_key(self._static.exchange(self.remote_public))
        return ephemeral.public + sealed_static + self._seal(payload)

    def _read_1(self, message: bytes) -> bytes:
        if len(message) < MESSAGE_1_OVERHEAD:
            raise NoiseError("short")
        ephemeral, rest = message[:KEY_SIZE], message[KEY_SIZE:]
        self._mix_ephemeral(ephemeral)
        self._mix_key(self._static.exchange(ephemeral))
        remote_public = self._open(rest[: KEY_SIZE + TAG_SIZE])
        self._mix_key(self._static.exchange(remote_public))
        payload = self._open(rest[KEY_SIZE + TAG_SIZE :])
        self._remote_ephemeral, self.remote_public = ephemeral, remote_public
        return payload

    def _write_2(self, ephemeral: KeyPair, payload: bytes) -> bytes:
        self._mix_ephemeral(ephemeral.public)
        self._mix_key(ephemeral.exchange(self._remote_ephemeral))
        self._mix_key(ephemeral.exchange(self.remote_public))
        self._mix_preshared_key()
        return ephemeral.public + self._seal(payload)

    def _read_2(self, message: bytes) -> bytes:
        if len(message) < MESSAGE_2_OVERHEAD or self._ephemeral is None:
            raise NoiseError("short")
        ephemeral = message[:KEY_SIZE]
        self._mix_ephemeral(ephemeral)
        self._mix_key(self._ephemeral.exchange(ephemeral))
        self._mix_key(self._static.exchange(ephemeral))
        self._mix_preshared_key()
        return self._open(message[KEY_SIZE:])

    def _mix_hash(self, data: bytes) -> None:
        self._hash = blake2s(self._hash + data).digest()

    def _mix_ephemeral(self, public: bytes) -> None:
        self._mix_hash(public)
        # patterns with a preshared key also chain the ephemerals, or the key alone could repeat
        self._chaining_key = _hkdf(self._chaining_key, public, 2)[:KEY_SIZE]

    def _mix_key(self, secret: bytes) -> None:
        keys = _hkdf(self._chaining_key, secret, 2)
        self._chaining_key = keys[:KEY_SIZE]
        self._use_key(keys[KEY_SIZE:])

    def _mix_preshared_key(self) -> None:
        keys = _hkdf(self._chaining_key, self._preshared_key, 3)
        self._chaining_key = keys[:KEY_SIZE]
        self._mix_hash(keys[KEY_SIZE : 2 * KEY_SIZE])
        self._use_key(keys[2 * KEY_SIZE :])

    def _use_key(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self._nonce = 0

    def _seal(self, plain: bytes) -> bytes:
        sealed = self._keyed().encrypt(self._next_nonce(), plain, self._hash)
        self._mix_hash(sealed)
        return sealed

    def _open(self, sealed: bytes) -> bytes:
        try:
            plain = self._keyed().decrypt(self._next_nonce(), sealed, self._hash)
        except InvalidTag:
            raise NoiseError("decrypt") from None
        self._mix_hash(sealed)
        return plain

    def _next_nonce(self) -> bytes:
        nonce = bytes(4) + self._nonce.to_bytes(8, "little")
        self._nonce += 1
        return nonce

    def _keyed(self) -> ChaCha20Poly1305:
        if self._cipher is None:
            raise ValueError("nothing can be sealed before the first Diffie-Hellman")
        return self._cipher

    def _expect(self, step: int) -> None:
        if self._step != step:
            raise ValueError(f"the handshake stands at step {self._step}, this belongs to {step}")


def public_key(private: bytes) -> bytes:
    """Returns the public key of a private one, both 32 raw bytes."""
    return KeyPair.from_private(private).public


def _hkdf(chaining_key: bytes, secret: bytes, outputs: int) -> bytes:
    # the framework's own derivation is RFC 5869 with the chaining key as salt and no info
    length = outputs * _HASH_SIZE
    derivation = HKDF(algorithm=BLAKE2s(_HASH_SIZE), length=length, salt=chaining_key, info=b"")
    return derivation.derive(secret)


def _sized(what: str, raw: bytes) -> bytes:
    if len(raw) != KEY_SIZE:
        raise ValueError(f"a {what} has {KEY_SIZE} bytes, not {len(raw)}")
    return raw
