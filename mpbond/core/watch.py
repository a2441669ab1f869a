"""The timers of a session's paths: loss, tail, probes, keepalives, and who is silent (design 5 and 9).

Most timers concern one path. Silence does not: a path whose data stays unacknowledged is suspect only
while ACKs come that could have reported it. When several paths have data in flight and no ACK has come
for any, it is the way back that fails, and nobody is suspected until the peer has had time to find that out
and to send its ACKs another way. The first ACK that comes ends the respite: what it should have reported and
did not is silent.

A path's timers are looked at again only when something has happened to it (`Path.changed`) or when they
fall due; in between, `Path.wake` is when. What only puts a timer off need not be told: then it is found at
its old time that nothing is due. So the work per wake-up is a comparison for each path.
"""

from collections.abc import Mapping

from mpbond.core.acks import ack_interval
from mpbond.core.liveness import GRACE, UP
from mpbond.core.path import Path
from mpbond.core.roaming import CHALLENGE_LIFETIME
from mpbond.core.sender import Sender
from mpbond.core.wire import PING, frame

RECEIVE_SILENCE = 0.2  # seconds without a datagram after which a receiving path is probed once
REMEMBERED = 10.0  # seconds that an unanswered datagram of a doubtful path is waited for
PROGRESS = (
    0.030  # seconds after an ACK interval: what was acknowledged so lately is slow, not silent
)
REROUTING = 0.1  # seconds, on top of a limit, for the peer to notice that its ACKs are lost
SETTLING = 0.05  # seconds in which ACKs that were held up for long come one after the other
SPACING = (
    0.015  # seconds after the oldest datagram that the next may have left without being waited for
)
RESERVE = 0.010  # seconds of GRACE that belong to the peer's timers
LONGEST_PATIENCE = 2.0  # seconds that the answer to a probe is waited for
NEVER = float("inf")
_PING = frame(PING)


class Watch:
    """Runs the timers of `paths`; `keepalive` in seconds, kept by the client alone."""

    def __init__(
        self,
        paths: Mapping[int, Path],
        sender: Sender,
        *,
        is_client: bool,
        keepalive: float,
        now: float,
    ) -> None:
        self.last_ack = now  # when any ACK came last that says more than those before
        self._paths = paths
        self._sender = sender
        self._is_client = is_client
        self._keepalive = keepalive
        self._excused_since: float | None = None  # the way back is in doubt

    def run(self, now: float) -> None:
        """Do what is due."""
        due = now + 1e-9
        self._refresh()
        silent = []
        for path in self._paths.values():
            if path.wake > due:
                continue
            path.changed = True
            self._run_path(path, due, now)
            if self._silence_time(path) <= due:
                silent.append(path)
        if silent:
            self._suspect(silent, now)

    def next_timeout(self) -> float:
        """When `run` has something to do; infinity when never."""
        self._refresh()
        due = NEVER
        for path in self._paths.values():
            if path.wake < due:
                due = path.wake
        return due

    def keepalive_time(self) -> float:
        """When the first keepalive falls due; infinity when none does."""
        return min(map(self._keepalive_time, self._paths.values()), default=NEVER)

    def _refresh(self) -> None:
        """Look again at the timers of the paths something has happened to."""
        if self._excused_since is not None and self.last_ack > self._excused_since:
            settling = min(SETTLING, (self.last_ack - self._excused_since) / 2)
            self._excused_since = None
            for path in self._paths.values():
                path.suspicion_not_before = self.last_ack + settling
                path.changed = True
        for path in self._paths.values():
            if path.changed or path.liveness.changed or path.roaming is not None:
                path.changed = path.liveness.changed = False
                path.wake = self._path_timeout(path)

    def _run_path(self, path: Path, due: float, now: float) -> None:
        loss_time = path.sent.loss_time(path.patience)
        if loss_time is not None and loss_time <= due:
            self._sender.requeue(path, path.sent.detect_lost(path.patience, now), now)
        if path.tail_due is not None and path.tail_due <= due:
            path.tail_due = None
            if len(path.sent):
                path.tail_probes += 1
                path.pending.append(_PING)
        probe = path.liveness.next_probe
        if path.usable and probe is not None and probe <= due:
            path.liveness.on_probe_sent(now, min(path.rtt.longest, LONGEST_PATIENCE))
            path.pending.append(_PING)
            self._sender.requeue(path, path.sent.expire(now - REMEMBERED), now)
        rest_end = path.refusals.rest_end
        if rest_end is not None and rest_end <= due:
            path.refusals.wake()
            if path.up:
                path.pending.append(_PING)
        if self._keepalive_time(path) <= due:
            path.last_sent = now
            path.pending.append(_PING)
        if self._receive_silence_time(path) <= due:
            path.silence_probed = True
            path.pending.append(_PING)
        if path.prover is not None:
            path.prover.on_timeout(path, now)

    def _path_timeout(self, path: Path) -> float:
        due = NEVER if path.tail_due is None else path.tail_due
        sent = path.sent
        loss_time = sent.loss_time(path.patience)
        if loss_time is not None and loss_time < due:
            due = loss_time
        if len(sent):
            due = min(due, self._silence_time(path))
        if self._is_client:
            due = min(due, self._keepalive_time(path), self._receive_silence_time(path))
        if path.roaming is not None:
            due = min(due, path.roaming.started + CHALLENGE_LIFETIME)
        if path.refusals.rest_end is not None:
            due = min(due, path.refusals.rest_end)
        probe = path.liveness.next_probe
        return probe if probe is not None and probe < due and path.usable else due

    def _keepalive_time(self, path: Path) -> float:
        if not self._is_client or not path.up:
            return NEVER
        return path.last_sent + self._keepalive

    def _silence_time(self, path: Path) -> float:
        """When a path is silent: two datagrams are unanswered, and it answers nothing else.

        One alone may just be lost, and nothing newer tell of it yet; then it is time to ask again.
        """
        waiting = iter(path.sent.outstanding())
        oldest = next(waiting, None)
        if oldest is None or path.liveness.state != UP:
            return NEVER
        second = next(waiting, oldest)
        interval = ack_interval(path.rtt.smoothed)
        spacing = min(SPACING, max(0.0, GRACE - RESERVE - interval))
        return max(
            max(oldest.time, second.time - spacing) + path.silence_limit,
            path.last_answer + interval + PROGRESS,
            path.suspicion_not_before,
        )

    def _receive_silence_time(self, path: Path) -> float:
        """A client's path that used to bring packets and has stopped: has its NAT forgotten it?

        ACKs do not count, or each probe's own would call for the next.
        """
        if not self._is_client or path.silence_probed or path.last_received is None:
            return NEVER
        return path.last_received + max(RECEIVE_SILENCE, path.silence_limit)

    def _suspect(self, silent: list[Path], now: float) -> None:
        up = [path for path in self._paths.values() if path.up]
        busy = sum(len(path.sent) > 0 for path in up)
        for path in silent:
            oldest = path.sent.oldest
            assert oldest is not None
            if len(path.sent) == 1:
                path.pending.append(_PING)
                path.suspicion_not_before = now + path.silence_limit
                continue
            # an ACK that comes sooner than a round trip after it need not speak of this datagram
            round_trip = path.rtt.minimum + ack_interval(path.rtt.minimum)
            unheard = self.last_ack < oldest.time + round_trip
            excusable = unheard and (busy > 1 or len(up) == 1)
            if excusable and path.suspicion_not_before <= oldest.time:
                path.suspicion_not_before = now + path.silence_limit + REROUTING
                self._excused_since = now
                continue
            path.liveness.on_silence(now, now - oldest.time)
            path.rate.on_suspect(now)
            self._sender.rescue(path, now)
