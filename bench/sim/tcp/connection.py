"""One end of a TCP connection: handshake, the two streams, and the end of it.

A connection knows neither network nor clock. Whoever drives it hands in packets (`handle`) and the time,
takes packets (`poll`) after everything that may have made some, and calls `handle_timeout` when the time
of `next_timeout` has come. Nothing is left to chance: equal calls make equal packets.

Numbers on the wire wrap; inside they do not. The model follows Linux 6.x where it matters for
throughput and recovery (see `sender`, `recovery`, `receiver`, `cubic`, `bbr`). What it leaves out: urgent
data, window probes (a receiver reads at once), path MTU discovery, segmentation offload, and resets other
than giving up.
"""

from __future__ import annotations

from typing import Self

from bench.sim.tcp.flow import NEVER, ticks
from bench.sim.tcp.receiver import SCALE, WINDOW, Receiver
from bench.sim.tcp.segment import (
    ACK,
    CWR,
    ECE,
    ECT,
    FIN,
    HALF,
    MASK,
    PSH,
    RST,
    SYN,
    TIMESTAMPS,
    Address,
    Builder,
    Handshake,
    addresses_of,
    congested,
    flags_of,
    read,
    read_handshake,
)
from bench.sim.tcp.sender import Sender

SYN_TIMEOUT = 1.0
SYN_TRIES = 7
MOST_TIMEOUTS = 15
ADVERTISED = min(0xFFFF, WINDOW >> SCALE)


class Connection:
    """One end of a connection, opened by `connect` here and by `accept` at the other end."""

    def __init__(
        self,
        *,
        local: Address,
        remote: Address,
        congestion: str = "cubic",
        mss: int = 1398,
        tos: int = 0,
        ecn: bool = False,
        sequence: int | None = None,
    ) -> None:
        """Describe an end; addresses are packed.

        `mss` is what is announced: the MTU less the IP and TCP headers without options.
        `congestion` is "cubic" or "bbr". `ecn` lets data be marked instead of dropped. `sequence`
        is the number of the SYN, made from the ports if not given.
        """
        if sequence is None:
            sequence = (local[1] * 0x9E3779B1 ^ remote[1] * 0x85EBCA6B) & MASK
        self.local = local
        self.remote = remote
        self.mss = mss
        self.state = "closed"
        self.established_at: float | None = None
        """When the handshake was through."""
        self._congestion = congestion
        self._ecn = ecn
        self._iss = sequence
        self._builder = Builder(local, remote, tos)
        self._sender: Sender | None = None
        self._receiver: Receiver | None = None
        self._packets: list[bytes] = []
        self._pending: int | None = 0  # written before the handshake was through
        self._closing = False
        self._syn_flags = SYN
        self._syn_sent = 0.0
        self._syn_tries = 0
        self._syn_at = NEVER
        self._timer_at = NEVER
        self._scale = SCALE
        self._now = 0.0
        self._echo_congestion = False
        self._reduced = False
        self._marks = 0

    @classmethod
    def accept(
        cls,
        packet: bytes,
        now: float,
        *,
        congestion: str = "cubic",
        mss: int = 1398,
        tos: int = 0,
        ecn: bool = False,
        sequence: int | None = None,
    ) -> Self:
        """The end that answers the SYN in `packet`; ValueError when there is none."""
        if flags_of(packet) & (SYN | ACK | RST) != SYN:
            raise ValueError("a connection is accepted with a SYN")
        remote, local = addresses_of(packet)
        end = cls(
            local=local,
            remote=remote,
            congestion=congestion,
            mss=mss,
            tos=tos,
            ecn=ecn,
            sequence=sequence,
        )
        end._now = now
        segment, options = read_handshake(packet)
        end._begin_receiving(segment.sequence, segment.value, options)
        end.state = "syn-received"
        end._syn_flags = SYN | ACK
        end._send_syn(now)
        return end

    # What an application does

    def connect(self, now: float) -> None:
        """Begin the handshake."""
        self._now = now
        self.state = "syn-sent"
        self._send_syn(now)

    def write(self, count: int | None, now: float) -> None:
        """Have `count` more bytes to send; with None there is always more."""
        if self._sender is None:
            if count is None or self._pending is None:
                self._pending = None
            else:
                self._pending += count
            return
        self._sender.flow.now = now
        self._sender.output.write(count)

    def close(self, now: float) -> None:
        """Send no more than what has been written, then a FIN; an endless stream ends here."""
        self._closing = True
        if self._sender is not None:
            output = self._sender.output
            output.closing = True
            if output.available == NEVER:
                output.available = self._sender.flow.nxt

    # What the network does

    def handle(self, packet: bytes, now: float) -> None:
        """A packet for this connection has come."""
        self._now = now
        if self.state == "closed":
            return
        flags = flags_of(packet)
        if flags & RST:
            self._end()
        elif flags & SYN:
            self._handle_syn(packet, flags, now)
        elif self._receiver is not None and flags & ACK:
            self._handle_segment(packet, now)

    def poll(self, now: float) -> list[bytes]:
        """The packets that leave now."""
        self._now = now
        packets = self._packets
        self._packets = []
        sender, receiver = self._sender, self._receiver
        if sender is None or receiver is None or self._syn_at != NEVER:
            return packets
        sender.flow.now = now
        output = sender.output
        output.go_on()
        if output.packets:
            packets += output.packets
            output.packets.clear()
            if not receiver.selective:
                receiver.acknowledged()  # every data packet acknowledges
        if receiver.ack_now or receiver.ack_at <= now:
            packets.append(self._acknowledgement(sender, receiver, now))
        return packets

    def next_timeout(self) -> float:
        """When `handle_timeout` is due; infinite when it is not."""
        sender, receiver = self._sender, self._receiver
        if sender is None or receiver is None:
            return self._syn_at
        return min(self._syn_at, sender.timer.at, sender.output.pace_at, receiver.ack_at)

    def handle_timeout(self, now: float) -> None:
        """Do what is due by now; `poll` brings the packets."""
        self._now = now
        if self._syn_at <= now:
            if self._syn_tries >= SYN_TRIES:
                self._end()
                return
            self._send_syn(now)
        sender = self._sender
        if sender is not None and sender.timer.at <= now:
            sender.handle_timeout(now)
            if sender.timeouts > MOST_TIMEOUTS:
                self._end()

    # What can be seen

    @property
    def established(self) -> bool:
        """Whether the handshake is through and the connection has not ended."""
        return self.state not in ("closed", "syn-sent", "syn-received")

    @property
    def received(self) -> int:
        """Bytes that the application has got, in order."""
        return self._receiver.received if self._receiver is not None else 0

    @property
    def finished(self) -> bool:
        """Whether the other end has closed and all of its bytes have come."""
        return self._receiver is not None and self._receiver.finished

    @property
    def acked(self) -> int:
        """Bytes of payload that the other end has acknowledged."""
        sender = self._sender
        if sender is None:
            return 0
        fin = sender.output.fin
        over = 1 if fin is not None and sender.flow.una > fin else 0
        return sender.flow.una - self._iss - 1 - over

    @property
    def retransmits(self) -> int:
        """Packets sent again."""
        return self._sender.flow.retransmits if self._sender is not None else 0

    @property
    def cwnd(self) -> int:
        """The congestion window, in bytes; 0 before the handshake is through."""
        flow = self._sender.flow if self._sender is not None else None
        return flow.cwnd * flow.mss if flow is not None else 0

    @property
    def srtt(self) -> float:
        """The smoothed round trip in s, 0 when there is none yet."""
        return self._sender.flow.srtt if self._sender is not None else 0.0

    @property
    def sender(self) -> Sender:
        """The sending half; ValueError before the handshake has come to it."""
        if self._sender is None:
            raise ValueError("a connection has a sender once the other end has been heard")
        return self._sender

    # The handshake

    def _send_syn(self, now: float) -> None:
        if not self._syn_tries:
            self._syn_sent = now
        self._packets.append(
            self._builder.handshake(
                self._iss,
                self._receiver.next if self._receiver is not None else 0,
                self._syn_flags,
                ticks(now),
                self._receiver.recent if self._receiver is not None else 0,
                Handshake(self.mss, SCALE),
            )
        )
        self._syn_at = now + SYN_TIMEOUT * 2**self._syn_tries
        self._syn_tries += 1

    def _begin_receiving(self, sequence: int, value: int, options: Handshake) -> None:
        """The other end's SYN has come."""
        payload = min(self.mss, options.mss) - TIMESTAMPS
        self._receiver = Receiver(sequence + 1, payload)
        self._receiver.recent = value
        self._scale = options.scale
        self._sender = Sender(payload, self._iss + 1, self._congestion, self._make)
        output = self._sender.output
        output.window_end = self._iss + 1 + 0xFFFF
        output.write(self._pending)
        output.closing = self._closing

    def _handle_syn(self, packet: bytes, flags: int, now: float) -> None:
        if self.state == "syn-sent" and flags & ACK:
            segment, options = read_handshake(packet)
            if segment.acknowledged != (self._iss + 1) & MASK:
                return
            self._begin_receiving(segment.sequence, segment.value, options)
            self._establish(now)
            assert self._receiver is not None
            self._receiver.ack_now = True
        elif flags & ACK:
            if self._receiver is not None:
                self._receiver.ack_now = True  # our ACK of it was lost
        elif self.state == "syn-received":
            self._send_syn(now)

    def _establish(self, now: float) -> None:
        assert self._sender is not None
        assert self._receiver is not None
        self._syn_at = NEVER
        self.state = "established"
        self.established_at = now
        round_trip = now - self._syn_sent if self._syn_tries == 1 else None
        self._sender.start(now, round_trip)
        self._receiver.round_trip = round_trip or 0.0

    # Segments

    def _handle_segment(self, packet: bytes, now: float) -> None:
        sender, receiver = self._sender, self._receiver
        assert sender is not None
        assert receiver is not None
        sequence, acknowledged, flags, window, value, echo, edges, length = read(packet)
        flow = sender.flow
        ack = flow.una + ((acknowledged - flow.una + HALF) & MASK) - HALF
        if self._syn_at != NEVER:
            if ack <= self._iss:
                return
            self._establish(now)
        start = receiver.next + ((sequence - receiver.next + HALF) & MASK) - HALF
        if value < receiver.recent and not length and ack < flow.una:
            return  # PAWS: overtaken by a newer acknowledgement
        if length or flags & FIN:
            self._take(packet, start, length, value, flags, now)
        elif value > receiver.recent and start == receiver.next:
            receiver.recent = value
        end = ack + (window << self._scale)
        output = sender.output
        output.window_end = max(output.window_end, end)
        sender.acknowledge(
            ack,
            self._unwrap(edges, flow.una) if edges else [],
            echo,
            carries=length > 0,
            ece=bool(flags & ECE) and self._ecn,
            now=now,
        )
        if flags & ECE and self._ecn:
            self._reduced = True
        if output.fin is not None or receiver.finished:
            self._see_end()

    def _unwrap(self, edges: tuple[int, ...], near: int) -> list[tuple[int, int]]:
        low = near - HALF
        whole = [low + ((edge - low) & MASK) for edge in edges]
        return list(zip(whole[::2], whole[1::2], strict=True))

    def _take(
        self, packet: bytes, start: int, length: int, value: int, flags: int, now: float
    ) -> None:
        receiver = self._receiver
        assert receiver is not None
        if self._ecn:
            if flags & CWR:
                self._echo_congestion = False
            if congested(packet):
                self._echo_congestion = True
        if length:
            receiver.arrive(start, start + length, value, bool(flags & PSH), now)
        if flags & FIN:
            receiver.finish(start + length)

    def _make(self, start: int, length: int, flags: int) -> bytes:
        receiver = self._receiver
        assert receiver is not None
        tos = 0
        if self._ecn:
            tos = ECT
            if self._reduced:
                self._reduced = False
                flags |= CWR
            if self._echo_congestion:
                flags |= ECE
        return self._builder.data(
            start,
            receiver.next,
            flags,
            ADVERTISED,
            ticks(self._now),
            receiver.recent,
            length,
            tos,
        )

    def _acknowledgement(self, sender: Sender, receiver: Receiver, now: float) -> bytes:
        flags = ACK | ECE if self._echo_congestion else ACK
        if receiver.selective:
            packet = self._builder.selective(
                sender.flow.nxt,
                receiver.next,
                flags,
                ADVERTISED,
                ticks(now),
                receiver.recent,
                receiver.blocks(),
            )
        else:
            packet = self._builder.data(
                sender.flow.nxt,
                receiver.next,
                flags,
                ADVERTISED,
                ticks(now),
                receiver.recent,
                0,
            )
        receiver.acknowledged()
        return packet

    # The end

    def _see_end(self) -> None:
        sender, receiver = self._sender, self._receiver
        assert sender is not None
        assert receiver is not None
        fin = sender.output.fin
        ours = fin is not None and sender.flow.una > fin
        if ours and receiver.finished:
            self.state = "time-wait"
        elif receiver.finished:
            self.state = "last-ack" if fin is not None else "close-wait"
        elif fin is not None:
            self.state = "fin-wait"

    def _end(self) -> None:
        self.state = "closed"
        self._syn_at = NEVER
        if self._sender is not None:
            self._sender.timer.set(0, NEVER)
            self._sender.output.pace_at = NEVER
        if self._receiver is not None:
            self._receiver.ack_at = NEVER
            self._receiver.ack_now = False
