"""A path: one link talking to one concentrator address, and all its state.

A `Path` joins the small machines of its concern (what is outstanding, RTT, liveness, replay window, what
was received) and decides nothing that needs to know of other paths; the session does that.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from mpbond.core.acks import Received
from mpbond.core.bucket import TokenBucket
from mpbond.core.liveness import DOWN, UP, Liveness, silence_limit
from mpbond.core.packet import Train
from mpbond.core.rate import RateControl
from mpbond.core.recovery import Sent, SentLog, SentTrain
from mpbond.core.refusals import Refusals
from mpbond.core.replay import ReplayWindow
from mpbond.core.rtt import RttEstimator
from mpbond.core.stats import LossMeter, Meter
from mpbond.core.wire import HEADER_SIZE, TAG_SIZE

if TYPE_CHECKING:
    from mpbond.core.roaming import Prover

DEFAULT_OVERHEAD = 28  # bytes of IPv4 and UDP headers
DEFAULT_MTU = 1500 - DEFAULT_OVERHEAD  # bytes of UDP payload
TAIL_MINIMUM = 0.010  # seconds
TAIL_PROBES = 2
UNUSABLE_RANK = 9  # worse than every state of a path that could be used

Address = Hashable
"""Where a datagram comes from or goes to: opaque to the core, compared only."""


@dataclass(slots=True)
class Roaming:
    """An address that claims to be the path's new one, not yet proven (see core.roaming).

    `budget` is how many bytes may still go there.
    """

    socket: int
    address: Address
    token: bytes
    old_token: bytes
    started: float
    budget: int


@dataclass(slots=True)
class PathOptions:
    """What is configured for a path.

    `mtu` is the largest UDP payload in bytes; `cap` and `cap_received` limit what we and the peer send, in
    bits per second (0: not at all); `remembered` is how fast we could send the last time.
    """

    link: str | None = None
    mtu: int = DEFAULT_MTU
    weight: float = 1.0
    tier: int = 0
    cap: float = 0.0
    cap_received: float = 0.0
    remembered: float | None = None


@dataclass(slots=True)
class PathStats:
    """Counters that only `status` reads."""

    sent: Meter = field(default_factory=Meter)
    received: Meter = field(default_factory=Meter)
    loss: LossMeter = field(default_factory=LossMeter)
    repaired: int = 0  # packets lost here, or in doubt, that were wanted again
    copies: int = 0  # of packets that went on another path too


class Path:
    """One path of a session. `socket` and `remote` tell the driver where its datagrams go."""

    def __init__(
        self, path_id: int, socket: int, remote: Address, options: PathOptions, now: float
    ) -> None:
        self.id = path_id
        self.socket = socket
        self.remote = remote
        self.link = options.link
        self.mtu = options.mtu
        self.weight = options.weight
        self.tier = options.tier
        self.cap_received = options.cap_received
        self.usable = True  # what the client says of its link
        self.status_number = -1  # of the newest PATH STATUS seen or sent
        self.liveness = Liveness(now)
        self.refusals = Refusals()
        self.sent = SentLog()
        self.rtt = RttEstimator()
        remembered = options.remembered
        self.rate = RateControl(now, options.mtu, None if remembered is None else remembered / 8)
        self.rate.cap = options.cap / 8
        self.received = Received()
        self.replay = ReplayWindow()
        self.stats = PathStats()
        self.pending: list[bytes] = []  # frames that must leave on this very path, once
        self.challenges: list[tuple[Address, bytes]] = []  # frames for an address in question
        self.last_sent = now
        self.last_eliciting = float("-inf")
        self.last_received: float | None = None
        self.last_answer = float("-inf")
        self.last_data = float("-inf")  # when a packet was put on it last
        self.realtime_until = float("-inf")  # packets that must not wait go here until then
        self.copies = TokenBucket(0.0, 3000.0)  # bytes; see Sender
        self.planned = 0  # bytes of packets in datagrams of the present flush
        self.peer_rate: float | None = None  # bits per second that the peer can send us
        self.silence_probed = True
        self.suspicion_not_before = float("-inf")
        self.tail_due: float | None = None
        self.tail_probes = 0
        self.order_sent = 0  # the newest send order this path has told the peer
        self.order_time = float("-inf")
        self.order_received: int | None = None
        self.proven = True  # the remote address has answered, or was configured
        self.budget = 0  # bytes that may go to an unproven address
        self.roaming: Roaming | None = None
        self.prover: Prover | None = None  # where addresses are learned: at the server
        self.told_state = ""  # the state the last event told
        self.changed = True  # something has happened that core.watch has not seen yet
        self.wake = float("inf")  # when core.watch has something to do

    @property
    def room(self) -> int:
        """Bytes of frames that one datagram of this path holds."""
        return self.mtu - HEADER_SIZE - TAG_SIZE

    @property
    def state(self) -> str:
        """The state's word, as `status` shows it."""
        return self.liveness.state if self.usable else DOWN

    @property
    def reason(self) -> str:
        """Why the path is in its state, in words."""
        return self.liveness.reason if self.usable else "its link is down"

    @property
    def patience(self) -> float:
        """The RTT that the detection of losses goes by, in seconds (RFC 9002, 6.1.2)."""
        return max(self.rtt.smoothed, self.rtt.latest)

    @property
    def up(self) -> bool:
        """May packets go here without a second thought?"""
        return self.usable and self.liveness.state == UP

    @property
    def resting(self) -> bool:
        """Has the system refused a datagram just now, so that what can go elsewhere should?"""
        return self.refusals.rest_end is not None

    @property
    def on_probation(self) -> bool:
        """May it carry copies, but nothing that must arrive?"""
        return self.usable and self.liveness.on_probation

    @property
    def badness(self) -> tuple[int, float]:
        """A key that sorts the least bad path first, for when none is up."""
        return self.liveness.rank if self.usable else UNUSABLE_RANK, -self.last_answer

    @property
    def tail_wait(self) -> float:
        """Seconds after which a datagram with nothing behind it is followed by a PING."""
        return max(TAIL_MINIMUM, self.rtt.smoothed / 4)

    @property
    def present_delay(self) -> float:
        """Seconds that a datagram sent now is about to take: half a round trip, and the queue that shows."""
        return self.rtt.smoothed / 2 + self.rate.queue

    @property
    def silence_limit(self) -> float:
        """Seconds that data may stay unacknowledged here."""
        return silence_limit(self.rtt.smoothed, self.rtt.variation)

    @property
    def cap(self) -> float:
        """Bits per second above which we never send here; 0: none."""
        return self.rate.cap * 8

    @cap.setter
    def cap(self, value: float) -> None:
        self.rate.cap = value / 8

    @property
    def loss(self) -> float:
        """The share of datagrams lost lately."""
        return self.sent.loss

    def remember(self, rate: float, now: float) -> None:
        """Begin with what the path could carry the last time (bits per second), if nothing is learned."""
        if self.rate.learned or self.sent.in_flight:
            return
        cap = self.rate.cap
        self.rate = RateControl(now, self.mtu, rate / 8)
        self.rate.cap = cap

    def may_send(self, size: int) -> bool:
        """May a datagram of `size` bytes go to the remote address (anti-amplification)?"""
        return self.proven or self.budget >= size

    def on_sent(
        self, number: int, sent: Sent | None, size: int, address: Address, now: float
    ) -> None:
        """Note a datagram of `size` bytes; `sent` if it elicits an acknowledgement."""
        self.last_sent = now
        self.stats.sent.add(size)
        if self.roaming is not None and address == self.roaming.address:
            self.roaming.budget -= size
        elif not self.proven:
            self.budget -= size
        if sent is None:
            self.sent.add_quiet(number, Sent(now, size, mark=self.rate.mark))
            return
        self.last_eliciting = now
        self.changed = True
        self.sent.add(number, sent)
        sent.mark = self.rate.on_sent(size, self.sent.in_flight, now)
        if not sent.packets and self.sent.in_flight < self.rate.window:
            self.rate.on_limited(now)  # control frames alone fill no path
        self.tail_probes = 0 if sent.packets else self.tail_probes
        if self.tail_probes < TAIL_PROBES:
            self.tail_due = now + self.tail_wait

    def on_train(self, train: Train, overhead: int, now: float) -> None:
        """Note a train's datagrams, to the remote address; `overhead` is what each adds to its segment."""
        log, count = self.sent, train.count
        first, before = log.next_number, log.in_flight
        log.next_number += count
        full = count if train.last == train.size else count - 1
        total = train.total + count * overhead
        mark = self.rate.on_train(train.size + overhead, total, before, now)
        if full:
            log.add_train(SentTrain(now, train.size + overhead, first, train, mark), first, full)
        if full < count:
            last = first + full
            log.add_train(SentTrain(now, train.last + overhead, first, train, mark), last, 1)
        self.last_sent = self.last_eliciting = now
        self.stats.sent.add(total, count)
        if not self.proven:
            self.budget -= total
        self.changed = True
        self.tail_probes = 0
        self.tail_due = now + self.tail_wait

    def on_answer(self, now: float, left: float = inf) -> None:
        """Datagrams sent on this path have been acknowledged; the oldest of them left at `left`."""
        self.last_answer = now
        self.changed = True
        was_up = self.liveness.state == UP
        self.liveness.on_answer(now, left)
        if not was_up and self.liveness.state == UP:
            self.rate.on_restored(now)
        if not len(self.sent):
            self.tail_due = None

    def on_received(self, size: int, now: float, count: int = 1) -> None:
        """Note authenticated datagrams, `size` bytes together."""
        self.last_received = now
        if self.silence_probed:  # else core.watch finds at the old time that it is too early
            self.changed = True
        self.stats.received.add(size, count)

    def on_refused(self, number: int, reason: str, now: float) -> bool:
        """The system refused a datagram to the remote address; True when the path goes down by that."""
        self.changed = True
        why = self.refusals.note(number, reason, now)
        if why is None:
            return False
        failed = self.liveness.state != DOWN
        self.liveness.on_refused(now, why)
        return failed

    def move(self, now: float) -> None:
        """The new address has answered: go there from now on."""
        assert self.roaming is not None
        self.refusals.forget()
        self.socket = self.roaming.socket
        self.remote = self.roaming.address
        self.roaming = None
        self.proven = True
        self.last_answer = now
        self.liveness.restore(now, "moved to a new address")

    def turn_meters(self, now: float) -> None:
        """Let the rates of the last second be taken."""
        self.stats.sent.rate(now)
        self.stats.received.rate(now)
        self.stats.loss.fraction(self.sent.acked_count, self.sent.lost_count, now)

    def status(
        self, now: float, all_sent: float = 0.0, all_received: float = 0.0
    ) -> dict[str, Any]:
        """Return what `mpbond status` shows of the path, addresses aside.

        `all_sent` and `all_received` are what all paths together carry, in bits per second.
        """
        stats = self.stats
        sent, received = _meter(stats.sent, now), _meter(stats.received, now)
        rtt = self.rtt if self.rtt.has_sample else None
        return {
            "id": self.id,
            "link": self.link,
            "state": self.state,
            "reason": self.reason,
            "mtu": self.mtu,
            "rtt": rtt and rtt.smoothed,
            "rtt_var": rtt and rtt.variation,
            "rtt_min": rtt and rtt.minimum,
            "queue_delay": self.rate.queue,
            "rate": {
                "sent": self.rate.rate * 8 if self.rate.rate else None,
                "received": self.peer_rate,
            },
            "window": self.rate.window,
            "target": self.rate.target,
            "ramping": self.rate.ramping,
            "learned": self.rate.learned,
            "tier": self.tier,
            "cap": {"sent": self.cap or None, "received": self.cap_received or None},
            "repaired": stats.repaired,
            "copies": stats.copies,
            "loss": stats.loss.fraction(self.sent.acked_count, self.sent.lost_count, now),
            "sent": sent,
            "received": received,
            "weight": self.weight,
            "share": {
                "sent": sent["rate"] / all_sent if all_sent else 0.0,
                "received": received["rate"] / all_received if all_received else 0.0,
            },
        }


def _meter(meter: Meter, now: float) -> dict[str, Any]:
    return {"datagrams": meter.count, "bytes": meter.bytes, "rate": meter.rate(now)}
