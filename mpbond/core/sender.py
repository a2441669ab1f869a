"""The sending half of a session: control frames and packets into sealed datagrams.

`flush` runs once per wake-up: control frames that must leave on a certain path, the ACK on its return
paths, frames that must arrive, then packets, which core.outbound binds to paths. Send order and packet
numbers are given when datagrams are sealed. `wake` is when to try again if something waits for its pace.

With a scheduler that does not adapt, send orders ascend with lane sequences, because one datagram with
packets is open at a time: the receiver's proof of loss rests on that. With one that does, the peer is told
that what is lost will be repaired or called off.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from mpbond.core.acks import return_paths
from mpbond.core.adaptive import Adaptive
from mpbond.core.aead import Plain
from mpbond.core.batch import Batch, Load
from mpbond.core.builder import Builder
from mpbond.core.flow import locate
from mpbond.core.keys import Keypair, seal, seal_train
from mpbond.core.outbound import Outbound, next_release
from mpbond.core.packet import Train
from mpbond.core.path import Address, Path
from mpbond.core.receiver import Receiver
from mpbond.core.recovery import Sent
from mpbond.core.refusals import TOO_BIG
from mpbond.core.repair import REALTIME_LIFETIME
from mpbond.core.stats import Drops
from mpbond.core.transmit import MAXIMUM_SEGMENTS, Transmit
from mpbond.core.wire import (
    DATA_OVERHEAD,
    HEADER_SIZE,
    LAST_PART,
    ORDER,
    PING,
    SEQUENCE_SPACE,
    TAG_SIZE,
    frame,
    order_frame,
)

MAXIMUM_HOLD: Final = 0.5  # seconds
HOLD_MARGIN: Final = 0.030  # seconds
RETURN_PING_INTERVAL: Final = 0.1  # seconds between eliciting datagrams on a return path
MARKER_INTERVAL: Final = 0.010  # seconds between send-order markers on an idle path
CONTROL_SIZE: Final = 256  # bytes an unproven address must be good for before it gets anything
PROBE_INTERVAL: Final = 0.1  # seconds without data, while others carry some, until a path is asked
MAXIMUM_BATCH: Final = 65_000  # bytes that one sendmsg takes
NEVER: Final = float("inf")
_PING = frame(PING)


class Sender:
    """Sending state of a session."""

    def __init__(
        self, paths: Mapping[int, Path], session: bytes, seed: int, scheduler: str, drops: Drops
    ) -> None:
        self.outbound = Outbound(paths, seed, scheduler, drops, self.require)
        self.copy_dscp = False  # the inner DSCP becomes the outer one
        self.hold_override: float | None = None  # seconds the configuration pins, None = learned
        self.resend: list[bytes] = []  # frames that must arrive, on whichever path
        self.wake: float | None = None  # when to flush again
        self._paths = paths
        self._session = session
        self._order = 0
        self._turn = 0
        self._ask_at = -NEVER  # a path may have been quiet for long from then on, see `ask_due`

    @property
    def repairs(self) -> bool:
        """Is what is lost sent again or called off? Then the peer need not prove losses."""
        return self.outbound.scheduler.adapts and self.hold_override != 0

    def candidates(self) -> list[Path]:
        """The paths that may carry packets now: those up, else the least bad one, else none.

        None of them rests after a refusal. Those of the last tier are none while another is up; a
        scheduler that knows no rates has no use for the overflow tier either.
        """
        up = [path for path in self._paths.values() if path.up]
        if up:
            lowest = min(path.tier for path in up)
            highest = 1 if lowest == 0 and self.outbound.scheduler.adapts else lowest
            return [path for path in up if path.tier <= highest and not path.resting]
        known = [path for path in self._paths.values() if path.usable and not path.resting]
        rest = [path for path in known if path.may_send(CONTROL_SIZE)]
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
        self.outbound.repair.flush()
        waiting = [path for path in self._paths.values() if path.pending or path.challenges]
        due = receiver.ack_timer.due
        ack_due = due is not None and due <= now + 1e-9
        outbound = self.outbound
        packets = len(outbound)
        if not (waiting or ack_due or self.resend or packets):
            return []
        candidates = self.candidates()
        batch = Batch()
        batch.done.extend(_collect_challenges(waiting))
        if ack_due:
            self._add_ack(batch, candidates, receiver, now)
        self._add_pending(batch, waiting)
        self._add_resends(batch, candidates)
        outbound.unused = []
        if candidates and packets:
            outbound.bind(batch, candidates, now)
        loads = batch.finish()
        transmits = self._seal(loads, pair, now)
        if not len(outbound):
            outbound.unused += [
                load.path if isinstance(load, Builder) else load[0]
                for load in loads
                if not isinstance(load, Builder) or load.eliciting
            ]
        elif outbound.scheduler.adapts:
            self.wake = next_release(candidates, now)
        if outbound.repair.untold:
            self.wake = now
        for path in outbound.unused:
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
                path.stats.repaired += self.outbound.repair.lost(sent, now)

    def refuse(self, path: Path, sent: Sent, reason: str, now: float) -> None:
        """The system refused a datagram for a drop reason: send what is in it another way.

        That was no try, unless it was too big: then it would be too big here the next time, too.
        """
        self.resend.extend(sent.resend)
        if sent.packets and self.repairs:
            tried = reason == TOO_BIG
            path.stats.repaired += self.outbound.repair.lost(sent, now, tried=tried)

    def rescue(self, path: Path, now: float) -> None:
        """Resend elsewhere what must arrive, or is still wanted, and hangs on a doubtful path."""
        for sent in path.sent.held():
            if sent.resend:
                self.resend.extend(sent.resend)
                sent.resend = ()
        if self.repairs:
            path.stats.repaired += self.outbound.repair.rescue(path.sent.held(), now)

    def ask_the_idle(self, now: float) -> None:
        """Ask paths that carry nothing, while others do, how they are: their queues may have gone."""
        due = now + 1e-9
        if self.ask_due(now, due) > due:
            return
        for path in self.candidates():
            if path.up and path.last_eliciting + PROBE_INTERVAL <= due and not path.pending:
                path.pending.append(_PING)

    def ask_due(self, now: float, before: float) -> float:
        """When `ask_the_idle` has something to do; exact only if that is earlier than `before`.

        What leaves on a path puts it off. So what was found is too early at worst, and the paths are looked
        at again only where that would matter.
        """
        if not self.outbound.busy(now) or not self.outbound.scheduler.adapts:
            return NEVER
        if self._ask_at < before:
            quiet = [path.last_eliciting for path in self.candidates() if path.up]
            self._ask_at = max(now, min(quiet) + PROBE_INTERVAL) if quiet else NEVER
        return self._ask_at

    def on_state(self) -> None:
        """A path has come up or is up no longer: another may be the first that is to be asked."""
        self._ask_at = -NEVER

    def review(self, now: float) -> None:
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
            self.outbound.repair.realtime_lifetime = max(REALTIME_LIFETIME, suspicion + fastest)
        evens = self.repairs and self.outbound.scheduler.name == Adaptive.name
        self.outbound.review_even(self.candidates() if evens else [], now)

    def mark_order(self, now: float) -> None:
        """Let idle paths tell the send order while others carry packets."""
        for path in self._unmarked():
            if path.order_time + MARKER_INTERVAL <= now + 1e-9:
                path.pending.append(order_frame(self._order))
                path.order_sent = self._order
                path.order_time = now

    def mark_order_due(self) -> float | None:
        """When `mark_order` has something to do."""
        unmarked = self._unmarked()
        if not unmarked:
            return None
        return min([path.order_time for path in unmarked]) + MARKER_INTERVAL

    def _unmarked(self) -> list[Path]:
        if self.outbound.scheduler.per_flow or self.repairs or self.hold_override == 0:
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
        path = min(candidates, key=lambda path: path.present_delay)
        waiting, self.resend = self.resend, []
        for item in waiting:
            batch.add_frame(item, path, eliciting=True, resend=True)

    def _seal(self, loads: list[Load], pair: Keypair, now: float) -> list[Transmit]:
        batch: list[tuple[int, int, Plain]] = []
        groups: list[_Group] = []
        for load in loads:
            if isinstance(load, Builder):
                self._fill(load, batch, groups, now)
            else:
                self._fill_train(*load, pair, groups, now)
        datagrams = seal(pair, batch)
        transmits = []
        for group in groups:
            socket, address, mark = group.head
            first, count = group.number, group.count
            transmits.append(
                Transmit(
                    socket,
                    address,
                    [
                        datagrams[buffer] if isinstance(buffer, int) else buffer
                        for buffer in group.buffers
                    ],
                    group.size if count > 1 else None,
                    self._session,
                    (group.path_id, range(first, first + count)),
                    mark,
                )
            )
        return transmits

    def _fill(
        self,
        builder: Builder,
        batch: list[tuple[int, int, Plain]],
        groups: "list[_Group]",
        now: float,
    ) -> None:
        path, packets = builder.path, builder.packets
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
        mark = 0
        if packets and not packets[0].flags & LAST_PART:
            mark = self._mark(packets[0].data)
        head = (builder.socket, builder.address, mark)
        group = _group_for(groups, head, path.id, number, size, several=False)
        group.add(len(batch), 1, size)
        batch.append((path.id, number, plain))

    def _fill_train(
        self, path: Path, train: Train, pair: Keypair, groups: "list[_Group]", now: float
    ) -> None:
        """Put each packet of a train into a datagram of its own, and seal them."""
        path_id, left = path.id, train.count
        number, order = path.sent.next_number, self._order + 1
        first, sequence = train.first, train.sequence
        overhead = DATA_OVERHEAD + HEADER_SIZE + TAG_SIZE
        size, last = train.size + overhead, train.last + overhead
        path.on_train(train, overhead, now)
        self._order = path.order_sent = self._order + left
        path.order_time = now
        path.planned = 0
        head = (path.socket, path.remote, self._mark(train.head))
        while left:
            group = _group_for(groups, head, path_id, number, size, several=left > 1)
            count = min(left, group.room)
            place = (train.flags, train.lane, sequence % SEQUENCE_SPACE, order)
            sealed = seal_train(pair, path_id, number, place, train.source, first, count)
            left -= count
            group.add(sealed, count, size if left else last)
            number += count
            order += count
            first += count
            sequence += count

    def _mark(self, packet: bytes) -> int:
        """The DSCP of a datagram whose first packet, with its header, is this one."""
        return locate(packet)[0] if self.copy_dscp else 0


class _Group:
    """Datagrams of one path that leave together: all of `size` bytes, the last perhaps shorter.

    `buffers` hold them in order; of those that are sealed later there is the number in their batch.
    """

    __slots__ = ("buffers", "bytes", "count", "head", "number", "open", "path_id", "size")

    def __init__(
        self, head: tuple[int, Address, int], path_id: int, number: int, size: int
    ) -> None:
        self.head = head  # socket, address, DSCP
        self.path_id = path_id
        self.number = number
        self.size = size
        self.count = self.bytes = 0
        self.open = True
        self.buffers: list[bytes | int] = []

    @property
    def room(self) -> int:
        """How many more datagrams of full size may leave with these."""
        return min(MAXIMUM_SEGMENTS - self.count, (MAXIMUM_BATCH - self.bytes) // self.size)

    def add(self, buffer: bytes | int, count: int, last: int) -> None:
        """Append `count` datagrams, the last of `last` bytes; after a shorter one nothing follows."""
        self.buffers.append(buffer)
        self.count += count
        self.bytes += count * self.size
        self.open = last == self.size


def _group_for(
    groups: list[_Group],
    head: tuple[int, Address, int],
    path_id: int,
    number: int,
    size: int,
    *,
    several: bool,
) -> _Group:
    """Return the last group if a datagram of `size` bytes, or several, may leave with it, else a new one."""
    group = groups[-1] if groups else None
    if (
        group is None
        or not group.open
        or group.head != head
        or group.path_id != path_id
        or size > group.size
        or (several and size != group.size)
        or group.room < 1
    ):
        group = _Group(head, path_id, number, size)
        groups.append(group)
    return group


def _collect_challenges(paths: list[Path]) -> list[Builder]:
    builders = []
    for path in paths:
        for address, item in path.challenges:
            builder = Builder(path, address)
            builder.add(item, eliciting=False)
            builders.append(builder)
        path.challenges.clear()
    return builders
