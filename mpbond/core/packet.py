"""An inner packet on its way out: one object from the send queue until its fate is known.

It is made when the packet enters the queue, gets its place in a lane when it leaves it, and hangs on
every datagram that carries it, the first one, a copy, or a repair. Whichever of them is acknowledged
first says `done`; then nothing more is sent of it.

What belongs together waits as one, a `Series`: a super-packet, which leaves segment by segment, or a `Run`
of packets of one flow that came together. Where there is room for several, a `Train` of them leaves.
"""

from typing import Final

from mpbond.core.segments import Cut
from mpbond.core.unfinished import Unfinished
from mpbond.core.wire import SEGMENT, SEQUENCE_SPACE

NORMAL: Final = 0
ACKNOWLEDGEMENT: Final = 1
REALTIME: Final = 2
BULK: Final = 3
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


class Series(Packet):
    """Packets of one flow while they wait as one: of the same size, the last perhaps shorter.

    `left` is how many it still stands for, `size` the bytes of the next, `total` of all of them; `each` is
    the flags that each has. `data` is of the first of them, or begins with its headers.
    """

    __slots__ = ("_next", "each", "left", "size", "total")

    def __init__(
        self,
        data: bytes,
        flow: int,
        kind: int,
        queued: float,
        scheduler: str | None,
        count: int,
        total: int,
    ) -> None:
        super().__init__(data, flow, kind, queued, scheduler)
        self._next = 0
        self.each = 0
        self.left = count
        self.total = total
        self.size = self._size_of(0)

    @property
    def source(self) -> Cut | list[bytes]:
        """What they are made by, or all of them: what `seal_train` takes."""
        raise NotImplementedError

    def take(self) -> Packet:
        """Take the next one off."""
        packet = self.packet(self._next)
        self._went(1, len(packet.data))
        return packet

    def take_train(self, limit: int) -> "Train":
        """Take up to `limit` of them off."""
        count = limit if limit < self.left else self.left
        first, size = self._next, self.size
        last = size if count < self.left else self._size_of(first + count - 1)
        self._went(count, (count - 1) * size + last)
        return Train(self, first, count, size, last)

    def packet(self, index: int) -> Packet:
        """Return one as a packet of its own."""
        packet = Packet(self._data_of(index), self.flow, self.kind, self.queued, self.scheduler)
        packet.flags = self.each
        return packet

    def _data_of(self, index: int) -> bytes:
        raise NotImplementedError

    def _size_of(self, index: int) -> int:
        raise NotImplementedError

    def _went(self, count: int, size: int) -> None:
        self._next += count
        self.left -= count
        self.total -= size
        if self.left == 1:
            self.size = self._size_of(self._next)


class SuperPacket(Series):
    """An inner packet that is to be cut, while it waits; `data` is all of it."""

    __slots__ = ("_cut",)

    def __init__(
        self, data: Unfinished, flow: int, kind: int, queued: float, scheduler: str | None = None
    ) -> None:
        """Raises ValueError if `data` cannot be cut."""
        self._cut = Cut(data)
        super().__init__(data, flow, kind, queued, scheduler, self._cut.count, self._cut.total)
        self.each = SEGMENT

    @property
    def source(self) -> Cut | list[bytes]:
        """What makes the segments."""
        return self._cut

    def _data_of(self, index: int) -> bytes:
        return self._cut.segment(index)

    def _size_of(self, index: int) -> int:
        return self._cut.size_of(index)


class Run(Series):
    """Packets that came one by one, but together; all of them finished, or none."""

    __slots__ = ("_packets",)

    def __init__(
        self,
        packets: list[bytes],
        flow: int,
        kind: int,
        queued: float,
        scheduler: str | None = None,
    ) -> None:
        self._packets = packets
        count, first = len(packets), packets[0]
        total = (count - 1) * len(first) + len(packets[-1])
        super().__init__(first, flow, kind, queued, scheduler, count, total)
        if type(first) is Unfinished:
            self.each = SEGMENT

    @property
    def source(self) -> Cut | list[bytes]:
        """All of the packets."""
        return self._packets

    def skip(self) -> None:
        """Forget the next one."""
        self._went(1, self.size)

    def _data_of(self, index: int) -> bytes:
        return self._packets[index]

    def _size_of(self, index: int) -> int:
        return len(self._packets[index])


class Train:
    """Packets of one series that leave one after the other on one path, in a datagram each.

    They are alike but for their place: `count` of `size` bytes from number `first` on, the last of them of
    `last`, with consecutive sequences in one lane from `sequence` on. `flags` and `sent` are as a packet's.
    """

    __slots__ = ("_whole", "count", "first", "flags", "lane", "last", "sent", "sequence", "size")

    def __init__(self, whole: Series, first: int, count: int, size: int, last: int) -> None:
        self._whole = whole
        self.first = first
        self.count = count
        self.size = size
        self.last = last
        self.flags = whole.each
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
    def head(self) -> bytes:
        """Bytes that begin with the headers of the first one of the series."""
        return self._whole.data

    @property
    def source(self) -> Cut | list[bytes]:
        """What they are made by, or all of the series."""
        return self._whole.source

    def packet(self, at: int) -> Packet:
        """Return one of them, that is under way once, as a packet of its own."""
        packet = self._whole.packet(self.first + at)
        packet.flags, packet.lane = self.flags, self.lane
        packet.sequence = (self.sequence + at) % SEQUENCE_SPACE
        packet.sent, packet.tries, packet.flights = self.sent, 1, 1
        return packet
