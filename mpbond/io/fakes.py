"""Doubles of the ports, for driving the shell without root: socket pairs that keep message boundaries."""

import socket
import time
from collections.abc import Hashable, Sequence

from mpbond.io.ports import Buffer, Received, Refusal
from mpbond.io.vnet import OFFERS, VnetPort


class FakeTun:
    """A TUN device whose kernel side is `far`, a socket of whole packets.

    With `offload` a header stands before each of them, both ways, as `segments.to_vnet` makes it.
    """

    def __init__(self, name: str = "fake0", *, offload: bool = False) -> None:
        self.name = name
        self._near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._near.setblocking(False)
        self.far.setblocking(False)
        self.asked: list[int] = []  # changes of what is offered, newest last
        offers = OFFERS[0] if offload else None
        self._packets = VnetPort(self._near.fileno(), name, offers, self.asked.append)

    @property
    def offloads(self) -> tuple[str, ...]:
        """The names of the offloads in use."""
        return self._packets.offloads

    @property
    def unreadable(self) -> int:
        """How many super-packets were read that cannot be cut."""
        return self._packets.unreadable

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._near.fileno()

    def read(self, budget: int) -> list[bytes]:
        """Return about `budget` packets that are there now."""
        return self._packets.read(budget)

    def write(self, packets: Sequence[bytes]) -> int:
        """Write packets; return how many were refused."""
        return self._packets.write(packets)

    def close(self) -> None:
        """Release both ends."""
        self._near.close()
        self.far.close()


class FakeUdp:
    """A UDP socket that knows one peer: what is sent arrives at the other half of `pair`.

    A batch leaves as its datagrams; with `coalesce` a read puts neighbours of equal length together.
    """

    def __init__(
        self, near: socket.socket, source: Hashable, mtu: int = 1472, *, coalesce: bool = False
    ) -> None:
        self.mtu = mtu
        self._near = near
        self._source = source
        self._coalesce = coalesce
        self._run = 0  # datagrams in the batch that is being put together
        self._near.setblocking(False)

    @classmethod
    def pair(
        cls, source_a: Hashable, source_b: Hashable, *, coalesce: bool = False
    ) -> tuple["FakeUdp", "FakeUdp"]:
        """Return two sockets whose datagrams come from these addresses."""
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        return cls(a, source_b, coalesce=coalesce), cls(b, source_a, coalesce=coalesce)

    @property
    def offloads(self) -> tuple[str, ...]:
        """The names of the offloads in use."""
        return ("gso", "gro") if self._coalesce else ("gso",)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._near.fileno()

    def receive(self, budget: int) -> list[Received]:
        """Return up to `budget` datagrams that are there now."""
        received: list[Received] = []
        try:
            for _ in range(budget):
                self._take(self._near.recv(65536), received)
        except BlockingIOError:
            pass
        return received

    def _take(self, data: bytes, received: list[Received]) -> None:
        last = received[-1] if received and self._coalesce else None
        if last is not None:
            size = last.segment_size or len(last.data)
            whole = len(last.data) + len(data) <= 65507 and len(last.data) == size * self._run
            if 0 < len(data) <= size and whole:
                self._run += 1
                received[-1] = last._replace(data=last.data + data, segment_size=size)
                return
        self._run = 1
        received.append(Received(self._source, data, None, time.monotonic()))

    def send(
        self,
        address: Hashable,
        buffers: Sequence[Buffer],
        segment_size: int | None,
        dscp: int = 0,
    ) -> Refusal | None:
        """Send datagrams; return None, or what was refused. A mark has nowhere to stand here."""
        data = b"".join(buffers)
        size = segment_size or max(1, len(data))
        if min(size, len(data)) > self.mtu:
            return Refusal("send_too_big")
        for sent, at in enumerate(range(0, max(1, len(data)), size)):
            try:
                self._near.send(data[at : at + size])
            except OSError:
                return Refusal("send_buffer_full", sent)
        return None

    def close(self) -> None:
        """Release the socket."""
        self._near.close()
