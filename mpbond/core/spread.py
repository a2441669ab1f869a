"""How unsteady a path's queue is, and what follows from it: how much to aim at, what is queue for certain.

On a steady link 8 ms of queue keep it busy, on a radio drive it takes 40. The mean deviation rises and falls
slowly, so one sudden queue does not make a path unsteady.
"""

TARGET = 0.040  # seconds of queue aimed at where the path is unsteady
STEADY_TARGET = 0.008  # seconds, where it is steady
STEADY = 0.005  # seconds; SPREADS times the queue's mean deviation come on top
SPREADS = 1.5
SPREAD_UP, SPREAD_DOWN = 128, 64  # ACKs over which it rises and falls
STANDING = 0.005  # seconds of queue, and as SPREADS more, above which the path counts as busy,
PAUSED_SPREADS = 4.0  # or that many after a pause: jitter may be all of it
UNSTEADY = 0.008  # seconds of mean deviation: as on radio


class Spread:
    """The mean deviation of the queues that ACKs tell of, in seconds."""

    __slots__ = ("_mean", "_spread")

    def __init__(self) -> None:
        self._mean = 0.0
        self._spread = TARGET / 2

    @property
    def target(self) -> float:
        """Seconds of queue to aim at, if nothing else asks for more or less."""
        return min(TARGET, max(STEADY_TARGET, STEADY + SPREADS * self._spread))

    @property
    def steady(self) -> bool:
        """Does the queue vary little, so that a sudden gap is none of the path's habits?"""
        return self._spread < UNSTEADY

    def standing(self, paused: bool) -> float:
        """Seconds above which queue is no jitter; `paused`: of a datagram sent after a pause."""
        return STANDING + (PAUSED_SPREADS if paused else SPREADS) * self._spread

    def update(self, queue: float) -> None:
        """Take the queue (s) that an ACK tells of."""
        deviation = min(abs(queue - self._mean), TARGET) - self._spread
        self._spread += deviation / (SPREAD_UP if deviation > 0 else SPREAD_DOWN)
        self._mean += (queue - self._mean) / 16
