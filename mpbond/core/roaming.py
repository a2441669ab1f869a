"""Where a path's peer is: proving addresses before traffic goes there (design 4; RFC 9000, 8.2 and 9).

The client is configured with its concentrator's address; the server learns each path's address from
authenticated datagrams, and a copy of one with a forged source must not turn a download onto a victim.
So a first address, and any new one, is challenged with a random token: until it is echoed from the
client, at most three times what came from the address goes there. When a path moves, the old address is
challenged too; if the client echoes that one first, the new address was a forgery or a late copy.
"""

from typing import TYPE_CHECKING

from mpbond.core.path import Address, Path, Roaming
from mpbond.core.wire import CHALLENGE, CHALLENGE_RESPONSE, path_frame

if TYPE_CHECKING:
    from random import Random

CHALLENGE_INTERVAL = 0.2  # seconds between challenges of the same address
RESTART_INTERVAL = 0.05  # seconds between two claims of new addresses
CHALLENGE_LIFETIME = 3.0  # seconds until an unanswered new address is forgotten
AMPLIFICATION = 3  # bytes to an unproven address per byte from it (RFC 9000, 8.1)
DATAGRAM_COST = 96  # bytes that a challenge is taken to cost


class Prover:
    """Challenges of one path's addresses, on the side that learns them from datagrams."""

    def __init__(self, rng: "Random") -> None:
        self._rng = rng
        self._token: bytes | None = None  # of a first address
        self._sent = float("-inf")

    def on_datagram(
        self, path: Path, socket: int, source: Address, size: int, newest: bool, now: float
    ) -> None:
        """Take where an authenticated datagram of `size` bytes came from; `newest` on its path."""
        roaming = path.roaming
        if source == path.remote:
            if not path.proven:
                path.budget += AMPLIFICATION * size
                self._challenge_first(path, now)
            return
        if roaming is not None and source == roaming.address:
            roaming.budget += AMPLIFICATION * size
            if now - self._sent >= CHALLENGE_INTERVAL:
                self._challenge(path, now)
            return
        if not newest or now - self._sent < RESTART_INTERVAL:
            return
        path.roaming = Roaming(
            socket,
            source,
            self._rng.randbytes(8),
            self._rng.randbytes(8),
            now,
            AMPLIFICATION * size,
        )
        self._challenge(path, now)

    def on_response(self, path: Path, token: bytes, source: Address, now: float) -> bool:
        """Take a token echoed from `source`; True when the address is now proven or has moved.

        An echo of the old address's token that comes from the old address says that the client is
        still there. One that comes from the new address only says that the old mapping still works.
        """
        roaming = path.roaming
        if roaming is not None and token == roaming.token:
            path.move(now)
            return True
        if roaming is not None and token == roaming.old_token and source == path.remote:
            path.roaming = None
            return False
        if not path.proven and token == self._token:
            path.proven = True
            path.last_answer = now
            path.liveness.restore(now, "its address has answered")
            return True
        return False

    def on_timeout(self, path: Path, now: float) -> None:
        """Forget a new address that has not answered in time."""
        if path.roaming is not None and now - path.roaming.started >= CHALLENGE_LIFETIME:
            path.roaming = None

    def _challenge_first(self, path: Path, now: float) -> None:
        if now - self._sent < CHALLENGE_INTERVAL or path.budget < DATAGRAM_COST:
            return
        if self._token is None:
            self._token = self._rng.randbytes(8)
        self._sent = now
        path.challenges.append((path.remote, path_frame(CHALLENGE, path.id, self._token)))

    def _challenge(self, path: Path, now: float) -> None:
        roaming = path.roaming
        assert roaming is not None
        self._sent = now
        if roaming.budget >= DATAGRAM_COST:
            path.challenges.append((roaming.address, path_frame(CHALLENGE, path.id, roaming.token)))
        path.challenges.append((path.remote, path_frame(CHALLENGE, path.id, roaming.old_token)))


def response(path_id: int, token: bytes) -> bytes:
    """Build the answer to a challenge."""
    return path_frame(CHALLENGE_RESPONSE, path_id, token)
