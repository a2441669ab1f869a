"""The server's endpoint: answers handshakes and routes packets between sessions and the TUN device.

A handshake message is looked at in the order of what that costs: length and mac1 (about 2 µs), the cache
of answers (copies of one message come over all links of a client), and only then, if core.admission
lets it, Diffie-Hellman.
A session made by a handshake is installed when the first transport datagram opens under its keys; until
then the client's old session lives on. Nothing unauthenticated gets a reply but a cookie, and a
rate-limited hint that an index is unknown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpbond.core.admission import Admission
from mpbond.core.bucket import TokenBucket
from mpbond.core.endpoint import Endpoint
from mpbond.core.envelope import INIT, init_digest, write_hint
from mpbond.core.greeting import SESSION_ID_SIZE, Request, Welcome, read_request
from mpbond.core.handshake import InitRequest, Responder
from mpbond.core.keys import CIPHERS, Keypair
from mpbond.core.path import DEFAULT_MTU, DEFAULT_OVERHEAD, Address
from mpbond.core.peers import Peer, Peers, destination_of, source_of
from mpbond.core.rules import Rule
from mpbond.core.scheduler import DEFAULT_SCHEDULER, SCHEDULERS
from mpbond.core.session import Session
from mpbond.core.transmit import Rekeyed, SessionEnded, SessionStarted, Transmit
from mpbond.core.wire import CLOSE_REPLACED, CLOSE_REVOKED
from mpbond.errors import HandshakeError

if TYPE_CHECKING:
    from random import Random

HINT_RATE, HINT_BURST = 50.0, 20.0  # hints per second, to all sources together
MAXIMUM_PENDING = 4  # sessions of one peer that wait for their first datagram
ANSWER_LIFETIME = 5.0  # seconds that an answer is kept for copies of its question
ANSWER_LIMIT = 1024
SESSION_LIFETIME = 300.0  # seconds without a datagram after which a session is forgotten
REPLACEMENT_WINDOW, REPLACEMENT_LIMIT = 60.0, 5  # changes of session that look like a shared key
ITEMS_PER_MESSAGE = 8  # addresses or prefixes: at most 45 bytes each
HINT_MINIMUM = 32  # bytes; a smaller datagram gets no hint, so that none is amplified


@dataclass(slots=True, kw_only=True)
class ServerSettings:
    """What a server is configured with; keys are 32 raw bytes, times seconds."""

    private_key: bytes
    scheduler: str = DEFAULT_SCHEDULER
    hold: float | None = None
    keepalive: float = 20.0
    client_to_client: bool = False
    dns: tuple[str, ...] = ()
    prefix_of: Callable[[Address], bytes] = lambda source: repr(source).encode()
    link_mtu: int = DEFAULT_MTU + DEFAULT_OVERHEAD  # bytes of an IP packet towards the internet
    ciphers: tuple[str, ...] = tuple(CIPHERS)
    rules: tuple[Rule, ...] = ()
    copy_dscp: bool = False


class ServerEndpoint(Endpoint):
    """Many sessions, at most one in use for each peer."""

    def __init__(self, settings: ServerSettings, peers: Peers, rng: "Random") -> None:
        super().__init__(rng)
        self.settings = settings
        self.peers = peers
        self.handshakes_seen = 0  # messages looked at, good or bad
        self._responder = Responder(settings.private_key, rng)
        self._admission = Admission(self._responder.public, settings.prefix_of, self.drops, rng)
        self._answers: dict[bytes, tuple[float, bytes]] = {}
        self._hints = TokenBucket(HINT_RATE, HINT_BURST)

    # -- packets ----------------------------------------------------------------------------------

    def handle_packets(self, packets: list[bytes], now: float) -> None:
        """Send each packet to the client that owns its destination."""
        batches: dict[bytes, list[bytes]] = {}
        latest, batch = b"", []  # neighbours mostly go the same way
        for packet in packets:
            destination = destination_of(packet) if packet else None
            if destination is None:
                self.drops["packet_not_ip"] += 1
                continue
            if destination == latest:
                batch.append(packet)
                continue
            peer = self.peers.owner(destination)
            if peer is None:
                self.drops["destination_unknown"] += 1
            elif peer.session is None:
                self.drops["client_offline"] += 1
            else:
                batch = batches.setdefault(peer.session.id, [])
                batch.append(packet)
                latest = destination
        for session_id, batch in batches.items():
            session = self.sessions[session_id]
            session.handle_packets(batch, now)
            self._dirty[session_id] = session

    def _deliver(self, session: Session, packets: list[bytes], now: float) -> None:
        peer = self.peers.get(session.peer)
        between: list[bytes] = []
        for packet in packets:
            source = source_of(packet)
            if source is None:
                self.drops["packet_not_ip"] += 1
                continue
            if self.peers.owner(source) is not peer:
                self.drops["source_not_allowed"] += 1
                continue
            destination = destination_of(packet)
            if destination is not None and self.peers.owner(destination) is not None:
                between.append(packet)
            else:
                self._packets.append(packet)
        if not between:
            return
        if self.settings.client_to_client:
            self.handle_packets(between, now)
        else:
            self.drops["client_to_client"] += len(between)

    # -- handshakes -------------------------------------------------------------------------------

    def _handle_handshake(
        self, kind: int, socket: int, source: Address, datagram: bytes, now: float
    ) -> None:
        if kind != INIT:
            self.drops["type_unknown"] += 1
            return
        self.handshakes_seen += 1
        refusal = self._responder.refusal(datagram)
        if refusal is not None:
            self.drops[refusal] += 1
            return
        digest = init_digest(datagram)
        answer = self._answers.get(digest)
        if answer is not None and now - answer[0] < ANSWER_LIFETIME:
            self._transmits.append(Transmit(socket, source, [answer[1]]))
            return
        admitted, cookie = self._admission.judge(datagram, source, now)
        if cookie is not None:
            self._transmits.append(Transmit(socket, source, [cookie]))
        if not admitted:
            return
        try:
            request = self._responder.parse_init(datagram)
            response = self._answer(request, now)
        except HandshakeError as error:
            self.drops[error.reason] += 1
            return
        self._remember_answer(digest, response, now)
        self._transmits.append(Transmit(socket, source, [response]))

    def _answer(self, init: InitRequest, now: float) -> bytes:
        """Make a key pair, and a session unless this is a rekey, for an authentic message."""
        peer = self.peers.get(init.remote_public)
        if peer is None:
            raise HandshakeError("peer_unknown")
        request = read_request(init.payload)
        rekeyed = self._refuse_replay(peer, init.digest, request)
        cipher = self._choose_cipher(request.ciphers)
        addresses = self.peers.assign(peer, request.addresses)
        welcome = Welcome(
            self._new_index(),
            rekeyed.id if rekeyed is not None else self._rng.randbytes(SESSION_ID_SIZE),
            cipher,
            tuple(map(str, addresses)),
            self.settings.keepalive,
            self.settings.link_mtu,
        )
        response, made = self._responder.respond(init, peer.preshared_key, welcome.to_map())
        pair = Keypair(
            cipher, made.send_key, made.receive_key, welcome.receiver_index, made.peer_index, now
        )
        if rekeyed is not None:
            rekeyed.keys.offer(pair)
            self._register(rekeyed)
        else:
            self._expect(peer, self._make_session(peer, welcome.session, pair, request, now))
        return response

    def _refuse_replay(self, peer: Peer, digest: bytes, request: Request) -> Session | None:
        """Return the session that the message wants to go on with, if it is there.

        Messages carry no time, since routers boot in 1970. Within a session a rising number tells a
        replay, which could displace a key pair before its owner has used it; else the digests of the
        last messages do, and a replay only makes one of several sessions that nobody confirms.
        """
        session = peer.session
        if session is None or session.id != request.session:
            session = None
        stale = session is not None and request.rekey <= session.rekey_seen
        if stale or digest in peer.answered:
            raise HandshakeError("handshake_replayed")
        peer.answered.append(digest)
        if session is not None:
            session.rekey_seen = request.rekey
        return session

    def _expect(self, peer: Peer, session: Session) -> None:
        """Keep a session until its first datagram; of too many, the oldest goes."""
        if len(peer.pending) >= MAXIMUM_PENDING:
            self._forget(peer.pending.pop(0))
        peer.pending.append(session)
        self._register(session)

    def _make_session(
        self, peer: Peer, session_id: bytes, pair: Keypair, request: Request, now: float
    ) -> Session:
        session = Session(
            is_client=False,
            session_id=session_id,
            peer=peer.public_key,
            pair=pair,
            scheduler=request.scheduler or self.settings.scheduler,
            hold=self.settings.hold,
            keepalive=self.settings.keepalive,
            drops=self.drops,
            rng=self._rng,
            now=now,
        )
        session.peer_capabilities = frozenset(request.capabilities)
        session.socket_mtu = self.socket_mtu
        session.sender.copy_dscp = self.settings.copy_dscp
        session.sender.outbound.set_rules(self.settings.rules)
        return session

    def _choose_cipher(self, offered: Sequence[str]) -> str:
        """What both sides do fast: our first choice if it is theirs too, else the one safe anywhere."""
        if offered and offered[0] == self.settings.ciphers[0]:
            return self.settings.ciphers[0]
        if "ChaCha20-Poly1305" in offered:
            return "ChaCha20-Poly1305"
        for cipher in self.settings.ciphers:
            if cipher in offered:
                return cipher
        raise HandshakeError("handshake_payload")

    def _remember_answer(self, digest: bytes, response: bytes, now: float) -> None:
        self._answers[digest] = (now, response)
        for old in list(self._answers):
            expired = now - self._answers[old][0] >= ANSWER_LIFETIME
            if not expired and len(self._answers) <= ANSWER_LIMIT:
                break
            del self._answers[old]

    def _handle_unknown_index(
        self, index: int, socket: int, source: Address, datagram: bytes, now: float
    ) -> None:
        self.drops["index_unknown"] += 1
        if len(datagram) >= HINT_MINIMUM and self._hints.take(now):
            self._transmits.append(Transmit(socket, source, [write_hint(index)]))

    # -- sessions ---------------------------------------------------------------------------------

    def _on_confirmed(self, session: Session, now: float) -> None:
        peer = self.peers.get(session.peer)
        if peer is None:
            return
        if session not in peer.pending:
            session.handshakes += 1
            self._register(session)
            self._events.append(Rekeyed(session.peer, session.id))
            return
        old = peer.session
        for other in peer.pending:
            if other is not session:
                self._forget(other)
        peer.pending.clear()
        if old is not None:
            self._replace(peer, old, now)
        peer.session = session
        self._adopt(session)
        self._configure(session, peer)
        addresses = tuple(map(str, peer.addresses))
        self._events.append(SessionStarted(session.peer, session.id, addresses))

    def _configure(self, session: Session, peer: Peer) -> None:
        """Tell a client what did not fit the handshake, in messages of a few items each."""
        for key, items in (("dns", self.settings.dns), ("routes", peer.routes)):
            for at in range(0, len(items), ITEMS_PER_MESSAGE):
                part = items[at : at + ITEMS_PER_MESSAGE]
                session.control.post({key: [str(item) for item in part], "first": at == 0})

    def _replace(self, peer: Peer, old: Session, now: float) -> None:
        """The newest handshake wins: the same key on another box, or the same box started again."""
        self._transmits.extend(
            old.close(CLOSE_REPLACED, "another box or process uses the same key", now)
        )
        self._forget(old)
        self._events.append(SessionEnded(old.peer, old.id, "replaced by a newer session"))
        peer.replacements = [at for at in peer.replacements if now - at < REPLACEMENT_WINDOW]
        peer.replacements.append(now)

    def warnings(self, now: float) -> list[str]:
        """What an operator should know, in sentences."""
        return [
            f"{peer.name} changed sessions {len(recent)} times in a minute: "
            "is its key on two boxes?"
            for peer in self.peers
            if len(recent := [t for t in peer.replacements if now - t < REPLACEMENT_WINDOW])
            >= REPLACEMENT_LIMIT
        ]

    def revoke(self, public_key: bytes, now: float) -> None:
        """Forget a peer: its key opens nothing from now on, and its session ends."""
        peer = self.peers.get(public_key)
        if peer is None:
            return
        for session in peer.pending:
            self._forget(session)
        peer.pending.clear()
        if peer.session is not None:
            self._transmits.extend(
                peer.session.close(CLOSE_REVOKED, "the server no longer knows this key", now)
            )
            self._end(peer.session, "its key was removed", now)
        self.peers.remove(peer)

    def _on_closed(self, session: Session, reason: int, text: str, now: float) -> None:
        self._end(session, text or "closed by the client", now)

    def _end(self, session: Session, reason: str, now: float) -> None:
        peer = self.peers.get(session.peer)
        if peer is not None:
            peer.last_seen = now
            if peer.session is session:
                peer.session = None
        self._forget(session)
        self._events.append(SessionEnded(session.peer, session.id, reason))

    def _on_control(self, session: Session, message: dict[str, Any], now: float) -> None:
        scheduler = message.get("scheduler")
        if isinstance(scheduler, str) and scheduler in SCHEDULERS:
            session.sender.outbound.set_scheduler(scheduler)

    def handle_timeout(self, now: float) -> None:
        """Run what is due; a session nothing was heard of for long is forgotten."""
        super().handle_timeout(now)
        for session in list(self._dirty.values()):
            if now - session.last_received >= SESSION_LIFETIME:
                self._end(session, "nothing heard for five minutes", now)

    def _session_deadline(self, session: Session, now: float) -> float:
        return min(session.next_timeout(now), session.last_received + SESSION_LIFETIME)
