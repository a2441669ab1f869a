"""What the kernel tells about a TCP connection: TCP_INFO, and for MPTCP that of all its subflows.

The layout is that of `struct tcp_info` in <linux/tcp.h>, which only ever grows at its end. An MPTCP
socket answers through MPTCP_TCPINFO of <linux/mptcp.h>, whose argument goes both ways, which the
socket module cannot do: it is called through libc. Counters of a subflow that is gone are gone too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from typing import TypedDict

MPTCP = 262
"""IPPROTO_MPTCP, for which the socket module has no name."""

SOL_MPTCP = 284
MPTCP_TCPINFO = 2
SUBFLOWS = struct.Struct("=IIII")
"""Its own size, number of subflows, size of one in the kernel, and here."""

MOST_SUBFLOWS = 32
SIZE = 248
"""Bytes of `struct tcp_info` that are asked for; an older kernel gives fewer."""

LONGEST_NAME = 16
"""Bytes of the name of a congestion control, TCP_CA_NAME_MAX."""

RTT = 68
REORDERING = 88
TOTAL_RETRANS = 100
BYTES_ACKED = 120
DSACK_DUPS = 216

_libc = ctypes.CDLL(None, use_errno=True)


class Info(TypedDict):
    """A connection as its sender sees it."""

    retransmits: int
    """Segments sent again."""
    spurious: int
    """Segments that, as the receiver said, had been sent again for nothing."""
    acked: int
    """Bytes of payload acknowledged."""
    rtt: float
    """Smoothed round trip at the end; the longest of all subflows."""
    reordering: int
    """How many segments out of order the sender has learned to bear."""
    subflows: int
    congestion: str
    """The congestion control in use."""


def read(connection: socket.socket) -> Info:
    """Return what the kernel knows of a TCP or MPTCP connection."""
    named = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, LONGEST_NAME)
    congestion = named.rstrip(b"\0").decode()
    if connection.proto == MPTCP:
        with contextlib.suppress(OSError):  # it has fallen back to TCP
            return parse(_subflows(connection), congestion)
    return parse(
        [connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SIZE)],
        congestion,
    )


def parse(infos: list[bytes], congestion: str) -> Info:
    """Return the sums over `struct tcp_info` of a connection's subflows."""
    padded = [each.ljust(SIZE, b"\0") for each in infos]
    return Info(
        retransmits=sum(_u32(each, TOTAL_RETRANS) for each in padded),
        spurious=sum(_u32(each, DSACK_DUPS) for each in padded),
        acked=sum(int(struct.unpack_from("=Q", each, BYTES_ACKED)[0]) for each in padded),
        rtt=max((_u32(each, RTT) for each in padded), default=0) / 1e6,
        reordering=max((_u32(each, REORDERING) for each in padded), default=0),
        subflows=len(padded),
        congestion=congestion,
    )


def _u32(info: bytes, offset: int) -> int:
    return int(struct.unpack_from("=I", info, offset)[0])


def _subflows(connection: socket.socket) -> list[bytes]:
    buffer = ctypes.create_string_buffer(SUBFLOWS.size + MOST_SUBFLOWS * SIZE)
    SUBFLOWS.pack_into(buffer, 0, SUBFLOWS.size, 0, 0, SIZE)
    length = ctypes.c_uint32(len(buffer))
    failed = _libc.getsockopt(
        connection.fileno(), SOL_MPTCP, MPTCP_TCPINFO, buffer, ctypes.byref(length)
    )
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    _own, count, _kernel, _here = SUBFLOWS.unpack_from(buffer)
    count = min(count, MOST_SUBFLOWS)
    offsets = range(SUBFLOWS.size, SUBFLOWS.size + count * SIZE, SIZE)
    return [buffer.raw[at : at + SIZE] for at in offsets]
