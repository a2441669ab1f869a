"""What a sender lets out: lost packets again, then new ones, within the window and at the pace set.

A paced sender lets bursts of a few packets out, each when the one before has had its time at the pacing
rate; `pace_at` tells when there is more to do. An unpaced one sends all that its window allows at once.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.sim.tcp.congestion import Congestion
from bench.sim.tcp.flow import NEVER, Flow, ticks
from bench.sim.tcp.recovery import Recovery
from bench.sim.tcp.sample import Snapshot
from bench.sim.tcp.scoreboard import Scoreboard
from bench.sim.tcp.segment import ACK, FIN, PSH
from bench.sim.tcp.sent import Sent
from bench.sim.tcp.timer import Timer

BUFFER = 4 << 20
"""Bytes that a sender may have under way: the largest send buffer of Linux by default."""
UNPACED_PACKETS = 10

Make = Callable[[int, int, int], bytes]
"""Makes a packet: first byte, bytes of payload, flags."""


class Output:
    """Lets packets of one sender out, into `packets`."""

    def __init__(
        self,
        flow: Flow,
        board: Scoreboard,
        recovery: Recovery,
        congestion: Congestion,
        timer: Timer,
        make: Make,
    ) -> None:
        self._flow = flow
        self._board = board
        self._recovery = recovery
        self._congestion = congestion
        self._timer = timer
        self._make = make
        self.packets: list[bytes] = []
        self.available: float = flow.nxt
        """The end of what the application has written; infinite when it never ends."""
        self.window_end = flow.nxt
        """The end of the receiver's window."""
        self.closing = False
        """Whether a FIN follows the last byte."""
        self.more = False
        """Whether something may be left to do when everything written has been sent."""
        self.fin: int | None = None
        """The number of the FIN, once sent."""
        self.pace_at = NEVER
        """When the pacer lets the next packet out, if one waits for it."""
        self._resend_waits = False
        self._last_sent = 0.0

    def write(self, count: int | None) -> None:
        """Add bytes, without end if None."""
        flow = self._flow
        if (
            self.available - flow.nxt < flow.mss
            and flow.in_flight < flow.cwnd
            and flow.lost_out <= flow.retransmitted_out
        ):
            flow.app_limited = max(1, flow.delivered + flow.in_flight)
        self.available = NEVER if count is None else self.available + count

    def go_on(self) -> None:
        """Let out what may go now."""
        self.pace_at = NEVER
        if self._resend_waits:
            self.resend_lost()
        self.send_new()
        self.more = self._resend_waits or (self.closing and self.fin is None)

    def resend_lost(self) -> None:
        """Send lost packets again, as the window and the pacer allow."""
        flow, recovery, timer = self._flow, self._recovery, self._timer
        self._resend_waits = False
        while flow.lost_out > flow.retransmitted_out and flow.in_flight < flow.cwnd:
            packet = self._board.next_lost()
            if packet is None:
                break
            if flow.paced_until > flow.now:
                self.pace_at = flow.paced_until
                self._resend_waits = self.more = True
                break
            self.resend(packet)
            if recovery.reducing:
                recovery.sent += 1
            if packet is self._board.queue[0] and not timer.reordering:
                timer.restart()

    def resend(self, packet: Sent) -> None:
        """Send a packet again, whatever the window says."""
        flow = self._flow
        length = packet.end - packet.start
        if self.fin == packet.start:
            self.packets.append(self._make(packet.start, 0, ACK | FIN))
        else:
            self.packets.append(self._make(packet.start, length, ACK))
        self._board.resend(packet, self._snapshot())
        self._recovery.resent(ticks(flow.now))
        self._pace(length)
        self._last_sent = flow.now

    def send_new(self, probe: bool = False) -> None:
        """Send what has never been sent; a `probe` is one packet, which may exceed the window."""
        flow = self._flow
        if flow.nxt >= self.available and not (self.closing and self.fin is None):
            return
        if flow.paced_until > flow.now and not probe:
            self.pace_at = min(self.pace_at, flow.paced_until)
            return
        room = 1 if probe else flow.cwnd - flow.in_flight
        if room > 0:
            before = flow.packets_out
            if not before:
                self._resume()
                room = max(room, flow.cwnd - flow.in_flight)
            self._send_burst(room)
            if flow.packets_out == before:
                return
            self._after(before, probe)
        else:
            self._validate(True)

    def _send_burst(self, room: int) -> None:
        flow = self._flow
        limit: float = flow.una + BUFFER
        if self.window_end < limit:
            limit = self.window_end
        if self.available < limit:
            limit = self.available
        snapshot = self._snapshot()
        mss, make, send, packets = flow.mss, self._make, self._board.send, self.packets
        burst = min(room, self._congestion.burst()) if flow.pacing_rate else room
        start = flow.nxt
        several = burst > 1
        while burst > 0 and start < limit:
            end = start + mss
            flags = ACK | PSH if burst == 1 and several else ACK
            if end >= limit:
                end = int(limit)
                if end == self.available:
                    flags = ACK | PSH
                elif start + mss > end:
                    break  # no small packets for want of window
            packets.append(make(start, end - start, flags))
            send(start, end, snapshot)
            start = end
            burst -= 1
            room -= 1
            if not burst and flow.pacing_rate:
                flow.nxt, begun = start, flow.nxt
                self._pace(start - begun)
                if flow.paced_until > flow.now:
                    break
                burst = min(room, self._congestion.burst())
        if start > flow.nxt:
            flow.nxt, begun = start, flow.nxt
            self._pace(start - begun)
        if start < limit and flow.paced_until > flow.now:
            self.pace_at = flow.paced_until
        if start == self.available and self.closing and self.fin is None and room > 0:
            self.fin = start
            packets.append(make(start, 0, ACK | FIN))
            send(start, start + 1, snapshot)
            flow.nxt = start + 1

    def _after(self, before: int, probe: bool) -> None:
        """New packets have left; `before` is how many were out."""
        flow, timer = self._flow, self._timer
        if self._recovery.reducing:
            self._recovery.sent += flow.packets_out - before
        if not before or timer.probing:
            timer.rearm(self._board)
        if not probe:
            timer.schedule_probe(False, self._board)
        in_flight = flow.packets_out - flow.sacked_out - flow.lost_out + flow.retransmitted_out
        self._validate(in_flight >= flow.cwnd)
        self._last_sent = flow.now

    def _validate(self, limited: bool) -> None:
        """Keep whether the window, rather than the application, has been the limit of late."""
        flow = self._flow
        if (
            limited
            or flow.una >= flow.max_packets_until
            or (not flow.cwnd_limited and flow.packets_out > flow.max_packets_out)
        ):
            flow.cwnd_limited = limited
            flow.max_packets_out = flow.packets_out
            flow.max_packets_until = flow.nxt

    def _resume(self) -> None:
        """A packet is about to leave, and none is out: an idle window shrinks (RFC 2861)."""
        flow = self._flow
        flow.first_sent_at = flow.delivered_at = flow.now
        if not self._last_sent:
            return
        idle = flow.now - self._last_sent
        if idle > self._timer.timeout and not self._congestion.steers:
            flow.ssthresh = self._recovery.current_ssthresh()
            least = min(flow.cwnd, 10)
            idle_left = idle - self._timer.timeout
            while idle_left > 0 and flow.cwnd > least:
                flow.cwnd >>= 1
                idle_left -= self._timer.timeout
            flow.cwnd = max(flow.cwnd, least)
            flow.cwnd_limited = False
        self._congestion.resume(idle)

    def _snapshot(self) -> Snapshot:
        flow = self._flow
        return Snapshot(flow.first_sent_at, flow.delivered, flow.delivered_at, flow.app_limited > 0)

    def _pace(self, length: int) -> None:
        """Give what has been sent its time; time missed before is made up for, up to a half."""
        flow = self._flow
        if not flow.pacing_rate or flow.delivered + flow.packets_out < UNPACED_PACKETS:
            return
        time = length / flow.pacing_rate
        missed = max(0.0, flow.now - flow.paced_until)
        flow.paced_until = max(flow.now, flow.paced_until) + time - min(time / 2, missed)
