"""Recovery: when the window is reduced, how, and when that is taken back.

    OPEN ─ out of order ─▶ DISORDER ─ loss ─▶ RECOVERY ─ all of then acknowledged ─▶ OPEN
      any ─ retransmission timeout ─▶ LOSS ─ all of then acknowledged ─▶ OPEN
      OPEN ─ congestion marked, or a probe repaired a loss ─▶ CWR ─▶ OPEN

In RECOVERY and CWR the window comes down by proportional rate reduction (RFC 6937, with the bound of slow
start while acknowledgements advance). A reduction is undone when it turns out that nothing was lost: the
original was acknowledged (its timestamp comes back, Eifel, RFC 3522), every retransmission was told to be a
duplicate (DSACK, RFC 3708), or data never sent again arrives after a timeout (F-RTO, RFC 5682).
This is a transcription of what Linux does in tcp_fastretrans_alert and around it.
"""

from __future__ import annotations

from bench.sim.tcp.congestion import Congestion
from bench.sim.tcp.flow import CWR, DISORDER, INFINITE, LOSS, NEVER, OPEN, RECOVERY, Flow
from bench.sim.tcp.rack import PERSISTENCE, Rack
from bench.sim.tcp.sample import Sample
from bench.sim.tcp.scoreboard import NORMAL_REORDERING, Scoreboard
from bench.sim.tcp.sent import SACKED

RESEND_NOTHING, RESEND_LOST, SEND_NEW = range(3)


class Recovery:
    """The state machine of one sender."""

    def __init__(self, flow: Flow, board: Scoreboard, rack: Rack, congestion: Congestion) -> None:
        self._flow = flow
        self._board = board
        self._rack = rack
        self._congestion = congestion
        self.resent_at = 0
        """Timestamp of the first retransmission of this recovery; 0 when there was none."""
        self.look_again = NEVER
        """When RACK wants to look again, as of the last acknowledgement."""
        self.probe_end = 0
        """`nxt` behind an outstanding tail loss probe; 0 when there is none."""
        self.probe_resent = False
        """Whether that probe was a retransmission."""
        self.spurious = 0
        """Reductions that were undone."""
        self.frto = False
        """Whether a timeout may yet turn out to have been spurious."""
        self.sent = 0
        """Packets sent in this reduction."""
        self._delivered = 0
        self._prior_ssthresh = 0
        self._prior_cwnd = 0
        self._echo = 0

    @property
    def reducing(self) -> bool:
        """Whether proportional rate reduction decides on the window."""
        return CWR <= self._flow.state <= RECOVERY

    def resent(self, timestamp: int) -> None:
        """A packet has been sent again."""
        if not self.resent_at:
            self.resent_at = timestamp

    # Acknowledgements

    def alert(self, sample: Sample) -> int:
        """Something is amiss, or was: go through the states; say what is to be sent."""
        flow = self._flow
        self._echo = sample.echo
        self.look_again = NEVER
        if sample.ece:
            self._prior_ssthresh = 0
        if flow.state == OPEN:
            self.resent_at = 0
        elif flow.una >= flow.high:
            self._leave()
        if flow.state == RECOVERY:
            if sample.advanced and self._undo_partial(sample):
                return RESEND_NOTHING
            if self._undo_by_dsack():
                self._try_to_open(sample)
            self._find_losses(sample)
            if flow.state != RECOVERY:
                if not flow.lost_out:
                    return RESEND_NOTHING
                self.enter_recovery(sample.ece)
            return RESEND_LOST
        if flow.state == LOSS:
            what = self._process_loss(sample)
            self._find_losses(sample)
            if flow.state != OPEN and not sample.lost_retransmission:
                return what
        if flow.state <= DISORDER:
            self._undo_by_dsack()
        self._find_losses(sample)
        if not flow.lost_out:
            self._try_to_open(sample)
            return RESEND_NOTHING
        self.enter_recovery(sample.ece)
        return RESEND_LOST

    def _leave(self) -> None:
        """All that was under way when the present state was entered is acknowledged."""
        flow = self._flow
        if flow.state == CWR:
            if flow.una != flow.high:
                self._end_reduction()
                self._set(OPEN)
        elif flow.state == RECOVERY:
            self._undo_or_end()
            self._end_reduction()

    def _find_losses(self, sample: Sample) -> None:
        rack, flow = self._rack, self._flow
        if not rack.advanced or not self._board.queue:
            return
        rack.advanced = False
        resent = flow.retransmitted_out
        self.look_again = rack.detect(self._board)
        if self.look_again != NEVER:
            sample.set_timer = False
        if flow.retransmitted_out < resent:
            sample.lost_retransmission = True

    def _process_loss(self, sample: Sample) -> int:
        flow = self._flow
        recovered = flow.una >= flow.high
        if sample.advanced and self._undo_loss(False):
            return RESEND_NOTHING
        if self.frto:
            if sample.acked_original and self._undo_loss(True):
                return RESEND_NOTHING
            if flow.nxt > flow.high:
                if sample.sacked_data or not sample.advanced:
                    self.frto = False
            elif sample.advanced and not recovered:
                flow.high = flow.nxt
                return SEND_NEW
        if recovered:
            self._undo_or_end()
            return RESEND_NOTHING
        return RESEND_LOST

    def probe_acknowledged(self, sample: Sample) -> None:
        """A tail loss probe is out: see whether it, rather than the original, has arrived."""
        flow = self._flow
        if flow.una < self.probe_end:
            return
        if not self.probe_resent or sample.dsack_of_probe:
            self.probe_end = 0
        elif flow.una > self.probe_end:
            self._begin_reduction()
            self._set(CWR)
            self._end_reduction()
            self._try_to_keep_open()
        elif not sample.advanced and not sample.sacked_data:
            self.probe_end = 0

    # Entering

    def enter_recovery(self, marked: bool = False) -> None:
        """Something is lost."""
        if not self._board.any_resent:
            self.resent_at = 0
        self._prior_ssthresh = 0
        self._begin_undo()
        if not self.reducing:
            if not marked:
                self._prior_ssthresh = self.current_ssthresh()
            self._begin_reduction()
        self._set(RECOVERY)

    def enter_cwr(self) -> None:
        """A router has marked congestion."""
        self._prior_ssthresh = 0
        if self._flow.state < CWR:
            self._board.undo_marker = None
            self._begin_reduction()
            self._set(CWR)

    def enter_loss(self, timeouts: int) -> None:
        """A retransmission timeout, after `timeouts` without an acknowledgement between."""
        flow, board = self._flow, self._board
        fresh = flow.state < RECOVERY
        self._mark_lost()
        if flow.state <= DISORDER or flow.una >= flow.high or (flow.state == LOSS and not timeouts):
            self._prior_ssthresh = self.current_ssthresh()
            self._prior_cwnd = flow.cwnd
            flow.ssthresh = self._congestion.reduce()
            self._begin_undo()
        flow.cwnd = flow.in_flight + 1
        flow.cwnd_count = 0
        if flow.state <= DISORDER and flow.sacked_out >= NORMAL_REORDERING:
            board.reordering = min(board.reordering, NORMAL_REORDERING)
        self._set(LOSS)
        flow.high = flow.nxt
        self.probe_end = 0
        self.frto = fresh or timeouts > 0

    def _mark_lost(self) -> None:
        board = self._board
        head = board.queue[0]
        if head.marks & SACKED:
            board.forget_sacks()
            return
        for packet in board.queue:
            if not packet.marks & SACKED and (packet is head or self._rack.overdue(packet)):
                board.lose(packet)

    def current_ssthresh(self) -> int:
        """The threshold that an idle or undone flow may start again with."""
        flow = self._flow
        if self.reducing:
            return flow.ssthresh
        return max(flow.ssthresh, (flow.cwnd >> 1) + (flow.cwnd >> 2))

    def _set(self, state: int) -> None:
        self._congestion.enter(state)
        self._flow.state = state

    # The reduction

    def _begin_reduction(self) -> None:
        flow = self._flow
        flow.high = flow.nxt
        self.probe_end = 0
        flow.cwnd_count = 0
        self._prior_cwnd = flow.cwnd
        self._delivered = self.sent = 0
        flow.ssthresh = self._congestion.reduce()

    def reduce(self, delivered: int, losses: int, advanced: bool) -> None:
        """Let out as much as proportional rate reduction allows for packets delivered."""
        if delivered <= 0 or not self._prior_cwnd:
            return
        flow = self._flow
        in_flight = flow.in_flight
        room = flow.ssthresh - in_flight
        self._delivered += delivered
        if room < 0:
            target = -(-flow.ssthresh * self._delivered // self._prior_cwnd)
            count = target - self.sent
        else:
            count = max(self._delivered - self.sent, delivered)
            if advanced and not losses:
                count += 1
            count = min(room, count)
        count = max(count, 0 if self.sent else 1)
        flow.cwnd = in_flight + count

    def _end_reduction(self) -> None:
        flow = self._flow
        if self._congestion.steers:
            return
        if flow.ssthresh < INFINITE and (self._board.undo_marker is not None or flow.state == CWR):
            flow.cwnd = flow.ssthresh

    # Undoing

    def _begin_undo(self) -> None:
        flow, board = self._flow, self._board
        board.undo_marker = flow.una
        probes = 1 if self.probe_end and self.probe_resent else 0
        board.undo_retransmits = flow.retransmitted_out + probes or -1

    def _original_acknowledged(self) -> bool:
        """Eifel: the acknowledgement answers something sent before the first retransmission."""
        if not self.resent_at:
            return True
        return self._echo < self.resent_at

    def _may_undo(self) -> bool:
        board = self._board
        return board.undo_marker is not None and (
            not board.undo_retransmits or self._original_acknowledged()
        )

    def _undo_partial(self, sample: Sample) -> bool:
        flow, board = self._flow, self._board
        if board.undo_marker is None or not self._original_acknowledged():
            return False
        board.see_reordering(sample.prior_una)
        if flow.retransmitted_out:
            return True
        if not board.any_resent:
            self.resent_at = 0
        self._undo(True)
        self._try_to_keep_open()
        return False

    def _undo_by_dsack(self) -> bool:
        board = self._board
        if board.undo_marker is None or board.undo_retransmits:
            return False
        self._rack.persistence = min(PERSISTENCE, self._rack.persistence + 1)
        self._undo(False)
        return True

    def _undo_loss(self, certain: bool) -> bool:
        if not certain and not self._may_undo():
            return False
        self._undo(True)
        self._set(OPEN)
        return True

    def _undo_or_end(self) -> None:
        if self._may_undo():
            self._undo(False)
        elif self._rack.persistence:
            self._rack.persistence -= 1
        self._set(OPEN)

    def _undo(self, find_lost: bool) -> None:
        flow, board = self._flow, self._board
        if find_lost:
            board.find_lost()
        if self._prior_ssthresh:
            flow.cwnd = self._congestion.undo(self._prior_cwnd)
            flow.ssthresh = max(flow.ssthresh, self._prior_ssthresh)
        board.undo_marker = None
        self._rack.advanced = True
        self.spurious += 1

    def _try_to_open(self, sample: Sample) -> None:
        if not self._board.any_resent:
            self.resent_at = 0
        if sample.ece:
            self.enter_cwr()
        if self._flow.state != CWR:
            self._try_to_keep_open()

    def _try_to_keep_open(self) -> None:
        flow = self._flow
        amiss = flow.sacked_out or flow.lost_out or self._board.any_resent
        state = DISORDER if amiss else OPEN
        if flow.state != state:
            self._set(state)
            flow.high = flow.nxt
