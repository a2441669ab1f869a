"""The driver: real descriptors and the real clock on one side, an endpoint on the other.

Each wake-up is one turn: read a batch from what is ready, hand it in, drain the endpoint in a fixed order
(packets to the TUN device, datagrams out, events), then run what is due, drain again if anything was, and
see to the one timer. What somebody waits for goes first: a packet that has arrived, before the
acknowledgement of it. Reads have a budget, so that no descriptor starves the others; descriptors are
level-triggered, so what is left wakes the loop again. What comes after a pause is mostly alone, so then one
read is made and no second to be told that there is no more: if there is, the next turn comes at once and
reads on.

Time is time.monotonic(), never the loop's own clock: uvloop's advances in steps of 1 ms and its timers are
rounded to that. Timers are set half a step late, so that none fires early and turns the loop for nothing.
One that has become too early, as each packet puts something off, stays as it is; when it fires it is only
set anew. That is one short wake-up for many turns that leave the timer alone.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from mpbond.core.endpoint import Endpoint
from mpbond.core.reading import ReadingDelay
from mpbond.core.transmit import Event, Transmit
from mpbond.errors import PlatformError
from mpbond.io.ports import Refusal, TunPort, UdpPort

READ_BUDGET = 64  # packets or datagrams per turn and descriptor
PAUSE = 0.001  # seconds a descriptor has been quiet after which what comes there is probably alone
TIMER_STEP = 0.001  # seconds: uvloop's clock
TUN = -1  # stands for the device where sockets have their numbers
LONGEST_SLEEP = 3600.0  # seconds
ERROR_PAUSE = 0.1  # seconds until the timer runs again after an internal error
REPORTED_ERRORS = 10  # that are logged with their traceback
LATENESS_BOUNDS = (0.001, 0.002, 0.005, 0.010, 0.020, 0.050)  # seconds

_log = logging.getLogger(__name__)


class Driver:
    """Connects one endpoint with one TUN device and any number of sockets."""

    def __init__(
        self,
        endpoint: Endpoint,
        tun: TunPort,
        on_event: Callable[[Event], None],
        on_failure: Callable[[PlatformError], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = endpoint
        self.tun = tun
        self.lateness = [0] * (len(LATENESS_BOUNDS) + 1)  # how late timers fired, by bound
        self._on_event = on_event
        self._on_failure = on_failure
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[int, UdpPort] = {}
        self._delays: dict[int, ReadingDelay] = {}
        self._next_socket = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = float("inf")  # when something has to be done
        self._set_for = float("inf")  # what the timer is set for, never later than that
        self._read: dict[int, float] = {}  # when a descriptor was last read from
        self._loop.add_reader(tun.fileno(), self._on_tun)

    def now(self) -> float:
        """The time every `now` comes from, in seconds."""
        return self._clock()

    def add_socket(self, port: UdpPort) -> int:
        """Read from a socket from now on; return the number the core knows it by."""
        number = self._next_socket
        self._next_socket += 1
        self._sockets[number] = port
        self._delays[number] = ReadingDelay()
        self.endpoint.socket_mtu[number] = port.mtu
        self._loop.add_reader(port.fileno(), self._on_socket, number)
        return number

    def remove_socket(self, number: int) -> None:
        """Close a socket; what is sent to it from now on is refused."""
        port = self._sockets.pop(number, None)
        self._read.pop(number, None)
        self.endpoint.socket_mtu.pop(number, None)
        self._delays.pop(number, None)
        if port is not None:
            self._loop.remove_reader(port.fileno())
            port.close()

    def offloads(self, number: int) -> tuple[str, ...]:
        """The names of the offloads that a socket has in use."""
        port = self._sockets.get(number)
        return () if port is None else port.offloads

    def turn(self) -> None:
        """Drain the endpoint and run what is due; call it after handing anything in."""
        now = self._clock()
        endpoint = self.endpoint
        self._drain(now)
        due = endpoint.next_timeout(now)
        if due <= now:
            endpoint.handle_timeout(now)
            self._drain(now)
            due = endpoint.next_timeout(now)
        self._arm(due, now)

    def stop(self) -> None:
        """Hear nothing and do nothing from now on; what is open stays open."""
        if self._timer is not None:
            self._timer.cancel()
        descriptors = [self.tun.fileno(), *(port.fileno() for port in self._sockets.values())]
        for descriptor in descriptors:
            with contextlib.suppress(OSError, ValueError):
                self._loop.remove_reader(descriptor)

    def close(self) -> None:
        """Stop and close everything."""
        self.stop()
        for number in list(self._sockets):
            self.remove_socket(number)
        self.tun.close()

    def _drain(self, now: float) -> None:
        """Do what is to be done with everything that the endpoint holds ready."""
        self._put_out(now)
        while (event := self.endpoint.poll_event()) is not None:
            self._on_event(event)
            self._put_out(now)

    def _put_out(self, now: float) -> None:
        endpoint = self.endpoint
        while True:
            # settles what was handed in, so that packets are there
            transmit = endpoint.poll_transmit(now)
            packets = endpoint.poll_packets()
            if packets:
                refused = self.tun.write(packets)
                if refused:
                    endpoint.drops["tun_refused"] += refused
            if transmit is None:
                return
            self._send(transmit, now)

    def _send(self, transmit: Transmit, now: float) -> None:
        port = self._sockets.get(transmit.socket)
        if port is None:
            refusal: Refusal | None = Refusal("send_unreachable")
        else:
            refusal = port.send(
                transmit.address, transmit.buffers, transmit.segment_size, transmit.dscp
            )
        if refusal is not None:
            rest = _rest(transmit, refusal.sent)
            self.endpoint.handle_refused(rest, refusal.reason, now)

    def _budget(self, descriptor: int) -> int:
        """How much may be read at once now."""
        now = self._clock()
        quiet = now - self._read.get(descriptor, now)
        self._read[descriptor] = now
        return READ_BUDGET if quiet < PAUSE else 1

    # -- what the loop calls: a defect there costs one turn and is told, not the tunnel -----------

    def _on_tun(self) -> None:
        try:
            packets = self.tun.read(self._budget(TUN))
            if self.tun.unreadable:
                self.endpoint.drops["tun_unreadable"] = self.tun.unreadable
            if packets:
                self.endpoint.handle_packets(packets, self._clock())
            self.turn()
        except Exception as error:
            self._on_error(error)

    def _on_socket(self, number: int) -> None:
        try:
            port = self._sockets.get(number)
            if port is None:
                return
            received = port.receive(self._budget(number))
            now = self._clock()  # only now: nothing arrived later, however long the reading took
            handle, date = self.endpoint.handle_datagrams, self._delays[number].date
            for source, data, segment_size, arrival in received:
                handle(number, source, data, segment_size, date(arrival, now), now)
            self.turn()
        except Exception as error:
            self._on_error(error)

    def _on_timer(self) -> None:
        try:
            self._timer = None
            now = self._clock()
            late = now - self._due
            if late < 0:
                self._arm(self._due, now)
                return
            at = 0
            while at < len(LATENESS_BOUNDS) and late > LATENESS_BOUNDS[at]:
                at += 1
            self.lateness[at] += 1
            self.turn()
        except Exception as error:
            self._on_error(error)

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, PlatformError):
            self._on_failure(error)
            return
        self.endpoint.drops["internal_error"] += 1
        if self.endpoint.drops["internal_error"] <= REPORTED_ERRORS:
            _log.error("internal error", exc_info=error)
        now = self._clock()
        self._arm(now + ERROR_PAUSE, now)

    def _arm(self, due: float, now: float) -> None:
        """Have the timer fire when something is due, or before; it is moved only if it would be late."""
        self._due = due
        if self._timer is not None:
            if due > self._set_for - TIMER_STEP / 2:
                return
            self._timer.cancel()
        self._set_for = due
        delay = min(LONGEST_SLEEP, max(0.0, due - now)) + TIMER_STEP / 2
        self._timer = self._loop.call_later(max(TIMER_STEP, delay), self._on_timer)


def _rest(transmit: Transmit, sent: int) -> Transmit:
    """Return what is left of a batch of which some datagrams have been sent."""
    if not sent or transmit.numbers is None:
        return transmit
    path, numbers = transmit.numbers
    return transmit._replace(numbers=(path, numbers[sent:]))
