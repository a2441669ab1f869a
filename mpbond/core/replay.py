"""Which packet numbers of a path have been seen: a sliding window after RFC 6479.

    numbers  ...... top-width |  top-width+1 ............ top | top+1 ......
             too old: refused |  a bit each: seen or not      | new: accepted, the window follows

The bits live in a ring of bytes, at `number modulo ring size`. Following a new top costs clearing
the bytes entered since, never shifting the rest; that is the RFC's idea. The ring is at least one
byte longer than the window, so that the byte the top has just entered holds nothing still needed.

A window belongs to one path of one session and is never reset: it dies with its session. It is
asked before a datagram is opened (cheap refusal of copies) and told after, because only an
authentic number may move it.
"""

DEFAULT_WIDTH = 2048  # numbers; at 100 Mbit/s of 1,400 byte datagrams 0.2 s of reordering


class ReplayWindow:
    """Accepts each packet number (an int of 0 or more) at most once."""

    __slots__ = ("_mask", "_ring", "top", "width")

    def __init__(self, width: int = DEFAULT_WIDTH) -> None:
        if width < 1:
            raise ValueError(f"a replay window is at least 1 wide, not {width}")
        size = 1 << ((width + 7) // 8).bit_length()
        self._ring = bytearray(size)
        self._mask = size - 1
        self.width = width
        self.top = -1
        """The highest number accepted, -1 before the first."""

    def would_accept(self, number: int) -> bool:
        """Tells, changing nothing, whether `accept` would take `number`."""
        if number > self.top:
            return True
        if number <= self.top - self.width:
            return False
        return not self._ring[number >> 3 & self._mask] & 1 << (number & 7)

    def accept(self, number: int) -> bool:
        """Marks `number` as seen; False if it was seen before or lies behind the window."""
        ring = self._ring
        mask = self._mask
        top = self.top
        block = number >> 3
        bit = 1 << (number & 7)
        if number > top:
            self.top = number
            last = top >> 3
            if block == last:
                ring[block & mask] |= bit
                return True
            if block - last > mask:
                ring[:] = bytes(mask + 1)
            else:
                while last < block:
                    last += 1
                    ring[last & mask] = 0
            ring[block & mask] = bit
            return True
        if number <= top - self.width:
            return False
        seen = ring[block & mask]
        if seen & bit:
            return False
        ring[block & mask] = seen | bit
        return True

    def accept_run(self, first: int, last: int) -> bool:
        """Marks `first` to `last` as seen; False, and nothing has happened, unless all are above the top."""
        top = self.top
        if first <= top or last - first >= self.width:
            return False
        ring, mask = self._ring, self._mask
        if (first >> 3) - (top >> 3) > mask:
            ring[:] = bytes(mask + 1)
        else:
            for block in range((top >> 3) + 1, first >> 3):
                ring[block & mask] = 0
        for block in range(first >> 3, (last >> 3) + 1):
            low, high = max(first - 8 * block, 0), min(last - 8 * block, 7)
            bits = (2 << high) - (1 << low)
            before = ring[block & mask] if block == top >> 3 else 0
            ring[block & mask] = before | bits
        self.top = last
        return True
