"""The timers of a session's paths: loss, tail, probes, keepalives, and who is silent (design 5 and 9).

Most timers concern one path. Silence does not: a path whose data stays unacknowledged is suspect only
while ACKs come that could have reported it. When several paths have data in flight and no ACK has come
for any, it is the way back that fails, and nobody is suspected for one more RTT.
"""

from collections.abc import Mapping

from mpbond.core.liveness import UP
from mpbond.core.path import Path
from mpbond.core.sender import Sender
from mpbond.core.wire import PING, frame

RECEIVE_SILENCE = 0.2  # seconds without a datagram after which a receiving path is probed once
REMEMBERED = 10.0  # seconds that an unanswered datagram of a doubtful path is waited for
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
        self.last_ack = now  # when any ACK came last
        self._paths = paths
        self._sender = sender
        self._is_client = is_client
        self._keepalive = keepalive

    def run(self, now: float) -> None:
        """Do what is due."""
        due = now + 1e-9
        for path in self._paths.values():
            self._run_path(path, due, now)
        silent = [path for path in self._paths.values() if self._silence_time(path) <= due]
        if silent:
            self._suspect(silent, now)

    def next_timeout(self) -> float:
        """When `run` has something to do; infinity when never."""
        return min(map(self._path_timeout, self._paths.values()), default=NEVER)

    def keepalive_time(self) -> float:
        """When the first keepalive falls due; infinity when none does."""
        return min(map(self._keepalive_time, self._paths.values()), default=NEVER)

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
            path.liveness.on_probe_sent(now)
            path.pending.append(_PING)
            self._sender.requeue(path, path.sent.expire(now - REMEMBERED), now)
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
        if len(path.sent):
            due = min(due, self._silence_time(path))
            loss_time = path.sent.loss_time(path.patience)
            if loss_time is not None and loss_time < due:
                due = loss_time
        if self._is_client:
            due = min(due, self._keepalive_time(path), self._receive_silence_time(path))
        probe = path.liveness.next_probe
        return probe if probe is not None and probe < due and path.usable else due

    def _keepalive_time(self, path: Path) -> float:
        if not self._is_client or not path.up:
            return NEVER
        return path.last_sent + self._keepalive

    def _silence_time(self, path: Path) -> float:
        oldest = path.sent.oldest
        if oldest is None or path.liveness.state != UP:
            return NEVER
        return max(oldest.time + path.silence_limit, path.suspicion_not_before)

    def _receive_silence_time(self, path: Path) -> float:
        """A client's path that used to bring packets and has stopped: has its NAT forgotten it?

        ACKs do not count, or each probe's own would call for the next.
        """
        if not self._is_client or path.silence_probed or path.last_received is None:
            return NEVER
        return path.last_received + max(RECEIVE_SILENCE, path.silence_limit)

    def _suspect(self, silent: list[Path], now: float) -> None:
        busy = sum(path.up and len(path.sent) > 0 for path in self._paths.values())
        for path in silent:
            oldest = path.sent.oldest
            assert oldest is not None
            # an ACK that comes sooner than a round trip after it cannot speak of this datagram
            unheard = self.last_ack < oldest.time + path.rtt.minimum
            if unheard and busy > 1 and path.suspicion_not_before <= oldest.time:
                path.suspicion_not_before = now + path.silence_limit
                continue
            path.liveness.on_silence(now, now - oldest.time)
            path.rate.on_suspect(now)
            self._sender.rescue(path, now)
