"""The datagrams that one flush fills: one open per path, closed ones behind each other as they will leave.

A path's control frames stand in its open datagram first; packets that follow share it as long as they
fit. `planned` is what has been put into datagrams of a path and not yet been counted as in flight.
"""

from mpbond.core.builder import Builder
from mpbond.core.packet import Packet, Train
from mpbond.core.parts import split
from mpbond.core.path import Path
from mpbond.core.wire import DATA_OVERHEAD, FIRST_PART, LAST_PART

Load = Builder | tuple[Path, Train]
"""One datagram, or a path's run of them that a segment fills each."""


class Batch:
    """Datagrams being filled. `done` holds the closed ones in the order of sending."""

    def __init__(self) -> None:
        self.done: list[Load] = []
        self.open: dict[int, Builder] = {}

    def add_frame(
        self, item: bytes, path: Path, *, eliciting: bool, resend: bool = False
    ) -> Builder:
        """Put a control frame into the path's open datagram, or a new one; return that."""
        builder = self.open.get(path.id)
        if builder is None or not builder.fits(item):
            builder = self.begin(path)
        builder.add(item, eliciting=eliciting, resend=resend)
        return builder

    def begin(self, path: Path) -> Builder:
        """Close the path's open datagram, if there is one, and open another."""
        self.close(path)
        builder = self.open[path.id] = Builder(path)
        return builder

    def close(self, path: Path) -> None:
        """Nothing more goes into the path's open datagram."""
        builder = self.open.pop(path.id, None)
        if builder is not None and builder.size:
            self.done.append(builder)

    def fits(self, packet: Packet, path: Path) -> bool:
        """Does a packet fit into the path's open datagram?"""
        builder = self.open.get(path.id)
        return builder is not None and builder.fits_packet(len(packet.data))

    def add_packet(self, packet: Packet, path: Path) -> bool:
        """Put a packet that has its place in a lane onto a path, in two parts where it must be.

        False when even half of it is too big.
        """
        builder = self.open.get(path.id)
        size = len(packet.data)
        if builder is None or not builder.fits_packet(size):
            builder = self.begin(path)
            if not builder.fits_packet(size):
                return self._add_parts(packet, path)
        builder.add_packet(packet)
        path.planned += size + DATA_OVERHEAD
        return True

    def add_train(self, train: Train, path: Path) -> None:
        """Put segments that have their places in a lane into a datagram each."""
        self.close(path)
        self.done.append((path, train))
        path.planned += train.total + train.count * DATA_OVERHEAD

    def finish(self) -> list[Load]:
        """Close everything; return all datagrams in the order of sending."""
        self.done += [builder for builder in self.open.values() if builder.size]
        self.open.clear()
        return self.done

    def _add_parts(self, packet: Packet, path: Path) -> bool:
        if packet.flags & (FIRST_PART | LAST_PART):
            return False
        parts = split(packet.data, path.room - DATA_OVERHEAD)
        if parts is None:
            return False
        for flag, data in zip((FIRST_PART, LAST_PART), parts, strict=True):
            part = Packet(data, packet.flow, packet.kind, packet.queued, packet.scheduler)
            part.flags, part.lane, part.sequence = packet.flags | flag, packet.lane, packet.sequence
            part.sent, part.tries = packet.sent, packet.tries
            self.begin(path).add_packet(part)
            path.planned += len(data) + DATA_OVERHEAD
        return True
