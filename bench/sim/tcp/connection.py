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

from bench.sim.tcp.flow import NEVER
from bench.sim.tcp.framer import Framer
from bench.sim.tcp.opening import Opening
from bench.sim.tcp.receiver import SCALE, Receiver
from bench.sim.tcp.segment import (
    ACK,
    BLOCKS,
    ECE,
    FIN,
    FIXED,
    HALF,
    MASK,
    PLAIN,
    RST,
    SYN,
    TIMESTAMPS,
    Address,
    Builder,
    Handshake,
    addresses_of,
    flags_of,
    read,
    read_handshake,
)
from bench.sim.tcp.sender import Sender
from bench.sim.tcp.timer import NOTHING

MOST_TIMEOUTS = 15
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
        self._halves: tuple[Sender, Receiver, Framer] | None = None
        self._packets: list[bytes] = []
        self._pending: int | None = 0  # written before the handshake was through
        self._closing = False
        self._finishing = False
        self._scale = SCALE

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
        segment, options = read_handshake(packet)
        end._meet(segment.sequence, segment.value, options)
        end.state = "syn-received"
        end._opening.flags = SYN | ACK
        end._send_syn(now)
        return end

    # What an application does

    def connect(self, now: float) -> None:
        """Begin the handshake."""
        self.state = "syn-sent"
        self._opening.flags = SYN
        self._send_syn(now)

    def write(self, count: int | None, now: float) -> None:
        """Have `count` more bytes to send; with None there is always more."""
        if self._halves is None:
            if count is None or self._pending is None:
                self._pending = None
            else:
                self._pending += count
            return
        sender = self._halves[0]
        sender.flow.now = now
        sender.output.write(count)

    def close(self, now: float) -> None:
        """Send no more than what has been written, then a FIN; an endless stream ends here."""
        self._closing = True
        if self._halves is not None:
            sender = self._halves[0]
            output = sender.output
            output.closing = output.more = True
            self._finishing = True
            if output.available == NEVER:
                output.available = sender.flow.nxt

    # What the network does

    def handle(self, packet: bytes, now: float) -> None:
        """A packet for this connection has come."""
        sequence, acknowledged, bits, window, _, _, value, echo = FIXED.unpack_from(
            packet, self._fixed_at
        )
        if (bits & (SYN | RST | ACK) != ACK or self._opening.at != NEVER) and not self._open(
            packet, bits, now
        ):
            return
        if self._halves is None or self.state == "closed":
            return
        sender, receiver, framer = self._halves
        framer.now = now
        flow = sender.flow
        # the number nearest to what is expected that has these 32 bits
        ack = flow.una + ((acknowledged - flow.una + HALF) & MASK) - HALF
        start = receiver.next + ((sequence - receiver.next + HALF) & MASK) - HALF
        header = bits >> 12
        length = len(packet) - self._tcp_at - header * 4
        if length or bits & FIN:
            if self._ecn:
                framer.see(packet, bits)
            receiver.arrive(start, start + length, value, echo, bits, now)
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
            framer.reduced = True
        if self._finishing or receiver.finished:
            self._see_end(sender, receiver)

    def poll(self, now: float) -> list[bytes]:
        """The packets that leave now."""
        packets = self._packets
        self._packets = []
        if self._halves is None or self._opening.at != NEVER or self.state == "closed":
            return packets
        sender, receiver, framer = self._halves
        framer.now = now
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
            packets.append(framer.acknowledgement(flow.nxt))
        return packets

    def next_timeout(self) -> float:
        """When `handle_timeout` is due; infinite when it is not."""
        if self._halves is None:
            return self._opening.at
        sender, receiver, _ = self._halves
        due = sender.timer.at
        if self._opening.at < due:
            due = self._opening.at
        if sender.output.pace_at < due:
            due = sender.output.pace_at
        return receiver.ack_at if receiver.ack_at < due else due

    def handle_timeout(self, now: float) -> None:
        """Do what is due by now; `poll` brings the packets."""
        if self._opening.at <= now:
            if self._opening.hopeless:
                self._end()
                return
            self._send_syn(now)
        if self._halves is None:
            return
        sender, _, framer = self._halves
        if sender.timer.at <= now:
            framer.now = now
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
        return self._halves[1].received if self._halves is not None else 0

    @property
    def finished(self) -> bool:
        """Whether the other end has closed and all of its bytes have come."""
        return self._halves is not None and self._halves[1].finished

    @property
    def acked(self) -> int:
        """Bytes of payload that the other end has acknowledged."""
        if self._halves is None:
            return 0
        sender = self._halves[0]
        fin = sender.output.fin
        over = 1 if fin is not None and sender.flow.una > fin else 0
        return sender.flow.una - self._iss - 1 - over

    @property
    def retransmits(self) -> int:
        """Packets sent again."""
        return self._halves[0].flow.retransmits if self._halves is not None else 0

    @property
    def cwnd(self) -> int:
        """The congestion window, in bytes; 0 before the handshake is through."""
        if self._halves is None:
            return 0
        flow = self._halves[0].flow
        return flow.cwnd * flow.mss

    @property
    def srtt(self) -> float:
        """The smoothed round trip in s, 0 when there is none yet."""
        return self._halves[0].flow.srtt if self._halves is not None else 0.0

    @property
    def sender(self) -> Sender:
        """The sending half; ValueError before the handshake has come to it."""
        if self._halves is None:
            raise ValueError("a connection has a sender once the other end has been heard")
        return self._halves[0]

    # The handshake

    def _send_syn(self, now: float) -> None:
        if self._halves is None:
            self._packets.append(self._opening.send(now))
        else:
            receiver = self._halves[1]
            self._packets.append(self._opening.send(now, receiver.next, receiver.recent))

    def _meet(self, sequence: int, value: int, options: Handshake) -> tuple[Sender, Receiver]:
        """The other end's SYN has come: make the two halves."""
        payload = min(self.mss, options.mss) - TIMESTAMPS
        receiver = Receiver(sequence + 1, payload)
        receiver.recent = value
        framer = Framer(self._builder, receiver, self._ecn)
        sender = Sender(payload, self._iss + 1, self._congestion, framer.data)
        self._halves = sender, receiver, framer
        self._scale = options.scale
        output = sender.output
        output.window_end = self._iss + 1 + 0xFFFF
        output.write(self._pending)
        output.closing = output.more = self._finishing = self._closing
        return sender, receiver

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
        if self.state != "syn-received" or not flags & ACK or self._halves is None:
            return False
        if read(packet).acknowledged != (self._iss + 1) & MASK:
            return False
        sender, receiver, _ = self._halves
        self._establish(sender, receiver, now)
        return True

    def _handle_syn(self, packet: bytes, flags: int, now: float) -> None:
        if self.state == "syn-sent" and flags & ACK:
            segment, options = read_handshake(packet)
            if segment.acknowledged != (self._iss + 1) & MASK:
                return
            sender, receiver = self._meet(segment.sequence, segment.value, options)
            self._establish(sender, receiver, now)
            receiver.ack_now = True
        elif flags & ACK:
            if self._halves is not None:
                self._halves[1].ack_now = True  # our ACK of it was lost
        elif self.state == "syn-received":
            self._send_syn(now)

    def _establish(self, sender: Sender, receiver: Receiver, now: float) -> None:
        self.state = "established"
        self.established_at = now
        round_trip = self._opening.end(now)
        sender.start(now, round_trip)
        receiver.round_trip = round_trip or 0.0

    # Segments

    def _blocks(self, packet: bytes, header: int, near: int) -> list[tuple[int, int]]:
        low = near - HALF
        edges = BLOCKS[(header - PLAIN) >> 1].unpack_from(packet, self._fixed_at + 32)
        whole = [low + ((edge - low) & MASK) for edge in edges]
        return list(zip(whole[::2], whole[1::2], strict=True))

    # The end

    def _see_end(self, sender: Sender, receiver: Receiver) -> None:
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
        if self._halves is not None:
            sender, receiver, _ = self._halves
            sender.timer.set(NOTHING, NEVER)
            sender.output.pace_at = receiver.ack_at = NEVER
            receiver.ack_now = False
