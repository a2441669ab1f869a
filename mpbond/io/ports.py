"""The two doors of the core, as the driver sees them: a TUN device and UDP sockets.

Both deal in batches and never block. The real ones are `tun.TunDevice` and `udp.UdpSocket`; `fakes` has
doubles that pass the same conformance tests (tests/io/test_ports.py).
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol

Buffer = bytes | bytearray | memoryview


class Received(NamedTuple):
    """What one recvmsg brought: `data` is one datagram, or several of `segment_size` bytes; `time` is
    its arrival in seconds of time.monotonic()."""

    source: Hashable
    data: bytes
    segment_size: int | None
    time: float


class TunPort(Protocol):
    """Inner packets in and out."""

    name: str

    def fileno(self) -> int:
        """The descriptor to wait on."""

    def read(self, budget: int) -> list[bytes]:
        """Return up to `budget` packets that are there now."""

    def write(self, packets: Sequence[Buffer]) -> int:
        """Write packets; return how many the system refused."""

    def close(self) -> None:
        """Release the device."""


class UdpPort(Protocol):
    """Datagrams in and out."""

    mtu: int

    def fileno(self) -> int:
        """The descriptor to wait on."""

    def receive(self, budget: int) -> list[Received]:
        """Return what up to `budget` reads bring now."""

    def send(
        self,
        address: Hashable,
        buffers: Sequence[Buffer],
        segment_size: int | None,
        dscp: int = 0,
    ) -> str | None:
        """Send by one sendmsg, marked with `dscp`; return None, or the drop reason when it is refused."""

    def close(self) -> None:
        """Release the socket."""
