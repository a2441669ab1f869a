"""The client's endpoint: starts handshakes on all links at once and keeps one session alive.

A handshake is one Noise message, sent as the same bytes over every link; whichever answer comes first
makes the session, and the other links join it as paths. core.attempt says when it is repeated and when
begun anew, then at the next of each link's targets. Reasons to shake hands: there is no session; the key
is due for renewal; the server hints that it does not know us; nothing has been heard for 5 s of asking;
path ids run out. The old session stays in use until a new one is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpbond.core.attempt import Attempt
from mpbond.core.endpoint import Endpoint
from mpbond.core.envelope import COOKIE, HINT, RESPONSE, read_hint
from mpbond.core.greeting import Request, Welcome, read_welcome
from mpbond.core.handshake import Initiator
from mpbond.core.keys import CIPHERS, REKEY_AFTER, Keypair
from mpbond.core.link import Link, Target
from mpbond.core.liveness import DOWN
from mpbond.core.path import Address
from mpbond.core.peers import source_of
from mpbond.core.rules import Rule
from mpbond.core.scheduler import DEFAULT_SCHEDULER
from mpbond.core.session import Session
from mpbond.core.transmit import (
    Configured,
    Rekeyed,
    SessionEnded,
    SessionStarted,
    Transmit,
)
from mpbond.core.wire import CLOSE_REPLACED
from mpbond.errors import HandshakeError

if TYPE_CHECKING:
    from random import Random

TARGET_TURN = 6.0  # seconds that a dead path's link stays with one target: as many probes
COOKIE_PAUSE = 0.5  # seconds between messages that COOKIEs may call for on a link
DEAF_AFTER = 5.0  # seconds without a datagram while asking
HINT_INTERVAL = 1.0  # seconds between handshakes that a hint may start
REPLACED_PAUSE = 10.0  # seconds of silence after another box has taken over our key
WAITING_LIMIT = 256  # packets kept while there is no session


@dataclass(slots=True, kw_only=True)
class ClientSettings:
    """What a client is configured with; keys are 32 raw bytes, times seconds."""

    private_key: bytes
    server_key: bytes
    preshared_key: bytes = bytes(32)
    scheduler: str = DEFAULT_SCHEDULER
    downlink_scheduler: str = DEFAULT_SCHEDULER
    hold: float | None = None
    keepalive: float = 20.0
    addresses: tuple[str, ...] = ()
    ciphers: tuple[str, ...] = field(default_factory=lambda: tuple(CIPHERS))
    rekey_after: float = REKEY_AFTER
    rules: tuple[Rule, ...] = ()
    copy_dscp: bool = False


class ClientEndpoint(Endpoint):
    """One session with a concentrator over any number of links."""

    def __init__(self, settings: ClientSettings, rng: "Random") -> None:
        super().__init__(rng)
        self.settings = settings
        self.links: dict[str, Link] = {}
        self.session: Session | None = None
        self.addresses: tuple[str, ...] = settings.addresses
        self.server_link_mtu: int | None = None  # bytes of an IP packet
        self._initiator = Initiator(
            settings.private_key, settings.server_key, settings.preshared_key, rng
        )
        self._attempt = Attempt()
        self._asked = 0  # handshakes begun: rises, so that none can be replayed within a session
        self._not_before = float("-inf")
        self._hinted = float("-inf")
        self._waiting: list[bytes] = []

    # -- links ------------------------------------------------------------------------------------

    def add_link(self, link: Link, now: float) -> None:
        """A link has come: it joins the session, or the handshake under way."""
        self.links[link.name] = link
        if self.session is not None:
            self._open_path(link, self.session, now)
        if self._attempt.active:
            self._send_init(link)
        elif self.session is None:
            self._ask(now)

    def remove_link(self, name: str, now: float) -> None:
        """A link has gone for good."""
        link = self.links.pop(name, None)
        if link is not None and link.path_id is not None and self.session is not None:
            self.session.remove_path(link.path_id, now)
            self._dirty[self.session.id] = self.session

    def set_link_usable(self, name: str, usable: bool, now: float) -> None:
        """A link has lost or regained its carrier; its path stays."""
        link = self.links[name]
        link.usable = usable
        path = link.path_in(self.session)
        if path is not None and self.session is not None:
            self.session.set_usable(path, usable, now)
            self._dirty[self.session.id] = self.session
        elif usable and self._attempt.active:
            self._send_init(link)

    def change_link(self, name: str, targets: Sequence[Target], now: float) -> None:
        """A link has new sockets or addresses: go on from there, and let the server see it at once."""
        link = self.links[name]
        link.targets, link.cookie, link.turn = targets, None, 0
        self._retarget(link, now)
        if self._attempt.active:
            self._send_init(link)

    def _retarget(self, link: Link, now: float) -> None:
        path = link.path_in(self.session)
        if path is not None and self.session is not None:
            link.lead(self.session, path, self.path_mtu(link), now)
            self._dirty[self.session.id] = self.session

    def set_link(
        self,
        name: str,
        now: float,
        *,
        tier: int | None = None,
        cap_up: float | None = None,
        cap_down: float | None = None,
        weight: float | None = None,
    ) -> None:
        """Change how a link may be used, at both ends; what is None stays. Raises KeyError."""
        link = self.links[name]
        link.tier = link.tier if tier is None else tier
        link.cap_up = link.cap_up if cap_up is None else cap_up
        link.cap_down = link.cap_down if cap_down is None else cap_down
        link.weight = link.weight if weight is None else weight
        path = link.path_in(self.session)
        if path is not None and self.session is not None:
            link.adjust(self.session, path)
            self._dirty[self.session.id] = self.session

    def set_rules(self, rules: tuple[Rule, ...]) -> None:
        """Class packets by other rules from now on, in both directions."""
        self.settings.rules = rules
        session = self.session
        if session is not None:
            session.sender.outbound.set_rules(rules)
            session.agreement.tell_rules(rules)
            self._dirty[session.id] = session

    def set_scheduler(self, name: str, direction: str) -> None:
        """Change the scheduler of "up", "down" or "both" directions, now and for later sessions."""
        if direction in ("up", "both"):
            self.settings.scheduler = name
        if direction in ("down", "both"):
            self.settings.downlink_scheduler = name
        session = self.session
        if session is None:
            return
        if direction in ("up", "both"):
            session.sender.outbound.set_scheduler(name)
        if direction in ("down", "both"):
            session.control.post({"scheduler": name})
        self._dirty[session.id] = session

    def set_hold(self, hold: float | None) -> None:
        """Pin the hold that the server shall use (seconds), or None to let it be learned."""
        self.settings.hold = hold
        if self.session is not None:
            self.session.sender.hold_override = hold

    # -- input ------------------------------------------------------------------------------------

    def handle_packets(self, packets: list[bytes], now: float) -> None:
        """Send packets; without a session the newest few are kept for it."""
        packets = [packet for packet in packets if self._belongs(packet)]
        session = self.session
        if session is None:
            self._waiting += packets
            excess = len(self._waiting) - WAITING_LIMIT
            if excess > 0:
                self.drops["no_session"] += excess
                del self._waiting[:excess]
            return
        session.handle_packets(packets, now)
        self._dirty[session.id] = session

    def handle_timeout(self, now: float) -> None:
        """Run what is due, the handshake included."""
        super().handle_timeout(now)
        self._try_other_targets(now)
        if not self._attempt.active:
            if self._wants_handshake(now):
                self._ask(now)
        elif self._attempt.next_timeout() <= now + 1e-9:
            if self._attempt.repeat():
                for link in self.links.values():
                    self._send_init(link)
                return
            for link in self.links.values() if self.session is None else ():
                link.turn += 1
                link.cookie = None
            self._ask(now)

    def _try_other_targets(self, now: float) -> None:
        """A link whose path has been dead for a while goes on to its next target, in turn."""
        for link in self.links.values():
            path = link.path_in(self.session)
            if len(link.targets) < 2 or path is None or not path.usable:
                continue
            if path.liveness.state == DOWN and now >= link.next_turn:
                link.turn += 1
                link.next_turn = now + TARGET_TURN
                self._retarget(link, now)

    def next_timeout(self, now: float) -> float:
        """When to call `handle_timeout` next."""
        due = min(super().next_timeout(now), self._attempt.next_timeout())
        if self.session is None and self.links and not self._attempt.active:
            due = min(due, max(now, self._not_before))
        return due

    # -- handshake --------------------------------------------------------------------------------

    def _wants_handshake(self, now: float) -> bool:
        session = self.session
        if not self.links or now < self._not_before:
            return False
        if session is None:
            return True
        return (
            session.rekey_due(now, self.settings.rekey_after)
            or session.paths_exhausted
            or self._deaf_since(session) <= now
        )

    def _deaf_since(self, session: Session) -> float:
        """When asking without an answer has lasted too long; a dead path's probes are no asking."""
        paths = session.paths.values()
        oldest = float("inf")
        for path in [path for path in paths if path.up] or paths:
            sent = path.sent.oldest
            if sent is not None and sent.time < oldest:
                oldest = sent.time
        return max(oldest, session.last_received) + DEAF_AFTER

    def _ask(self, now: float) -> None:
        """Begin a handshake with fresh keys on all links."""
        self._attempt.begin(self._new_index(), now)
        session = self.session
        goes_on = session is not None and not session.paths_exhausted
        self._asked += 1
        request = Request(
            session.id if session is not None and goes_on else b"",
            self._asked,
            self.settings.ciphers,
            self.addresses,
            self.settings.downlink_scheduler,
        )
        try:
            self._initiator.start(self._attempt.index, request.to_map())
        except HandshakeError as error:
            self.drops[error.reason] += 1
            return
        for link in self.links.values():
            self._send_init(link)

    def _send_init(self, link: Link) -> None:
        if not link.usable or not self._initiator.last_mac1:
            return
        datagram = self._initiator.datagram(link.cookie)
        target = link.target
        self._transmits.append(Transmit(target.socket, target.address, [datagram]))

    def _handle_handshake(
        self, kind: int, socket: int, source: Address, datagram: bytes, now: float
    ) -> None:
        try:
            if kind == RESPONSE:
                self._on_response(datagram, now)
            elif kind == COOKIE:
                self._on_cookie(socket, datagram, now)
            elif kind == HINT:
                self._on_hint(read_hint(datagram), now)
            else:
                self.drops["type_unknown"] += 1
        except HandshakeError as error:
            self.drops[error.reason] += 1

    def _on_cookie(self, socket: int, datagram: bytes, now: float) -> None:
        """Answer with the cookie, but not each of many: whoever saw our message can forge one."""
        cookie = self._initiator.read_cookie(datagram)
        if not self._attempt.active:
            raise HandshakeError("handshake_unexpected")
        for link in self.links.values():
            if link.target.socket != socket:
                continue
            link.cookie = cookie
            if now >= link.cookie_due:
                link.cookie_due = now + COOKIE_PAUSE
                self._send_init(link)

    def _on_hint(self, index: int, now: float) -> None:
        session = self.session
        if session is None or index != session.keys.current.remote_index:
            self.drops["hint_unexpected"] += 1
        elif now - self._hinted < HINT_INTERVAL or self._attempt.active:
            self.drops["hint_rate"] += 1
        else:
            self._hinted = now
            self._ask(now)

    def _on_response(self, datagram: bytes, now: float) -> None:
        established = self._initiator.read_response(datagram)
        if not self._attempt.active:
            return  # another link brought the same answer before
        welcome = read_welcome(established.payload)
        pair = Keypair(
            welcome.cipher,
            established.send_key,
            established.receive_key,
            self._attempt.index,
            welcome.receiver_index,
            now,
        )
        self._attempt.end()
        self.server_link_mtu = welcome.link_mtu
        session = self.session
        if session is not None and session.id == welcome.session:
            session.install(pair)
            session.last_received = now
            self._register(session)
            for path in session.paths.values():
                session.poke(path)
            self._dirty[session.id] = session
            self._events.append(Rekeyed(session.peer, session.id))
        else:
            self._begin(welcome, pair, now)

    def _begin(self, welcome: Welcome, pair: Keypair, now: float) -> None:
        if self.session is not None:
            self._forget(self.session)
        session = self.session = Session(
            is_client=True,
            session_id=welcome.session,
            peer=self.settings.server_key,
            pair=pair,
            scheduler=self.settings.scheduler,
            hold=self.settings.hold,
            keepalive=min(self.settings.keepalive, welcome.keepalive),
            drops=self.drops,
            rng=self._rng,
            now=now,
        )
        session.peer_capabilities = frozenset(welcome.capabilities)
        session.sender.copy_dscp = self.settings.copy_dscp
        if self.settings.rules:
            session.sender.outbound.set_rules(self.settings.rules)
            session.agreement.tell_rules(self.settings.rules)
        self._adopt(session)
        self._register(session)
        self.addresses = welcome.addresses
        for link in self.links.values():
            self._open_path(link, session, now)
        session.handle_packets(self._waiting, now)
        self._waiting = []
        self._events.append(SessionStarted(session.peer, session.id, self.addresses))

    def _open_path(self, link: Link, session: Session, now: float) -> None:
        link.open_path(session, self.path_mtu(link), now)
        self._dirty[session.id] = session

    def path_mtu(self, link: Link) -> int:
        """The largest UDP payload of a link's path, in bytes, as far as both ends know."""
        _, _, mtu, overhead = link.target
        return mtu if self.server_link_mtu is None else min(mtu, self.server_link_mtu - overhead)

    # -- sessions ---------------------------------------------------------------------------------

    def _belongs(self, packet: bytes) -> bool:
        """Keep the TUN device's own chatter (IPv6 link-local, multicast) out of the tunnel."""
        if len(packet) >= 20 and packet[0] >> 4 == 4:
            return True
        source = source_of(packet) if packet else None
        if source is None:
            self.drops["packet_not_ip"] += 1
            return False
        if len(source) == 16 and (
            (source[0] == 0xFE and source[1] & 0xC0 == 0x80) or not any(source)
        ):
            self.drops["link_local"] += 1
            return False
        return True

    def _handle_unknown_index(
        self, index: int, socket: int, source: Address, datagram: bytes, now: float
    ) -> None:
        self.drops["index_unknown"] += 1

    def _on_confirmed(self, session: Session, now: float) -> None:
        """A client's pairs are never merely offered."""

    def _on_closed(self, session: Session, reason: int, text: str, now: float) -> None:
        if session is not self.session:
            return
        self._forget(session)
        self.session = None
        if reason == CLOSE_REPLACED:
            self._not_before = now + REPLACED_PAUSE
        self._events.append(SessionEnded(session.peer, session.id, text or "closed by the server"))

    def _deliver(self, session: Session, packets: list[bytes], now: float) -> None:
        self._packets += packets

    def _on_control(self, session: Session, message: dict[str, Any], now: float) -> None:
        self._events.append(Configured(message))

    def _session_deadline(self, session: Session, now: float) -> float:
        due = session.next_timeout(now)
        if self._attempt.active:
            return due
        rekey = session.keys.current.created + self.settings.rekey_after
        deaf = max(self._deaf_since(session), self._not_before)
        return min(due, deaf, rekey if rekey > now else due)
