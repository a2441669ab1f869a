"""Is a path alive in the direction we send? One small state machine per path (design 9).

    new ──▶ probing ──answer──▶ up ◀──2 answers── suspect ──5 unanswered probes──▶ down
                 │               └──silence──▶       ▲                              │
                 └──5 unanswered probes──▶ down ─────┴──────3 answers──▶ up ◀───────┘

Silence is a datagram that stays unacknowledged for `silence_limit` although ACKs come that could have
reported it; the session decides that (it alone sees all paths) and calls `on_silence`. A suspect or
probing path is probed every 100 ms, a dead one every second. Going up needs answers in a row, so one
lucky probe on a path that loses most does not bring it back. An idle path's RTT proves nothing and is
never consulted.
"""

PROBE_INTERVAL = 0.1  # seconds between probes of a suspect path
DEAD_PROBE_INTERVAL = 1.0  # seconds between probes of a dead path: about 0.7 kbit/s
UNANSWERED_LIMIT = 5
ANSWERS_NEEDED = {"probing": 1, "suspect": 2, "down": 3}
GRACE = 0.060  # seconds on top of the RTT's spread: the peer's ACK interval and timers

NEW, PROBING, UP, SUSPECT, DOWN = "new", "probing", "up", "suspect", "down"


class Liveness:
    """State of one path and why; times in seconds of the caller's clock."""

    __slots__ = ("_answers", "_unanswered", "next_probe", "reason", "since", "state", "transitions")

    def __init__(self, now: float) -> None:
        self.state = NEW
        self.reason = "waiting for the session"
        self.since = now
        self.next_probe: float | None = None
        self.transitions = 0
        self._answers = 0
        self._unanswered = 0

    def start(self, now: float, reason: str) -> None:
        """Begin probing: a new path, or one whose link has come back."""
        self._enter(PROBING, reason, now)
        self.next_probe = now

    def on_answer(self, now: float) -> None:
        """Something newly sent on this path has been acknowledged."""
        self._unanswered = 0
        needed = ANSWERS_NEEDED.get(self.state)
        if needed is None:
            return
        self._answers += 1
        if self._answers >= needed:
            self._enter(UP, "answers", now)
            self.next_probe = None
        else:
            self.next_probe = now

    def restore(self, now: float, reason: str) -> None:
        """The peer has just answered from this path's address: no better evidence is to be had."""
        if self.state != UP:
            self._enter(UP, reason, now)
        self.next_probe = None

    def on_silence(self, now: float, silent_for: float) -> None:
        """Data has stayed unacknowledged for `silent_for` seconds."""
        if self.state == UP:
            self._enter(SUSPECT, f"silent for {silent_for * 1000:.0f} ms with data in flight", now)
            self.next_probe = now

    def on_probe_sent(self, now: float) -> None:
        """A probe leaves now; the one before it is unanswered unless `on_answer` came since."""
        self._unanswered += 1
        if self._unanswered > UNANSWERED_LIMIT:
            self._answers = 0
            if self.state in (PROBING, SUSPECT):
                self._enter(DOWN, f"{UNANSWERED_LIMIT} probes unanswered", now)
        dead = self.state == DOWN and self._answers == 0
        self.next_probe = now + (DEAD_PROBE_INTERVAL if dead else PROBE_INTERVAL)

    def on_refused(self, now: float, reason: str) -> None:
        """The system or the peer says that the path cannot carry anything."""
        if self.state != DOWN:
            self._enter(DOWN, reason, now)
            self.next_probe = now + DEAD_PROBE_INTERVAL
        self.reason = reason

    def hurry(self, now: float) -> None:
        """Probe at once: there is news of the path."""
        if self.next_probe is not None:
            self.next_probe = now

    def _enter(self, state: str, reason: str, now: float) -> None:
        self.state = state
        self.reason = reason
        self.since = now
        self.transitions += 1
        self._answers = 0
        self._unanswered = 0


def silence_limit(smoothed: float, variation: float) -> float:
    """Return how long data may stay unacknowledged before its path is suspect, in seconds."""
    return smoothed + 4 * variation + GRACE
