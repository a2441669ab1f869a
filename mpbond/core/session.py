"""A session: the authenticated association of a client with a concentrator.

It conducts: keys say who it is, `Receiver` and `Sender` move packets, each path keeps its own state, and
this class passes authenticated frames to them and runs the timers that need to know of all paths.

Methods come in four kinds: `handle_*` take input, `flush` builds what can be sent, `next_timeout` says
when to call again, the rest are for the endpoint that owns it. After any `handle_*`, call `flush`.
"""

from typing import TYPE_CHECKING, Any

from mpbond.core.acks import ack_interval
from mpbond.core.control import ControlChannel
from mpbond.core.keys import REJECT_AFTER, Keypair, KeyRing
from mpbond.core.liveness import UP
from mpbond.core.path import DEFAULT_MTU, Address, Path, PathOptions
from mpbond.core.receiver import Receiver
from mpbond.core.recovery import Sent
from mpbond.core.roaming import Prover, response
from mpbond.core.rtt import INITIAL_RTT
from mpbond.core.sender import Sender
from mpbond.core.stats import Drops, Meter
from mpbond.core.transmit import PathChanged, Transmit
from mpbond.core.wire import (
    ABANDON,
    ACK,
    CHALLENGE,
    CHALLENGE_RESPONSE,
    CLOSE,
    CONTROL,
    FORWARD,
    MAXIMUM_ACK_DELAY,
    ORDER,
    PATH,
    PING,
    STATUS,
    PathStatus,
    WireError,
    close_frame,
    frame,
    parse_ack,
    parse_close,
    parse_control,
    parse_forward,
    parse_frames,
    parse_path,
    parse_status,
    path_frame,
    recover,
    status_frame,
)

if TYPE_CHECKING:
    from random import Random

MAXIMUM_PATHS = 32  # live at once
LAST_PATH_ID = 255
MINIMUM_MTU = 576  # bytes of UDP payload below which a claimed path MTU is not believed
SILENCE_MINIMUM = 0.2  # seconds without a datagram after which a receiving path is probed once
_PING = frame(PING)
_ELICITING = frozenset((FORWARD, PING, CONTROL))


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
        self.keepalive = keepalive
        self.started = now
        self.last_received = now
        self.last_ack = now
        self.handshakes = 1
        self.paths: dict[int, Path] = {}
        self.socket_mtu: dict[int, int] = {}  # largest UDP payload each socket may send
        self.drops = drops
        self.receiver = Receiver(self.paths, drops)
        self.sender = Sender(self.paths, session_id, rng.getrandbits(32), scheduler, drops)
        self.sender.hold_override = hold
        self.control = ControlChannel(self.sender.require)
        self.received_packets = Meter()
        self.closed: tuple[int, str] | None = None
        self.path_events: list[PathChanged] = []
        self._rng = rng
        self._provers: dict[int, Prover] = {}
        self._retired: set[int] = set()
        self._next_path_id = 0
        self._ack_number: int | None = None
        self._used_since_rekey = False
        self._states: dict[int, str] = {}
        self._next_second = now + 1.0

    # -- paths ------------------------------------------------------------------------------------

    def add_path(self, socket: int, remote: Address, options: PathOptions, now: float) -> Path:
        """Open a path (client) and probe it at once. Raises IndexError when ids have run out."""
        if self._next_path_id > LAST_PATH_ID:
            raise IndexError("no path id left in this session")
        path = Path(self._next_path_id, socket, remote, options, now)
        self._next_path_id += 1
        self.paths[path.id] = path
        path.liveness.start(now, "asking the concentrator")
        self._tell_status(path)
        return path

    def remove_path(self, path_id: int, now: float) -> None:
        """Close a path for good: what it holds is lost, and the peer is told on another path."""
        path = self.paths.pop(path_id, None)
        if path is None:
            return
        self._retired.add(path_id)
        self._provers.pop(path_id, None)
        self._requeue(path.sent.abandon())
        if self.is_client:
            self.sender.require(path_frame(ABANDON, path_id))
        self._note_state(path, "removed", "its link is gone")

    def set_usable(self, path: Path, usable: bool, now: float) -> None:
        """The client's link has come or gone: obey, and tell the server at once."""
        if path.usable != usable:
            path.usable = usable
            self._tell_status(path)
            if usable:
                path.liveness.start(now, "its link is back")
            else:
                self._requeue_frames(path)
        self._note_state(path)

    def poke(self, path: Path) -> None:
        """Send something on a path now: its address may have changed."""
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

    def handle_packets(self, packets: list[bytes]) -> None:
        """Take inner packets to be sent."""
        self._used_since_rekey = True
        self.sender.enqueue(packets)

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
        prover = self._provers.get(path_id)
        if prover is not None:
            path.socket = socket if source == path.remote else path.socket
            prover.on_datagram(path, source, size, newest, now)
        try:
            eliciting = self._handle_frames(path, plain, source, receive_time, now)
        except WireError:
            self.drops["frame_malformed"] += 1
            eliciting = False
        gap = path.received.add(number, eliciting, receive_time)
        if eliciting:
            self.receiver.ack_timer.on_eliciting(gap, self._ack_interval(), now)
        self._note_state(path)

    def handle_refused(self, transmit: Transmit, reason: str, now: float) -> None:
        """The system did not send a Transmit: its datagrams are lost at once."""
        assert transmit.numbers is not None
        path = self.paths.get(transmit.numbers[0])
        if path is None:
            return
        for number in transmit.numbers[1]:
            sent = path.sent.refuse(number)
            if sent is not None:
                self._requeue([sent])
        self.drops[reason] += len(transmit.numbers[1])

    def release(self, now: float) -> list[bytes]:
        """Return the packets that may go on to the TUN device now."""
        receiver = self.receiver
        receiver.release(now)
        packets = receiver.delivered
        if packets:
            receiver.lanes.delivered = []
            for packet in packets:
                self.received_packets.add(len(packet))
        return packets

    # -- output and time --------------------------------------------------------------------------

    def flush(self, now: float) -> list[Transmit]:
        """Build every datagram that can leave now; nothing leaves under an expired key."""
        if self.keys.current.expired(now):
            if len(self.sender.queue):
                self.drops["key_expired"] += len(self.sender.queue)
                self.sender.queue.clear()
            return []
        return self.sender.flush(self.receiver, self.keys.current, now)

    def handle_timeout(self, now: float) -> None:
        """Run what is due."""
        for path in self.paths.values():
            self._run_path_timers(path, now)
        self._detect_silence(now)
        self.sender.mark_order(now)
        if now >= self._next_second:
            self._next_second = now + 1.0
            for path in self.paths.values():
                path.status(now)  # keeps the meters' seconds turning

    def next_timeout(self, now: float) -> float:
        """When to call `handle_timeout` and `flush` again, in seconds of the same clock."""
        due = self._next_second if self._meters_turn(now) else now + 3600.0
        for path in self.paths.values():
            due = min(due, self._path_timeout(path))
        for other in (
            self.receiver.ack_timer.due,
            self.receiver.next_timeout(),
            self.sender.mark_order_due(),
        ):
            if other is not None and other < due:
                due = other
        return due

    def rekey_due(self, now: float, after: float) -> bool:
        """Should the client shake hands again? Idle sessions do so only when a keepalive needs a key."""
        age = now - self.keys.current.created
        if self.keys.current.worn():
            return True
        if age < after:
            return False
        return self._used_since_rekey or self._keepalive_outlives_key()

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
        paths = []
        total_sent = sum(path.stats.sent.rate(now) for path in self.paths.values())
        total_received = sum(path.stats.received.rate(now) for path in self.paths.values())
        for path in self.paths.values():
            shown = path.status(now)
            shown["share"] = {
                "sent": shown["sent"]["rate"] / total_sent if total_sent else 0.0,
                "received": shown["received"]["rate"] / total_received if total_received else 0.0,
            }
            paths.append((path, shown))
        return {
            "id": self.id.hex(),
            "since": now - self.started,
            "cipher": pair.cipher,
            "key_age": now - pair.created,
            "scheduler": self.sender.scheduler.name,
            "hold": self.receiver.hold,
            "handshakes": self.handshakes,
            "order": self.receiver.stats.as_dict(),
            "sent": {"packets": self.sender.packets.count, "bytes": self.sender.packets.bytes},
            "received": {
                "packets": self.received_packets.count,
                "bytes": self.received_packets.bytes,
            },
            "paths": paths,
        }

    # -- frames -----------------------------------------------------------------------------------

    def _handle_frames(
        self, path: Path, plain: bytes, source: Address, receive_time: float, now: float
    ) -> bool:
        """Pass a datagram's frames on; True when it elicits an acknowledgement."""
        frames = parse_frames(plain)
        eliciting = False
        for kind, body in frames.others:
            if kind == ACK:
                self._handle_ack(body, receive_time, now)
            elif kind == PATH:
                eliciting |= self._handle_path(path, body, source, now)
            elif kind == ORDER:
                if len(body) != 3:
                    raise WireError("ORDER of a wrong length")
                self.receiver.on_order(path, int.from_bytes(body, "big"))
            elif kind == FORWARD:
                self.receiver.on_forward(parse_forward(body), now)
            elif kind == CONTROL:
                self.control.on_message(*parse_control(body))
            elif kind == CLOSE:
                self.closed = parse_close(body)
            elif kind != PING:
                self.drops["frame_unknown"] += 1
            eliciting |= kind in _ELICITING
        if frames.order is not None:
            self._used_since_rekey = True
            self.receiver.on_data(path, frames.order, frames.data, now)
            eliciting = True
        return eliciting

    def _handle_ack(self, body: bytes, receive_time: float, now: float) -> None:
        ack = parse_ack(body)
        self.last_ack = now
        if ack.hold is not None:
            self.receiver.hold = ack.hold
        ahead = 1 if self._ack_number is None else (ack.number - self._ack_number) & 0xFFFF
        first_copy = 0 < ahead < 0x8000
        if first_copy:
            self._ack_number = ack.number
        for block in ack.blocks:
            path = self.paths.get(block.path_id)
            if path is None:
                continue
            largest = recover(block.largest, path.sent.next_number, 1 << 32)
            if largest >= path.sent.next_number:
                self.drops["ack_of_unsent"] += 1
                continue
            acked = path.sent.acknowledge(largest, block.ranges)
            for sent in acked.newly:
                for path_id, reported in (sent.reported or {}).items():
                    if path_id in self.paths:
                        self.paths[path_id].received.forget_reported(reported)
            if acked.largest is not None and first_copy and block.delay < MAXIMUM_ACK_DELAY:
                path.rtt.update(receive_time - acked.largest.time - block.delay, now)
                path.owd.update(acked.largest.time, block.receive_time, now)
            if acked.newly:
                path.on_answer(now)
                self._requeue(path.sent.detect_lost(_patience(path), now))
                self._note_state(path)

    def _handle_path(self, carrier: Path, body: bytes, source: Address, now: float) -> bool:
        kind, path_id, rest = parse_path(body)
        if kind == CHALLENGE:
            carrier.pending.append(response(carrier.id, rest))
            return True
        path = self.paths.get(path_id)
        if kind == CHALLENGE_RESPONSE:
            prover = self._provers.get(carrier.id)
            if prover is not None:
                prover.on_response(carrier, rest, source, now)
            return True
        if self.is_client:
            self.drops["frame_unexpected"] += 1
        elif kind == ABANDON:
            self.remove_path(path_id, now)
            self._retired.add(path_id)
        elif kind == STATUS and path is not None:
            self._obey_status(path, parse_status(rest), now)
        return True

    def _obey_status(self, path: Path, status: PathStatus, now: float) -> None:
        if (
            path.status_number >= 0
            and not 0 < (status.number - path.status_number) & 0xFFFF < 0x8000
        ):
            return
        path.status_number = status.number
        path.weight, path.tier, path.cap = status.weight, status.tier, status.cap
        path.mtu = max(MINIMUM_MTU, min(status.mtu, self._mtu_of(path.socket)))
        if path.usable and not status.usable:
            self._requeue_frames(path)
        if status.usable and not path.usable:
            path.liveness.start(now, "its link is back")
        path.usable = status.usable
        self._note_state(path)

    def _tell_status(self, path: Path) -> None:
        path.status_number += 1
        status = PathStatus(
            path.status_number, path.usable, path.tier, path.mtu, path.weight, path.cap
        )
        self.sender.require(status_frame(path.id, status))

    def _accept_path(self, path_id: int, socket: int, source: Address, now: float) -> Path:
        """The client has opened a path: its address is not proven yet (see roaming)."""
        path = Path(path_id, socket, source, PathOptions(mtu=self._mtu_of(socket)), now)
        path.proven = False
        path.liveness.start(now, "its address is being proven")
        self._provers[path_id] = Prover(self._rng)
        self.paths[path_id] = path
        return path

    def _mtu_of(self, socket: int) -> int:
        return self.socket_mtu.get(socket, DEFAULT_MTU)

    # -- timers -----------------------------------------------------------------------------------

    def _run_path_timers(self, path: Path, now: float) -> None:
        due = now + 1e-9
        loss_time = path.sent.loss_time(_patience(path))
        if loss_time is not None and loss_time <= due:
            self._requeue(path.sent.detect_lost(_patience(path), now))
        if path.tail_due is not None and path.tail_due <= due:
            path.tail_due = None
            if len(path.sent):
                path.tail_probes += 1
                path.pending.append(_PING)
        liveness = path.liveness
        if path.usable and liveness.next_probe is not None and liveness.next_probe <= due:
            liveness.on_probe_sent(now)
            path.pending.append(_PING)
            self._note_state(path)
        if self._keepalive_time(path) <= due:
            path.pending.append(_PING)
            path.last_sent = now
        if self._receive_silence_time(path) <= due:
            path.silence_probed = True
            path.pending.append(_PING)
        prover = self._provers.get(path.id)
        if prover is not None:
            prover.on_timeout(path, now)

    def _path_timeout(self, path: Path) -> float:
        due = min(
            self._keepalive_time(path), self._silence_time(path), self._receive_silence_time(path)
        )
        probe = path.liveness.next_probe if path.usable else None
        for other in (path.sent.loss_time(_patience(path)), path.tail_due, probe):
            if other is not None and other < due:
                due = other
        return due

    def _keepalive_time(self, path: Path) -> float:
        if not self.is_client or path.liveness.state != UP or not path.usable:
            return float("inf")
        return path.last_sent + self.keepalive

    def _silence_time(self, path: Path) -> float:
        oldest = path.sent.oldest
        if oldest is None or path.liveness.state != UP:
            return float("inf")
        return max(oldest.time + path.silence_limit, path.suspicion_not_before)

    def _receive_silence_time(self, path: Path) -> float:
        """A client's path that used to bring datagrams and has stopped: has its NAT forgotten it?"""
        if not self.is_client or path.silence_probed or path.last_received is None:
            return float("inf")
        return path.last_received + max(SILENCE_MINIMUM, path.silence_limit)

    def _detect_silence(self, now: float) -> None:
        """Suspect paths that are silent while others are heard (design 9).

        When several paths have data in flight and no ACK has come for any, it is the way back that
        fails: then nobody is suspected for one more RTT.
        """
        silent = [path for path in self.paths.values() if self._silence_time(path) <= now + 1e-9]
        if not silent:
            return
        busy = [path for path in self.paths.values() if path.up and len(path.sent)]
        for path in silent:
            oldest = path.sent.oldest
            assert oldest is not None
            unheard = self.last_ack <= oldest.time
            if unheard and len(busy) > 1 and path.suspicion_not_before <= oldest.time:
                path.suspicion_not_before = now + path.rtt.smoothed
                continue
            path.liveness.on_silence(now, now - oldest.time)
            self._requeue_frames(path)
            self._note_state(path)

    def _keepalive_outlives_key(self) -> bool:
        """Will a keepalive fall due after the present key may no longer send?"""
        reject = self.keys.current.created + REJECT_AFTER
        return any(self._keepalive_time(path) >= reject - 5.0 for path in self.paths.values())

    def _meters_turn(self, now: float) -> bool:
        return any(
            now - path.last_sent < 3.0 or now - (path.last_received or 0.0) < 3.0
            for path in self.paths.values()
        )

    def _ack_interval(self) -> float:
        rtts = [path.rtt.smoothed for path in self.paths.values() if path.rtt.has_sample]
        return ack_interval(min(rtts, default=INITIAL_RTT))

    # -- frames that must arrive ------------------------------------------------------------------

    def _requeue(self, lost: list[Sent]) -> None:
        for sent in lost:
            for item in sent.resend:
                self.sender.require(item)

    def _requeue_frames(self, path: Path) -> None:
        """What must arrive and hangs on a doubtful path goes out again elsewhere."""
        for sent in path.sent.outstanding():
            if sent.resend:
                for item in sent.resend:
                    self.sender.require(item)
                sent.resend = ()

    def _note_state(self, path: Path, state: str | None = None, reason: str = "") -> None:
        state = state or path.state
        if self._states.get(path.id) == state:
            return
        self._states[path.id] = state
        reason = reason or (path.liveness.reason if path.usable else "its link is down")
        self.path_events.append(PathChanged(self.peer, path.id, path.link, state, reason))


def _patience(path: Path) -> float:
    return max(path.rtt.smoothed, path.rtt.latest)
