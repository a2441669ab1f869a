"""Slow and obviously right versions of what the core does fast, for differential tests."""

import struct


class NaiveReplayWindow:
    """Remembers every number ever accepted."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.seen: set[int] = set()

    def would_accept(self, number: int) -> bool:
        too_old = bool(self.seen) and number <= max(self.seen) - self.width
        return not too_old and number not in self.seen

    def accept(self, number: int) -> bool:
        if not self.would_accept(number):
            return False
        self.seen.add(number)
        return True


class NaiveRangeSet:
    """A set of integers."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()

    def ranges(self) -> list[tuple[int, int]]:
        return runs(self.numbers)

    def add(self, first: int, last: int) -> list[tuple[int, int]]:
        new = set(range(first, last + 1)) - self.numbers
        self.numbers |= new
        return runs(new)

    def drop_below(self, number: int) -> None:
        self.numbers = {kept for kept in self.numbers if kept >= number}

    def keep_newest(self, count: int) -> None:
        newest = self.ranges()[-count:]
        self.numbers = {kept for kept in self.numbers if newest and kept >= newest[0][0]}


def runs(numbers: set[int]) -> list[tuple[int, int]]:
    """The maximal runs of neighbours in a set, ascending."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


class NaiveLane:
    """One lane, in which every sequence has one fate; gaps are looked for anew each time.

    A gap is a run of missing sequences below one that has come. It belongs to the packet that first
    showed it, whose time and send order decide when it is given up. Sequences start at 0.
    """

    def __init__(self) -> None:
        self.delivered: list[int] = []
        self.came: dict[int, bool] = {}  # sequence -> ordered
        self.called_off: set[int] = set()
        self.shown_by: dict[int, tuple[float, int]] = {}  # missing sequence -> (time, order)
        self.next = 0

    def insert(self, sequence: int, *, ordered: bool, order: int, now: float) -> None:
        if sequence in self.came:
            return
        highest = max(self.came, default=-1)
        for missing in range(highest + 1, sequence):
            self.shown_by[missing] = (now, order)
        self.came[sequence] = ordered
        if sequence < self.next or not ordered:
            self.delivered.append(sequence)
        self._advance()

    def forward(self, first: int, count: int) -> None:
        self.called_off |= {gone for gone in range(first, first + count) if gone >= self.next}
        self._advance()

    def release_expired(self, hold: float, now: float) -> None:
        self._give_up({at for at, (time, _) in self.shown_by.items() if time + hold <= now + 1e-9})

    def release_proven(self, frontier: int) -> None:
        self._give_up({at for at, (_, order) in self.shown_by.items() if order <= frontier})

    def _give_up(self, hopeless: set[int]) -> None:
        if hopeless:
            self.called_off |= set(range(self.next, max(hopeless) + 1))
            self._advance()

    def _advance(self) -> None:
        while self.next in self.came or self.next in self.called_off:
            if self.came.get(self.next) and self.next not in self.delivered:
                self.delivered.append(self.next)
            self.next += 1


class NaiveSentLog:
    """Every datagram ever sent, with its fate looked up by number."""

    def __init__(self, numbers: list[int]) -> None:
        self.outstanding = set(numbers)
        self.lost: set[int] = set()
        self.acked: set[int] = set()

    def acknowledge(self, largest: int, ranges: list[tuple[int, int]]) -> set[int]:
        """Return the outstanding numbers that are newly acknowledged."""
        named = {
            number
            for near, far in ranges
            for number in range(max(0, largest - far), largest - near + 1)
        }
        newly = named & self.outstanding
        self.outstanding -= newly
        self.acked |= newly | named & self.lost
        self.lost -= named
        return newly

    def lose(self, numbers: set[int]) -> None:
        self.outstanding -= numbers
        self.lost |= numbers


def checksums_are_right(packet):
    """Are the checksums of a TCP or UDP packet, and of its IPv4 header, what RFC 1071 makes them?"""
    if packet[0] >> 4 == 4:
        start, protocol, addresses = (packet[0] & 15) * 4, packet[9], packet[12:20]
        whole = words_of(packet[:start]) == 0xFFFF and len(packet) == int.from_bytes(packet[2:4])
    else:
        start, protocol, addresses = 40, packet[6], packet[8:40]
        whole = len(packet) == 40 + int.from_bytes(packet[4:6])
    length = len(packet) - start
    pseudo = addresses + struct.pack(">IHH", length, 0, protocol)
    return whole and words_of(pseudo + packet[start:]) == 0xFFFF


def words_of(data):
    """The ones' complement sum of 16-bit words."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1]))
    total += data[-1] << 8 if len(data) & 1 else 0
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total
