"""An inner packet on its way out: one object from the send queue until its fate is known.

It is made when the packet enters the queue, gets its place in a lane when it leaves it, and hangs on
every datagram that carries it, the first one, a copy, or a repair. Whichever of them is acknowledged
first says `done`; then nothing more is sent of it.

A super-packet waits as one, a `SuperPacket`, and leaves as many: segment by segment, as there is room.
"""

from mpbond.core.segments import Cut
from mpbond.core.unfinished import Unfinished
from mpbond.core.wire import SEGMENT, SEQUENCE_SPACE

NORMAL, ACKNOWLEDGEMENT, REALTIME, BULK = range(4)
KINDS = ("normal", "acknowledgement", "realtime", "bulk")
"""The names of the classes, by number."""


class Packet:
    """One inner packet.

    `flow` is 32 bits of hash, `kind` its class, `scheduler` the one a rule asks for (None: the
    session's). `queued` and `sent` are when it entered the queue and first left it (seconds); `flags`,
    `lane` and `sequence` say where it stands. `flights` counts the datagrams under way that carry it,
    `tries` how often it was sent for its own sake, copies aside; `waiting` says that it is to be repaired.
    """

    __slots__ = (
        "data",
        "done",
        "flags",
        "flights",
        "flow",
        "kind",
        "lane",
        "queued",
        "scheduler",
        "sent",
        "sequence",
        "tries",
        "waiting",
    )

    def __init__(
        self, data: bytes, flow: int, kind: int, queued: float, scheduler: str | None = None
    ) -> None:
        self.data = data
        self.flow = flow
        self.kind = kind
        self.queued = queued
        self.scheduler = scheduler
        self.flags = 0
        self.lane = 0
        self.sequence = 0
        self.sent = 0.0
        self.flights = 0
        self.tries = 0
        self.waiting = False
        self.done = False


class SuperPacket(Packet):
    """An inner packet that is to be cut, while it waits.

    `left` is how many segments it still stands for, `size` the bytes of the next, `total` of all of them;
    `cut` makes them.
    """

    __slots__ = ("_next", "cut", "left", "size", "total")

    def __init__(
        self, data: Unfinished, flow: int, kind: int, queued: float, scheduler: str | None = None
    ) -> None:
        """Raises ValueError if `data` cannot be cut."""
        super().__init__(data, flow, kind, queued, scheduler)
        self.cut = Cut(data)
        self._next = 0
        self.left = self.cut.count
        self.size = self.cut.size_of(0)
        self.total = self.cut.total

    def take(self) -> Packet:
        """Cut the next segment off."""
        packet = self.segment(self._next)
        self._went(1, len(packet.data))
        return packet

    def take_train(self, limit: int) -> "Train":
        """Cut up to `limit` segments off."""
        count = min(limit, self.left)
        first, size = self._next, self.size
        last = size if count < self.left else self.cut.size_of(first + count - 1)
        self._went(count, (count - 1) * size + last)
        return Train(self, first, count, size, last)

    def segment(self, index: int) -> Packet:
        """Return a segment as a packet of its own."""
        data = self.cut.segment(index)
        packet = Packet(data, self.flow, self.kind, self.queued, self.scheduler)
        packet.flags = SEGMENT
        return packet

    def _went(self, count: int, size: int) -> None:
        self._next += count
        self.left -= count
        self.total -= size
        if self.left == 1:
            self.size = self.cut.size_of(self._next)


class Train:
    """Segments of one super-packet that leave one after the other on one path, in a datagram each.

    They are alike but for their place: `count` of `size` bytes from number `first` on, the last of them of
    `last`, with consecutive sequences in one lane from `sequence` on. `flags` and `sent` are as a packet's.
    """

    __slots__ = ("_whole", "count", "first", "flags", "lane", "last", "sent", "sequence", "size")

    def __init__(self, whole: SuperPacket, first: int, count: int, size: int, last: int) -> None:
        self._whole = whole
        self.first = first
        self.count = count
        self.size = size
        self.last = last
        self.flags = SEGMENT
        self.lane = self.sequence = 0
        self.sent = 0.0

    @property
    def flow(self) -> int:
        """The flow's hash."""
        return self._whole.flow

    @property
    def kind(self) -> int:
        """The class."""
        return self._whole.kind

    @property
    def total(self) -> int:
        """Bytes of all of them."""
        return (self.count - 1) * self.size + self.last

    @property
    def whole(self) -> bytes:
        """The super-packet's bytes."""
        return self._whole.data

    @property
    def cut(self) -> Cut:
        """What makes its segments."""
        return self._whole.cut

    def packet(self, at: int) -> Packet:
        """Return one of them, that is under way once, as a packet of its own."""
        packet = self._whole.segment(self.first + at)
        packet.flags, packet.lane = self.flags, self.lane
        packet.sequence = (self.sequence + at) % SEQUENCE_SPACE
        packet.sent, packet.tries, packet.flights = self.sent, 1, 1
        return packet
