"""Is it us who make a path lose? Tried out, because nothing else tells.

A policer, or a modem with a shallow buffer, drops before the queue reaches what rate control aims at;
radio drops whatever we do. So when more is lost than the path is known to lose by itself, a trial: for
a round no more is sent than was delivered before, and no queue is made. If that makes the loss smaller,
it was ours: `level` stays low and comes back slowly, each time later than the last. If not, it is the
path's own, `background`, to which nobody gives way.

What was delivered before is less than the rate that rate control knows where the application does not fill
the path. A policer lets a first burst pass at many times the rate that it enforces, and what a limited flow
delivers later never lowers what was learned from that: a trial with such a rate would change nothing. So
where much is lost, a trial begins with what the application had delivered; where little is, that would only
hold it up. And no trial sends less than was delivered before it (`least`): it loses too, and the next one
would begin with what that left.

A few losses tell nothing: a share is taken over as many datagrams as it takes to lose some eight times, and a
trial that is to blame us over twice as many.
"""

from collections.abc import Iterable

ENOUGH = 40  # datagrams that a share of loss is taken over, at least
LOSSES = 8  # times that datagrams were lost: it takes so many to tell a share
MOST = 2000  # datagrams after which fewer lost ones do
SLACK = 0.01  # of loss above twice the background that is put up with
HEAVY = 0.05  # loss above which a trial goes by what a limited application sends
LONGER = 3  # times as many datagrams as LOSSES took before are sent in a trial: else it was ours
TRIAL = 0.95  # of the delivered rate is sent during the trial
CUT = 0.5
LOWEST = 0.1  # below this level nothing more can be gained
RECOVERY = 4.0  # seconds from level 0 to 1
HOLD = 0.5  # seconds at level 0 before the first try to do more
LONGEST_HOLD = 16.0
DOUBT = (
    3.0  # seconds after which a background above SLACK is tried anew, doubled each time it is own
)
LONGEST_DOUBT = 24.0


class Caution:
    """How boldly a path may be filled: `level` from 0 (what is known to pass) to 1 (what is wanted).

    While `level` is below 1, `safe` is the rate (bytes/s) that is known to pass, or is being tried. In a
    trial no less than `least` is sent: what was delivered before, on the mean.
    """

    __slots__ = (
        "_acked",
        "_before",
        "_confirming",
        "_doubt",
        "_events",
        "_from",
        "_heard",
        "_hold",
        "_limited",
        "_limited_sum",
        "_lost",
        "_risen_at",
        "_since",
        "_since_time",
        "_tried_at",
        "_trying",
        "_until",
        "_usual",
        "background",
        "least",
        "level",
        "safe",
    )

    def __init__(self) -> None:
        self.level = 1.0
        self.safe = 0.0
        self.least = 0.0
        self.background = 0.0  # share of datagrams the path loses by itself
        self._trying = False
        self._acked = 0
        self._lost = 0
        self._events = 0  # times that some were lost: they go in bursts
        self._forget_limited()
        self._before = 0  # datagrams that LOSSES took before the trial
        self._usual = 0.0  # datagrams that LOSSES take on the long run, 0.0 if not known
        self._confirming = False  # the last share was too large
        self._since = 0  # the position at which the share began that is being taken,
        self._since_time = 0.0  # and when
        self._from = 0  # only datagrams sent later count, by position
        self._hold = HOLD
        self._doubt = DOUBT
        self._until = self._risen_at = self._tried_at = float("-inf")

    def on_lost(self, positions: Iterable[int]) -> None:
        """Datagrams were found lost at once; where in the path's stream of bytes they were."""
        lost = sum(position > self._from for position in positions)
        if lost:
            self._lost += lost
            self._events += 1

    def on_acked(
        self,
        count: int,
        position: int,
        sent: int,
        rate: float,
        now: float,
        limited: float = 0.0,
    ) -> bool:
        """`count` datagrams were acknowledged, the last at `position`; True when a trial begins.

        `sent` is the position one round after now, `rate` what the path delivers when it is full (bytes/s),
        `limited` what it delivers at present if the application does not fill it, else 0.0.
        """
        self._rise(now)
        if position <= self._from:
            return False
        if not self._acked:
            self._since, self._since_time = position, now
        self._acked += count
        self._heard += count
        if limited:
            self._limited += count
            self._limited_sum += limited * count
        total = self._acked + self._lost
        if self._trying:
            if self._events >= LOSSES or total >= LONGER * self._before:
                self._judge(self._lost / total, now)
            return False
        if total < ENOUGH or (self._events < LOSSES and total < MOST):
            return False
        share = self._lost / total
        delivered = (1 - share) * (position - self._since) / max(now - self._since_time, 1e-3)
        told = self._events >= LOSSES and share > SLACK
        lossy = told and share > 2 * self.background + SLACK
        if share > HEAVY and 2 * self._limited > self._heard:
            rate = min(rate, self._limited_sum / self._limited)
        self._acked = self._lost = self._events = 0
        if told:
            self._usual += (total - self._usual) / 8 if self._usual else total
        if lossy and not self._confirming:
            self._confirming = True
            self._before = total
            return False
        self._confirming = False
        self._forget_limited()
        if lossy and LOWEST <= self.level < 1.0:
            self._give_way(self.level * CUT, now)
            self._from = sent
            return False
        if lossy or (told and now - self._tried_at > self._doubt):
            self._before = (self._before + total) // 2 if lossy else max(total, round(self._usual))
            self._from = sent
            self._tried_at = now
            self._trying = True
            self.safe = TRIAL * rate
            self.least = min(self.safe, TRIAL * delivered)
            self.level = 0.0
            return True
        self.safe = max(self.safe, rate)
        if share < self.background:
            self.background += (share - self.background) / 8
        return False

    def forget(self, sent: int) -> None:
        """What was lost up to the position `sent` had another reason."""
        self._from = sent
        self._acked = self._lost = self._events = 0
        self._confirming = False
        self._forget_limited()

    def acquit(self, sent: int) -> None:
        """What was lost up to the position `sent` was not lost: take back what followed from it."""
        self.forget(sent)
        self.level = 1.0
        self._trying = False
        self.least = 0.0
        self._hold = HOLD

    def _judge(self, share: float, now: float) -> None:
        self._trying = False
        self.least = 0.0
        self.background = share
        if self._events < LOSSES:
            self._give_way(0.0, now)
            self._doubt = DOUBT
        else:
            self.level = 1.0
            self._hold = HOLD
            self._doubt = min(2 * self._doubt, LONGEST_DOUBT)
        self._acked = self._lost = self._events = 0
        self._forget_limited()

    def _rise(self, now: float) -> None:
        if self.level < 1.0 and not self._trying and now > self._until:
            self.level = min(1.0, self.level + (now - max(self._risen_at, self._until)) / RECOVERY)
            self._risen_at = now

    def _give_way(self, level: float, now: float) -> None:
        self.level = level if level >= LOWEST else 0.0
        self._until = now + self._hold
        self._hold = min(2 * self._hold, LONGEST_HOLD)

    def _forget_limited(self) -> None:
        self._heard = 0  # datagrams acknowledged,
        self._limited = 0  # those of them that came while the application did not fill the path,
        self._limited_sum = 0.0  # and the sum of the rates (bytes/s) that these were delivered at
