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
from bench.sim.tcp.opening import Opening
from bench.sim.tcp.receiver import SCALE, WINDOW, Receiver
from bench.sim.tcp.segment import (
    ACK,
    BLOCKS,
    CWR,
    ECE,
    ECT,
    FIN,
    FIXED,
    HALF,
    MASK,
    PLAIN,
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

MOST_TIMEOUTS = 15
ADVERTISED = min(0xFFFF, WINDOW >> SCALE)
NO_BLOCKS: list[tuple[int, int]] = []


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
        self._opening = Opening(self._builder, sequence, mss)
        self._tcp_at = 20 if len(local[0]) == 4 else 40
        self._fixed_at = self._tcp_at + 4
        self._sender: Sender | None = None
        self._receiver: Receiver | None = None
        self._packets: list[bytes] = []
        self._pending: int | None = 0  # written before the handshake was through
        self._closing = False
        self._finishing = False
        self._scale = SCALE
        self._now = 0.0
        self._echo_congestion = False
        self._reduced = False

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
        end._opening.flags = SYN | ACK
        end._send_syn(now)
        return end

    # What an application does

    def connect(self, now: float) -> None:
        """Begin the handshake."""
        self._now = now
        self.state = "syn-sent"
        self._opening.flags = SYN
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
            output.closing = output.more = True
            self._finishing = True
            if output.available == NEVER:
                output.available = self._sender.flow.nxt

    # What the network does

    def handle(self, packet: bytes, now: float) -> None:
        """A packet for this connection has come."""
        self._now = now
        sequence, acknowledged, bits, window, _, _, value, echo = FIXED.unpack_from(
            packet, self._fixed_at
        )
        sender, receiver = self._sender, self._receiver
        if (
            sender is None
            or receiver is None
            or bits & (SYN | RST | ACK) != ACK
            or self._opening.at != NEVER
        ) and not self._open(packet, bits, now):
            return
        assert sender is not None
        assert receiver is not None
        flow = sender.flow
        # the number nearest to what is expected that has these 32 bits
        ack = flow.una + ((acknowledged - flow.una + HALF) & MASK) - HALF
        start = receiver.next + ((sequence - receiver.next + HALF) & MASK) - HALF
        header = bits >> 12
        length = len(packet) - self._tcp_at - header * 4
        if length or bits & FIN:
            if self._ecn:
                self._see_marks(packet, bits)
            if length:
                receiver.arrive(start, start + length, value, bits & PSH > 0, now)
            if bits & FIN:
                receiver.finish(start + length)
        elif value < receiver.recent:
            if ack < flow.una:
                return  # PAWS: overtaken by a newer acknowledgement
        elif start == receiver.next:
            receiver.recent = value
        if flow.packets_out:
            end = ack + (window << self._scale)
            if end > sender.output.window_end:
                sender.output.window_end = end
            sender.acknowledge(
                ack,
                self._blocks(packet, header, flow.una) if header > PLAIN else NO_BLOCKS,
                echo,
                length > 0,
                bits & ECE > 0 and self._ecn,
                now,
            )
        if bits & ECE and self._ecn:
            self._reduced = True
        if self._finishing or receiver.finished:
            self._see_end()

    def poll(self, now: float) -> list[bytes]:
        """The packets that leave now."""
        self._now = now
        packets = self._packets
        self._packets = []
        sender, receiver = self._sender, self._receiver
        if sender is None or receiver is None or self._opening.at != NEVER:
            return packets
        flow, output = sender.flow, sender.output
        flow.now = now
        if flow.nxt < output.available or output.more:
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
            return self._opening.at
        due = sender.timer.at
        if self._opening.at < due:
            due = self._opening.at
        if sender.output.pace_at < due:
            due = sender.output.pace_at
        return receiver.ack_at if receiver.ack_at < due else due

    def handle_timeout(self, now: float) -> None:
        """Do what is due by now; `poll` brings the packets."""
        self._now = now
        if self._opening.at <= now:
            if self._opening.hopeless:
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
        receiver = self._receiver
        if receiver is None:
            self._packets.append(self._opening.send(now))
        else:
            self._packets.append(self._opening.send(now, receiver.next, receiver.recent))

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
        output.closing = output.more = self._finishing = self._closing

    def _open(self, packet: bytes, flags: int, now: float) -> bool:
        """A packet that is none of an open connection; whether it goes on as if it were."""
        if self.state == "closed":
            return False
        if flags & RST:
            self._end()
            return False
        if flags & SYN:
            self._handle_syn(packet, flags, now)
            return False
        if self.state != "syn-received" or not flags & ACK:
            return False
        if read(packet).acknowledged != (self._iss + 1) & MASK:
            return False
        self._establish(now)
        return True

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
        self.state = "established"
        self.established_at = now
        round_trip = self._opening.end(now)
        self._sender.start(now, round_trip)
        self._receiver.round_trip = round_trip or 0.0

    # Segments

    def _blocks(self, packet: bytes, header: int, near: int) -> list[tuple[int, int]]:
        low = near - HALF
        edges = BLOCKS[(header - PLAIN) >> 1].unpack_from(packet, self._fixed_at + 32)
        whole = [low + ((edge - low) & MASK) for edge in edges]
        return list(zip(whole[::2], whole[1::2], strict=True))

    def _see_marks(self, packet: bytes, flags: int) -> None:
        """Echo a mark of congestion until the other end says that it has reduced its window."""
        if flags & CWR:
            self._echo_congestion = False
        if congested(packet):
            self._echo_congestion = True

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
        self._opening.at = NEVER
        if self._sender is not None:
            self._sender.timer.set(0, NEVER)
            self._sender.output.pace_at = NEVER
        if self._receiver is not None:
            self._receiver.ack_at = NEVER
            self._receiver.ack_now = False
