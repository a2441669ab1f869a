"""Packets on their way out: classed, queued, and bound to paths as late as can be.

A flush calls `bind` with the paths that may be used. What is to be repaired goes first, then real-time
packets, on the quickest path and once more on the next; then the queue's, for as long as the scheduler finds
a path for them. A packet gets its lane and sequence only here. Paths that had room for more are told apart
in `unused`: what they carry says nothing of their rate.
"""

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mpbond.core.adaptive import Adaptive, Redundant
from mpbond.core.batch import Batch
from mpbond.core.bucket import TokenBucket
from mpbond.core.classes import Classes
from mpbond.core.even import EvenDelay
from mpbond.core.flow import flow_hash
from mpbond.core.packet import ACKNOWLEDGEMENT, REALTIME, Packet, Run, Series, SuperPacket, Train
from mpbond.core.path import Path
from mpbond.core.queue import SendQueue
from mpbond.core.repair import MAXIMUM_TRIES, Repair
from mpbond.core.rules import Rule
from mpbond.core.scheduler import SCHEDULERS, Scheduler
from mpbond.core.stats import Drops, Meter
from mpbond.core.unfinished import Unfinished
from mpbond.core.wire import DATA_OVERHEAD, LANE_COUNT, SEGMENT, SEQUENCE_SPACE, UNORDERED

TRAIN: Final = 0.002  # seconds of a path's time that packets of one series may take together
COPY_RATE, COPY_BURST = 16_000.0, 8_000.0  # bytes per second of copies that are always allowed
COPY_SHARE: Final = 0.1  # of a path's rate that copies may take beyond that
LEARNING: Final = 2.0  # seconds from a start in which the queue drops nothing
IDLE: Final = 1.0  # seconds with nothing to send after which sending starts anew
RETRY: Final = 0.010  # seconds after which waiting packets are looked at again, whatever happens
PACE_STEP: Final = 0.001  # seconds between two wake-ups for the sake of pacing, at least
MINIMUM_QUEUE, MAXIMUM_QUEUE = 256_000, 3_000_000  # bytes that may wait
QUEUE_TIME: Final = 1.0  # seconds of the learned sum that may wait
REALTIME_MEMORY: Final = 5.0  # seconds for which a path stays quick after a real-time packet


class Outbound:
    """The packets of a session that wait to be sent. `require` sends a frame until it has arrived."""

    def __init__(
        self,
        paths: Mapping[int, Path],
        seed: int,
        scheduler: str,
        drops: Drops,
        require: Callable[[bytes], None],
    ) -> None:
        self.queue = SendQueue(drops)
        self.classes = Classes()
        self.scheduler: Scheduler = SCHEDULERS[scheduler]()
        self.repair = Repair(require)
        self.even = EvenDelay()
        self.packets = Meter()
        self.unused: list[Path] = []
        """Paths that had room for more than the last `bind` found for them."""
        self._others: dict[str, Scheduler] = {}  # by name, where rules ask for them
        self._begun: set[str] = set()  # those that have looked at the paths in this flush
        self._paths = paths
        self._seed = seed
        self._drops = drops
        self._sequences = array("I", bytes(4 * LANE_COUNT))
        self._copies = TokenBucket(COPY_RATE, COPY_BURST)
        self._view = Adaptive()
        self._busy_since = float("-inf")
        self._last_busy = float("-inf")

    def __len__(self) -> int:
        return len(self.queue) + len(self.repair)

    def enqueue(self, packets: list[bytes], now: float) -> None:
        """Put packets into the send queue; what does not fit is dropped and counted."""
        if not packets:
            return
        if now - self._last_busy > IDLE:
            self._busy_since = now
        self._last_busy = now
        queue, classes, at = self.queue, self.classes, 0
        while at < len(packets):
            data = packets[at]
            flow = flow_hash(data, self._seed)
            kind, scheduler = classes.classify(data, flow, now)
            if isinstance(data, Unfinished) and data.segment_size:
                self._enqueue_whole(data, flow, kind, now, scheduler)
                at += 1
                continue
            end = at + 1 if kind == REALTIME else classes.alike(packets, at)
            if end - at > 1:
                run = Run(packets[at:end], flow, kind, now, scheduler)
                classes.count(kind, end - at - 1, run.total - len(data))
                queue.push(run)
            else:
                packet = Packet(data, flow, kind, now, scheduler)
                if isinstance(data, Unfinished):
                    packet.flags = SEGMENT
                queue.push(packet)
            at = end

    def _enqueue_whole(
        self, data: Unfinished, flow: int, kind: int, now: float, scheduler: str | None
    ) -> None:
        """Enqueue a super-packet."""
        whole = SuperPacket(data, flow, kind, now, scheduler)
        if kind != REALTIME:
            self.queue.push(whole)
            return
        while whole.left:
            self.queue.push(whole.take())

    def busy(self, now: float) -> bool:
        """Has anything been there to be sent lately?"""
        return now - self._last_busy <= IDLE

    def set_scheduler(self, name: str) -> None:
        """Schedule by another rule from the next packet on. Raises KeyError for an unknown name."""
        self.scheduler = SCHEDULERS[name]()

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Class by other rules from the next packet on."""
        self.classes = Classes(rules)

    def review_even(self, paths: list[Path], now: float) -> None:
        """Look at which lanes gain by an even delay; call it once a second."""
        self.even.review(paths, self._sequences, now)

    def status(self) -> dict[str, Any]:
        """Return what `mpbond status` shows of what we send; delays in seconds."""
        queue = self.queue
        return {
            "queue": {
                "packets": len(queue),
                "bytes": queue.bytes,
                "flows": queue.flows,
                "delay": queue.sojourn if len(queue) else 0.0,
                "marked": queue.marked,
            },
            "classes": self.classes.counts,
            "repaired": self.repair.repaired,
            "given_up": self.repair.given_up,
            "sent": {"packets": self.packets.count, "bytes": self.packets.bytes},
        }

    def bind(self, batch: Batch, paths: list[Path], now: float) -> None:
        """Bind packets to paths: repairs, then real-time ones, then the rest of the queue."""
        if not paths[0].proven and not paths[0].may_send(paths[0].mtu):
            return
        scheduler = self.scheduler
        view = scheduler if isinstance(scheduler, Adaptive) else self._view
        for path in paths:
            path.rate.realtime = now < path.realtime_until
        if view is scheduler or len(self.repair) or self.queue.realtime:  # else nobody asks it
            view.begin(paths, now)
        view.even = self.even.lanes
        self._begun.clear()
        self._bound_queue(paths, now)
        self._add_repairs(batch, paths, view, now)
        self._add_realtime(batch, paths, view, now)
        self._add_queued(batch, paths, now)
        if not scheduler.adapts:
            return
        self.unused = [path for at, path in enumerate(paths) if view.room(at) > 0]

    def _bound_queue(self, paths: list[Path], now: float) -> None:
        """Tell the queue how much may wait, and whether it may drop what waits too long."""
        total = sum([path.rate.rate for path in paths], 0.0)
        learned = any(path.rate.learned for path in paths)
        learning = any(path.rate.ramping and path.last_data > now - IDLE for path in paths)
        self.queue.limit = round(min(MAXIMUM_QUEUE, max(MINIMUM_QUEUE, QUEUE_TIME * total)))
        self.queue.may_drop = (learned and not learning) or now - self._busy_since > LEARNING

    def _add_repairs(self, batch: Batch, paths: list[Path], view: Adaptive, now: float) -> None:
        repair = self.repair
        while (packet := repair.next(now)) is not None:
            last = packet.tries >= MAXIMUM_TRIES - 1
            order = view.for_repair(len(packet.data), last=last)
            free = [at for at in order if view.room(at) > 0]
            if not free:
                return
            # the second repair does not go where the first was lost
            turn = max(0, packet.tries - 1)
            at = free[turn % len(free)]
            repair.taken()
            packet.tries += 1
            if not batch.add_packet(packet, paths[at]):
                repair.call_off(packet)

    def _add_realtime(self, batch: Batch, paths: list[Path], view: Adaptive, now: float) -> None:
        """Send real-time packets on the path with the least delay, and copies on the second."""
        waiting = self.queue.realtime
        while waiting:
            size = len(waiting[0].data)
            order = view.urgent(size)
            if self.scheduler.adapts:  # others let the modems' queues grow, whatever the window
                order = [at for at in order if view.room(at) > -paths[at].rate.window / 4]
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
                size = packet.size if isinstance(packet, Series) else len(packet.data)
                at = scheduler.choose(paths, packet.flow, size, queue.backlog() * queue.flows)
                if at is None:
                    if isinstance(scheduler, Adaptive) and scheduler.full:
                        return
                    queue.pass_over()
                    continue
                path = paths[at]
            if isinstance(packet, Series) and type(scheduler) is Adaptive:
                at = paths.index(path)
                if self._add_train(batch, packet, path, scheduler.room(at), now):
                    current = path
                    continue
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

    def _add_train(self, batch: Batch, packet: Series, path: Path, room: float, now: float) -> bool:
        """Let more than one packet of a series leave as a train, if that takes next to no time.

        What CoDel has to judge goes first, alone.
        """
        size = packet.size + DATA_OVERHEAD
        count = min(packet.left, int(min(room, TRAIN * path.rate.rate) / size))
        if count < 2 or not path.room < 2 * size <= 2 * path.room:
            return False  # several fit into one datagram, or not even one does
        train = self.queue.take_train(count, now)
        if train is None:
            taken = self.queue.take(now)
            if taken is None:
                return True
            self._send(batch, taken, path, now)
            train = self.queue.take_more(count - 1)
        if train is not None:
            self._send_train(batch, train, path, now)
        return True

    def _send_train(self, batch: Batch, train: Train, path: Path, now: float) -> None:
        """Give a train its place in its lane and put it onto a path."""
        lane = train.flow % LANE_COUNT
        sequence = self._sequences[lane]
        train.lane, train.sequence = lane, sequence % SEQUENCE_SPACE
        if train.kind == ACKNOWLEDGEMENT:
            train.flags |= UNORDERED
        train.sent = now
        self._sequences[lane] = sequence + train.count & 0xFFFFFFFF
        self.packets.add(train.total, train.count)
        path.last_data = now
        batch.add_train(train, path)

    def _scheduler_of(self, packet: Packet, paths: list[Path], now: float) -> Scheduler:
        name = packet.scheduler
        if name is None or name == self.scheduler.name:
            return self.scheduler
        scheduler = self._others.get(name)
        if scheduler is None:
            scheduler = self._others[name] = SCHEDULERS[name]()
        if isinstance(scheduler, Adaptive) and name not in self._begun:
            self._begun.add(name)
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


def next_release(paths: list[Path], now: float) -> float:
    """When pacing lets the next datagram leave, on the paths whose window is open; soon, if on none."""
    soonest = now + RETRY
    for path in paths:
        rate = path.rate
        if now < rate.release < soonest and path.sent.in_flight < rate.window:
            soonest = rate.release
    return max(soonest, now + PACE_STEP)
