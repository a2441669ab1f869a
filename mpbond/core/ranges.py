"""A set of integers kept as disjoint closed ranges, for packet numbers (compare RFC 9000, 19.3.1).

Packet numbers arrive almost in order, so the newest range stands last and the common `add` touches only
that one. All work is proportional to the number of ranges touched, never to the numbers inside them.
"""

from bisect import bisect_left
from collections.abc import Iterator


class RangeSet:
    """Disjoint, ascending, non-adjacent ranges of integers."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __len__(self) -> int:
        return len(self._firsts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self._lasts, number)
        return at < len(self._firsts) and self._firsts[at] <= number

    @property
    def largest(self) -> int:
        """The largest number in the set; IndexError when it is empty."""
        return self._lasts[-1]

    @property
    def smallest(self) -> int:
        """The smallest number in the set; IndexError when it is empty."""
        return self._firsts[0]

    def count(self, first: int, last: int) -> int:
        """How many numbers of first..last are in the set."""
        return sum(
            max(0, min(last, b) - max(first, a) + 1)
            for a, b in zip(self._firsts, self._lasts, strict=True)
        )

    def end_of(self, number: int) -> int | None:
        """The last number of the range that holds `number`, None if none does."""
        at = bisect_left(self._lasts, number)
        if at < len(self._firsts) and self._firsts[at] <= number:
            return self._lasts[at]
        return None

    def newest(self, count: int) -> list[tuple[int, int]]:
        """Return the `count` ranges with the largest numbers, largest first."""
        firsts, lasts = self._firsts, self._lasts
        return [(firsts[i], lasts[i]) for i in range(len(firsts) - 1, -1, -1)][:count]

    def add(self, first: int, last: int) -> list[tuple[int, int]]:
        """Add first..last and return, ascending, the parts that were not in the set before."""
        firsts, lasts = self._firsts, self._lasts
        if lasts and first == lasts[-1] + 1:
            lasts[-1] = last
            return [(first, last)]
        low = bisect_left(lasts, first - 1)
        high = low
        new: list[tuple[int, int]] = []
        at = first
        while high < len(firsts) and firsts[high] <= last + 1:
            if at < firsts[high]:
                new.append((at, firsts[high] - 1))
            at = max(at, lasts[high] + 1)
            high += 1
        if at <= last:
            new.append((at, last))
        if high > low:
            first = min(first, firsts[low])
            last = max(last, lasts[high - 1])
        firsts[low:high] = [first]
        lasts[low:high] = [last]
        return new

    def take(self, first: int, last: int) -> bool:
        """Add first..last if none of it is in the set; False, and nothing has happened, otherwise."""
        firsts, lasts = self._firsts, self._lasts
        if not lasts or first > lasts[-1] + 1:
            firsts.append(first)
            lasts.append(last)
            return True
        if first > lasts[-1]:
            lasts[-1] = last
            return True
        at = bisect_left(lasts, first)
        if firsts[at] <= last:
            return False
        follows = at > 0 and lasts[at - 1] + 1 == first
        if firsts[at] > last + 1:
            if follows:
                lasts[at - 1] = last
            else:
                firsts.insert(at, first)
                lasts.insert(at, last)
        elif follows:
            del firsts[at], lasts[at - 1]
        else:
            firsts[at] = first
        return True

    def drop_below(self, number: int) -> None:
        """Forget everything below `number`."""
        firsts, lasts = self._firsts, self._lasts
        keep = bisect_left(lasts, number)
        del firsts[:keep], lasts[:keep]
        if firsts and firsts[0] < number:
            firsts[0] = number

    def keep_newest(self, count: int) -> None:
        """Forget all but the `count` ranges with the largest numbers."""
        if len(self._firsts) > count:
            del self._firsts[:-count], self._lasts[:-count]
