"""The driver: real descriptors and the real clock on one side, an endpoint on the other.

Each wake-up is one turn: read a batch from what is ready, hand it in, run what is due, then drain the
endpoint in a fixed order (datagrams out, packets to the TUN device, events) and re-arm one timer. Reads
have a budget, so that no descriptor starves the others; descriptors are level-triggered, so what is left
wakes the loop again.

Time is time.monotonic(), taken once per turn, never the loop's own clock: uvloop's advances in steps of
1 ms and its timers are rounded to that. Timers are set half a step late, so that none fires early and
turns the loop for nothing.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from mpbond.core.endpoint import Endpoint
from mpbond.core.transmit import Event, Transmit
from mpbond.errors import PlatformError
from mpbond.io.ports import Refusal, TunPort, UdpPort

READ_BUDGET = 64  # packets or datagrams per turn and descriptor
TIMER_STEP = 0.001  # seconds: uvloop's clock
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
        self._next_socket = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = float("inf")
        self._loop.add_reader(tun.fileno(), self._guard, self._on_tun)

    def now(self) -> float:
        """The time every `now` comes from, in seconds."""
        return self._clock()

    def add_socket(self, port: UdpPort) -> int:
        """Read from a socket from now on; return the number the core knows it by."""
        number = self._next_socket
        self._next_socket += 1
        self._sockets[number] = port
        self.endpoint.socket_mtu[number] = port.mtu
        self._loop.add_reader(port.fileno(), self._guard, self._on_socket, number)
        return number

    def remove_socket(self, number: int) -> None:
        """Close a socket; what is sent to it from now on is refused."""
        port = self._sockets.pop(number, None)
        self.endpoint.socket_mtu.pop(number, None)
        if port is not None:
            self._loop.remove_reader(port.fileno())
            port.close()

    def offloads(self, number: int) -> tuple[str, ...]:
        """The names of the offloads that a socket has in use."""
        port = self._sockets.get(number)
        return () if port is None else port.offloads

    def turn(self) -> None:
        """Run what is due and drain the endpoint; call it after handing anything in."""
        now = self._clock()
        endpoint = self.endpoint
        if endpoint.next_timeout(now) <= now:
            endpoint.handle_timeout(now)
        self._send(now)
        packets = endpoint.poll_packets()
        if packets:
            refused = self.tun.write(packets)
            if refused:
                endpoint.drops["tun_refused"] += refused
        while (event := endpoint.poll_event()) is not None:
            self._on_event(event)
            self._send(now)
        self._arm(endpoint.next_timeout(now), now)

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

    def _send(self, now: float) -> None:
        endpoint, sockets = self.endpoint, self._sockets
        while (transmit := endpoint.poll_transmit(now)) is not None:
            port = sockets.get(transmit.socket)
            if port is None:
                refusal: Refusal | None = Refusal("send_unreachable")
            else:
                refusal = port.send(
                    transmit.address, transmit.buffers, transmit.segment_size, transmit.dscp
                )
            if refusal is not None:
                endpoint.handle_refused(_rest(transmit, refusal.sent), refusal.reason, now)

    def _guard(self, callback: Callable[..., None], *arguments: int) -> None:
        """Run a callback of the loop; a defect in it costs one turn and is told, not the tunnel."""
        try:
            callback(*arguments)
        except PlatformError as error:
            self._on_failure(error)
        except Exception:
            self.endpoint.drops["internal_error"] += 1
            if self.endpoint.drops["internal_error"] <= REPORTED_ERRORS:
                _log.exception("internal error")
            now = self._clock()
            self._arm(now + ERROR_PAUSE, now)

    def _on_tun(self) -> None:
        packets = self.tun.read(READ_BUDGET)
        if self.tun.unreadable:
            self.endpoint.drops["tun_unreadable"] = self.tun.unreadable
        if packets:
            self.endpoint.handle_packets(packets, self._clock())
        self.turn()

    def _on_socket(self, number: int) -> None:
        port = self._sockets.get(number)
        if port is None:
            return
        received = port.receive(READ_BUDGET)
        now = self._clock()  # only now: nothing has arrived later, however long the reading took
        handle = self.endpoint.handle_datagrams
        for source, data, segment_size, arrival in received:
            handle(number, source, data, segment_size, min(arrival, now), now)
        self.turn()

    def _on_timer(self) -> None:
        self._timer = None
        late = self._clock() - self._due
        at = 0
        while at < len(LATENESS_BOUNDS) and late > LATENESS_BOUNDS[at]:
            at += 1
        self.lateness[at] += 1
        self.turn()

    def _arm(self, due: float, now: float) -> None:
        if self._timer is not None:
            if abs(due - self._due) < TIMER_STEP / 2:
                return
            self._timer.cancel()
        self._due = due
        delay = min(LONGEST_SLEEP, max(0.0, due - now)) + TIMER_STEP / 2
        self._timer = self._loop.call_later(max(TIMER_STEP, delay), self._guard, self._on_timer)


def _rest(transmit: Transmit, sent: int) -> Transmit:
    """Return what is left of a batch of which some datagrams have been sent."""
    if not sent or transmit.numbers is None:
        return transmit
    path, numbers = transmit.numbers
    return transmit._replace(numbers=(path, numbers[sent:]))
