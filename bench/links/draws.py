"""A small generator of random numbers that is the same in Python and in C.

SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): the
emulator's C program draws the very same numbers, so a link does the same on both clocks.
"""

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


class Draws:
    """A sequence of 64-bit numbers that depends on nothing but its seed."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & MASK

    def next(self) -> int:
        """Draw a number below 2^64."""
        self._state = state = (self._state + GOLDEN) & MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
        return state ^ (state >> 31)


def threshold(probability: float) -> int:
    """What the upper 53 bits of a draw stay below with this probability."""
    return round(probability * (1 << 53))


def seed_of(seed: int, link: int, direction: str) -> int:
    """The seed of one direction ("down" or "up") of one link of a run."""
    return Draws((seed << 16) ^ (link << 1) ^ (direction == "up")).next()
