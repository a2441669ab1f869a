"""A link of the client: by which ways it may reach the concentrator, how it may be used, and its path.

The link outlives sessions, a path does not: what is known of the link goes into each path it opens, and what
changes is told its present path (`path_in`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mpbond.core.path import DEFAULT_MTU, DEFAULT_OVERHEAD, Address, Path, PathOptions
from mpbond.core.session import Session


class Target(NamedTuple):
    """One way to the concentrator over a link, in bytes: the largest UDP payload, and IP's and UDP's
    headers around it."""

    socket: int
    address: Address
    mtu: int = DEFAULT_MTU
    overhead: int = DEFAULT_OVERHEAD


@dataclass(slots=True)
class Link:
    """A link as the endpoint sees it. Its targets are tried in turn until one answers.

    `tier` is 0 (use always), 1 (overflow) or 2 (last resort); caps limit either direction, and
    `remembered_*` are what it carried the last time, all in bits per second (caps: 0 is none).
    """

    name: str
    targets: Sequence[Target]
    weight: float = 1.0
    tier: int = 0
    cap_up: float = 0.0
    cap_down: float = 0.0
    remembered_up: float | None = None
    remembered_down: float | None = None
    usable: bool = True
    cookie: bytes | None = None
    cookie_due: float = float("-inf")  # not before then a COOKIE is answered again
    path_id: int | None = None
    turn: int = 0
    next_turn: float = float("-inf")  # not before then another target is tried

    @property
    def target(self) -> Target:
        """The target whose turn it is."""
        return self.targets[self.turn % len(self.targets)]

    def path_in(self, session: Session | None) -> Path | None:
        """Return the link's path in a session, if it has one there."""
        if session is None or self.path_id is None:
            return None
        return session.paths.get(self.path_id)

    def open_path(self, session: Session, mtu: int, now: float) -> None:
        """Join a session by a new path of `mtu` bytes of UDP payload, unless it has no id left for one."""
        options = PathOptions(
            link=self.name,
            mtu=mtu,
            weight=self.weight,
            tier=self.tier,
            cap=self.cap_up,
            cap_received=self.cap_down,
            remembered=self.remembered_up,
        )
        try:
            path = session.add_path(self.target.socket, self.target.address, options, now)
        except IndexError:
            return  # the handshake that `paths_exhausted` asks for will bring this link in
        self.path_id = path.id
        if self.remembered_down:
            session.agreement.tell_remembered(path, self.remembered_down)
        if not self.usable:
            session.set_usable(path, False, now)

    def lead(self, session: Session, path: Path, mtu: int, now: float) -> None:
        """Let the link's path go to its target from now on, and the server see that at once."""
        path.socket, path.remote = self.target.socket, self.target.address
        path.mtu = mtu
        path.liveness.hurry(now)
        session.poke(path)

    def adjust(self, session: Session, path: Path) -> None:
        """Let the link's path be used as the link now may, at both ends."""
        path.tier, path.weight = self.tier, self.weight
        path.cap, path.cap_received = self.cap_up, self.cap_down
        session.tell_status(path)
