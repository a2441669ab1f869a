"""The send queue of a session: packets wait here, not in a modem, until they are bound to a path.

FQ-CoDel (RFC 8290). Every flow has a queue of its own; a flow that just began, or sends so little that its
queue was empty for a whole turn, is new and goes first; the others take turns, a QUANTUM of bytes each
(deficit round robin), a bulk flow an eighth of that and never as a new one. CoDel watches each flow's
sojourn as its packets leave. Real-time packets stand apart, before everything else, in the order they came.

A sending round starts with `begin`. A flow whose packet does not suit the paths that have room is passed
over: it keeps its place and what it is owed, and takes part again from the next `begin` on.

The byte limit holds always. What is too much is dropped from the head of the flow with most bytes: one packet
goes for one that comes, so no flow loses more than it must. To find that flow without looking at all of them
there is a heap of sizes, kept only while the queue overflows. Its entries may be too large (a flow shrank:
put right when it comes to the top), never too small (a flow that outgrows its entry gets another, which makes
the former void).

The hash of a flow names its queue. Only somebody who floods us with flows ever meets others in one: from
MAXIMUM_FLOWS on a new flow shares one of SHARED queues, and so does any that belongs there as long as that
queue lasts; thus a flow never stands in two queues, and its order is kept.
"""

from collections import deque
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from mpbond.core.codel import SPARED, TARGET, Codel
from mpbond.core.ecn import mark_ce
from mpbond.core.packet import BULK, REALTIME, Packet, Run, Series, Train
from mpbond.core.stats import Drops

LIMIT: Final = 1 << 20  # bytes, until somebody knows better
REALTIME_LIMIT: Final = 1 << 16  # bytes
MAXIMUM_PACKETS: Final = 1 << 16  # that wait: tiny ones cost more memory than their bytes
MAXIMUM_FLOWS: Final = 4096  # with a queue of their own
SHARED: Final = 1024  # queues for flows beyond that
IDLE_FLOWS: Final = 256  # kept when nothing waits: most will have something again at once
QUANTUM: Final = 1514  # bytes: a full-size packet
BULK_QUANTUM: Final = QUANTUM // 8  # of a flow that asks to stand back (RFC 8622)
_SMOOTHING: Final = 1 / 16


class Flow(Codel):
    """One flow's queue."""

    __slots__ = ("bytes", "deficit", "key", "packets", "quantum", "rank")

    def __init__(self, key: int, quantum: int = QUANTUM) -> None:
        super().__init__()
        self.key = key
        self.packets: deque[Packet] = deque()
        self.bytes = 0
        self.quantum = quantum
        self.deficit = quantum
        self.rank = 0  # bytes in its one valid entry of the heap


class SendQueue:
    """Packets that wait for a path. Sizes in bytes of inner packets, times in seconds."""

    def __init__(self, drops: Drops, limit: int = LIMIT) -> None:
        self.bytes = 0
        """Bytes waiting, real-time ones included."""
        self.flows = 0
        """Flows with something waiting, not counting real-time packets."""
        self.realtime: deque[Packet] = deque()
        """Real-time packets, to be looked at; they leave by `take_realtime`."""
        self.may_drop = True
        """Whether CoDel may drop and mark; the limit holds in any case."""
        self.marked = 0
        """Packets marked CE so far."""
        self.sojourn = 0.0
        """Seconds that packets waited which were taken lately (smoothed over about 16)."""
        self._drops = drops
        self._limit = limit
        self._count = 0
        self._realtime_bytes = 0
        self._flows: dict[int, Flow] = {}
        self._new: deque[Flow] = deque()
        self._old: deque[Flow] = deque()
        self._passed_new: list[Flow] = []
        self._passed_old: list[Flow] = []
        self._turn: Flow | None = None  # the flow of `head`, while that is known
        self._taken: Flow | None = None  # the flow that `take` took from last
        self._ranked: list[tuple[int, int]] | None = None  # heap of (-bytes, key)

    def __len__(self) -> int:
        return self._count

    @property
    def limit(self) -> int:
        """Bytes that may wait, real-time ones included. Setting it drops what is too much at once."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        if self.bytes > limit:
            self._shed()

    def push(self, packet: Packet) -> None:
        """Append a packet to its flow, or to the real-time ones; no series is one of these."""
        size, count = len(packet.data), 1
        if isinstance(packet, Series):
            size, count = packet.total, packet.left
        self.bytes += size
        self._count += count
        if packet.kind == REALTIME:
            self._push_realtime(packet, size)
        else:
            flow = self._flows.get(packet.flow) or self._open(packet.flow, packet.kind)
            if not flow.packets:
                self.flows += 1
            flow.packets.append(packet)
            flow.bytes += size
            if self._ranked is not None and flow.bytes > flow.rank:
                self._rank(flow)
        if self.bytes > self._limit or self._count > MAXIMUM_PACKETS:
            self._shed()

    def begin(self) -> None:
        """Start a sending round: flows passed over take part again, where they stood."""
        if self._passed_new or self._passed_old:
            self._new.extendleft(reversed(self._passed_new))
            self._old.extendleft(reversed(self._passed_old))
            self._passed_new.clear()
            self._passed_old.clear()
            self._turn = None

    def head(self) -> Packet | None:
        """Return the packet whose turn it is; None if nothing waits but real-time or passed over."""
        flow = self._turn or self._select()
        return flow.packets[0] if flow else None

    def backlog(self) -> int:
        """Return the bytes that wait in the flow of `head`."""
        flow = self._turn or self._select()
        return flow.bytes if flow else 0

    def take(self, now: float) -> Packet | None:
        """Remove the packet whose turn it is; CoDel may drop it and return a later one of its flow.

        Of a series that is the next one.
        """
        flow = self._turn or self._select()
        if flow is None:
            return None
        packets = flow.packets
        while True:
            packet = packets[0]
            if isinstance(packet, Series):
                whole, packet = packet, packet.take()
                if not whole.left:
                    packets.popleft()
            else:
                packets.popleft()
            size = len(packet.data)
            flow.bytes -= size
            self.bytes -= size
            self._count -= 1
            sojourn = now - packet.queued
            if sojourn < TARGET or flow.bytes <= SPARED or not self.may_drop:
                flow.above = 0.0
                break
            if not flow.judge(now):
                break
            marked = mark_ce(packet.data)
            if marked is not None:
                packet.data = marked
                self.marked += 1
                break
            self._drops["codel"] += 1
        self.sojourn += (sojourn - self.sojourn) * _SMOOTHING
        self._taken = flow
        self._charge(flow, size)
        return packet

    def take_train(self, limit: int, now: float) -> Train | None:
        """Remove up to `limit` packets of the series whose turn it is, as one.

        That may be more than is its flow's turn; the others make up for it. None if CoDel has to judge
        each, or if it is no series: then `take`, and see `take_more`.
        """
        flow = self._turn or self._select()
        if flow is None:
            return None
        whole = flow.packets[0]
        sojourn = now - whole.queued
        calm = sojourn < TARGET or flow.bytes <= SPARED or not self.may_drop
        if not calm or not isinstance(whole, Series):
            return None
        flow.above = 0.0
        self.sojourn += (sojourn - self.sojourn) * _SMOOTHING
        return self._cut_off(flow, whole, limit)

    def take_more(self, limit: int) -> Train | None:
        """Remove up to `limit` more packets of the series that `take` has just begun."""
        flow = self._taken
        whole = flow.packets[0] if flow is not None and flow.packets else None
        if flow is None or not isinstance(whole, Series):
            return None
        return self._cut_off(flow, whole, limit)

    def pass_over(self) -> None:
        """Let the flow of `head` wait until the next `begin`."""
        flow = self._turn or self._select()
        if flow is None:
            return
        self._turn = None
        if self._new:
            self._passed_new.append(self._new.popleft())
        else:
            self._passed_old.append(self._old.popleft())

    def take_realtime(self) -> Packet | None:
        """Remove the oldest real-time packet."""
        if not self.realtime:
            return None
        packet = self.realtime.popleft()
        size = len(packet.data)
        self._realtime_bytes -= size
        self.bytes -= size
        self._count -= 1
        return packet

    def delay(self, now: float) -> float:
        """Return the seconds for which the oldest packet has been waiting; looks at every flow."""
        heads = [flow.packets[0].queued for flow in self._flows.values() if flow.packets]
        if self.realtime:
            heads.append(self.realtime[0].queued)
        return now - min(heads) if heads else 0.0

    def clear(self) -> None:
        """Forget everything that waits; it is not counted as dropped."""
        self.bytes = self.flows = self._count = self._realtime_bytes = 0
        self._turn = self._taken = self._ranked = None
        self.realtime.clear()
        self._flows.clear()
        self._new.clear()
        self._old.clear()
        self._passed_new.clear()
        self._passed_old.clear()

    def _cut_off(self, flow: Flow, whole: Series, limit: int) -> Train:
        train = whole.take_train(limit)
        size = train.total
        flow.bytes -= size
        self.bytes -= size
        self._count -= train.count
        if not whole.left:
            flow.packets.popleft()
        self._charge(flow, size)
        return train

    def _charge(self, flow: Flow, size: int) -> None:
        """So many bytes of a flow have left."""
        flow.deficit -= size
        if not flow.packets:
            self.flows -= 1
            self._turn = None
        elif flow.deficit <= 0:
            if len(self._old) == 1 and not self._new:  # alone: it would be its turn again and again
                flow.deficit = flow.quantum
            else:
                self._turn = None

    def _select(self) -> Flow | None:
        """Find the flow whose turn it is. It stands first in the list of new flows if that has any."""
        if not self.flows and len(self._flows) < IDLE_FLOWS:
            return None
        new, old = self._new, self._old
        while new or old:
            flow = new[0] if new else old[0]
            if flow.deficit <= 0:
                if len(new) + len(old) == 1:  # as many turns as it takes, of which others have none
                    flow.deficit += -flow.deficit // flow.quantum * flow.quantum
                flow.deficit += flow.quantum
                old.append((new or old).popleft())
            elif flow.packets:
                self._turn = flow
                return flow
            elif new:
                old.append(new.popleft())
            else:
                del self._flows[old.popleft().key]
        return None

    def _open(self, key: int, kind: int) -> Flow:
        """Return the queue of a flow that has none of its own."""
        shared = ~(key % SHARED)
        flow = self._flows.get(shared)
        if flow is None:
            if len(self._flows) >= MAXIMUM_FLOWS:
                key = shared
            if kind == BULK:
                flow = self._flows[key] = Flow(key, BULK_QUANTUM)
                self._old.append(flow)
            else:
                flow = self._flows[key] = Flow(key)
                self._new.append(flow)
            self._turn = None
        return flow

    def _push_realtime(self, packet: Packet, size: int) -> None:
        self.realtime.append(packet)
        self._realtime_bytes += size
        while self._realtime_bytes > REALTIME_LIMIT:
            self.take_realtime()
            self._drops["realtime_full"] += 1

    def _shed(self) -> None:
        """Drop until the limits hold again."""
        while self.bytes > self._limit or self._count > MAXIMUM_PACKETS:
            flow = self._longest()
            if flow is None:
                if self.take_realtime() is None:
                    return
                self._drops["realtime_full"] += 1
                continue
            packet = flow.packets[0]
            if isinstance(packet, Run) and packet.left > 1:
                size, count = packet.size, 1
                packet.skip()
            else:
                size, count = len(packet.data), 1
                if isinstance(packet, Series):
                    size, count = packet.total, packet.left
                flow.packets.popleft()
            flow.bytes -= size
            self.bytes -= size
            self._count -= count
            self._drops["queue_full"] += count
            if not flow.packets:
                self.flows -= 1
                self._turn = None

    def _longest(self) -> Flow | None:
        """Return the flow with most bytes."""
        ranked = self._ranked
        if ranked is None:
            for flow in self._flows.values():
                flow.rank = flow.bytes
            ranked = self._ranked = [(-flow.bytes, flow.key) for flow in self._flows.values()]
            heapify(ranked)
        while ranked:
            size, key = ranked[0]
            found = self._flows.get(key)
            if found is None or found.rank != -size:
                heappop(ranked)
            elif found.bytes == -size and size:
                return found
            elif found.bytes:
                found.rank = found.bytes
                heapreplace(ranked, (-found.bytes, key))
            else:
                found.rank = 0
                heappop(ranked)
        self._ranked = None
        return None

    def _rank(self, flow: Flow) -> None:
        """Enter a flow that outgrew its entry; a heap of mostly void entries is thrown away."""
        assert self._ranked is not None
        flow.rank = flow.bytes
        heappush(self._ranked, (-flow.bytes, flow.key))
        if len(self._ranked) > 2 * len(self._flows) + 64:
            self._ranked = None
