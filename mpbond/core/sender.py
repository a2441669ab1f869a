"""The sending half of a session: from the queue, through the scheduler, into datagrams.

`flush` runs once per wake-up: control frames that must leave on a certain path, the ACK on its return
paths, frames that must arrive, then packets for as long as there are any. A packet is bound to a path,
and gets its lane sequence and send order, only here. Send orders ascend with lane sequences, because one
datagram with packets is open at a time: the receiver's proof of loss rests on that.
"""

from array import array
from collections.abc import Mapping

from mpbond.core.builder import Builder
from mpbond.core.flow import flow_hash
from mpbond.core.keys import Keypair, seal
from mpbond.core.parts import split
from mpbond.core.path import Path
from mpbond.core.queue import SendQueue
from mpbond.core.receiver import Receiver
from mpbond.core.recovery import Sent
from mpbond.core.scheduler import SCHEDULERS, Scheduler
from mpbond.core.stats import Drops, Meter
from mpbond.core.transmit import Transmit
from mpbond.core.wire import (
    DATA_OVERHEAD,
    FIRST_PART,
    HEADER_SIZE,
    LANE_COUNT,
    LAST_PART,
    ORDER,
    PING,
    TAG_SIZE,
    UNORDERED,
    frame,
    order_frame,
    position,
)

MAXIMUM_HOLD = 0.5  # seconds
HOLD_MARGIN = 0.030  # seconds
RETURN_PATHS = 2  # an ACK goes out on as many
RETURN_PING_INTERVAL = 0.1  # seconds between eliciting datagrams on a return path
MARKER_INTERVAL = 0.010  # seconds between send-order markers on an idle path
REFUSED_PAUSE = 0.1  # seconds until a frame that must arrive is tried again after a refusal
CONTROL_SIZE = 256  # bytes an unproven address must be good for before it gets anything
_PING = frame(PING)


class Sender:
    """Sending state of a session."""

    def __init__(
        self, paths: Mapping[int, Path], session: bytes, seed: int, scheduler: str, drops: Drops
    ) -> None:
        self.queue = SendQueue()
        self.scheduler: Scheduler = SCHEDULERS[scheduler]()
        self.hold_override: float | None = None  # seconds the configuration pins, None = learned
        self.resend: list[bytes] = []  # frames that must arrive, on whichever path
        self.retry_due: float | None = None  # when to call `retry`
        self.packets = Meter()
        self._refused: list[bytes] = []
        self._paths = paths
        self._session = session
        self._seed = seed
        self._drops = drops
        self._order = 0
        self._sequences = array("I", bytes(4 * LANE_COUNT))

    def enqueue(self, packets: list[bytes], now: float) -> None:
        """Put packets into the send queue; what does not fit is dropped and counted."""
        refused = self.queue.extend(packets)
        if refused:
            self._drops["queue_full"] += refused

    def candidates(self) -> list[Path]:
        """The paths that may carry packets now: those up, else the least bad one, else none."""
        up = [path for path in self._paths.values() if path.up]
        if up:
            return up
        rest = [path for path in self._paths.values() if path.may_send(CONTROL_SIZE)]
        return [min(rest, key=lambda path: path.badness)] if rest else []

    def hold(self) -> float:
        """Seconds the peer shall keep packets back: the spread of the live paths (design 8)."""
        if self.hold_override is not None:
            return self.hold_override
        rtts = [path.rtt for path in self._paths.values() if path.up and path.rtt.has_sample]
        if not rtts:
            return MAXIMUM_HOLD
        slowest = max(rtt.longest for rtt in rtts)
        fastest = min(rtt.smoothed for rtt in rtts)
        return min(MAXIMUM_HOLD, slowest - fastest / 2 + HOLD_MARGIN)

    def flush(self, receiver: Receiver, pair: Keypair, now: float) -> list[Transmit]:
        """Build everything that can leave now."""
        waiting = [path for path in self._paths.values() if path.pending or path.challenges]
        due = receiver.ack_timer.due
        ack_due = due is not None and due <= now + 1e-9
        if not (waiting or ack_due or self.resend or len(self.queue)):
            return []
        candidates = self.candidates()
        done = _collect_challenges(waiting)
        builders: dict[int, Builder] = {}
        if ack_due:
            self._add_ack(builders, candidates, receiver, now)
        self._add_pending(builders, waiting, done)
        self._add_resends(builders, candidates, done)
        if candidates and len(self.queue):
            self._add_packets(builders, candidates, done)
        done += builders.values()
        return self._seal(done, pair, now)

    def require(self, item: bytes) -> None:
        """Send a frame on whichever path, again and again until it is acknowledged."""
        self.resend.append(item)

    def requeue(self, lost: list[Sent]) -> None:
        """Resend the frames that must arrive out of datagrams that were lost."""
        for sent in lost:
            self.resend.extend(sent.resend)

    def refuse(self, sent: Sent, now: float) -> None:
        """Resend them later: the system refused the datagram and would refuse the next one too."""
        if sent.resend:
            self._refused.extend(sent.resend)
            self.retry_due = now + REFUSED_PAUSE

    def retry(self, now: float) -> None:
        """Take up again what the system refused a while ago."""
        if self.retry_due is not None and self.retry_due <= now + 1e-9:
            self.retry_due = None
            self.resend.extend(self._refused)
            self._refused.clear()

    def rescue(self, path: Path) -> None:
        """Resend elsewhere what must arrive and hangs on a doubtful path."""
        for sent in path.sent.outstanding():
            if sent.resend:
                self.resend.extend(sent.resend)
                sent.resend = ()

    def set_scheduler(self, name: str) -> None:
        """Schedule by another rule from the next packet on. Raises KeyError for an unknown name."""
        self.scheduler = SCHEDULERS[name]()

    def mark_order(self, now: float) -> None:
        """Let idle paths tell the send order while others carry packets."""
        for path in self._unmarked():
            if path.order_time + MARKER_INTERVAL <= now + 1e-9:
                path.pending.append(order_frame(self._order))
                path.order_sent = self._order
                path.order_time = now

    def mark_order_due(self) -> float | None:
        """When `mark_order` has something to do."""
        return min((path.order_time + MARKER_INTERVAL for path in self._unmarked()), default=None)

    def _unmarked(self) -> list[Path]:
        if self.scheduler.per_flow or self.hold_override == 0:
            return []
        order = self._order
        return [path for path in self._paths.values() if path.order_sent < order and path.up]

    def _add_pending(
        self, builders: dict[int, Builder], paths: list[Path], done: list[Builder]
    ) -> None:
        for path in paths:
            if path.pending and path.may_send(path.mtu // 4):
                waiting, path.pending = path.pending, []
                for item in waiting:
                    builder = _room_for(item, path, builders, done)
                    builder.add(item, eliciting=item[0] != ORDER)

    def _add_ack(
        self,
        builders: dict[int, Builder],
        candidates: list[Path],
        receiver: Receiver,
        now: float,
    ) -> None:
        if not candidates:
            receiver.ack_timer.due = None  # the next datagram, if any comes, arms it again
            return
        returns = sorted(candidates, key=_present_delay)[:RETURN_PATHS]
        room = min(path.room for path in returns) - len(_PING)
        ack = receiver.build_ack(self.hold(), room, now)
        if ack is None:
            return
        body, reported = ack
        for path in returns:
            builder = builders[path.id] = Builder(path)
            builder.add(body, eliciting=False)
            builder.reported = reported
            quiet = now - path.last_eliciting >= RETURN_PING_INTERVAL
            if receiver.data_since_ping and quiet and not path.pending:
                builder.add(_PING, eliciting=True)
        if any(now - path.last_eliciting < RETURN_PING_INTERVAL for path in candidates):
            receiver.data_since_ping = False

    def _add_resends(
        self, builders: dict[int, Builder], candidates: list[Path], done: list[Builder]
    ) -> None:
        if not self.resend or not candidates:
            return
        path = min(candidates, key=_present_delay)
        waiting, self.resend = self.resend, []
        for item in waiting:
            _room_for(item, path, builders, done).add(item, eliciting=True, resend=True)

    def _add_packets(
        self, builders: dict[int, Builder], candidates: list[Path], done: list[Builder]
    ) -> None:
        """Bind the queue's packets to paths; `done` gets closed builders in the order of sending."""
        queue, scheduler, sequences = self.queue, self.scheduler, self._sequences
        current: Builder | None = None
        flags = UNORDERED if scheduler.per_flow else 0
        while len(queue) and (len(candidates) > 1 or candidates[0].may_send(candidates[0].mtu)):
            packet = queue.pop()
            size = len(packet)
            flow = flow_hash(packet, self._seed)
            shares = current is not None and current.fits_packet(size)
            if not shares or scheduler.per_flow:
                path = candidates[scheduler.choose(candidates, flow, size)]
                if not shares or (current is not None and path is not current.path):
                    if current is not None:
                        done.append(current)
                    current = builders.pop(path.id, None) or Builder(path)
                    if not current.fits_packet(size) and current.size:
                        done.append(current)
                        current = Builder(path)
            assert current is not None
            lane = flow % LANE_COUNT
            sequence = sequences[lane]
            if current.fits_packet(size):
                current.add_packet(flags, position(lane, sequence), packet)
            else:
                parts = split(packet, current.path.room - DATA_OVERHEAD)
                if parts is None:
                    self._drops["packet_too_big"] += 1
                    continue
                first, last = Builder(current.path), Builder(current.path)
                first.add_packet(flags | FIRST_PART, position(lane, sequence), parts[0])
                last.add_packet(flags | LAST_PART, position(lane, sequence), parts[1])
                done.append(first)
                current = last
            sequences[lane] = sequence + 1 & 0xFFFFFFFF
            self.packets.add(size)
        if current is not None and current.size:
            done.append(current)

    def _seal(self, builders: list[Builder], pair: Keypair, now: float) -> list[Transmit]:
        batch: list[tuple[int, int, bytes]] = []
        for builder in builders:
            path = builder.path
            if builder.packets:
                self._order += 1
                path.order_sent, path.order_time = self._order, now
            plain = builder.close(self._order)
            number = path.sent.next_number
            path.sent.next_number += 1
            sent = None
            if builder.eliciting:
                sent = Sent(
                    now,
                    len(plain) + HEADER_SIZE + TAG_SIZE,
                    bool(builder.packets),
                    builder.resend,
                    builder.reported,
                )
            path.on_sent(number, sent, len(plain) + HEADER_SIZE + TAG_SIZE, builder.address, now)
            batch.append((path.id, number, plain))
        return [
            Transmit(
                builder.socket,
                builder.address,
                [datagram],
                None,
                self._session,
                (item[0], (item[1],)),
            )
            for builder, item, datagram in zip(builders, batch, seal(pair, batch), strict=True)
        ]


def _collect_challenges(paths: list[Path]) -> list[Builder]:
    builders = []
    for path in paths:
        for address, item in path.challenges:
            builder = Builder(path, address)
            builder.add(item, eliciting=False)
            builders.append(builder)
        path.challenges.clear()
    return builders


def _room_for(
    item: bytes, path: Path, builders: dict[int, Builder], done: list[Builder]
) -> Builder:
    """Return the path's open datagram, or a new one if a frame does not fit into it any more."""
    builder = builders.get(path.id)
    if builder is not None and builder.fits(item):
        return builder
    if builder is not None:
        done.append(builder)
    builder = builders[path.id] = Builder(path)
    return builder


def _present_delay(path: Path) -> float:
    return path.rtt.smoothed / 2 + path.owd.queueing
