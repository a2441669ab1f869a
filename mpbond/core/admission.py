"""Which handshake messages may cost a server a Diffie-Hellman (design 4).

As long as at least half of the budget of 100 a second is there, any message with a good first mac may.
Below that, its source must be proven by a cookie (WireGuard's mac2); and a proven source, a host or an
IPv6 /64, gets ten a second, so that one host with a good cookie cannot take what all others need.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mpbond.core.bucket import TokenBucket
from mpbond.core.cookies import CookieJar
from mpbond.core.path import Address
from mpbond.core.stats import Drops

if TYPE_CHECKING:
    from random import Random

DH_RATE, DH_BURST = 100.0, 100.0  # handshakes per second: about 3 % of a core
COOKIE_RATE, COOKIE_BURST = 4000.0, 1000.0  # cookie replies per second: about 4 % of a core
SOURCE_RATE, SOURCE_BURST = 10.0, 20.0  # handshakes per second of one source under load
SOURCES = 1024  # that are remembered
LOADED_BELOW = 0.5  # share of the handshake budget left under which cookies are asked for


class Admission:
    """Budget and cookies of one server. `prefix_of` names the host or network a source belongs to."""

    def __init__(
        self,
        public_key: bytes,
        prefix_of: Callable[[Address], bytes],
        drops: Drops,
        rng: "Random",
    ) -> None:
        self._drops = drops
        self._cookies = CookieJar(rng, public_key)
        self._prefix_of = prefix_of
        self._dh = TokenBucket(DH_RATE, DH_BURST)
        self._replies = TokenBucket(COOKIE_RATE, COOKIE_BURST)
        self._sources: dict[bytes, TokenBucket] = {}

    def judge(self, datagram: bytes, source: Address, now: float) -> tuple[bool, bytes | None]:
        """Return whether a message may be answered, and the COOKIE to send if it wants for one.

        A refusal is counted; with too many of them there is no COOKIE either.
        """
        loaded = self._dh.share(now) < LOADED_BELOW
        if loaded:
            address = repr(source).encode()
            if not self._cookies.verify(datagram, address, now):
                self._drops["handshake_under_load"] += 1
                affordable = self._replies.take(now)
                return False, self._cookies.reply(datagram, address, now) if affordable else None
        if (loaded and not self._bucket_of(source).take(now)) or not self._dh.take(now):
            self._drops["handshake_rate"] += 1
            return False, None
        return True, None

    def _bucket_of(self, source: Address) -> TokenBucket:
        prefix = self._prefix_of(source)
        bucket = self._sources.pop(prefix, None) or TokenBucket(SOURCE_RATE, SOURCE_BURST)
        self._sources[prefix] = bucket  # newest last
        if len(self._sources) > SOURCES:
            del self._sources[next(iter(self._sources))]
        return bucket
