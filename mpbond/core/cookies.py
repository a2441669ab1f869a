"""Proof of address under load: cookies, as WireGuard has them.

A server that is asked for more handshakes than it wants to compute answers an INIT with a COOKIE
instead: a mac over the sender's address under a secret of the server's. Only who can receive at
that address learns it, and the next INIT carries a mac2 under it. The server then needs one hash to
see that the address is real, and keeps nothing about anyone.

    cookie = BLAKE2s-128(key = secret, source)

    secret   a ----|---- b ----|---- c ----      a new one every 120 s, the one before still counts
                   |  a, b     |  b, c           so a cookie is good for 120 to 240 s

The COOKIE is sealed under a key that follows from the server's public key and bound to the mac1 of
the INIT it answers, so that only who saw that INIT can make the client believe one.
"""

from hashlib import blake2s
from hmac import compare_digest
from typing import TYPE_CHECKING

from mpbond.core.envelope import (
    COOKIE_NONCE_SIZE,
    INIT_SIZE,
    MAC_SIZE,
    MACS_SIZE,
    Datagram,
    index_of,
    mac2,
    seal_cookie,
)
from mpbond.errors import HandshakeError

if TYPE_CHECKING:
    import random

SECRET_LIFETIME = 120.0  # seconds a secret makes new cookies; as long again it is still accepted
SECRET_SIZE = 32


class CookieJar:
    """Bakes and checks the cookies of one server.

    `source` is the sender's address and port as bytes, in any form, the same each time. `now` is in
    seconds and never falls.
    """

    def __init__(self, rng: "random.Random", static_public: bytes) -> None:
        self._rng = rng
        self._static_public = static_public
        self._secrets: list[bytes] = []
        self._since = 0.0

    def reply(self, init_datagram: Datagram, source: bytes, now: float) -> bytes:
        """Returns the COOKIE to send to `source` for an INIT whose mac1 has been checked."""
        if len(init_datagram) != INIT_SIZE:
            raise HandshakeError("handshake_size")
        self._turn(now)
        return seal_cookie(
            self._static_public,
            index_of(init_datagram),
            self._rng.randbytes(COOKIE_NONCE_SIZE),
            _cookie(self._secrets[0], source),
            init_datagram[-MACS_SIZE:-MAC_SIZE],
        )

    def verify(self, init_datagram: Datagram, source: bytes, now: float) -> bool:
        """Tells whether an INIT carries a mac2 under a cookie that `source` was given lately."""
        if len(init_datagram) != INIT_SIZE:
            return False
        self._turn(now)
        given = init_datagram[-MAC_SIZE:]
        return any(
            compare_digest(mac2(_cookie(secret, source), init_datagram), given)
            for secret in self._secrets
        )

    def _turn(self, now: float) -> None:
        age = now - self._since
        if self._secrets and age < SECRET_LIFETIME:
            return
        fresh = self._rng.randbytes(SECRET_SIZE)
        if self._secrets and age < 2 * SECRET_LIFETIME:
            self._secrets = [fresh, self._secrets[0]]
            self._since += SECRET_LIFETIME
        else:
            self._secrets = [fresh]
            self._since = now


def _cookie(secret: bytes, source: bytes) -> bytes:
    return blake2s(source, key=secret, digest_size=MAC_SIZE).digest()
