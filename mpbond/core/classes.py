"""Which class a packet belongs to, and so how it is queued, sent and received (design: the send queue).

`REALTIME` is what suffers from every millisecond: what says so by its mark, DNS, the opening of TCP
connections, and calls and games found by watching (core.steady). `ACKNOWLEDGEMENT` is a TCP segment that
says nothing but how far the other side has come: the next one says it too, so it need not wait for
earlier ones. `BULK` says by its mark that it has time. The rest is `NORMAL`.

Rules (core.rules) come first. A rule's class holds for all of a flow but its pure acknowledgements, which
gain nothing from order; these stay what they are unless the rule says `REALTIME`.

Marks are believed with measure: they come from anywhere on the internet, and what is real-time goes before
everything else. A flow that has a real-time mark and yet sends more than `MARKED_RATE` is treated as if it
had none until it has calmed down. A rule is believed always.

The common case, a full-size TCP segment, is decided by a few bytes of its header; and of packets that come
together, one speaks for those like it behind it, where its length tells that only headers count (`alike`).
"""

from collections.abc import Sequence
from typing import Final

from mpbond.core.flow import TCP, UDP, locate
from mpbond.core.packet import ACKNOWLEDGEMENT, BULK, KINDS, NORMAL, REALTIME
from mpbond.core.rules import Rule, RuleTable
from mpbond.core.steady import SteadyFlows
from mpbond.core.unfinished import Unfinished

MARKED_RATE: Final = 500_000.0  # bytes per second: several calls with pictures
MARKED_BURST: Final = 48_000.0  # bytes at once
MARKED_LIMIT: Final = 1024  # flows with a real-time mark
DNS: Final = 53
DNS_SIZE: Final = 512  # bytes of content (RFC 1035)
LONG: Final = 640  # bytes from which only headers tell: no DNS, no acknowledgement, no call

_MARKS: Final = [NORMAL] * 64
for _dscp in (40, 44, 46, 48, 56):  # CS5, VOICE-ADMIT (RFC 5865), EF, CS6, CS7
    _MARKS[_dscp] = REALTIME
for _dscp in (1, 8):  # LE (RFC 8622), CS1
    _MARKS[_dscp] = BULK

_FIN: Final = 0x01
_SYN: Final = 0x02
_RST: Final = 0x04
_ACK: Final = 0x10
_STREAMS: Final = frozenset((TCP, UDP))
_PURE: Final = _FIN | _SYN | _RST | _ACK
_LARGEST_TCP_HEADER: Final = 60
_PLAIN: Final[list[tuple[int, str | None]]] = [(kind, None) for kind in range(len(KINDS))]


class Classes:
    """Tells the class of packets by rules, marks, headers and the pace of their flows."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = RuleTable(rules) if rules else None
        self._steady = SteadyFlows()
        self._marked: dict[int, _Marked] = {}
        self._packets = [0] * len(KINDS)
        self._bytes = [0] * len(KINDS)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Packets and bytes so far, by the name of the class."""
        return {
            name: {"packets": self._packets[kind], "bytes": self._bytes[kind]}
            for kind, name in enumerate(KINDS)
        }

    @property
    def remembered(self) -> int:
        """How many flows something is known of; bounded whatever comes."""
        rules = 0 if self._rules is None else self._rules.remembered
        return len(self._steady) + len(self._marked) + rules

    def classify(self, packet: bytes, flow: int, now: float) -> tuple[int, str | None]:
        """Return a packet's class, and the scheduler a rule asks for, if one does.

        `flow` is the packet's hash. Any bytes will do: what is no IP packet is `NORMAL`.
        """
        size = len(packet)
        if size >= 40 and packet[0] == 0x45 and not (packet[6] & 0x3F or packet[7]):
            dscp, protocol, at = packet[1] >> 2, packet[9], 20
        else:
            dscp, protocol, at = locate(packet)
        found = None
        if self._rules is not None:
            found = self._rules.decide(packet, dscp, protocol, at)
        if found is None:
            kind = self._by_content(packet, dscp, protocol, at, flow, now)
            answer = _PLAIN[kind]
        else:
            ruled, scheduler = found
            if ruled is None:
                kind = self._by_content(packet, dscp, protocol, at, flow, now)
            elif ruled == REALTIME or protocol != TCP or not _is_pure(packet, at):
                kind = ruled
            else:
                kind = ACKNOWLEDGEMENT
            answer = (kind, scheduler)
        self._packets[kind] += 1
        self._bytes[kind] += size
        return answer

    def alike(self, packets: list[bytes], at: int) -> int:
        """Return where those end that follow a packet in its flow and class, as long as it but for the last.

        The one at `at` has been classed, and is not `REALTIME`.
        """
        first = packets[at]
        size, stop = len(first), at + 1
        if size < LONG or stop == len(packets):
            return stop
        head, service = first[0], first[1]
        fragment = False
        if head == 0x45:
            mark, at_protocol, addresses, ports = service >> 2, 9, 12, 20
            fragment = bool(first[6] & 0x3F or first[7])
        elif head >> 4 == 6:
            mark, at_protocol, addresses, ports = (head & 0x0F) << 2 | service >> 6, 6, 8, 40
        else:
            return stop
        protocol = first[at_protocol]
        if fragment or protocol not in _STREAMS or _MARKS[mark] == REALTIME:
            return stop
        kind, end = type(first), ports + 4
        ends, unfinished = first[addresses:end], isinstance(first, Unfinished)
        while stop < len(packets):
            packet = packets[stop]
            length = len(packet)
            if (
                not LONG <= length <= size
                or packet[0] != head
                or packet[1] != service
                or packet[at_protocol] != protocol
                or packet[addresses:end] != ends
                or (head == 0x45 and (packet[6] & 0x3F or packet[7]))
                or (protocol == TCP and packet[ports + 13] & _SYN)
                or type(packet) is not kind
                or (unfinished and isinstance(packet, Unfinished) and packet.segment_size)
            ):
                break
            stop += 1
            if length < size:
                break
        return stop

    def count(self, kind: int, packets: int, size: int) -> None:
        """Count packets, of `size` bytes together, that another has spoken for."""
        self._packets[kind] += packets
        self._bytes[kind] += size

    def _by_content(
        self, packet: bytes, dscp: int, protocol: int, at: int, flow: int, now: float
    ) -> int:
        mark = _MARKS[dscp]
        if mark == REALTIME and self._believe(flow, len(packet), now):
            return REALTIME
        if protocol == TCP and _is_pure(packet, at):
            return ACKNOWLEDGEMENT
        if mark == BULK:
            return BULK
        if protocol == TCP:
            return REALTIME if at and len(packet) >= at + 20 and packet[at + 13] & _SYN else NORMAL
        if protocol != UDP or not at:
            return NORMAL
        lively = _is_dns(packet, at) or self._steady.observe(packet, at + 8, flow, now)
        return REALTIME if lively else NORMAL

    def _believe(self, flow: int, size: int, now: float) -> bool:
        known = self._marked.get(flow)
        if known is None:
            if len(self._marked) >= MARKED_LIMIT:
                self._marked.clear()
            known = self._marked[flow] = _Marked(now)
        return known.add(size, now)


class _Marked:
    """Whether a flow's real-time mark is believed: not from when it exceeds its rate until it has kept
    so far below it that what was too much is made up for."""

    __slots__ = ("_believed", "_excess", "_time")

    def __init__(self, now: float) -> None:
        self._time = now
        self._excess = 0.0  # bytes sent beyond the rate
        self._believed = True

    def add(self, size: int, now: float) -> bool:
        excess = max(0.0, self._excess - (now - self._time) * MARKED_RATE)
        if not excess:
            self._believed = True
        excess += size
        if excess > MARKED_BURST:
            excess = min(excess, 2 * MARKED_BURST)
            self._believed = False
        self._excess, self._time = excess, now
        return self._believed


def _is_pure(packet: bytes, at: int) -> bool:
    """Whether a TCP segment acknowledges and does nothing else."""
    length = len(packet) - at
    if length > _LARGEST_TCP_HEADER or length < 20 or not at:
        return False
    return packet[at + 13] & _PURE == _ACK and length <= (packet[at + 12] >> 4) * 4


def _is_dns(packet: bytes, at: int) -> bool:
    if len(packet) - at > 8 + DNS_SIZE:
        return False
    source = packet[at] << 8 | packet[at + 1]
    return DNS in (source, packet[at + 2] << 8 | packet[at + 3])
