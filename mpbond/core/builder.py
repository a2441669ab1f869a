"""One datagram's frames while it is being filled.

Control frames stand first, packets behind them; the last packet needs no length. Whether a packet is the
last is known only when the datagram is closed, so the heads are written then.
"""

from typing import Final

from mpbond.core.packet import Packet
from mpbond.core.path import Address, Path
from mpbond.core.wire import DATA_OVERHEAD, data_head, padding, position

_LENGTH: Final = 2
_NEXT_OVERHEAD: Final = DATA_OVERHEAD - 3 + _LENGTH  # a further packet: no send order, but a length


class Builder:
    """An open datagram of one path. `size` is what its frames take so far, in bytes."""

    __slots__ = (
        "_frames",
        "address",
        "eliciting",
        "packets",
        "path",
        "reported",
        "resend",
        "size",
    )

    def __init__(self, path: Path, address: Address = None) -> None:
        self.path = path
        self.address = address if address is not None else path.remote
        self.size = 0
        self.packets: list[Packet] = []
        self.resend: tuple[bytes, ...] = ()
        self.reported: dict[int, int] | None = None
        self.eliciting = False
        self._frames: list[bytes] = []

    @property
    def socket(self) -> int:
        """Where it leaves: a claimed address may have been seen on another socket than the path's."""
        roaming = self.path.roaming
        if roaming is not None and self.address == roaming.address:
            return roaming.socket
        return self.path.socket

    def fits(self, frame: bytes) -> bool:
        """Is there room for a control frame?"""
        return self.size + len(frame) <= self.path.room

    def add(self, frame: bytes, *, eliciting: bool, resend: bool = False) -> None:
        """Append a control frame."""
        self._frames.append(frame)
        self.size += len(frame)
        self.eliciting |= eliciting
        if resend:
            self.resend += (frame,)

    def fits_packet(self, length: int) -> bool:
        """Is there room for a packet of `length` bytes?"""
        overhead = _NEXT_OVERHEAD if self.packets else DATA_OVERHEAD
        return self.size + overhead + length <= self.path.room

    def add_packet(self, packet: Packet) -> None:
        """Append a packet that has its place in a lane."""
        self.size += (_NEXT_OVERHEAD if self.packets else DATA_OVERHEAD) + len(packet.data)
        self.packets.append(packet)
        self.eliciting = True

    def close(self, order: int) -> bytes:
        """Return the frames as one plaintext; `order` is the datagram's send order if it has packets."""
        out = self._frames
        if not self.packets:
            out.append(padding(self.size))
            return b"".join(out)
        last = len(self.packets) - 1
        for at, packet in enumerate(self.packets):
            length = None if at == last else len(packet.data)
            place = position(packet.lane, packet.sequence)
            out.append(data_head(packet.flags, place, None if at else order, length))
            out.append(packet.data)
        return b"".join(out)
