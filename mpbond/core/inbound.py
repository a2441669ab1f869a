"""Authenticated plaintexts taken apart: each frame goes to the machine it concerns.

A frame that is malformed ends its datagram (WireError, a counted drop); one that is merely out of place
is counted and passed over. Nothing here knows of keys, timers or sockets.
"""

from collections.abc import Callable, Mapping

from mpbond.core.control import ControlChannel
from mpbond.core.kernel import parse_frames
from mpbond.core.path import Address, Path
from mpbond.core.receiver import Receiver
from mpbond.core.recovery import Sent
from mpbond.core.roaming import response
from mpbond.core.sender import MAXIMUM_HOLD, Sender
from mpbond.core.stats import Drops
from mpbond.core.watch import Watch
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
    AckBlock,
    PathStatus,
    WireError,
    parse_ack,
    parse_close,
    parse_control,
    parse_forward,
    parse_path,
    parse_status,
    recover,
)

MINIMUM_MTU = 576  # bytes of UDP payload below which a claimed path MTU is not believed
_ELICITING = frozenset((FORWARD, PING, CONTROL))


class Inbound:
    """Passes frames on. `closed` is the peer's goodbye (reason, text) once it has come."""

    def __init__(
        self,
        paths: Mapping[int, Path],
        receiver: Receiver,
        sender: Sender,
        watch: Watch,
        control: ControlChannel,
        drops: Drops,
        *,
        is_client: bool,
        mtu_of: Callable[[int], int],
        abandon: Callable[[int, float], None],
    ) -> None:
        self.closed: tuple[int, str] | None = None
        self._paths = paths
        self._receiver = receiver
        self._sender = sender
        self._watch = watch
        self._control = control
        self._drops = drops
        self._is_client = is_client
        self._mtu_of = mtu_of
        self._abandon = abandon
        self._ack_number: int | None = None
        self._early: dict[int, PathStatus] = {}  # of paths that nothing has come on yet

    def welcome(self, path: Path, now: float) -> None:
        """Obey what the client has said of a path before anything came on it."""
        status = self._early.pop(path.id, None)
        if status is not None:
            self._obey(path, status, now)

    def handle(
        self, path: Path, plain: bytes, source: Address, receive_time: float, now: float
    ) -> bool:
        """Take the plaintext of a datagram of `path`; True when it elicits an acknowledgement.

        Raises WireError when it is no run of well-formed frames.
        """
        frames = parse_frames(plain)
        eliciting = frames.order is not None
        for kind, body in frames.others:
            eliciting |= kind in _ELICITING
            if kind == ACK:
                self._on_ack(body, receive_time, now)
            elif kind == PATH:
                eliciting |= self._on_path(path, body, source, now)
            elif kind == ORDER:
                if len(body) != 3:
                    raise WireError("ORDER of a wrong length")
                self._receiver.on_order(path, int.from_bytes(body, "big"))
            elif kind == FORWARD:
                self._receiver.on_forward(parse_forward(body), now)
            elif kind == CONTROL:
                self._control.on_message(*parse_control(body))
            elif kind == CLOSE:
                self.closed = parse_close(body)
            elif kind != PING:
                self._drops["frame_unknown"] += 1
        if frames.order is not None:
            self._receiver.on_data(path, frames.order, frames.data, now)
        return eliciting

    def _on_ack(self, body: bytes, receive_time: float, now: float) -> None:
        ack = parse_ack(body)
        if ack.hold is not None:
            self._receiver.hold = min(ack.hold, MAXIMUM_HOLD)
            self._receiver.repaired = ack.repairs
        ahead = 1 if self._ack_number is None else (ack.number - self._ack_number) & 0xFFFF
        first_copy = 0 < ahead < 0x8000
        if first_copy:
            self._ack_number = ack.number
            self._watch.last_ack = now
        for block in ack.blocks:
            path = self._paths.get(block.path_id)
            if path is not None:
                self._acknowledge(path, block, first_copy, receive_time, now)

    def _acknowledge(
        self, path: Path, block: AckBlock, first_copy: bool, receive_time: float, now: float
    ) -> None:
        largest = recover(block.largest, path.sent.next_number, 1 << 32)
        if largest >= path.sent.next_number:
            self._drops["ack_of_unsent"] += 1
            return
        widened = path.sent.widened
        newly, top = path.sent.acknowledge(largest, block.ranges)
        if path.sent.widened != widened:
            path.rate.on_spurious()
        sampled = top if first_copy and block.delay < MAXIMUM_ACK_DELAY else None
        rtt = None
        if sampled is not None:
            rtt = receive_time - sampled.time - block.delay
            path.rtt.update(rtt, now)
        if not newly:
            return
        in_flight = path.sent.in_flight
        path.rate.on_ack(newly, sampled, block.receive_time, block.delay, rtt, in_flight, now)
        each: list[Sent] = []  # a train stands there for all of its datagrams
        for sent in newly:
            if not each or sent is not each[-1]:
                each.append(sent)
        for sent in each:
            for packet in sent.packets:
                packet.flights -= 1
                packet.done = True
            for path_id, reported in (sent.reported or {}).items():
                if path_id in self._paths:
                    self._paths[path_id].received.forget_reported(reported)
        path.on_answer(now, min(sent.time for sent in each))
        self._sender.requeue(path, path.sent.detect_lost(path.patience, now), now)

    def _on_path(self, carrier: Path, body: bytes, source: Address, now: float) -> bool:
        """Take a PATH frame; every kind but a challenge elicits an ACK (its answer is its own)."""
        kind, path_id, rest = parse_path(body)
        if kind == CHALLENGE:
            carrier.pending.append(response(carrier.id, rest))
            return False
        path = self._paths.get(path_id)
        if kind == CHALLENGE_RESPONSE:
            if carrier.prover is not None:
                carrier.prover.on_response(carrier, rest, source, now)
        elif self._is_client:
            self._drops["frame_unexpected"] += 1
        elif kind == ABANDON:
            self._abandon(path_id, now)
        elif kind == STATUS:
            status = parse_status(rest)
            early = self._early.get(path_id)
            if path is not None:
                self._obey(path, status, now)
            elif early is None or _is_newer(status.number, early.number):
                self._early[path_id] = status
        return True

    def _obey(self, path: Path, status: PathStatus, now: float) -> None:
        """The client knows its links: take what it says of one, unless it has said newer things."""
        if path.status_number >= 0 and not _is_newer(status.number, path.status_number):
            return
        path.status_number = status.number
        path.weight = float(status.weight)
        path.tier = status.tier
        path.cap = float(status.cap)
        path.mtu = max(MINIMUM_MTU, min(status.mtu, self._mtu_of(path.socket)))
        if path.usable and not status.usable:
            path.liveness.on_refused(now, "its link is down")
            self._sender.rescue(path, now)
        if status.usable and not path.usable:
            path.liveness.start(now, "its link is back")
        path.usable = status.usable


def _is_newer(number: int, than: int) -> bool:
    """Does a STATUS number of 16 bits follow another?"""
    return 0 < (number - than) & 0xFFFF < 0x8000
