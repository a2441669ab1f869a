"""What a path has sent and not yet heard about: acknowledgement and loss (RFC 9002, section 6).

Every datagram that elicits an acknowledgement is remembered under its packet number until it is
acknowledged or lost. A datagram is lost when `packet_threshold` newer numbers of its path have been
acknowledged, which is 3 at first, or when one newer has been and it left 9/8 of the RTT ago.

A datagram declared lost may be acknowledged after all: then the path reorders, and the measure that was
wrong is widened, so that it is not misread for good. The threshold in packets becomes as many as had
overtaken the datagram when it was last missing, as in Linux; the time grows by a quarter of the RTT, once
in a round trip, as in RACK (RFC 8985, 6.2). That ends at one RTT more, or at 60 ms where this is more: an
RTT is measured by the newest datagram of an ACK, and of those that overtake each other that is a quick one.
Both are halved when losses have been found in 16 round trips and all of them were true. What is later than
9/8 of the RTT and not yet lost is late: it fills no window and tells of no queue, but is not sent again.

Work per ACK is proportional to the numbers newly acknowledged: each range is first cut down to what
`_acked` does not hold yet, and the outstanding datagrams are kept in sending order, so that looking for
losses stops at the first that is not lost.

Datagrams that elicit nothing (ACKs alone) have no fate, but the newest are remembered with their times: when
one of them is the largest that an ACK names, the ACK tells delay and rate all the same.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from typing import Any, Final, NamedTuple

from mpbond.core.packet import Packet, Train
from mpbond.core.ranges import RangeSet

PACKET_THRESHOLD: Final = 3  # RFC 9002, 6.1.1
MAXIMUM_PACKET_THRESHOLD: Final = 300  # as in Linux
TIME_THRESHOLD: Final = 9 / 8  # of the RTT; RFC 9002, 6.1.2
TIME_STEP: Final = 1 / 4  # of the RTT; RFC 8985, 6.2, step 4
LONGEST_OVERTAKING: Final = 0.060  # seconds the threshold in time may gain, where the RTT is less
TRUE_LOSSES: Final = 16  # round trips with true losses only, after which thresholds are halved
GRANULARITY: Final = 0.001  # seconds
LOSS_MEMORY: Final = 64  # datagrams over which the share of lost ones is taken
REMEMBERED_LOST: Final = 256  # datagrams; enough to see a spurious loss come back within an RTT
REMEMBERED_QUIET: Final = 64  # datagrams that elicit no acknowledgement

_KEPT: Final = 1 - 1 / LOSS_MEMORY
_OVERTAKEN, _OVERDUE, _GIVEN_UP = range(3)  # why a datagram was declared lost


class Sent:
    """One datagram in flight: when it left, its size, and what to do when its fate is known.

    `packets` are the inner packets in it; `resend` are frames that must arrive (FORWARD, CONTROL, PATH);
    `reported` is what an ACK frame in it said: path id -> largest packet number, so that those ranges
    need not be repeated; `mark` is what rate control wants to find again; `doubtful` says that its path
    has fallen silent and that its packets no longer count on it.
    """

    __slots__ = ("doubtful", "mark", "packets", "reported", "resend", "size", "time")

    def __init__(
        self,
        time: float,
        size: int,
        packets: Sequence[Packet] = (),
        resend: tuple[bytes, ...] = (),
        reported: dict[int, int] | None = None,
        mark: Any = None,
    ) -> None:
        self.time = time
        self.size = size
        self.packets = packets
        self.resend = resend
        self.reported = reported
        self.mark = mark
        self.doubtful = False


class SentTrain(Sent):
    """Datagrams that left together, each with one segment of a train, and of one size.

    One object stands for all of them, until one may be lost or is wanted for itself: see `one`. What is
    acknowledged at once, as nearly everything is, needs no more.
    """

    __slots__ = ("_first", "_train")

    def __init__(self, time: float, size: int, first: int, train: Train, mark: Any = None) -> None:
        """`size` is that of each datagram, in bytes; the train's first has the number `first`."""
        super().__init__(time, size, mark=mark)
        self._first = first
        self._train = train

    def one(self, number: int) -> Sent:
        """Return what stands for one of them alone."""
        packet = self._train.packet(number - self._first)
        return Sent(self.time, self.size, (packet,), mark=self.mark)


class Acked(NamedTuple):
    """What an ACK newly said: the datagrams, and the largest one if that is among them."""

    newly: list[Sent]
    largest: Sent | None


class SentLog:
    """The outstanding datagrams of one path."""

    def __init__(self) -> None:
        self.next_number = 0
        self.in_flight = 0  # bytes
        self.acked_count = 0
        self.lost_count = 0
        self.spurious_count = 0
        self.loss = 0.0
        """The share lost of the last datagrams whose fate is known, newer ones weighing more."""
        self.packet_threshold = PACKET_THRESHOLD
        self.overtaking = 0.0
        """Seconds that are added to the threshold in time, because datagrams overtake each other."""
        self.widened = 0
        """How often a threshold was found too narrow: what was declared lost before may have come."""
        self._outstanding: dict[int, Sent] = {}
        self._late: dict[int, Sent] = {}
        self._lost: dict[int, tuple[Sent, int]] = {}
        self._widened_at = 0  # the number that was to be sent next then
        self._rtt = 0.0
        self._lost_at = (
            0  # the same, of the last loss found in another round trip than the one before
        )
        self._true_losses = 0
        self._quiet: dict[int, Sent] = {}
        self._acked = RangeSet()
        self._largest_acked = -1

    def __len__(self) -> int:
        return len(self._outstanding)

    @property
    def oldest(self) -> Sent | None:
        """The datagram that has waited longest for its acknowledgement, late ones aside."""
        for sent in self._outstanding.values():
            return sent
        return None

    @property
    def largest_acked(self) -> int:
        """The largest packet number the peer has acknowledged, -1 before the first."""
        return self._largest_acked

    def add(self, number: int, sent: Sent) -> None:
        """Remember a datagram that elicits an acknowledgement."""
        self._outstanding[number] = sent
        self.in_flight += sent.size

    def add_train(self, train: SentTrain, first: int, count: int) -> None:
        """Remember datagrams that left together, under `count` numbers from `first` on."""
        outstanding = self._outstanding
        for number in range(first, first + count):
            outstanding[number] = train
        self.in_flight += train.size * count

    def add_quiet(self, number: int, sent: Sent) -> None:
        """Remember one that elicits none, so that an ACK tells a time also when it is the largest."""
        self._quiet[number] = sent
        if len(self._quiet) > REMEMBERED_QUIET:
            del self._quiet[next(iter(self._quiet))]

    def acknowledge(self, largest: int, ranges: Iterable[tuple[int, int]]) -> Acked:
        """Take an ACK's ranges, as distances below `largest` (see wire.AckBlock)."""
        newly: list[Sent] = []
        top: Sent | None = None
        outstanding, late = self._outstanding, self._late
        came: list[Sent | None]
        floor = min(next(iter(held), largest) for held in (outstanding, late, self._lost))
        for near, far in ranges:
            if largest - near < floor:
                break  # what lies below has no fate left to tell
            for first, last in self._acked.add(max(floor, largest - far), largest - near):
                came = list(map(outstanding.pop, range(first, last + 1), repeat(None)))
                missing = 0
                for sent in came:
                    if sent is None:
                        missing += 1
                    else:
                        self.in_flight -= sent.size
                if missing:
                    self._find_otherwise(came, first)
                if first <= largest <= last:
                    top = came[largest - first]
                newly += [sent for sent in came if sent is not None]
        if newly and top is None:
            top = self._quiet.pop(largest, None)
        self.acked_count += len(newly)
        self.loss *= _KEPT ** len(newly)
        self._largest_acked = max(self._largest_acked, largest)
        self._acked.keep_newest(64)
        return Acked(newly, top)

    def detect_lost(self, rtt: float, now: float) -> list[Sent]:
        """Remove and return what is lost by now; `rtt` is max(smoothed, latest) in seconds."""
        self._rtt = rtt
        limit = self._largest_acked - self.packet_threshold
        taken = self._take_while(lambda number, _sent: number <= limit, _OVERTAKEN)
        before = now - _patience(rtt) + 1e-9
        if self.overtaking:
            self._note_late(before)
            before -= self.overtaking
        taken += self._take_while(
            lambda number, sent: number < self._largest_acked and sent.time <= before, _OVERDUE
        )
        if taken:
            self._narrow()
        return taken

    def loss_time(self, rtt: float) -> float | None:
        """When the oldest datagram below the largest acknowledged will be lost, or late, by time."""
        due = None
        for number, sent in self._outstanding.items():
            if number < self._largest_acked:
                due = sent.time + _patience(rtt)
            break
        for sent in self._late.values():
            lost = sent.time + _patience(rtt) + self.overtaking
            return lost if due is None else min(due, lost)
        return due

    def outstanding(self) -> Iterable[Sent]:
        """What is neither acknowledged nor lost nor late, oldest first; a train for each of its own."""
        return self._outstanding.values()

    def held(self) -> Iterable[Sent]:
        """What is neither acknowledged nor lost, oldest first."""
        self._part()
        return chain(self._late.values(), self._outstanding.values())

    def refuse(self, number: int) -> Sent | None:
        """Take back a datagram the system refused to send: it counts as lost at once."""
        sent = self._outstanding.pop(number, None)
        if sent is None:
            return None
        self.in_flight -= sent.size
        self.lost_count += 1
        return sent.one(number) if isinstance(sent, SentTrain) else sent

    def expire(self, before: float) -> list[Sent]:
        """Remove and return as lost what left before a time: a dead path would collect probes."""
        return self._take_while(lambda _number, sent: sent.time < before, _GIVEN_UP)

    def abandon(self) -> list[Sent]:
        """Give up on everything outstanding: the path has gone."""
        return self._take_while(lambda _number, _sent: True, _GIVEN_UP)

    def _find_otherwise(self, came: list[Sent | None], first: int) -> None:
        """Look for those that were not outstanding among the late ones; `came` begins with `first`."""
        for at, sent in enumerate(came):
            if sent is not None:
                continue
            number = first + at
            came[at] = self._late.pop(number, None)
            if came[at] is None and number in self._lost:
                self._note_spurious(number)

    def _part(self) -> None:
        """Let each datagram of a train stand for itself."""
        outstanding = self._outstanding
        for number, sent in outstanding.items():
            if isinstance(sent, SentTrain):
                outstanding[number] = sent.one(number)

    def _note_late(self, before: float) -> None:
        outstanding = self._outstanding
        while outstanding:
            number = next(iter(outstanding))
            sent = outstanding[number]
            if number >= self._largest_acked or sent.time > before:
                break
            del outstanding[number]
            self._late[number] = sent.one(number) if isinstance(sent, SentTrain) else sent
            self.in_flight -= sent.size

    def _take_while(self, lost: Callable[[int, Sent], bool], why: int) -> list[Sent]:
        taken: list[Sent] = []
        for held in (self._late, self._outstanding):
            while held:
                number = next(iter(held))
                sent = held[number]
                if not lost(number, sent):
                    break
                del held[number]
                if isinstance(sent, SentTrain):
                    sent = sent.one(number)
                taken.append(sent)
                self._lost[number] = sent, why
                if held is self._outstanding:
                    self.in_flight -= sent.size
        self.lost_count += len(taken)
        self.loss = 1 - (1 - self.loss) * _KEPT ** len(taken)
        while len(self._lost) > REMEMBERED_LOST:
            del self._lost[next(iter(self._lost))]
        return taken

    def _note_spurious(self, number: int) -> None:
        sent, why = self._lost.pop(number)
        for packet in sent.packets:
            packet.done = True
        self.spurious_count += 1
        self.lost_count -= 1
        self.loss = max(0.0, self.loss - 1 / LOSS_MEMORY)
        self.acked_count += 1
        self._true_losses = 0
        if why == _OVERTAKEN:
            overtaken = self._largest_acked - number
            wanted = min(overtaken + 1, MAXIMUM_PACKET_THRESHOLD)
            if wanted > self.packet_threshold:
                self.packet_threshold = wanted
                self.widened += 1
        elif why == _OVERDUE and number >= self._widened_at:
            step = max(GRANULARITY, TIME_STEP * self._rtt)
            longest = max(LONGEST_OVERTAKING, self._rtt)
            self.overtaking = min(self.overtaking + step, longest)
            self._widened_at = self.next_number
            self.widened += 1

    def _narrow(self) -> None:
        """Losses have been found; halve the thresholds if enough of them have been true."""
        newest = next(reversed(self._lost))
        if newest < self._lost_at:
            return
        self._lost_at = self.next_number
        self._true_losses += 1
        if self._true_losses >= TRUE_LOSSES:
            self._true_losses = 0
            self.overtaking /= 2
            self.packet_threshold = max(PACKET_THRESHOLD, self.packet_threshold // 2)


def _patience(rtt: float) -> float:
    return max(GRANULARITY, TIME_THRESHOLD * rtt)
