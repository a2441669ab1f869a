"""The sending half of a connection: what becomes of an acknowledgement and of a timer.

An acknowledgement passes, as in Linux's tcp_ack: scoreboard (SACKs, then what is acknowledged) - round trip
- RACK's window - tail loss probe - recovery, if anything is amiss - timer - congestion control - what is
to be sent again. New data goes out when the connection is polled.
"""

from __future__ import annotations

from bench.sim.tcp.bbr import Bbr
from bench.sim.tcp.congestion import Congestion
from bench.sim.tcp.cubic import Cubic
from bench.sim.tcp.flow import NEVER, OPEN, RECOVERY, Flow, ticks
from bench.sim.tcp.output import Make, Output
from bench.sim.tcp.rack import Rack
from bench.sim.tcp.recovery import RESEND_LOST, RESEND_NOTHING, SEND_NEW, Recovery
from bench.sim.tcp.rtt import RoundTrip
from bench.sim.tcp.sample import Sample
from bench.sim.tcp.scoreboard import NORMAL_REORDERING, Scoreboard
from bench.sim.tcp.timer import LEAST, NOTHING, PROBE, REORDERING, Timer

KINDS = ("bbr", "cubic")


def congestion_control(name: str, flow: Flow, phase: int) -> Congestion:
    """The congestion control of that name; `phase` stands in for what Linux leaves to chance."""
    if name == "cubic":
        return Cubic(flow)
    if name == "bbr":
        return Bbr(flow, phase)
    raise ValueError(f"congestion control is {' or '.join(KINDS)}, not {name!r}")


class Sender:
    """Sends one stream of bytes, and more often what is lost of it."""

    def __init__(self, mss: int, sequence: int, congestion: str, make: Make) -> None:
        self.flow = flow = Flow(mss, sequence)
        self.rack = Rack(flow)
        self.board = Scoreboard(flow)
        self.round_trip = RoundTrip(flow)
        self.congestion = congestion_control(congestion, flow, sequence % 7)
        self.recovery = Recovery(flow, self.board, self.rack, self.congestion)
        self.timer = Timer(flow)
        self.output = Output(flow, self.board, self.recovery, self.congestion, self.timer, make)
        self.timeouts = 0
        """Retransmission timeouts since something was last acknowledged."""
        self._sample = Sample()

    def start(self, now: float, round_trip: float | None) -> None:
        """The connection is established; the handshake took `round_trip` unless sent again."""
        flow = self.flow
        flow.now = now
        if round_trip is not None:
            flow.min_rtt = round_trip
            self.round_trip.add(round_trip)
            self.timer.take(self.round_trip)
        flow.delivered_at = now

    def acknowledge(
        self,
        ack: int,
        blocks: list[tuple[int, int]],
        echo: int,
        carries: bool,
        ece: bool,
        now: float,
    ) -> None:
        """Process an acknowledgement; `carries`: in a packet with payload; `echo`: its timestamp."""
        flow, board, sample = self.flow, self.board, self._sample
        flow.now = now
        if ack > flow.nxt:
            return
        sample.start(flow, ack, echo)
        delivered, lost = flow.delivered, flow.lost
        outstanding = flow.packets_out
        highest = board.highest()
        if ack > flow.una:
            self.timeouts = 0
            flow.una = ack
        if blocks:
            self._take_blocks(blocks, ack)
        if ack < sample.prior_una:
            if blocks:
                self._resend(self.recovery.alert(sample))
            return
        sample.ece = ece
        if not outstanding:
            return
        count = self._forget(ack, highest, delivered)
        self.rack.adapt(sample)
        if self.recovery.probe_end:
            self.recovery.probe_acknowledged(sample)
        what = RESEND_NOTHING
        amiss = sample.sacked_data or sample.dsack or ece or flow.state != OPEN
        if amiss or not (count or carries):
            what = self.recovery.alert(sample)
            if self.recovery.look_again != NEVER:
                self.timer.set(REORDERING, self.recovery.look_again + LEAST)
                self.recovery.look_again = NEVER
        if sample.set_timer and not self.timer.schedule_probe(True, board):
            self.timer.rearm(board)
        if not flow.packets_out:
            self.timer.set(NOTHING, NEVER)
        sample.finish(flow, delivered, lost)
        self._steer(sample)
        if what:
            self._resend(what)

    def _take_blocks(self, blocks: list[tuple[int, int]], ack: int) -> None:
        """Tell a DSACK, which comes first and lies below the rest, from SACKs."""
        start, end = blocks[0]
        if start < ack or (len(blocks) > 1 and blocks[1][0] <= start and end <= blocks[1][1]):
            if start < end:
                self.board.dsack(start, end, self._sample, self.recovery.probe_end, self.rack)
            blocks = blocks[1:]
        if blocks and self.flow.packets_out:
            self.board.sack(blocks, self._sample, self.rack)

    def _forget(self, ack: int, highest: int, delivered: int) -> int:
        """Take what is acknowledged off the scoreboard; measure the round trip."""
        flow, sample = self.flow, self._sample
        now = flow.now
        count, first, last = self.board.acknowledge(ack, sample, self.rack)
        round_trip = -1.0
        if first >= 0 and not sample.acked_retransmission:
            round_trip = now - first
            sample.rtt = now - last
            sample.delayed = (
                count == 1
                and not flow.sacked_out
                and not sample.sacked_data
                and flow.una - sample.prior_una < flow.mss
                and sample.prior_delivered + 1 == flow.delivered
            )
        if sample.first_sack_sent != NEVER:
            sample.rtt = now - sample.last_sack_sent
            if round_trip < 0:
                round_trip = now - sample.first_sack_sent
        if round_trip < 0 and count and sample.echo:
            round_trip = sample.rtt = max(0.001, (ticks(now) - sample.echo) / 1000)
        if round_trip >= 0:
            if sample.rtt < flow.min_rtt and not sample.delayed:
                flow.min_rtt = max(sample.rtt, 1e-6)
            self.round_trip.add(round_trip)
            self.timer.take(self.round_trip)
        if count:
            sample.acked_data = sample.set_timer = True
            if sample.reordered < highest:
                self.board.see_reordering(sample.reordered)
        elif (
            sample.first_sack_sent != NEVER
            and self.board.queue
            and self.board.queue[0].sent_at > sample.first_sack_sent
        ):
            sample.set_timer = True
        self.congestion.acknowledged(sample)
        return count

    def _steer(self, sample: Sample) -> None:
        congestion = self.congestion
        if congestion.steers:
            congestion.control(sample)
        elif self.recovery.reducing:
            self.recovery.reduce(sample.acked, sample.losses, sample.advanced)
        elif sample.acked_data or (
            self.board.reordering > NORMAL_REORDERING and sample.sacked_data
        ):
            congestion.avoid(sample.acked)

    def _resend(self, what: int) -> None:
        flow = self.flow
        if what == SEND_NEW:
            self.output.send_new()
            if flow.nxt > flow.high:
                return
            self.recovery.frto = False
            what = RESEND_LOST
        if what == RESEND_LOST:
            self.output.resend_lost()

    # Timers

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        flow, timer = self.flow, self.timer
        flow.now = now
        if timer.at > now:
            return
        kind = timer.kind
        timer.at = NEVER
        if not flow.packets_out:
            timer.kind = NOTHING
        elif kind == REORDERING:
            self._look_again()
        elif kind == PROBE:
            self._probe()
        else:
            self._time_out()

    def _look_again(self) -> None:
        """RACK's patience has come to its end."""
        flow = self.flow
        in_flight, lost = flow.in_flight, flow.lost
        self.timer.kind = REORDERING
        self.rack.detect(self.board)
        if flow.in_flight != in_flight:
            if flow.state != RECOVERY:
                self.recovery.enter_recovery()
                if not self.congestion.steers:
                    self.recovery.reduce(1, flow.lost - lost, False)
            self.output.resend_lost()
        if self.timer.at == NEVER:
            self.timer.rearm(self.board)

    def _probe(self) -> None:
        """Send one packet to provoke an acknowledgement: new data, or the last packet again."""
        flow, recovery, output = self.flow, self.recovery, self.output
        if not recovery.probe_end:
            before = flow.packets_out
            output.send_new(probe=True)
            resent = flow.packets_out == before
            if resent:
                output.resend(self.board.queue[-1])
            recovery.probe_resent = resent
            recovery.probe_end = flow.nxt
            self.timer.restart()
        else:
            self.timer.kind = PROBE
            self.timer.rearm(self.board)

    def _time_out(self) -> None:
        self.recovery.enter_loss(self.timeouts)
        self.timeouts += 1
        self.output.resend(self.board.queue[0])
        self.timer.back_off()
        self.timer.restart()
