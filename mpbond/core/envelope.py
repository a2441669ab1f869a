"""What stands in the clear around a handshake: headers, the two macs, the sealed cookie.

    INIT      header, sender index   | noise message 1 | mac1 16 | mac2 16    client -> server
    RESPONSE  header, receiver index | noise message 2 | mac1 16 | mac2 16    server -> client
    COOKIE    header, receiver index | nonce 24 | sealed cookie 32            server -> client
    HINT      header, receiver index | zeros up to 32 bytes                   server -> client

    header = type u8, version u8, reserved u16 = 0, index u32                 all big-endian

None of this agrees on a key; it spares work. mac1 is keyed by the receiver's public key: whoever
does not know that key cannot make the receiver compute anything costly. mac2 is keyed by a cookie
that the server gave to the sender's address: under load it shows that the address is not forged.

Sizes are fixed. An INIT and a RESPONSE are equally long and the others are shorter, so nobody can
use the server to send more to a forged address than was sent to the server.

A HINT says "no session here has this index". Nothing authenticates it, so all it may do is make a
client begin a handshake. TRANSPORT, the one other type, has a header of its own: see wire.
"""

from hashlib import blake2s
from hmac import compare_digest
from struct import Struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import BLAKE2s
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mpbond.errors import HandshakeError

Datagram = bytes | bytearray | memoryview

VERSION = 1
INIT = 1
RESPONSE = 2
COOKIE = 3
TRANSPORT = 4
HINT = 5

HEADER = Struct("!BBHI")
MAC_SIZE = 16
MACS_SIZE = 2 * MAC_SIZE
INIT_SIZE = 512  # holds a payload of useful length and passes every link IPv6 may use
RESPONSE_SIZE = INIT_SIZE
COOKIE_NONCE_SIZE = 24
COOKIE_SIZE = HEADER.size + COOKIE_NONCE_SIZE + MAC_SIZE + 16
HINT_SIZE = 32  # some carriers' NATs drop smaller datagrams
NO_MAC = bytes(MAC_SIZE)

REASONS = (
    "handshake_size",
    "handshake_version",
    "handshake_mac1",
    "handshake_index",
    "handshake_key",
    "handshake_decrypt",
    "handshake_payload",
    "handshake_cookie",
    "handshake_unexpected",
)
"""Every reason a HandshakeError of the core may carry: the labels of the drop counters.

size: not as long as its type is. version: another type, version or reserved value. mac1: not made
for our public key. index: not for our present handshake. key: a public key of low order. decrypt: a
tag is wrong (other keys, other preshared key, changed bytes). payload: sealed rightly, but no map
with what is needed. cookie: a COOKIE that does not open. unexpected: an answer to nothing.
"""

_MAC1_LABEL = b"mpbond mac1"
_COOKIE_LABEL = b"mpbond cookie"
_ZERO_NONCE = bytes(12)


class Mac1:
    """Computes and checks mac1 for one receiver, given by its 32-byte public key."""

    __slots__ = ("_keyed",)

    def __init__(self, receiver_public: bytes) -> None:
        key = blake2s(_MAC1_LABEL + receiver_public).digest()
        # keyed once and copied for each datagram: a flood is refused at the price of one hash
        self._keyed = blake2s(key=key, digest_size=MAC_SIZE)

    def over(self, data: Datagram) -> bytes:
        """Returns mac1 of `data`, which is all that stands before it."""
        mac = self._keyed.copy()
        mac.update(data)
        return mac.digest()

    def refusal(self, datagram: Datagram, kind: int, size: int) -> str | None:
        """Returns why `datagram` is no `kind` for this receiver, None if it is; cheapest first."""
        if len(datagram) != size:
            return "handshake_size"
        if not _begins(datagram, kind):
            return "handshake_version"
        if not compare_digest(self.over(datagram[:-MACS_SIZE]), datagram[-MACS_SIZE:-MAC_SIZE]):
            return "handshake_mac1"
        return None


def mac2(cookie: bytes, datagram: Datagram) -> bytes:
    """Returns mac2 under `cookie` of a whole INIT, whatever its own mac2 field holds."""
    return blake2s(datagram[:-MAC_SIZE], key=cookie, digest_size=MAC_SIZE).digest()


def init_digest(datagram: Datagram) -> bytes:
    """Returns the hash of an INIT without its macs: the same for its copies on all links."""
    return blake2s(datagram[:-MACS_SIZE]).digest()


def index_of(datagram: Datagram) -> int:
    """Returns the index in a header; the datagram is known to be long enough."""
    return int.from_bytes(datagram[4 : HEADER.size])


def seal_cookie(
    server_public: bytes, index: int, nonce: bytes, cookie: bytes, mac1: Datagram
) -> bytes:
    """Returns the COOKIE that answers the INIT with this sender index and mac1."""
    cipher = _cookie_cipher(server_public, nonce)
    sealed = cipher.encrypt(_ZERO_NONCE, cookie, bytes(mac1))
    return HEADER.pack(COOKIE, VERSION, 0, index) + nonce + sealed


def open_cookie(server_public: bytes, datagram: Datagram, index: int, mac1: bytes) -> bytes:
    """Returns the cookie in a COOKIE for the INIT with this sender index and mac1.

    Raises HandshakeError where the datagram is not that.
    """
    if len(datagram) != COOKIE_SIZE:
        raise HandshakeError("handshake_size")
    if not _begins(datagram, COOKIE):
        raise HandshakeError("handshake_version")
    if index_of(datagram) != index:
        raise HandshakeError("handshake_index")
    body = bytes(datagram[HEADER.size :])
    nonce, sealed = body[:COOKIE_NONCE_SIZE], body[COOKIE_NONCE_SIZE:]
    try:
        return _cookie_cipher(server_public, nonce).decrypt(_ZERO_NONCE, sealed, mac1)
    except InvalidTag:
        raise HandshakeError("handshake_cookie") from None


def write_hint(index: int) -> bytes:
    """Returns the HINT that no session has `index`."""
    return HEADER.pack(HINT, VERSION, 0, index).ljust(HINT_SIZE, b"\0")


def read_hint(datagram: Datagram) -> int:
    """Returns the index a HINT speaks of; HandshakeError if it is not a HINT."""
    if len(datagram) != HINT_SIZE:
        raise HandshakeError("handshake_size")
    if not _begins(datagram, HINT):
        raise HandshakeError("handshake_version")
    return index_of(datagram)


def _begins(datagram: Datagram, kind: int) -> bool:
    return (datagram[0], datagram[1], datagram[2], datagram[3]) == (kind, VERSION, 0, 0)


def _cookie_cipher(server_public: bytes, nonce: bytes) -> ChaCha20Poly1305:
    # a fresh key for each 24-byte nonce stands in for XChaCha20, which `cryptography` lacks
    secret = blake2s(_COOKIE_LABEL + server_public).digest()
    derivation = HKDF(algorithm=BLAKE2s(32), length=32, salt=nonce, info=b"")
    return ChaCha20Poly1305(derivation.derive(secret))
