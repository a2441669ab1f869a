"""The two doors of the core, as the driver sees them: a TUN device and UDP sockets.

Both deal in batches and never block. `offloads` names what the kernel does for them at present
(docs/operations.md); where that is nothing they do it themselves, so that it changes only what it costs.
The real ones are `tun.TunDevice` and `udp.UdpSocket`; `fakes` has doubles that pass the same conformance
tests (tests/io/test_ports.py).
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol

Buffer = bytes | bytearray | memoryview


class Refusal(NamedTuple):
    """Why the system did not take a sendmsg: a drop reason, and how many of its datagrams had left."""

    reason: str
    sent: int = 0


class Received(NamedTuple):
    """What one recvmsg brought: `data` is one datagram, or several of `segment_size` bytes, the last
    perhaps shorter; `time` is their arrival in seconds of time.monotonic()."""

    source: Hashable
    data: bytes
    segment_size: int | None
    time: float


class TunPort(Protocol):
    """Inner packets in and out; some are `Unfinished`, and of those some super-packets."""

    name: str

    @property
    def offloads(self) -> tuple[str, ...]:
        """What is in use of "csum", "tso4", "tso6", "tso_ecn", "uso4", "uso6"."""

    @property
    def unreadable(self) -> int:
        """How many super-packets were read that cannot be cut."""

    def fileno(self) -> int:
        """The descriptor to wait on."""

    def read(self, budget: int) -> list[bytes]:
        """Return about `budget` packets that are there now; a super-packet counts as many as it is."""

    def write(self, packets: Sequence[bytes]) -> int:
        """Write packets, neighbouring segments together; return how many the system refused."""

    def close(self) -> None:
        """Release the device."""


class UdpPort(Protocol):
    """Datagrams in and out."""

    mtu: int

    @property
    def offloads(self) -> tuple[str, ...]:
        """What is in use of "gso" and "gro"."""

    def fileno(self) -> int:
        """The descriptor to wait on."""

    def receive(self, budget: int) -> list[Received]:
        """Return about `budget` datagrams that are there now, in as few batches as they came in."""

    def send(
        self,
        address: Hashable,
        buffers: Sequence[Buffer],
        segment_size: int | None,
        dscp: int = 0,
    ) -> Refusal | None:
        """Send what is in `buffers`, cut every `segment_size` bytes, marked with `dscp`.

        It takes one sendmsg, or one for each datagram where the system has no offload. Return None, or
        what was refused. At most transmit.MAXIMUM_SEGMENTS at a time.
        """

    def close(self) -> None:
        """Release the socket."""
