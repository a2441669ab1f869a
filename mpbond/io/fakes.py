"""Doubles of the ports, for driving the shell without root: socket pairs that keep message boundaries."""

import socket
import time
from collections.abc import Hashable, Sequence

from mpbond.io.ports import Buffer, Received


class FakeTun:
    """A TUN device whose kernel side is `far`, a socket of whole packets."""

    def __init__(self, name: str = "fake0") -> None:
        self.name = name
        self._near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._near.setblocking(False)
        self.far.setblocking(False)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._near.fileno()

    def read(self, budget: int) -> list[bytes]:
        """Return up to `budget` packets that are there now."""
        packets = []
        try:
            for _ in range(budget):
                packets.append(self._near.recv(65536))  # noqa: PERF401 (an exception ends it)
        except BlockingIOError:
            pass
        return packets

    def write(self, packets: Sequence[Buffer]) -> int:
        """Write packets; return how many were refused."""
        refused = 0
        for packet in packets:
            try:
                self._near.send(packet)
            except OSError:
                refused += 1
        return refused

    def close(self) -> None:
        """Release both ends."""
        self._near.close()
        self.far.close()


class FakeUdp:
    """A UDP socket that knows one peer: what is sent arrives at the other half of `pair`."""

    def __init__(self, near: socket.socket, source: Hashable, mtu: int = 1472) -> None:
        self.mtu = mtu
        self._near = near
        self._source = source
        self._near.setblocking(False)

    @classmethod
    def pair(cls, source_a: Hashable, source_b: Hashable) -> tuple["FakeUdp", "FakeUdp"]:
        """Return two sockets whose datagrams come from these addresses."""
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        return cls(a, source_b), cls(b, source_a)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._near.fileno()

    def receive(self, budget: int) -> list[Received]:
        """Return what up to `budget` reads bring now."""
        received = []
        try:
            for _ in range(budget):
                data = self._near.recv(65536)
                received.append(Received(self._source, data, None, time.monotonic()))
        except BlockingIOError:
            pass
        return received

    def send(
        self,
        address: Hashable,
        buffers: Sequence[Buffer],
        segment_size: int | None,
        dscp: int = 0,
    ) -> str | None:
        """Send by one sendmsg; return None, or the drop reason. A mark has nowhere to stand here."""
        if sum(map(len, buffers)) > self.mtu and segment_size is None:
            return "send_too_big"
        try:
            self._near.sendmsg(list(buffers))
        except OSError:
            return "send_buffer_full"
        return None

    def close(self) -> None:
        """Release the socket."""
        self._near.close()
