"""Is it us who make a path lose? Tried out, because nothing else tells.

A policer, or a modem with a shallow buffer, drops before the queue reaches what rate control aims at;
radio drops whatever we do. So when more is lost than the path is known to lose by itself, a trial: for
a round no more is sent than was delivered before, and no queue is made. If that makes the loss smaller,
it was ours: `level` stays low and comes back slowly, each time later than the last. If not, it is the
path's own, `background`, to which nobody gives way. A few losses tell nothing: a share is taken over
as many datagrams as it takes to lose eight, and a trial that is to blame us over twice as many.
"""

ENOUGH = 40  # datagrams that a share of loss is taken over, at least
LOSSES = 8  # lost datagrams that it takes to tell a share
MOST = 400  # datagrams after which fewer lost ones do
SLACK = 0.01  # of loss above twice the background that is put up with
LONGER = 2  # times as many datagrams as LOSSES took before are sent in a trial: else it was ours
TRIAL = 0.95  # of the delivered rate is sent during the trial
CUT = 0.5
LOWEST = 0.1  # below this level nothing more can be gained
STEP = 1 / 16
HOLD = 1.0  # seconds
LONGEST_HOLD = 16.0
DOUBTED = 20.0  # seconds after which a background above SLACK is tried anew
HIGH = 0.1  # a background above it is hardly believed
HIGH_DOUBTED = 3.0  # seconds, then


class Caution:
    """How boldly a path may be filled: `level` from 0 (exactly what drains) to 1 (whatever is wanted).

    During a trial `trial` is the rate (bytes/s) to keep to, else 0.0.
    """

    __slots__ = (
        "_acked",
        "_before",
        "_from",
        "_hold",
        "_lost",
        "_tried_at",
        "_until",
        "background",
        "level",
        "trial",
    )

    def __init__(self) -> None:
        self.level = 1.0
        self.trial = 0.0
        self.background = 0.0  # share of datagrams the path loses by itself
        self._acked = 0
        self._lost = 0
        self._before = 0  # datagrams that the share before the trial was taken over
        self._from = 0  # only datagrams sent later count, by position
        self._hold = HOLD
        self._until = float("-inf")
        self._tried_at = float("-inf")

    def on_lost(self, position: int) -> None:
        """A datagram was lost; `position` is where in the path's stream of bytes it was."""
        if position > self._from:
            self._lost += 1

    def on_acked(self, count: int, position: int, sent: int, rate: float, now: float) -> bool:
        """`count` datagrams were acknowledged, the last at `position`; True when a trial begins.

        `sent` is the position one round after now, `rate` what is delivered (bytes/s).
        """
        if position <= self._from:
            return False
        self._acked += count
        total = self._acked + self._lost
        if self.trial:
            if self._lost >= LOSSES or total >= LONGER * self._before:
                self._judge(self._lost / total, now)
            return False
        if total < ENOUGH or (self._lost < LOSSES and total < MOST):
            return False
        share = self._lost / total
        lossy = self._lost >= LOSSES and share > 2 * self.background + SLACK
        self._acked = self._lost = 0
        if lossy and LOWEST <= self.level < 1.0:
            self.level = self.level * CUT if self.level * CUT >= LOWEST else 0.0
            self._until = now + self._hold
            self._from = sent
            return False
        patience = HIGH_DOUBTED if self.background > HIGH else DOUBTED
        doubted = share > SLACK and now - self._tried_at > patience
        if lossy or doubted:
            self._before = total
            self._from = sent
            self._tried_at = now
            self.trial = TRIAL * rate
            self.level = 0.0
            return True
        if share < self.background:
            self.background += (share - self.background) / 8
        if now >= self._until:
            self.level = min(1.0, self.level + STEP)
        return False

    def _judge(self, share: float, now: float) -> None:
        self.trial = 0.0
        self.background = share
        if self._lost < LOSSES:
            self.level = CUT
            self._until = now + self._hold
            self._hold = min(2 * self._hold, LONGEST_HOLD)
        else:
            self.level = 1.0
            self._hold = HOLD
        self._acked = self._lost = 0
