"""Is a path alive in the direction we send? One small state machine per path (design 9).

    new ──▶ probing ──answer──▶ up ◀──2 answers── suspect ──5 unanswered probes──▶ down
                 │               └──silence──▶       ▲                              │
                 └──5 unanswered probes──▶ down ─────┴──────3 answers──▶ up ◀───────┘

Silence is a datagram that stays unacknowledged for `silence_limit` although ACKs come that could have
reported it; the session decides that (it alone sees all paths) and calls `on_silence`. A suspect or
probing path is probed every 100 ms, a dead one twice a second and after half a minute once. Going up
needs answers in a row, so one lucky probe on a path that loses most does not bring it back. An idle path's
RTT proves nothing and is never consulted.

A path that was up and went down has failed. The first failure is forgiven at once, and two if it was the
link's carrier that went, since that is known at once and costs next to nothing. The next within 10 minutes
puts the path on probation when it comes back: `probing`, carrying probes and copies only, for 8 s. Failing on
probation begins it anew; failing again soon after it doubles it, up to 10 min; so the probation grows until
it is longer than the flapper stays up, and no further. A failure that follows ten times as long a good
time does not double it, and 10 minutes of being up settle the account.

A stall is no failure: where what was sent before the path went down is acknowledged after all, nothing
was lost but time. Mobile links do that every minute, and do not deserve a probation.
"""

from math import ceil, inf

PROBE_INTERVAL = 0.1  # seconds between probes of a suspect path
EARLY_PROBE_INTERVAL = 0.5  # seconds between probes of a path that died lately
DEAD_PROBE_INTERVAL = 1.0  # seconds between probes of a dead path: about 0.7 kbit/s
TRIAL_PROBE_INTERVAL = 0.5  # seconds between probes of a path on probation
EARLY = 30.0  # seconds after its death in which a path is probed more often
UNANSWERED_LIMIT = 5
TRIAL_UNANSWERED_LIMIT = 3
ANSWERS_NEEDED = {"probing": 1, "suspect": 2, "down": 3}
GRACE = 0.060  # seconds on top of the RTT's spread: the peer's ACK interval and timers
SPREAD_LIMIT = 0.300  # seconds: what an RTT's spread may add; after a spike it would be seconds

FREE_FAILURES = 1  # failures within FORGIVEN that are not punished
FREE_CARRIER_LOSSES = 2
FORGIVEN = 600.0  # seconds of being up after which past failures are forgotten
SHORTEST_PROBATION, LONGEST_PROBATION = 8.0, 600.0  # seconds
GOOD_CONDUCT = 10  # probations' lengths of being up after which the next does not grow

NEW, PROBING, UP, SUSPECT, DOWN = "new", "probing", "up", "suspect", "down"
_RANK = {UP: 0, SUSPECT: 2, PROBING: 3, DOWN: 4}


class Probation:
    """The account of a path's failures: how long it must prove itself after the next one, in seconds."""

    __slots__ = ("_doubted", "_failures", "_released", "length", "until")

    def __init__(self) -> None:
        self.until: float | None = None  # when the running one ends
        self.length = 0.0  # of the running one or the last
        self._failures = 0
        self._released: float | None = None  # up since then, but for doubts and stalls
        self._doubted: float | None = None  # not up since then

    def on_up(self, now: float) -> None:
        """The path carries packets from now on."""
        self.until = None
        self._doubted = None
        if self._released is None:
            self._released = now

    def on_doubt(self, now: float) -> None:
        """The path carries packets no more; `on_return` says whether that was a failure."""
        self._doubted = now

    def on_return(self, free: int, now: float) -> None:
        """The path is there again; `free` failures of this kind are not punished."""
        if self.until is not None:
            self.until = now + self.length
            return
        if self._released is None:
            return  # it has never been up since the last time
        served = (now if self._doubted is None else self._doubted) - self._released
        self._released = None
        if served >= FORGIVEN:
            self._failures, self.length = 0, 0.0
        self._failures += 1
        if self._failures <= free:
            return
        if not self.length:
            self.length = SHORTEST_PROBATION
        elif served < GOOD_CONDUCT * self.length:
            self.length = min(LONGEST_PROBATION, 2 * self.length)
        self.until = now + self.length


class Liveness:
    """State of one path and why; times in seconds of the caller's clock.

    `changed` says that `next_probe` or the state may be others than when the reader last set it False.
    """

    __slots__ = (
        "_answers",
        "_asked",
        "_delivered",
        "_probation",
        "_unanswered",
        "changed",
        "next_probe",
        "reason",
        "since",
        "state",
        "transitions",
    )

    def __init__(self, now: float) -> None:
        self.state = NEW
        self.reason = "waiting for the session"
        self.since = now
        self.next_probe: float | None = None
        self.transitions = 0
        self.changed = True
        self._answers = 0
        self._unanswered = 0
        self._asked = now  # when the first of the unanswered probes left
        self._delivered = False  # what left before the path went down has arrived after all
        self._probation = Probation()

    @property
    def on_probation(self) -> bool:
        """Does the path answer, but must still prove itself?"""
        return self.state == PROBING and self._probation.until is not None

    @property
    def rank(self) -> int:
        """0 when up; else the lower, the better it would be to use the path if none were up."""
        return 1 if self.on_probation else _RANK.get(self.state, 5)

    def start(self, now: float, reason: str) -> None:
        """Begin probing: a new path, or one whose link has come back."""
        self._probation.on_return(FREE_CARRIER_LOSSES, now)
        self._enter(PROBING, reason, now)
        self._explain(now)
        self.next_probe = now

    def on_answer(self, now: float, left: float = inf) -> None:
        """Something newly sent on this path has been acknowledged; it left at `left`."""
        self.changed = True
        self._unanswered = 0
        needed = ANSWERS_NEEDED.get(self.state)
        if needed is None:
            return
        if self.state == DOWN and left < self.since:
            self._delivered = True
        self._answers += 1
        if self._answers < needed:
            self.next_probe = now
        elif self.state == DOWN:
            self._come_back("answers", now)
        elif self._probation.until is None or now >= self._probation.until:
            self._go_up("answers", now)

    def restore(self, now: float, reason: str) -> None:
        """The peer has just answered from this path's address: no better evidence is to be had."""
        self.changed = True
        if self.state == UP:
            self.next_probe = None
        elif self.state == DOWN:
            self._come_back(reason, now)
        elif not self.on_probation:
            self._go_up(reason, now)

    def on_silence(self, now: float, silent_for: float) -> None:
        """Data has stayed unacknowledged for `silent_for` seconds."""
        if self.state == UP:
            self._enter(SUSPECT, f"silent for {silent_for * 1000:.0f} ms with data in flight", now)
            self.next_probe = now

    def on_probe_sent(self, now: float, patience: float = 0.0) -> None:
        """A probe leaves now; those before it are unanswered unless `on_answer` came since.

        An answer may take `patience` seconds.
        """
        self.changed = True
        trial = self.on_probation
        limit = TRIAL_UNANSWERED_LIMIT if trial else UNANSWERED_LIMIT
        interval = TRIAL_PROBE_INTERVAL if trial else PROBE_INTERVAL
        self._unanswered += 1
        if self._unanswered == 1:
            self._asked = now
        waited = now - self._asked - (limit - 1) * interval  # for the last that counts
        if self._unanswered > limit and waited >= patience - 1e-9:
            self._answers = 0
            reason = f"{limit} probes unanswered"
            if self.state in (PROBING, SUSPECT):
                self._enter(DOWN, reason, now)
                self._delivered = False
            elif self.state == DOWN:
                self.reason = reason
        if self.state == DOWN and self._answers == 0:
            interval = EARLY_PROBE_INTERVAL if now < self.since + EARLY else DEAD_PROBE_INTERVAL
        self.next_probe = now + interval
        self._explain(now)

    def on_refused(self, now: float, reason: str) -> None:
        """The system or the peer says that the path cannot carry anything."""
        if self.state != DOWN:
            self._enter(DOWN, reason, now)
            self._delivered = False
            self.next_probe = now + EARLY_PROBE_INTERVAL
        self.reason = reason
        self._answers = 0
        self._unanswered = 0

    def hurry(self, now: float) -> None:
        """Probe at once: there is news of the path."""
        if self.next_probe is not None:
            self.changed = True
            self.next_probe = now

    def _come_back(self, reason: str, now: float) -> None:
        """A dead path answers: let it take part, or go on or begin to prove itself."""
        if not self._delivered:
            self._probation.on_return(FREE_FAILURES, now)
        until = self._probation.until
        if until is None or now >= until:
            self._go_up(reason, now)
            return
        self._enter(PROBING, reason, now)
        self.next_probe = now
        self._explain(now)

    def _go_up(self, reason: str, now: float) -> None:
        self._probation.on_up(now)
        self._enter(UP, reason, now)
        self.next_probe = None

    def _explain(self, now: float) -> None:
        """Say how long the probation lasts still."""
        until = self._probation.until
        if self.state == PROBING and until is not None:
            left = max(1, ceil(until - now))
            self.reason = f"on probation for {left} s more"
            if self.next_probe is not None and now < until < self.next_probe:
                self.next_probe = until

    def _enter(self, state: str, reason: str, now: float) -> None:
        if self.state == UP:
            self._probation.on_doubt(now)
        self.state = state
        self.reason = reason
        self.since = now
        self.transitions += 1
        self.changed = True
        self._answers = 0
        self._unanswered = 0


def silence_limit(smoothed: float, variation: float) -> float:
    """Return how long data may stay unacknowledged before its path is suspect, in seconds."""
    return smoothed + min(4 * variation, SPREAD_LIMIT) + GRACE
