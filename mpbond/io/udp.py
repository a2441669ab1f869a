"""UDP sockets: one per link on the client, one per address family on the server.

Every read asks the kernel when the datagram arrived (SO_TIMESTAMPNS), since the loop's wake-up may be
late, and where it was sent to (IP_PKTINFO), since a server with several addresses must answer from the
one it was spoken to. The kernel's stamp is of the wall clock; its distance to the monotonic clock is
measured once per batch.

Batches go both ways where the kernel has it. With UDP_GRO one read brings neighbouring datagrams of a flow
together. With UDP_SEGMENT one sendmsg takes several of one length, the last perhaps shorter. It may be
refused for reasons of its own: a device without checksum offload (EIO, kernels before 6.11), a device or a
driver that does not know it, segments beyond the route's MTU (only what is sent whole may be fragmented). A
refused batch is sent again datagram by datagram. If these go, and no limit was overstepped, batches are at
fault and given up for good on this socket. A full buffer is no such reason.

An address is a tuple (host, port, local address or None, scope id); the core never looks inside.
"""

import contextlib
import ctypes
import errno
import logging
import socket
import struct
import sys
import time
from collections.abc import Hashable, Sequence
from socket import IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, SOL_SOCKET
from typing import cast

from mpbond.core.transmit import MAXIMUM_SEGMENTS
from mpbond.errors import PlatformError
from mpbond.io.ports import Buffer, Received, Refusal

SO_TIMESTAMPNS = 35
SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_MEMINFO = 26, 27, 55
UDP_HEADER = 8  # bytes
IP_PKTINFO = 8
IPV6_RECVPKTINFO, IPV6_PKTINFO, IPV6_TCLASS = 49, 50, 67
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_DONT = 10, 23, 0
UDP_SEGMENT, UDP_GRO = 103, 104
IP_MTU, IPV6_MTU = 14, 24
BUFFER_SIZE = 4 << 20  # bytes of kernel buffer asked for in each direction
OVERHEAD = {socket.AF_INET: 28, socket.AF_INET6: 48}  # bytes of IP and UDP header
MAXIMUM_PAYLOAD = 65507

_INT = struct.Struct("=i")
_SHORT = struct.Struct("=H")
_TIMESPEC = struct.Struct("qq")
_PKTINFO4 = struct.Struct("=i4s4s")
_PKTINFO6 = struct.Struct("=16si")
_REFUSALS = {
    errno.EAGAIN: "send_buffer_full",
    errno.ENOBUFS: "send_buffer_full",
    errno.ENETUNREACH: "send_unreachable",
    errno.EHOSTUNREACH: "send_unreachable",
    errno.ENETDOWN: "send_unreachable",
    errno.ENODEV: "send_unreachable",
    errno.EADDRNOTAVAIL: "send_unreachable",
    errno.EMSGSIZE: "send_too_big",
    errno.EPERM: "send_not_permitted",
}

_NO_BATCHES = (errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.EOPNOTSUPP)
"""How the system refuses a batch although it may take its datagrams one by one."""

Endpoint = tuple[str, int, bytes | None, int]
Target = tuple[str, int] | tuple[str, int, int, int]

_log = logging.getLogger(__name__)


class UdpSocket:
    """A non-blocking UDP socket of one family. Raises PlatformError when it cannot be made.

    `offload` says whether it may send and receive several datagrams by one call.
    """

    def __init__(
        self,
        family: socket.AddressFamily,
        *,
        mtu: int,
        device: str | None = None,
        bind: tuple[str, int] | None = None,
        offload: bool = True,
    ) -> None:
        self.family = family
        self.mtu = mtu
        self._device = device
        self._gso = self._gro = self._may_gro = False
        buffer = bytearray(65536)
        self._buffers = [buffer]
        self._view = memoryview(buffer)
        # the last address and mark that were sent with, and what the system is told of them
        self._told: Hashable = None
        self._told_dscp = 0
        self._target: Target = ("", 0)
        self._ancillary: list[tuple[int, int, bytes]] = []
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._configure(device)
            if offload:
                self._probe()
            if bind is not None:
                self._socket.bind(bind)
        except OSError as error:
            self._socket.close()
            raise PlatformError(_explain(error, device, bind)) from error

    @property
    def offloads(self) -> tuple[str, ...]:
        """The names of the offloads in use."""
        return ("gso",) * self._gso + ("gro",) * self._gro

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def receive(self, budget: int) -> list[Received]:
        """Return about `budget` datagrams that are there now, in as few batches as they came in."""
        received: list[Received] = []
        offset = (time.time_ns() - time.monotonic_ns()) / 1e9
        recvmsg_into, buffers, view = self._socket.recvmsg_into, self._buffers, self._view
        while budget > 0:
            budget -= 1
            try:
                size, ancillary, _flags, source = recvmsg_into(buffers, 128)
            except BlockingIOError:
                break
            except OSError:
                continue  # an ICMP error of an earlier send: the path's timers know better
            stamp, local, segment = _read_ancillary(ancillary)
            if segment is not None:
                if 0 < segment < size:
                    budget -= (size - 1) // segment
                else:
                    segment = None
            arrival = stamp - offset if stamp is not None else time.monotonic()
            scope = source[3] if len(source) > 3 else 0
            place = (source[0], source[1], local, scope)
            received.append(Received(place, bytes(view[:size]), segment, arrival))
        return received

    def send(
        self,
        address: Hashable,
        buffers: Sequence[Buffer],
        segment_size: int | None,
        dscp: int = 0,
    ) -> Refusal | None:
        """Send a datagram, or several of `segment_size` bytes; return None, or what was refused.

        The datagrams carry `dscp` and are Not-ECT.
        """
        if address is not self._told or dscp != self._told_dscp:
            self._tell(cast("Endpoint", address), dscp)
        if segment_size is not None:
            return self._send_batch(buffers, segment_size, self._ancillary, self._target)
        try:
            self._socket.sendmsg(buffers, self._ancillary, 0, self._target)
        except OSError as error:
            return Refusal(_reason(error))
        return None

    def _tell(self, address: "Endpoint", dscp: int) -> None:
        """Put down what sendmsg takes for an address and a mark: most that is sent differs in neither."""
        host, port, local, scope = address
        ancillary: list[tuple[int, int, bytes]] = []
        target: Target
        if self.family == socket.AF_INET6:
            target = (host, port, 0, scope)
            if dscp:
                ancillary.append((IPPROTO_IPV6, IPV6_TCLASS, _INT.pack(dscp << 2)))
            if local is not None:
                ancillary.append((IPPROTO_IPV6, IPV6_PKTINFO, _PKTINFO6.pack(local, scope)))
        else:
            target = (host, port)
            if dscp:
                ancillary.append((IPPROTO_IP, socket.IP_TOS, _INT.pack(dscp << 2)))
            if local is not None:
                ancillary.append((IPPROTO_IP, IP_PKTINFO, _PKTINFO4.pack(0, local, b"\0\0\0\0")))
        self._told, self._told_dscp = address, dscp
        self._target, self._ancillary = target, ancillary

    def _send_batch(
        self,
        buffers: Sequence[Buffer],
        size: int,
        ancillary: list[tuple[int, int, bytes]],
        target: Target,
    ) -> Refusal | None:
        if not self._gso:
            return self._send_singly(buffers, size, ancillary, target)
        cut = (IPPROTO_UDP, UDP_SEGMENT, _SHORT.pack(size))
        try:
            self._socket.sendmsg(buffers, [*ancillary, cut], 0, target)
        except OSError as error:
            if error.errno not in _NO_BATCHES:
                return Refusal(_reason(error))
            refused = self._send_singly(buffers, size, ancillary, target)
            length = sum(map(len, buffers))
            within = length <= min(MAXIMUM_PAYLOAD, MAXIMUM_SEGMENTS * size)
            if refused is None and within and self._fits(size, target):
                self._gso = False
                _log.warning(
                    "a socket%s cannot send batches (%s): datagrams leave one by one from now on",
                    f" on {self._device}" if self._device else "",
                    error.strerror,
                )
            return refused
        return None

    def _send_singly(
        self,
        buffers: Sequence[Buffer],
        size: int,
        ancillary: list[tuple[int, int, bytes]],
        target: Target,
    ) -> Refusal | None:
        data = memoryview(b"".join(buffers))
        for sent, at in enumerate(range(0, len(data), size)):
            try:
                self._socket.sendmsg([data[at : at + size]], ancillary, 0, target)
            except OSError as error:
                return Refusal(_reason(error), sent)
        return None

    def _fits(self, size: int, target: Target) -> bool:
        """Does the route there take so much in one packet, as far as the system knows?"""
        six = self.family == socket.AF_INET6
        level, option = (IPPROTO_IPV6, IPV6_MTU) if six else (IPPROTO_IP, IP_MTU)
        with socket.socket(self.family, socket.SOCK_DGRAM) as probe:
            try:
                if self._device is not None:
                    device = self._device.encode()
                    probe.setsockopt(SOL_SOCKET, socket.SO_BINDTODEVICE, device)
                probe.connect(target)
                mtu = probe.getsockopt(level, option)
            except OSError:
                return False
        return size + OVERHEAD[self.family] <= mtu

    def admit_handshakes(self, share: float | None, kind: int, size: int) -> None:
        """Let the kernel pass only a random share of the datagrams of a kind; None: all of them.

        `kind` is their first byte, `size` the only length they may have. Everything else passes. While
        that lasts nothing is received in batches: the filter would see but the first of each.
        """
        if share is None:
            self._socket.setsockopt(SOL_SOCKET, SO_DETACH_FILTER, 0)
            self._receive_batches(self._may_gro)
            return
        self._receive_batches(False)
        program = _handshake_filter(share, kind, size)
        buffer = ctypes.create_string_buffer(program)
        header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
        self._socket.setsockopt(SOL_SOCKET, SO_ATTACH_FILTER, header)

    def kernel_drops(self) -> int:
        """Return how many datagrams the kernel has dropped: filtered, or the buffer was full."""
        info = self._socket.getsockopt(SOL_SOCKET, SO_MEMINFO, 36)
        return int.from_bytes(info[32:36], sys.byteorder)

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()

    def _probe(self) -> None:
        """Find out what this kernel's sockets know; whether devices do shows when something is sent."""
        with contextlib.suppress(OSError):
            self._socket.getsockopt(IPPROTO_UDP, UDP_SEGMENT)
            self._gso = True
        with contextlib.suppress(OSError):
            self._receive_batches(True)
            self._may_gro = True

    def _receive_batches(self, on: bool) -> None:
        if on != self._gro:
            self._socket.setsockopt(IPPROTO_UDP, UDP_GRO, on)
            self._gro = on

    def _configure(self, device: str | None) -> None:
        sock = self._socket
        if self.family == socket.AF_INET6:
            sock.setsockopt(IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(IPPROTO_IP, IP_PKTINFO, 1)
        sock.setsockopt(SOL_SOCKET, SO_TIMESTAMPNS, 1)
        # until paths discover their MTU: rather a fragment than a black hole beyond the link
        if self.family == socket.AF_INET6:
            sock.setsockopt(IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DONT)
        else:
            sock.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DONT)
        if device is not None:
            sock.setsockopt(SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        for force, plain in ((33, socket.SO_RCVBUF), (32, socket.SO_SNDBUF)):
            try:
                sock.setsockopt(SOL_SOCKET, force, BUFFER_SIZE)  # SO_…BUFFORCE
            except PermissionError:
                sock.setsockopt(SOL_SOCKET, plain, BUFFER_SIZE)


def _reason(error: OSError) -> str:
    """Return the drop reason for an error of sendmsg."""
    return _REFUSALS.get(error.errno or 0, "send_failed")


def _handshake_filter(share: float, kind: int, size: int) -> bytes:
    """Return a classic BPF program; the packet begins with the UDP header."""
    threshold = min(0xFFFFFFFF, int(share * 2**32))
    load_byte, load_length, load_word = 0x30, 0x80, 0x20
    equal, at_least, give = 0x15, 0x35, 0x06
    random_word = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM
    program = (
        (load_byte, 0, 0, UDP_HEADER),
        (equal, 0, 4, kind),  # another kind passes
        (load_length, 0, 0, 0),
        (equal, 0, 3, UDP_HEADER + size),  # of a wrong length: dropped
        (load_word, 0, 0, random_word),
        (at_least, 1, 0, threshold),
        (give, 0, 0, 0xFFFFFFFF),
        (give, 0, 0, 0),
    )
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def payload_mtu(link_mtu: int, family: socket.AddressFamily) -> int:
    """Return the largest UDP payload for a link MTU in bytes."""
    return min(MAXIMUM_PAYLOAD, link_mtu - OVERHEAD[family])


def _read_ancillary(
    items: list[tuple[int, int, bytes]],
) -> tuple[float | None, bytes | None, int | None]:
    """Return the arrival in wall-clock seconds, the local address and the length to cut at, if told."""
    stamp = local = segment = None
    for level, kind, data in items:
        if kind == SO_TIMESTAMPNS and level == SOL_SOCKET:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            stamp = seconds + nanoseconds / 1e9
        elif kind == IP_PKTINFO and level == IPPROTO_IP:
            local = data[4:8]
        elif kind == IPV6_PKTINFO and level == IPPROTO_IPV6:
            local = data[:16]
        elif kind == UDP_GRO and level == IPPROTO_UDP:
            segment = _INT.unpack_from(data)[0]
    return stamp, local, segment


def _explain(error: OSError, device: str | None, bind: tuple[str, int] | None) -> str:
    if error.errno == errno.EADDRINUSE and bind is not None:
        return (
            f"UDP port {bind[1]} is already in use: stop the program that has it "
            f"(ss -ulpn 'sport = :{bind[1]}') or choose another port in [server] listen."
        )
    if error.errno == errno.EADDRNOTAVAIL and bind is not None:
        return f"No interface of this machine has the address {bind[0]} of [server] listen."
    if error.errno == errno.ENODEV:
        return f"There is no interface named {device}."
    if error.errno == errno.EPERM:
        return (
            "A socket cannot be bound to an interface without CAP_NET_RAW: run as root or grant it."
        )
    if error.errno == errno.EACCES and bind is not None:
        return f"UDP port {bind[1]} needs CAP_NET_BIND_SERVICE: choose one above 1023 or grant it."
    return f"A UDP socket cannot be opened: {error.strerror}."
