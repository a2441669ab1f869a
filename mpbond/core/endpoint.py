"""An endpoint: all sessions of one process, found by receiver index (design 2).

This is the face that the driver sees. What comes in is handed to `handle_*`, then everything is polled
until it is empty, in this order:

    handle_packets, handle_datagrams, handle_timeout, handle_refused     what happened, with `now`
    poll_transmit(now) -> Transmit | None                                one sendmsg each
    poll_packets()     -> list of packets                                for the TUN device
    poll_event()       -> Event | None                                   rare things
    next_timeout(now)  -> seconds                                        when to call handle_timeout

`ClientEndpoint` starts handshakes and has one session; `ServerEndpoint` answers them and has many. Work
is done for sessions that something happened to, never for all: deadlines stand in a heap, in which an
entry counts only while it equals its session's present deadline.
"""

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from mpbond.core.envelope import TRANSPORT
from mpbond.core.keys import Keypair, unseal, unseal_run
from mpbond.core.path import Address
from mpbond.core.session import Session
from mpbond.core.stats import Drops
from mpbond.core.transmit import Event, Transmit
from mpbond.core.wire import HEADER, HEADER_SIZE, TAG_SIZE, recover

if TYPE_CHECKING:
    from random import Random

PN_SPACE = 1 << 32


class Endpoint:
    """What client and server have in common."""

    def __init__(self, rng: "Random") -> None:
        self.drops = Drops()
        self.sessions: dict[bytes, Session] = {}
        self.socket_mtu: dict[int, int] = {}
        self._rng = rng
        self._by_index: dict[int, tuple[Session, Keypair]] = {}
        self._dirty: dict[bytes, Session] = {}
        self._undated: dict[bytes, Session] = {}
        self._deadlines: dict[bytes, float] = {}
        self._heap: list[tuple[float, bytes]] = []
        self._transmits: deque[Transmit] = deque()
        self._packets: list[bytes] = []
        self._events: deque[Event] = deque()

    # -- input ------------------------------------------------------------------------------------

    def handle_packets(self, packets: list[bytes], now: float) -> None:
        """Take a batch of inner packets from the TUN device."""
        raise NotImplementedError

    def handle_datagrams(
        self,
        socket: int,
        source: Address,
        buffer: bytes,
        segment_size: int | None,
        receive_time: float,
        now: float,
    ) -> None:
        """Take what one recvmsg brought: one datagram, or several of `segment_size` bytes each."""
        if segment_size is None or segment_size >= len(buffer):
            self._handle_datagram(socket, source, buffer, receive_time, now)
            return
        at = 0
        while at < len(buffer):
            end = self._handle_run(socket, source, buffer, segment_size, at, receive_time, now)
            if end == at:
                end = at + segment_size
                self._handle_datagram(socket, source, buffer[at:end], receive_time, now)
            at = end

    def handle_timeout(self, now: float) -> None:
        """Run what is due by `now`."""
        self._date(now)
        heap = self._heap
        while heap and heap[0][0] <= now + 1e-9:
            due, session_id = heappop(heap)
            if self._deadlines.get(session_id) != due:
                continue
            del self._deadlines[session_id]
            session = self.sessions.get(session_id)
            if session is not None:
                session.handle_timeout(now)
                self._dirty[session_id] = session

    def handle_refused(self, transmit: Transmit, reason: str, now: float) -> None:
        """Take back a Transmit that the system refused: its datagrams count as lost at once."""
        if transmit.session is None:
            self.drops[reason] += 1
            return
        session = self.sessions.get(transmit.session)
        if session is not None:
            session.handle_refused(transmit, reason, now)
            self._dirty[session.id] = session

    # -- output -----------------------------------------------------------------------------------

    def poll_transmit(self, now: float) -> Transmit | None:
        """Return the next datagram to send, None when there is none."""
        if not self._transmits and self._dirty:
            self._settle(now)
        return self._transmits.popleft() if self._transmits else None

    def poll_packets(self) -> list[bytes]:
        """Return the packets for the TUN device."""
        packets, self._packets = self._packets, []
        return packets

    def poll_event(self) -> Event | None:
        """Return the next event, None when there is none."""
        return self._events.popleft() if self._events else None

    def next_timeout(self, now: float) -> float:
        """When to call `handle_timeout` next."""
        if self._dirty:
            self._settle(now)
        self._date(now)
        while self._heap and self._deadlines.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else now + 3600.0

    def close(self, reason: int, text: str, now: float) -> None:
        """Say goodbye to every peer; poll what remains to be sent."""
        for session in list(self.sessions.values()):
            self._transmits.extend(session.close(reason, text, now))

    # -- for client and server --------------------------------------------------------------------

    def _handle_handshake(
        self, kind: int, socket: int, source: Address, datagram: bytes, now: float
    ) -> None:
        raise NotImplementedError

    def _handle_unknown_index(
        self, index: int, socket: int, source: Address, datagram: bytes, now: float
    ) -> None:
        raise NotImplementedError

    def _on_confirmed(self, session: Session, now: float) -> None:
        """The first datagram has opened under a key pair that was only offered."""
        raise NotImplementedError

    def _on_closed(self, session: Session, reason: int, text: str, now: float) -> None:
        """The peer has said goodbye."""
        raise NotImplementedError

    def _deliver(self, session: Session, packets: list[bytes], now: float) -> None:
        """Packets have come out of a session's lanes."""
        raise NotImplementedError

    def _on_control(self, session: Session, message: dict[str, Any], now: float) -> None:
        """A CONTROL message has come."""
        raise NotImplementedError

    def _session_deadline(self, session: Session, now: float) -> float:
        """When the session needs a look; a subclass may add reasons of its own."""
        return session.next_timeout(now)

    def _new_index(self) -> int:
        while True:
            index: int = self._rng.getrandbits(32)
            if index not in self._by_index:
                return index

    def _register(self, session: Session) -> None:
        """Make the session's present key pairs reachable, and only those."""
        pairs = {pair.local_index: pair for pair in session.keys.all()}
        for index in session.indices - pairs.keys():
            del self._by_index[index]
        session.indices = set(pairs)
        for index, pair in pairs.items():
            self._by_index[index] = (session, pair)

    def _adopt(self, session: Session) -> None:
        session.socket_mtu = self.socket_mtu
        self.sessions[session.id] = session
        self._dirty[session.id] = session

    def _forget(self, session: Session) -> None:
        for index in session.indices:
            del self._by_index[index]
        session.indices = set()
        self.sessions.pop(session.id, None)
        self._dirty.pop(session.id, None)
        self._undated.pop(session.id, None)
        self._deadlines.pop(session.id, None)

    def _handle_datagram(
        self, socket: int, source: Address, datagram: bytes, receive_time: float, now: float
    ) -> None:
        if not datagram:
            self.drops["datagram_empty"] += 1
        elif datagram[0] == TRANSPORT:
            self._handle_transport(socket, source, datagram, receive_time, now)
        else:
            self._handle_handshake(datagram[0], socket, source, datagram, now)

    def _handle_transport(
        self, socket: int, source: Address, datagram: bytes, receive_time: float, now: float
    ) -> None:
        if len(datagram) < HEADER_SIZE + TAG_SIZE + 1:
            self.drops["datagram_truncated"] += 1
            return
        _, path_id, index, low = HEADER.unpack_from(datagram)
        entry = self._by_index.get(index)
        if entry is None:
            self._handle_unknown_index(index, socket, source, datagram, now)
            return
        session, pair = entry
        expected = session.expected_number(path_id)
        if expected is None:
            self.drops["path_unknown"] += 1
            return
        number = recover(low, expected, PN_SPACE)
        if session.replayed(path_id, number):
            self.drops["replayed"] += 1
            return
        plain = unseal(pair, [(path_id, number, datagram)])[0]
        if plain is None:
            self.drops["auth_failed"] += 1
            return
        if session.keys.confirm(pair) or session.id not in self.sessions:
            self._on_confirmed(session, now)
        size = len(datagram)
        session.handle_opened(path_id, number, plain, socket, source, size, receive_time, now)
        self._dirty[session.id] = session
        if session.closed is not None:
            self._on_closed(session, *session.closed, now)

    def _handle_run(
        self,
        socket: int,
        source: Address,
        buffer: bytes,
        segment_size: int,
        at: int,
        receive_time: float,
        now: float,
    ) -> int:
        """Take datagrams of one known path with ascending numbers; return where they end."""
        if len(buffer) - at < HEADER_SIZE or buffer[at] != TRANSPORT:
            return at
        _, path_id, index, _ = HEADER.unpack_from(buffer, at)
        entry = self._by_index.get(index)
        if entry is None:
            return at
        session, pair = entry
        if path_id not in session.paths or session.id not in self.sessions:
            return at
        if pair is session.keys.next:
            return at  # the first datagram confirms it
        expected = session.paths[path_id].received.largest + 1
        at, arrivals = unseal_run(pair, buffer, segment_size, at, expected)
        if arrivals:
            forged = session.handle_arrivals(path_id, arrivals, socket, source, receive_time, now)
            if forged:
                self.drops["auth_failed"] += forged
            self._dirty[session.id] = session
            if session.closed is not None:
                self._on_closed(session, *session.closed, now)
        return at

    def _settle(self, now: float) -> None:
        """Finish what was begun: deliver and flush every session that something touched."""
        while self._dirty:
            _, session = self._dirty.popitem()
            for message in session.control.inbox:
                if not session.agreement.on_message(message, now):
                    self._on_control(session, message, now)
            session.control.inbox.clear()
            packets = session.release(now)
            if packets:
                self._deliver(session, packets, now)
            self._transmits.extend(session.flush(now))
            self._events.extend(session.poll_path_events())
            self._undated[session.id] = session

    def _date(self, now: float) -> None:
        """Put down when each session wants to be called that has been settled since the last time."""
        while self._undated:
            session_id, session = self._undated.popitem()
            if session_id in self.sessions:
                deadline = self._session_deadline(session, now)
                if self._deadlines.get(session_id) != deadline:
                    self._deadlines[session_id] = deadline
                    heappush(self._heap, (deadline, session_id))
