"""An inner packet on its way out: one object from the send queue until its fate is known.

It is made when the packet enters the queue, gets its place in a lane when it leaves it, and hangs on
every datagram that carries it, the first one, a copy, or a repair. Whichever of them is acknowledged
first says `done`; then nothing more is sent of it.
"""

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
