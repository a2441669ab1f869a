"""Finds calls and games by watching: UDP flows of small packets at a constant pace.

Voice and games seldom carry a mark, but they look like nothing else: packets of at most `SMALL` bytes,
`FASTEST` to `SLOWEST` apart, with little variation, and never more than `RATE` in all. A flow that has
kept to that for `NEEDED` packets is steady; it stays so while its variation stays within a wider bound,
so that some jitter on the way here does not make it go back and forth. A flow that breaks the rules
loses its place and needs twice as many packets to win it again, so that a stream of pictures with sound
among them, one flow with large packets, is soon left alone.

A pause is no misbehaviour: callers fall silent, and then send a packet now and then. What stands between
two packets more than `PAUSE` apart is not counted; after `FORGOTTEN` of silence a flow begins anew.

Of packets at random (a Poisson process) about 0.1 % pass for a call; of voice with up to 12 ms of jitter
on the way here, over 99 % do.

What this keeps out: anything bulky by its size; acknowledgements clocked by a download, since they come
in clumps; and QUIC as a whole, whose acknowledgements may be paced: recognised by port 443 and a short
or long header, or on any port by the long header that its connections begin with. TURN, which carries
calls over port 443 as well, is told from QUIC by its length field.

The acknowledgements of a slow download inside some other tunnel cannot always be told from a call. They
gain little by it, and take little: what passes here is small by definition.
"""

from typing import Final

SMALL: Final = 400  # bytes of a packet
RATE: Final = 32_000.0  # bytes per second: 256 kbit/s
FASTEST: Final = 0.005  # seconds between packets
SLOWEST: Final = 0.100
PAUSE: Final = 0.2  # seconds
FORGOTTEN: Final = 10.0  # seconds
NEEDED: Final = 10  # packets
MOST_NEEDED: Final = 640  # packets: 13 s of voice
GAIN: Final = 1 / 32  # of the moving averages
SLACK: Final = 0.001  # seconds: what a spacing may vary by because of timers alone
ENTER: Final = 0.4  # share of the spacing: mean deviation; at random (Poisson) it is 0.74
STAY: Final = 0.55
LIMIT: Final = 4096  # flows watched at once

HTTPS: Final = 443
_LONG_HEADER: Final = 0x80
_FIXED_BIT: Final = 0x40
_QUIC_VERSIONS = (b"\0\0\0\x01", b"\x6b\x33\x43\xcf")  # RFC 9000, RFC 9369
_TURN_FORM: Final = 0x40  # of the first byte's upper half: channels 0x4000 to 0x4FFF (RFC 8656)


class _Flow:
    """What is known of one flow. `needed` is how many regular gaps it takes; 0 regular: just begun."""

    __slots__ = ("deviation", "gap", "last", "needed", "regular", "size", "steady")

    def __init__(self, now: float, size: int) -> None:
        self.last = now
        self.size = float(size)
        self.needed = NEEDED
        self.begin()

    def begin(self) -> None:
        """Know nothing of its pace."""
        self.regular = 0
        self.gap = self.deviation = 0.0
        self.steady = False

    def lose(self) -> None:
        """It broke the rules."""
        if self.steady:
            self.needed = min(MOST_NEEDED, 2 * self.needed)
        self.begin()

    def measure(self, gap: float, size: int) -> None:
        """Add one packet, `gap` seconds after the one before."""
        self.regular += 1
        if self.regular == 1:
            self.gap, self.size = gap, float(size)
            return
        gain = max(GAIN, 1 / self.regular)
        error = gap - self.gap
        self.gap += gain * error
        self.deviation += gain * (abs(error) - self.deviation)
        self.size += gain * (size - self.size)

    def keeps(self, share: float) -> bool:
        """Whether pace, rate and variation are those of a call; `share` bounds the last."""
        gap = self.gap
        return (
            FASTEST <= gap <= SLOWEST
            and self.size <= RATE * gap
            and self.deviation <= share * gap + SLACK
        )


class SteadyFlows:
    """Watches UDP flows; `steady` answers for the one a packet belongs to."""

    def __init__(self) -> None:
        self._flows: dict[int, _Flow] = {}
        self._barred: set[int] = set()

    def __len__(self) -> int:
        return len(self._flows) + len(self._barred)

    def observe(self, packet: bytes, payload: int, flow: int, now: float) -> bool:
        """Return whether a UDP packet belongs to a steady flow. `payload` is where its content begins."""
        size = len(packet)
        if _is_quic(packet, payload):
            self._bar(flow)
            return False
        known = self._flows.get(flow)
        if size > SMALL:
            if known is not None:
                known.lose()
                known.last = now
            return False
        if known is None:
            if flow not in self._barred:
                self._watch(flow, _Flow(now, size))
            return False
        gap = now - known.last
        known.last = now
        if gap > PAUSE:
            if gap > FORGOTTEN:
                known.begin()
                known.needed = NEEDED
            return known.steady
        known.measure(gap, size)
        if known.steady:
            if not known.keeps(STAY):
                known.lose()
        elif known.regular >= known.needed:
            known.steady = known.keeps(ENTER)
        return known.steady

    def _watch(self, flow: int, known: _Flow) -> None:
        """Remember a new flow; of too many, the steady ones and those heard of last stay."""
        flows = self._flows
        if len(flows) >= LIMIT:
            best = sorted(flows.items(), key=_worth)[-LIMIT // 2 :]
            flows.clear()
            flows.update(best)
        flows[flow] = known

    def _bar(self, flow: int) -> None:
        if flow in self._barred:
            return
        if len(self._barred) >= LIMIT:
            self._barred.clear()
        self._barred.add(flow)
        self._flows.pop(flow, None)


def _worth(item: tuple[int, _Flow]) -> tuple[bool, float]:
    return item[1].steady, item[1].last


def _is_quic(packet: bytes, payload: int) -> bool:
    """Whether a datagram looks like QUIC: on port 443, or by its version on any port."""
    size = len(packet) - payload
    if size < 5:
        return False
    first = packet[payload]
    if not first & _FIXED_BIT:
        return False
    if first & _LONG_HEADER and packet[payload + 1 : payload + 5] in _QUIC_VERSIONS:
        return True
    source = packet[payload - 8] << 8 | packet[payload - 7]
    destination = packet[payload - 6] << 8 | packet[payload - 5]
    if HTTPS not in (source, destination):
        return False
    turn = first & 0xF0 == _TURN_FORM
    return not (turn and packet[payload + 2] << 8 | packet[payload + 3] == size - 4)
