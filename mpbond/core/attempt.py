"""When a handshake message is sent again, and when another takes its place.

The same message goes out at once and 0.5, 1 and 2 s later; after 5 s, when a server has forgotten its
answer, a fresh one begins. A round trip of up to 5 s therefore still connects.
"""

RETRY_AFTER = (0.5, 1.0, 2.0)  # seconds after the first sending
LIFETIME = 5.0  # seconds: as long as a server keeps its answer


class Attempt:
    """The handshake under way, if `active`; `index` is its receiver index."""

    __slots__ = ("_retries", "_started", "active", "index")

    def __init__(self) -> None:
        self.active = False
        self.index = 0
        self._started = 0.0
        self._retries = 0

    def begin(self, index: int, now: float) -> None:
        """A fresh message leaves now."""
        self.active = True
        self.index = index
        self._started = now
        self._retries = 0

    def end(self) -> None:
        """The answer has come."""
        self.active = False

    def next_timeout(self) -> float:
        """When the message must be repeated or replaced."""
        if not self.active:
            return float("inf")
        if self._retries < len(RETRY_AFTER):
            return self._started + RETRY_AFTER[self._retries]
        return self._started + LIFETIME

    def repeat(self) -> bool:
        """At its time: True when the same message goes out again, False when it has had its life."""
        self._retries += 1
        return self._retries <= len(RETRY_AFTER)
