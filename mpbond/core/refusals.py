"""Datagrams of a path that the system refuses to send: no route, no device, a firewall, a full buffer.

A refusal is known at once and loses nothing: the packets go another way. One says little, since a route may
be renewed just now, or a firewall's table be full. So the path rests: nothing is sent there that can go
elsewhere or wait, until a PING tries it again. The rest is 2 ms, twice as long for each further refusal in
a row, up to half a second. A row that has lasted for 30 ms says that the path is down.

A row ends with a datagram that the system takes. Nobody tells of that, but then its number is missing
between those that were refused. A full buffer is no sign of a dead path, nor is a datagram that is too big:
such refusals make no row, and their rest is always the shortest.
"""

TOO_BIG = "send_too_big"
HARMLESS = ("send_buffer_full", TOO_BIG)
SHORTEST_REST, LONGEST_REST = 0.002, 0.5  # seconds
PATIENCE = 0.030  # seconds that a row may last
REASONS = {
    "send_unreachable": "the system has no route there",
    "send_not_permitted": "the system's firewall forbids it",
}
OTHER_REASON = "the system refuses to send there"


class Refusals:
    """One path's refusals. `rest_end` is when its rest is over (s), None while it does not rest."""

    __slots__ = ("_last", "_rest", "_since", "rest_end")

    def __init__(self) -> None:
        self.rest_end: float | None = None
        self._last: int | None = None  # the newest packet number of the row
        self._rest = SHORTEST_REST
        self._since = 0.0

    def note(self, number: int, reason: str, now: float) -> str | None:
        """A datagram was refused for a drop reason; return in words why the path is down, if it is."""
        if reason in HARMLESS:
            if self.rest_end is None:
                self.rest_end = now + SHORTEST_REST
            return None
        if self._last is None or number != self._last + 1:
            self._rest = SHORTEST_REST
            self._since = now
        self._last = number
        if self.rest_end is None:
            self.rest_end = now + self._rest
            self._rest = min(2 * self._rest, LONGEST_REST)
        if now - self._since < PATIENCE - 1e-9:
            return None
        return REASONS.get(reason, OTHER_REASON)

    def wake(self) -> None:
        """The rest is over; the row goes on."""
        self.rest_end = None

    def forget(self) -> None:
        """There is news of the link or of the address: what was refused before says nothing."""
        self.rest_end = self._last = None
