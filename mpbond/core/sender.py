"""The sending half of a session: from the queue, through the scheduler, into datagrams.

`flush` runs once per wake-up: control frames that must leave on a certain path, the ACK on its return
paths, frames that must arrive, then packets: what is to be repaired, real-time ones, and the queue's for as
long as the scheduler finds a path for them. A packet is bound to a path, and gets its lane sequence and
send order, only here. `wake` is when to try again if something has to wait for its pace.

With a scheduler that does not adapt, send orders ascend with lane sequences, because one datagram with
packets is open at a time: the receiver's proof of loss rests on that. With one that does, the peer is told
that what is lost will be repaired or called off.
"""

from array import array
from collections.abc import Mapping, Sequence

from mpbond.core.acks import return_paths
from mpbond.core.adaptive import Adaptive, Redundant
from mpbond.core.batch import Batch
from mpbond.core.bucket import TokenBucket
from mpbond.core.builder import Builder
from mpbond.core.classes import Classes
from mpbond.core.flow import flow_hash
from mpbond.core.keys import Keypair, seal
from mpbond.core.packet import ACKNOWLEDGEMENT, REALTIME, Packet
from mpbond.core.path import Path
from mpbond.core.queue import SendQueue
from mpbond.core.receiver import Receiver
from mpbond.core.recovery import Sent
from mpbond.core.repair import REALTIME_LIFETIME, Repair
from mpbond.core.scheduler import SCHEDULERS, Scheduler
from mpbond.core.stats import Drops, Meter
from mpbond.core.transmit import Transmit
from mpbond.core.wire import (
    HEADER_SIZE,
    LANE_COUNT,
    ORDER,
    PING,
    SEQUENCE_SPACE,
    TAG_SIZE,
    UNORDERED,
    frame,
    order_frame,
)

MAXIMUM_HOLD = 0.5  # seconds
HOLD_MARGIN = 0.030  # seconds
RETURN_PING_INTERVAL = 0.1  # seconds between eliciting datagrams on a return path
MARKER_INTERVAL = 0.010  # seconds between send-order markers on an idle path
REFUSED_PAUSE = 0.1  # seconds until a frame that must arrive is tried again after a refusal
CONTROL_SIZE = 256  # bytes an unproven address must be good for before it gets anything
COPY_RATE, COPY_BURST = 16_000.0, 8_000.0  # bytes per second of copies that are always allowed
COPY_SHARE = 0.1  # of a path's rate that copies may take beyond that
LEARNING = 2.0  # seconds from a start in which the queue drops nothing
IDLE = 1.0  # seconds with nothing to send after which sending starts anew
PACE_STEP = 0.001  # seconds between two wake-ups for the sake of pacing, at least
RETRY = 0.010  # seconds after which waiting packets are looked at again, whatever happens
MINIMUM_QUEUE, MAXIMUM_QUEUE = 256_000, 8_000_000  # bytes that may wait
LOSSY = 0.1  # share of datagrams lost above which a path repairs nothing that another one could
QUEUE_TIME = 1.0  # seconds of the learned sum that may wait
REALTIME_MEMORY = 5.0  # seconds for which a path stays quick after a real-time packet
PROBE_INTERVAL = (
    0.1  # seconds without data after which a path is asked how it is, while others carry some
)
_PING = frame(PING)


class Sender:
    """Sending state of a session."""

    def __init__(
        self, paths: Mapping[int, Path], session: bytes, seed: int, scheduler: str, drops: Drops
    ) -> None:
        self.queue = SendQueue(drops)
        self.classes = Classes()
        self.scheduler: Scheduler = SCHEDULERS[scheduler]()
        self.copy_dscp = False  # the inner DSCP becomes the outer one
        self.hold_override: float | None = None  # seconds the configuration pins, None = learned
        self.resend: list[bytes] = []  # frames that must arrive, on whichever path
        self.retry_due: float | None = None  # when to call `retry`
        self.wake: float | None = None  # when to flush again
        self.packets = Meter()
        self.repair = Repair(self.require)
        self._others: dict[str, Scheduler] = {}  # by name, where rules ask for them
        self._refused: list[bytes] = []
        self._paths = paths
        self._session = session
        self._seed = seed
        self._drops = drops
        self._order = 0
        self._sequences = array("I", bytes(4 * LANE_COUNT))
        self._copies = TokenBucket(COPY_RATE, COPY_BURST)
        self._view = Adaptive()
        self._turn = 0
        self._unused: list[Path] = []  # paths with room that nothing was found for
        self._busy_since = float("-inf")
        self._last_busy = float("-inf")

    @property
    def repairs(self) -> bool:
        """Is what is lost sent again or called off? Then the peer need not prove losses."""
        return self.scheduler.adapts and self.hold_override != 0

    def enqueue(self, packets: list[bytes], now: float) -> None:
        """Put packets into the send queue; what does not fit is dropped and counted."""
        if not packets:
            return
        if now - self._last_busy > IDLE:
            self._busy_since = now
        self._last_busy = now
        seed, queue, classify = self._seed, self.queue, self.classes.classify
        for data in packets:
            flow = flow_hash(data, seed)
            kind, scheduler = classify(data, flow, now)
            queue.push(Packet(data, flow, kind, now, scheduler))

    def candidates(self) -> list[Path]:
        """The paths that may carry packets now: those up, else the least bad one, else none.

        Those of the last tier are none while another is up; a scheduler that knows no rates has no use
        for the overflow tier either.
        """
        up = [path for path in self._paths.values() if path.up]
        if up:
            lowest = min(path.tier for path in up)
            highest = 1 if lowest == 0 and self.scheduler.adapts else lowest
            return [path for path in up if path.tier <= highest]
        known = self._paths.values()
        rest = [path for path in known if path.usable and path.may_send(CONTROL_SIZE)]
        return [min(rest, key=lambda path: path.badness)] if rest else []

    def hold(self) -> float:
        """Seconds the peer shall keep packets back (design 8).

        Where losses are repaired, that is until suspicion and a repair have had their time on the slowest
        path in use; else it is the spread of the live paths.
        """
        if self.hold_override is not None:
            return self.hold_override
        up = [path for path in self._paths.values() if path.up and path.rtt.has_sample]
        if not up:
            return MAXIMUM_HOLD
        fastest = min(path.rtt.smoothed for path in up)
        if self.repairs:
            newest = max(path.last_data for path in up)
            used = [path for path in up if path.last_data >= newest - 1.0]
            slowest = max(path.silence_limit for path in used)
            return min(MAXIMUM_HOLD, slowest + fastest / 2 + HOLD_MARGIN)
        slowest = max(path.rtt.longest for path in up)
        return min(MAXIMUM_HOLD, slowest - fastest / 2 + HOLD_MARGIN)

    def flush(self, receiver: Receiver, pair: Keypair, now: float) -> list[Transmit]:
        """Build everything that can leave now."""
        self.wake = None
        self.repair.flush()
        waiting = [path for path in self._paths.values() if path.pending or path.challenges]
        due = receiver.ack_timer.due
        ack_due = due is not None and due <= now + 1e-9
        packets = len(self.queue) or len(self.repair)
        if not (waiting or ack_due or self.resend or packets):
            return []
        candidates = self.candidates()
        batch = Batch()
        batch.done += _collect_challenges(waiting)
        if ack_due:
            self._add_ack(batch, candidates, receiver, now)
        self._add_pending(batch, waiting)
        self._add_resends(batch, candidates)
        self._unused = []
        if candidates and packets:
            self._add_packets(batch, candidates, now)
        builders = batch.finish()
        transmits = self._seal(builders, pair, now)
        if not (len(self.queue) or len(self.repair)):
            self._unused += [builder.path for builder in builders if builder.eliciting]
        elif self.scheduler.adapts:
            self.wake = _next_release(candidates, now)
        for path in self._unused:
            path.rate.on_limited(now)
        return transmits

    def require(self, item: bytes) -> None:
        """Send a frame on whichever path, again and again until it is acknowledged."""
        self.resend.append(item)

    def requeue(self, path: Path, lost: Sequence[Sent], now: float) -> None:
        """Datagrams of a path are lost: resend what of them must arrive, or is still wanted."""
        if not lost:
            return
        path.rate.on_lost(lost, now)
        for sent in lost:
            self.resend.extend(sent.resend)
            if sent.packets and self.repairs:
                path.stats.repaired += self.repair.lost(sent, now)

    def refuse(self, path: Path, sent: Sent, now: float) -> None:
        """Resend it later: the system refused the datagram and would refuse the next one too."""
        if sent.resend:
            self._refused.extend(sent.resend)
            self.retry_due = now + REFUSED_PAUSE
        if sent.packets and self.repairs:
            path.stats.repaired += self.repair.lost(sent, now)

    def retry(self, now: float) -> None:
        """Take up again what the system refused a while ago."""
        if self.retry_due is not None and self.retry_due <= now + 1e-9:
            self.retry_due = None
            self.resend.extend(self._refused)
            self._refused.clear()

    def rescue(self, path: Path, now: float) -> None:
        """Resend elsewhere what must arrive, or is still wanted, and hangs on a doubtful path."""
        for sent in path.sent.outstanding():
            if sent.resend:
                self.resend.extend(sent.resend)
                sent.resend = ()
        if self.repairs:
            path.stats.repaired += self.repair.rescue(path.sent.outstanding(), now)

    def set_scheduler(self, name: str) -> None:
        """Schedule by another rule from the next packet on. Raises KeyError for an unknown name."""
        self.scheduler = SCHEDULERS[name]()

    def queue_status(self, now: float) -> dict[str, float]:
        """What `status` shows of the queue; delays in seconds."""
        queue = self.queue
        return {
            "packets": len(queue),
            "bytes": queue.bytes,
            "flows": queue.flows,
            "delay": queue.sojourn if len(queue) else 0.0,
            "marked": queue.marked,
        }

    def ask_the_idle(self, now: float) -> None:
        """Ask paths that carry nothing, while others do, how they are: their queues may have gone."""
        if now - self._last_busy > IDLE or not self.scheduler.adapts:
            return
        for path in self.candidates():
            if path.up and path.last_eliciting + PROBE_INTERVAL <= now + 1e-9 and not path.pending:
                path.pending.append(_PING)

    def ask_due(self, now: float) -> float | None:
        """When `ask_the_idle` has something to do."""
        if now - self._last_busy > IDLE or not self.scheduler.adapts:
            return None
        quiet = [path.last_eliciting for path in self.candidates() if path.up]
        return max(now, min(quiet) + PROBE_INTERVAL) if quiet else None

    def review(self) -> None:
        """Look at the paths, once a second.

        One at a time may drain its queue to see its least delay, while the others carry on; and a
        real-time packet is worth repairing until a path is found silent and the quickest has brought it.
        """
        paths = list(self._paths.values())
        if not paths:
            return
        self._turn += 1
        for at, path in enumerate(paths):
            path.rate.may_drain = at == self._turn % len(paths)
        known = [path for path in paths if path.up and path.rtt.has_sample]
        if known:
            suspicion = max(path.silence_limit for path in known)
            fastest = min(path.rtt.smoothed for path in known)
            self.repair.realtime_lifetime = max(REALTIME_LIFETIME, suspicion + fastest)

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
        if self.scheduler.per_flow or self.repairs or self.hold_override == 0:
            return []
        order = self._order
        return [path for path in self._paths.values() if path.order_sent < order and path.up]

    def _add_pending(self, batch: Batch, paths: list[Path]) -> None:
        for path in paths:
            if path.pending and path.may_send(path.mtu // 4):
                waiting, path.pending = path.pending, []
                for item in waiting:
                    batch.add_frame(item, path, eliciting=item[0] != ORDER)

    def _add_ack(
        self, batch: Batch, candidates: list[Path], receiver: Receiver, now: float
    ) -> None:
        returns = return_paths(candidates, self._paths.values(), now)
        if not returns:
            receiver.ack_timer.due = None  # the next datagram, if any comes, arms it again
            return
        room = min(path.room for path in returns) - len(_PING)
        ack = receiver.build_ack(self.hold(), room, now, repairs=self.repairs)
        if ack is None:
            return
        body, reported = ack
        for path in returns:
            builder = batch.begin(path)
            builder.add(body, eliciting=False)
            builder.reported = reported
            quiet = now - path.last_eliciting >= RETURN_PING_INTERVAL
            if receiver.data_since_ping and quiet and not path.pending:
                builder.add(_PING, eliciting=True)
        if any(now - path.last_eliciting < RETURN_PING_INTERVAL for path in returns):
            receiver.data_since_ping = False

    def _add_resends(self, batch: Batch, candidates: list[Path]) -> None:
        if not self.resend or not candidates:
            return
        path = min(candidates, key=_present_delay)
        waiting, self.resend = self.resend, []
        for item in waiting:
            batch.add_frame(item, path, eliciting=True, resend=True)

    # -- packets ----------------------------------------------------------------------------------

    def _add_packets(self, batch: Batch, paths: list[Path], now: float) -> None:
        """Bind packets to paths: repairs, then real-time ones, then the rest of the queue."""
        if not paths[0].proven and not paths[0].may_send(paths[0].mtu):
            self.wake = now + RETRY
            return
        scheduler = self.scheduler
        view = scheduler if isinstance(scheduler, Adaptive) else self._view
        for path in paths:
            path.rate.realtime = now < path.realtime_until
        view.begin(paths, now)
        for other in self._others.values():
            if isinstance(other, Adaptive):
                other.begin(paths, now)
        self._bound_queue(paths, now)
        self._add_repairs(batch, paths, view, now)
        self._add_realtime(batch, paths, view, now)
        self._add_queued(batch, paths, now)
        if not scheduler.adapts:
            return
        self._unused = [path for at, path in enumerate(paths) if view.room(at) > 0]

    def _bound_queue(self, paths: list[Path], now: float) -> None:
        """Tell the queue how much may wait, and whether it may drop what waits too long."""
        total = sum(path.rate.rate for path in paths)
        learned = any(path.rate.learned for path in paths)
        learning = any(path.rate.ramping and path.last_data > now - IDLE for path in paths)
        self.queue.limit = round(min(MAXIMUM_QUEUE, max(MINIMUM_QUEUE, QUEUE_TIME * total)))
        self.queue.may_drop = (learned and not learning) or now - self._busy_since > LEARNING

    def _add_repairs(self, batch: Batch, paths: list[Path], view: Adaptive, now: float) -> None:
        repair = self.repair
        while (packet := repair.next(now)) is not None:
            order = view.urgent(len(packet.data))
            sound = [at for at in order if paths[at].loss <= LOSSY]
            at = next((at for at in sound or order if view.room(at) > 0), None)
            if at is None:
                return
            repair.taken()
            packet.tries += 1
            if not batch.add_packet(packet, paths[at]):
                repair.call_off(packet)

    def _add_realtime(self, batch: Batch, paths: list[Path], view: Adaptive, now: float) -> None:
        """Send real-time packets on the path with the least delay, and copies on the second."""
        waiting = self.queue.realtime
        while waiting:
            size = len(waiting[0].data)
            order = [at for at in view.urgent(size) if view.room(at) > -paths[at].rate.window / 4]
            if not order:
                return
            packet = self.queue.take_realtime()
            path = paths[order[0]]
            if packet is None or not self._send(batch, packet, path, now):
                continue
            path.realtime_until = now + REALTIME_MEMORY
            second = self._second(paths, order)
            if second is not None and self._may_copy(second, size, now):
                self._copy(batch, packet, second)

    def _second(self, paths: list[Path], order: list[int]) -> Path | None:
        """Where a copy goes: to a path on probation, which must prove itself, else the second-best."""
        for path in self._paths.values():
            if path.on_probation and path.tier == paths[order[0]].tier:
                return path
        return paths[order[1]] if len(order) > 1 else None

    def _add_queued(self, batch: Batch, paths: list[Path], now: float) -> None:
        queue, current = self.queue, None
        queue.begin()
        while (packet := queue.head()) is not None:
            scheduler = self._scheduler_of(packet, paths, now)
            if current is not None and not scheduler.per_flow and batch.fits(packet, current):
                path = current
            else:
                size = len(packet.data)
                at = scheduler.choose(paths, packet.flow, size, queue.backlog() * queue.flows)
                if at is None:
                    if isinstance(scheduler, Adaptive) and scheduler.full:
                        return
                    queue.pass_over()
                    continue
                path = paths[at]
            taken = queue.take(now)
            if taken is None:
                continue
            if current is not None and path is not current and not scheduler.adapts:
                batch.close(current)
            current = path
            self._send(batch, taken, path, now, scheduler.per_flow)
            if isinstance(scheduler, Redundant):
                for at, other in enumerate(paths):
                    if other is not path and scheduler.room(at) > 0:
                        self._copy(batch, taken, other)

    def _scheduler_of(self, packet: Packet, paths: list[Path], now: float) -> Scheduler:
        name = packet.scheduler
        if name is None or name == self.scheduler.name:
            return self.scheduler
        scheduler = self._others.get(name)
        if scheduler is None:
            scheduler = self._others[name] = SCHEDULERS[name]()
            if isinstance(scheduler, Adaptive):
                scheduler.begin(paths, now)
        return scheduler

    def _send(
        self, batch: Batch, packet: Packet, path: Path, now: float, per_flow: bool = False
    ) -> bool:
        """Give a packet its place in its lane and put it into a datagram of a path."""
        lane = packet.flow % LANE_COUNT
        sequence = self._sequences[lane]
        packet.lane, packet.sequence = lane, sequence % SEQUENCE_SPACE
        if per_flow or packet.kind in (ACKNOWLEDGEMENT, REALTIME):
            packet.flags |= UNORDERED
        packet.sent, packet.tries = now, 1
        if not batch.add_packet(packet, path):
            self._drops["packet_too_big"] += 1
            return False
        self._sequences[lane] = sequence + 1 & 0xFFFFFFFF
        self.packets.add(len(packet.data))
        path.last_data = now
        return True

    def _copy(self, batch: Batch, packet: Packet, path: Path) -> None:
        if batch.add_packet(packet, path):
            path.stats.copies += 1
            if packet.kind == REALTIME:
                path.realtime_until = packet.sent + REALTIME_MEMORY

    def _may_copy(self, path: Path, size: int, now: float) -> bool:
        """May a copy go there: within what is always allowed, or a small share of the path's rate?"""
        if self._copies.take(now, size):
            return True
        path.copies.rate = COPY_SHARE * path.rate.rate
        return path.copies.take(now, size)

    def _seal(self, builders: list[Builder], pair: Keypair, now: float) -> list[Transmit]:
        batch: list[tuple[int, int, bytes]] = []
        for builder in builders:
            path = builder.path
            packets = builder.packets
            if packets:
                self._order += 1
                path.order_sent, path.order_time = self._order, now
            plain = builder.close(self._order)
            number = path.sent.next_number
            path.sent.next_number += 1
            size = len(plain) + HEADER_SIZE + TAG_SIZE
            sent = None
            if builder.eliciting:
                sent = Sent(now, size, packets, builder.resend, builder.reported)
                for packet in packets:
                    packet.flights += 1
            path.on_sent(number, sent, size, builder.address, now)
            path.planned = 0
            batch.append((path.id, number, plain))
        return [
            Transmit(
                builder.socket,
                builder.address,
                [datagram],
                None,
                self._session,
                (item[0], (item[1],)),
                dscp_of(builder.packets[0].data) if self.copy_dscp and builder.packets else 0,
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


def _next_release(paths: list[Path], now: float) -> float:
    """When pacing lets the next datagram leave, on the paths whose window is open; soon, if on none."""
    soonest = now + RETRY
    for path in paths:
        rate = path.rate
        if now < rate.release < soonest and path.sent.in_flight < rate.window:
            soonest = rate.release
    return max(soonest, now + PACE_STEP)


def dscp_of(packet: bytes) -> int:
    """Return the differentiated services code point of an IP packet."""
    if packet[0] >> 4 == 6:
        return (packet[0] << 8 | packet[1]) >> 6 & 0x3F
    return packet[1] >> 2


def _present_delay(path: Path) -> float:
    return path.rtt.smoothed / 2 + path.rate.queue
