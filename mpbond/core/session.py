"""A session: the authenticated association of a client with a concentrator.

It conducts: keys say who it is, `Inbound` takes datagrams apart, `Receiver` and `Sender` move packets,
`Watch` runs the paths' timers, `Agreement` is what both ends tell each other, and each path keeps its own
state.

Methods come in four kinds: `handle_*` take input, `flush` builds what can be sent, `next_timeout` says
when to call again, the rest are for the endpoint that owns it. After any `handle_*`, call `flush`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mpbond.core.acks import interval_for
from mpbond.core.aead import Arrival
from mpbond.core.agreement import Agreement
from mpbond.core.control import ControlChannel
from mpbond.core.inbound import Inbound
from mpbond.core.kernel import join
from mpbond.core.keys import REJECT_AFTER, Keypair, KeyRing
from mpbond.core.path import DEFAULT_MTU, Address, Path, PathOptions
from mpbond.core.receiver import Receiver
from mpbond.core.roaming import Prover
from mpbond.core.sender import Sender
from mpbond.core.stats import Drops, Meter
from mpbond.core.transmit import PathChanged, Transmit
from mpbond.core.watch import Watch
from mpbond.core.wire import (
    ABANDON,
    PING,
    PathStatus,
    WireError,
    close_frame,
    frame,
    path_frame,
    status_frame,
)

if TYPE_CHECKING:
    from random import Random

MAXIMUM_PATHS = 32  # live at once
LAST_PATH_ID = 255
INTERVAL_KEPT = 0.1  # seconds for which the interval between ACKs is not computed anew
METERED = 3.0  # seconds after the last packet in which there is something to do every second
REKEY_MARGIN = 5.0  # seconds before a keepalive would need a key that may no longer send
_PING = frame(PING)


class Session:
    """One side of a session. `is_client` decides who allots paths, keeps NAT mappings and rekeys."""

    def __init__(
        self,
        *,
        is_client: bool,
        session_id: bytes,
        peer: bytes,
        pair: Keypair,
        scheduler: str,
        hold: float | None,
        keepalive: float,
        drops: Drops,
        rng: "Random",
        now: float,
    ) -> None:
        self.is_client = is_client
        self.id = session_id
        self.peer = peer
        self.keys = KeyRing(pair)
        self.indices: set[int] = set()  # receiver indices by which the endpoint finds us
        self.started = now
        self.last_received = now
        self.handshakes = 1
        self.rekey_seen = 0  # highest number of a rekey asked for
        self.peer_capabilities: frozenset[str] = frozenset()
        self.paths: dict[int, Path] = {}
        self.socket_mtu: dict[int, int] = {}  # largest UDP payload each socket may send
        self.drops = drops
        self.receiver = Receiver(self.paths, drops)
        self.sender = Sender(self.paths, session_id, rng.getrandbits(32), scheduler, drops)
        self.sender.hold_override = hold
        self.control = ControlChannel(self.sender.require)
        self.agreement = Agreement(
            self.paths,
            self.sender.outbound,
            self.control,
            drops,
            self.receiver.even,
            is_client=is_client,
        )
        self.received_packets = Meter()
        self.path_events: list[PathChanged] = []
        self._watch = Watch(
            self.paths, self.sender, is_client=is_client, keepalive=keepalive, now=now
        )
        self._inbound = Inbound(
            self.paths,
            self.receiver,
            self.sender,
            self._watch,
            self.control,
            drops,
            is_client=is_client,
            mtu_of=self._mtu_of,
            abandon=self.remove_path,
        )
        self._rng = rng
        self._retired: set[int] = set()
        self._next_path_id = 0
        self._used_since_rekey = False
        self._last_packets = float("-inf")  # when any were given to us, or given away
        self._next_second = now + 1.0
        self._interval = 0.0  # seconds between ACKs
        self._interval_due = now  # when to look again at what it should be

    # -- paths ------------------------------------------------------------------------------------

    def add_path(self, socket: int, remote: Address, options: PathOptions, now: float) -> Path:
        """Open a path (client) and probe it at once. Raises IndexError when ids have run out."""
        if self._next_path_id > LAST_PATH_ID:
            raise IndexError("no path id left in this session")
        path = Path(self._next_path_id, socket, remote, options, now)
        self._next_path_id += 1
        self.paths[path.id] = path
        path.liveness.start(now, "asking the concentrator")
        self.tell_status(path)
        return path

    def remove_path(self, path_id: int, now: float) -> None:
        """Close a path for good: what it holds is lost, its id is never used again."""
        self._retired.add(path_id)
        path = self.paths.pop(path_id, None)
        if path is None:
            return
        self.sender.requeue(path, path.sent.abandon(), now)
        if self.is_client:
            self.sender.require(path_frame(ABANDON, path_id))
        self.path_events.append(
            PathChanged(self.peer, path.id, path.link, "removed", "its link is gone")
        )

    def set_usable(self, path: Path, usable: bool, now: float) -> None:
        """The client's link has come or gone: obey, and tell the server at once."""
        if path.usable == usable:
            return
        path.usable = usable
        self.tell_status(path)
        path.refusals.forget()
        if usable:
            path.liveness.start(now, "its link is back")
        else:
            path.liveness.on_refused(now, "its link is down")
            self.sender.rescue(path, now)

    def tell_status(self, path: Path) -> None:
        """Tell the server what the client knows of a path, on whichever path."""
        path.status_number += 1
        status = PathStatus(
            path.status_number,
            path.usable,
            path.tier,
            path.mtu,
            path.weight,
            round(path.cap_received),
        )
        self.sender.require(status_frame(path.id, status))

    def poke(self, path: Path) -> None:
        """Send something on a path now: its address may have changed."""
        path.refusals.forget()
        path.pending.append(_PING)

    @property
    def connected(self) -> bool:
        """Is any path up?"""
        return any(path.up for path in self.paths.values())

    @property
    def paths_exhausted(self) -> bool:
        """Is it time for a new session because path ids run out?"""
        return self._next_path_id >= LAST_PATH_ID

    # -- input ------------------------------------------------------------------------------------

    def handle_packets(self, packets: list[bytes], now: float) -> None:
        """Take inner packets to be sent."""
        if packets:
            self._used_since_rekey = True
            self._last_packets = now
        self.sender.outbound.enqueue(packets, now)

    def expected_number(self, path_id: int) -> int | None:
        """The packet number to recover a header's 32 bits against; None if the path cannot be."""
        path = self.paths.get(path_id)
        if path is not None:
            return path.received.largest + 1
        if self.is_client or path_id in self._retired or len(self.paths) >= MAXIMUM_PATHS:
            return None
        return 0

    def replayed(self, path_id: int, number: int) -> bool:
        """Has this packet number come before, or is it too old to tell?"""
        path = self.paths.get(path_id)
        return path is not None and not path.replay.would_accept(number)

    def handle_opened(
        self,
        path_id: int,
        number: int,
        plain: bytes,
        socket: int,
        source: Address,
        size: int,
        receive_time: float,
        now: float,
    ) -> None:
        """Take an authenticated plaintext of a datagram of `size` bytes from `source`."""
        path = self.paths.get(path_id)
        if path is None:
            path = self._accept_path(path_id, socket, source, now)
        path.replay.accept(number)
        self.last_received = now
        newest = number > path.received.largest
        path.on_received(size, now)
        if path.prover is not None:
            path.prover.on_datagram(path, socket, source, size, newest, now)
        try:
            eliciting = self._inbound.handle(path, plain, source, receive_time, now)
        except WireError:
            self.drops["frame_malformed"] += 1
            eliciting = False
        gap = path.received.add(number, eliciting, receive_time)
        if eliciting:
            path.silence_probed = False
            alone = not self._is_busy(now)  # then no second one is worth waiting for
            self.receiver.ack_timer.on_eliciting(gap or alone, self._ack_interval(now), now)

    def handle_arrivals(
        self,
        path_id: int,
        arrivals: Sequence[Arrival],
        socket: int,
        source: Address,
        receive_time: float,
        now: float,
    ) -> int:
        """Take opened datagrams of a known path that came together; return how many were not authentic.

        Those that carried a packet alone are taken by runs.
        """
        forged = count = 0
        gap = False
        for number, length, size, plain, run in arrivals:
            path = self.paths[path_id]
            if run is not None:
                newest = number > path.received.largest
                path.replay.accept_run(number, number + length - 1)
                gap |= path.received.add_run(number, number + length - 1, True, receive_time)
                path.on_received(size, now, length)
                if path.prover is not None:
                    path.prover.on_datagram(path, socket, source, size, newest, now)
                self.receiver.on_run(path, run, now)
                count += length
            elif plain is not None:
                self.handle_opened(path_id, number, plain, socket, source, size, receive_time, now)
            else:
                forged += 1
        if count:
            self.last_received = now
            path.silence_probed = False
            self.receiver.ack_timer.on_eliciting(gap, self._ack_interval(now), now, count)
        return forged

    def handle_refused(self, transmit: Transmit, reason: str, now: float) -> None:
        """The system did not send a Transmit, for a drop reason: its datagrams are lost at once.

        The path rests, and goes down if that goes on (core.refusals).
        """
        assert transmit.numbers is not None
        path = self.paths.get(transmit.numbers[0])
        if path is None:
            return
        for number in transmit.numbers[1]:
            sent = path.sent.refuse(number)
            if sent is not None:
                self.sender.refuse(path, sent, reason, now)
            if (transmit.socket, transmit.address) == (path.socket, path.remote) and (
                path.on_refused(number, reason, now)
            ):
                self.sender.rescue(path, now)
        self.drops[reason] += len(transmit.numbers[1])

    def release(self, now: float) -> list[bytes]:
        """Return the packets that may go on to the TUN device now."""
        receiver = self.receiver
        receiver.release(now)
        packets = receiver.delivered
        if packets:
            receiver.lanes.delivered = []
            self._used_since_rekey = True
            self._last_packets = now
            self.received_packets.add(sum(map(len, packets)), len(packets))
            if receiver.unfinished:
                receiver.unfinished = False
                return join(packets)
        return packets

    def poll_path_events(self) -> list[PathChanged]:
        """Return what has happened to paths since the last call."""
        for path in self.paths.values():
            state = path.state
            if state != path.told_state:
                path.told_state = state
                self.sender.on_state()
                event = PathChanged(self.peer, path.id, path.link, state, path.reason)
                self.path_events.append(event)
        events, self.path_events = self.path_events, []
        return events

    @property
    def closed(self) -> tuple[int, str] | None:
        """The peer's goodbye (reason, text), once it has come."""
        return self._inbound.closed

    # -- output and time --------------------------------------------------------------------------

    def flush(self, now: float) -> list[Transmit]:
        """Build every datagram that can leave now; nothing leaves under an expired key."""
        if self.keys.current.expired(now):
            if len(self.sender.outbound.queue):
                self.drops["key_expired"] += len(self.sender.outbound.queue)
                self.sender.outbound.queue.clear()
            self.receiver.ack_timer.due = None
            return []
        return self.sender.flush(self.receiver, self.keys.current, now)

    def handle_timeout(self, now: float) -> None:
        """Run what is due."""
        self._watch.run(now)
        self.sender.mark_order(now)
        self.sender.ask_the_idle(now)
        if now >= self._next_second:
            self._next_second = now + 1.0
            for path in self.paths.values():
                path.turn_meters(now)
            self.agreement.tell_rates()
            self.sender.review(now)
            self.agreement.tell_even()

    def next_timeout(self, now: float) -> float:
        """When to call `handle_timeout` and `flush` again, in seconds of the same clock."""
        due = min(self._watch.next_timeout(), now + 3600.0)
        if self._next_second < due and self._is_busy(now):
            due = self._next_second
        for other in (
            self.receiver.ack_timer.due,
            self.receiver.next_timeout(),
            self.sender.mark_order_due(),
            self.sender.wake,
        ):
            if other is not None and other < due:
                due = other
        return min(due, self.sender.ask_due(now, due))

    def rekey_due(self, now: float, after: float) -> bool:
        """Should the client shake hands again? Idle sessions do so only when a keepalive needs a key."""
        age = now - self.keys.current.created
        if self.keys.current.worn():
            return True
        if age < after:
            return False
        dies = self.keys.current.created + REJECT_AFTER
        return self._used_since_rekey or self._watch.keepalive_time() >= dies - REKEY_MARGIN

    def install(self, pair: Keypair) -> None:
        """Go on under new keys (initiator)."""
        self.keys.install(pair)
        self.handshakes += 1
        self._used_since_rekey = False

    def close(self, reason: int, text: str, now: float) -> list[Transmit]:
        """Say goodbye on every path; the caller forgets the session."""
        for path in self.paths.values():
            path.pending.append(close_frame(reason, text))
        return self.flush(now)

    def status(self, now: float) -> dict[str, Any]:
        """Return what `mpbond status` shows of a session, names and addresses aside."""
        pair = self.keys.current
        paths = self.paths.values()
        up = [path for path in paths if path.up]
        sent = sum([path.stats.sent.rate(now) for path in paths], 0.0)
        received = sum([path.stats.received.rate(now) for path in paths], 0.0)
        return {
            "id": self.id.hex(),
            "since": now - self.started,
            "cipher": pair.cipher,
            "key_age": now - pair.created,
            "scheduler": self.sender.outbound.scheduler.name,
            "hold": self.receiver.hold,
            "even": {
                "sent": max(self.sender.outbound.even.lanes.values(), default=0.0),
                "received": max(self.receiver.even.lanes.values(), default=0.0),
            },
            "handshakes": self.handshakes,
            "order": self.receiver.stats.as_dict(),
            "rate": {
                "sent": 8 * sum([path.rate.rate for path in up if path.rate.learned], 0.0),
                "received": sum([path.peer_rate or 0.0 for path in up], 0.0),
            },
            **self.sender.outbound.status(),
            "received": {
                "packets": self.received_packets.count,
                "bytes": self.received_packets.bytes,
            },
            "paths": [(path, path.status(now, sent, received)) for path in paths],
        }

    # -- inside -----------------------------------------------------------------------------------

    def _is_busy(self, now: float) -> bool:
        """Are there packets, so that meters must turn? Frames that keep paths alive are no reason."""
        newest = self._last_packets
        for path in self.paths.values():
            newest = max(newest, path.last_data)
        return now - newest < METERED

    def _accept_path(self, path_id: int, socket: int, source: Address, now: float) -> Path:
        """The client has opened a path: its address is not proven yet (see roaming)."""
        path = Path(path_id, socket, source, PathOptions(mtu=self._mtu_of(socket)), now)
        path.proven = False
        path.prover = Prover(self._rng)
        path.liveness.start(now, "its address is being proven")
        self.paths[path_id] = path
        self._inbound.welcome(path, now)
        return path

    def _mtu_of(self, socket: int) -> int:
        return self.socket_mtu.get(socket, DEFAULT_MTU)

    def _ack_interval(self, now: float) -> float:
        if now >= self._interval_due:
            self._interval = interval_for(self.paths.values(), now)
            if any(path.rtt.has_sample for path in self.paths.values()):
                self._interval_due = now + INTERVAL_KEPT
        return self._interval
