"""A download over QUIC with aioquic, which is all Python: good for what a tunnel does to QUIC.

The protocol is driven by a loop of its own rather than asyncio: bound to a device, begun at the agreed
moment. The client asks, on one stream, for half of what it lets the server owe it whenever it has got
as much; so the server has always something to send, and never piles up more.

aioquic carries some 50 to 200 Mbit/s on one core. The figures say what each end used; when that is near
a whole core, the generator was the limit, and not the network.
"""

from __future__ import annotations

import contextlib
import select
import ssl
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

from bench.lab.certificates import self_signed
from bench.lab.traffic import program
from bench.lab.traffic.meter import Meter

try:
    from aioquic._buffer import Buffer
    from aioquic.quic import events
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.connection import QuicConnection
    from aioquic.quic.packet import QuicPacketType, pull_quic_header
except ImportError:  # pragma: no cover
    QUIC = False
else:
    QUIC = True


if TYPE_CHECKING:
    import socket

    from bench.lab.traffic.program import Plan, Stopwatch

ALPN = ["bulk"]
ASK = struct.Struct("!I")
OWED = 8 << 20
"""Bytes the client lets the server owe it."""
WINDOW = 16 << 20
"""Bytes of flow control: so much that congestion control alone decides."""
BUFFER = 8 << 20
SMALLEST_INITIAL = 1200
LARGEST = 65536
GRACE = 0.3
"""Seconds for which the server outlasts the client."""


def serve(plan: Plan) -> dict[str, Any]:
    """Be the server, for one connection."""
    configuration = _configuration(plan, is_client=False)
    configuration.certificate, configuration.private_key = self_signed("bench")
    with program.udp_socket(plan, buffer=BUFFER) as port:
        program.listen_at(port, plan)
        watch = program.meet(plan)
        end = End(port, None, plan, watch)
        end.configuration = configuration
        end.run(watch.end + GRACE)
        return {"sent": end.sent, **watch.figures()}


def fetch(plan: Plan) -> dict[str, Any]:
    """Be the client."""
    configuration = _configuration(plan, is_client=True)
    program.require_route(plan)
    with program.udp_socket(plan, buffer=BUFFER, device=True) as port:
        watch = program.meet(plan)
        end = End(port, QuicConnection(configuration=configuration), plan, watch)
        end.meter = Meter(watch.start, watch.end)
        watch.wait()
        end.connect()
        end.run(watch.end)
        figures = watch.figures()
        end.close()
        return {
            "bytes": end.meter.bytes,
            "timeline": end.meter.timeline,
            "longest_stall": end.meter.longest_stall,
            "connected": end.connected,
            "error": end.error,
            **figures,
        }


class End:
    """One end of a connection, and the loop that drives it."""

    def __init__(
        self,
        port: socket.socket,
        connection: QuicConnection | None,
        plan: Plan,
        watch: Stopwatch,
    ) -> None:
        self._port = port
        self._watch = watch
        self._connection = connection
        self._plan = plan
        self._stream = 0
        self._request = b""
        self._unasked = 0
        self.configuration: QuicConfiguration | None = None
        self.meter: Meter | None = None
        self.connected = False
        self.error: str | None = None
        self.sent = 0

    def connect(self) -> None:
        """Begin the handshake, and ask for the first bytes."""
        assert self._connection is not None
        self._connection.connect((self._plan["target"], self._plan["port"]), time.monotonic())
        self._stream = self._connection.get_next_available_stream_id()
        self._connection.send_stream_data(self._stream, ASK.pack(OWED))

    def close(self) -> None:
        """Tell the other end that this one goes."""
        if self._connection is not None:
            self._connection.close()
            self._transmit()

    def run(self, until: float) -> None:
        """Go on until then; a server also ends when its standard input does."""
        watched = [self._port] if self.meter is not None else [self._port, sys.stdin]
        while (now := time.monotonic()) < until and self.error is None:
            timer = None if self._connection is None else self._connection.get_timer()
            wake = until if timer is None else min(until, timer)
            ready = select.select(watched, (), (), max(0.0, wake - now))[0]
            if sys.stdin in ready:
                return
            if ready:
                self._receive()
            else:
                self._watch.fired(max(wake, now))
            if self._connection is None:
                continue
            now = time.monotonic()
            if timer is not None and now >= timer:
                self._connection.handle_timer(now)
            self._heed(now)
            self._transmit()

    def _receive(self) -> None:
        with contextlib.suppress(OSError):  # nothing is there any more, or ICMP says so
            for _ in range(64):  # then acknowledge: a full socket must not delay that
                data, source = self._port.recvfrom(LARGEST)
                if self._connection is None:
                    self._connection = self._accept(data)
                if self._connection is not None:
                    self._connection.receive_datagram(data, source, time.monotonic())

    def _accept(self, data: bytes) -> QuicConnection | None:
        assert self.configuration is not None
        length = self.configuration.connection_id_length
        header = pull_quic_header(Buffer(data=data), host_cid_length=length)
        if header.packet_type != QuicPacketType.INITIAL or len(data) < SMALLEST_INITIAL:
            return None
        return QuicConnection(
            configuration=self.configuration,
            original_destination_connection_id=header.destination_cid,
        )

    def _heed(self, now: float) -> None:
        assert self._connection is not None
        while (event := self._connection.next_event()) is not None:
            if isinstance(event, events.StreamDataReceived):
                if self.meter is None:
                    self._owe(event.stream_id, event.data)
                else:
                    self._count(len(event.data), now)
            elif isinstance(event, events.HandshakeCompleted):
                self.connected = True
            elif isinstance(event, events.ConnectionTerminated):
                self.error = event.reason_phrase or f"closed with code {event.error_code:#x}"

    def _owe(self, stream: int, data: bytes) -> None:
        assert self._connection is not None
        self._request += data
        while len(self._request) >= ASK.size:
            (wanted,) = ASK.unpack_from(self._request)
            self._request = self._request[ASK.size :]
            self._connection.send_stream_data(stream, bytes(wanted))
            self.sent += wanted

    def _count(self, count: int, now: float) -> None:
        assert self._connection is not None
        assert self.meter is not None
        self.meter.add(now, count)
        self._unasked += count
        if self._unasked >= OWED // 2:
            self._connection.send_stream_data(self._stream, ASK.pack(self._unasked))
            self._unasked = 0

    def _transmit(self) -> None:
        assert self._connection is not None
        for data, address in self._connection.datagrams_to_send(time.monotonic()):
            with contextlib.suppress(OSError):  # no room or no route: lost, and sent again
                self._port.sendto(data, address)


def _configuration(plan: Plan, *, is_client: bool) -> QuicConfiguration:
    if not QUIC:
        raise program.TrafficError(
            "aioquic is not installed, which QUIC is made with; `pip install aioquic` does that"
        )
    return QuicConfiguration(
        alpn_protocols=ALPN,
        congestion_control_algorithm=plan["congestion"],
        is_client=is_client,
        max_data=WINDOW,
        max_stream_data=WINDOW,
        server_name="bench",
        verify_mode=ssl.CERT_NONE,
    )


if __name__ == "__main__":
    program.run({"serve": serve, "fetch": fetch})
