"""The laboratory: a network in namespaces, and the real programs in it.

    with Lab(links=[LinkSpec(rate_down=8e6, delay=0.030) for _ in range(6)]) as lab:
        lab.start_server()
        lab.start_client()
        lab.run("client", "ping", "-c", "1", lab.inner("server"))

Names of namespaces: lan, client, modem0…, net, server, web (and client1… for further boxes).
A link is named by its number. What happens to links at run time (`pull`, `silence`, `rebind`, …)
happens to the network only: no program is told.
"""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

from bench.lab import topology
from bench.lab.bond import Bond
from bench.lab.emulator import Emulator
from bench.lab.namespaces import LabError, Namespaces, stop

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence
    from types import FrameType, TracebackType

    from bench.lab.topology import LinkSpec

T = TypeVar("T")
PATIENCE = 20.0  # s; how long waiting for anything to happen may take on a slow machine
POLL = 0.02  # s between two looks at a condition


class Terminated(KeyboardInterrupt):
    """The laboratory was asked to end by SIGTERM."""


class Lab:
    """A running network. A context manager: everything is gone when it ends, however it ends."""

    def __init__(self, *, links: Sequence[LinkSpec], seed: int = 1, rp_filter: int = 2) -> None:
        """Describes the network; it is built on entering.

        `rp_filter` is what the client boxes start with: 0 off, 1 strict, 2 loose. `seed` is for
        the loss on the links.
        """
        self.links = topology.place(links)
        self.spaces = Namespaces()
        self.bond = Bond(self)
        self.directory = self.spaces.directory
        self._seed = seed
        self._rp_filter = rp_filter
        self._emulator: Emulator | None = None
        self._handler: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTERM, _terminate)
        try:
            self.spaces.open()
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the programs and removes the network; Ctrl-C waits until that is done."""
        signals = {signal.SIGINT, signal.SIGTERM}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        try:
            self.spaces.close()
            if self._emulator is not None:
                self._emulator.close()
                self._emulator = None
            if self._handler is not None:
                signal.signal(signal.SIGTERM, self._handler)
                self._handler = None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    # Programs

    def run(
        self, namespace: str, *argv: str, timeout: float = 60, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end; raises LabError when it fails and `check` is set."""
        return self.spaces.run(namespace, *argv, timeout=timeout, check=check)

    def popen(self, namespace: str, *argv: str, **pipes: Any) -> subprocess.Popen[str]:
        """Starts a program; the laboratory ends it at the latest when it ends itself."""
        return self.spaces.popen(namespace, *argv, **pipes)

    def stop(self, child: subprocess.Popen[str]) -> int:
        """Ends a program (SIGTERM, then SIGKILL) and returns its exit status."""
        return stop(child)

    def wait_until(
        self, look: Callable[[], T], timeout: float = PATIENCE, what: str = "the condition"
    ) -> T:
        """Looks again and again until the answer is true and returns it; LabError when late."""
        deadline = time.monotonic() + timeout
        while True:
            if answer := look():
                return answer
            if time.monotonic() > deadline:
                raise LabError(f"{what} did not come about within {timeout:g} s")
            time.sleep(POLL)

    def now(self) -> float:
        """Returns the time on the clock that probes use."""
        return time.monotonic()

    # Links at run time

    def pull(self, link: int) -> None:
        """Takes the link down on the client's side: its interface stays, without carrier."""
        each = self.links[link]
        self.spaces.ip(each.box, f"link set {each.name} down")

    def restore(self, link: int) -> None:
        """Puts a pulled link back, with its address and routes."""
        topology.configure(self.spaces, self.links[link])

    def unplug(self, link: int) -> None:
        """Takes the modem out of the box: its interface is gone."""
        each = self.links[link]
        self.spaces.ip(each.box, f"link del {each.name}")

    def plug(self, link: int) -> None:
        """Puts an unplugged modem back: a new interface of the same name."""
        topology.plug(self.spaces, self.links[link])

    def silence(self, link: int, direction: str | None = None) -> None:
        """Lets the link swallow everything ("up", "down" or both ways) and say nothing."""
        self.shape(link, direction, silent=True)

    def unsilence(self, link: int, direction: str | None = None) -> None:
        """Lets a silent link carry again."""
        self.shape(link, direction, silent=False)

    def shape(self, link: int, direction: str | None = None, **values: float | bool) -> None:
        """Changes `delay` (s, one way), `loss` (0..1) or `silent` of a link at run time."""
        order: dict[str, Any] = {"link": link, **values}
        if direction is not None:
            order["direction"] = direction
        self._order(order)

    def rate(self, link: int, *, down: float | None = None, up: float | None = None) -> None:
        """Changes a link's rate (bit/s) at run time."""
        each = self.links[link]
        if up is not None:
            topology.limit(self.spaces, each.modem, "wan", up, each.spec)
        if down is not None:
            topology.limit(self.spaces, "net", each.modem, down, each.spec)

    def rebind(self, link: int, *, port_only: bool = False) -> None:
        """Gives the modem a new public address, or only new ports, and forgets its mappings."""
        each = self.links[link]
        before = each.public()
        each.ports += 1
        if not port_only:
            each.addresses += 1
        self.spaces.nft(each.modem, topology.modem_rules(each))
        self.spaces.ip(
            each.modem,
            f"addr del {before}/32 dev wan",
            f"addr add {each.public()}/32 dev wan",
        )
        # the kernel forgets translated connections when their address goes, unless too many
        # namespaces are being cleaned up at that moment
        self.run(each.modem, "conntrack", "-F")

    @property
    def emulator_pid(self) -> int:
        """The process id of the link emulator."""
        if self._emulator is None:
            raise LabError("the laboratory is not running; enter it with `with` first")
        return self._emulator.process.pid

    def report(self) -> dict[str, dict[str, int]]:
        """Returns what the emulator carried, lost and could not deliver, by link and direction."""
        return self._order({"report": True})

    # The bond

    def start_server(self, **overrides: Any) -> subprocess.Popen[str]:
        """Starts `mpbond server`; see `Bond.start_server`."""
        return self.bond.start_server(**overrides)

    def start_client(self, box: int = 0, **overrides: Any) -> subprocess.Popen[str]:
        """Starts `mpbond client` on a box and waits until it is connected by all its links."""
        return self.bond.start_client(box, **overrides)

    def status(self, side: str = "client") -> dict[str, Any]:
        """Returns the status of "client", "client1", … or "server", from its control socket."""
        return self.bond.status(side)

    # Building

    def _build(self) -> None:
        mtu = max(1500, *(link.spec.mtu for link in self.links))
        topology.build_core(self.spaces, mtu)
        for box in dict.fromkeys(link.box for link in self.links):
            topology.build_box(self.spaces, box, self._rp_filter)
        for link in self.links:
            self.spaces.add(link.modem)
        self._emulator = Emulator(
            {"seed": self._seed, "links": [self._plan(link) for link in self.links]}
        )
        for link in self.links:
            topology.build_modem(self.spaces, link)

    def _plan(self, link: topology.Link) -> dict[str, Any]:
        shape = {"delay": link.spec.delay, "loss": link.spec.loss}
        return {
            "modem_namespace": self.spaces.full(link.modem),
            "modem_device": "wan",
            "internet_namespace": self.spaces.full("net"),
            "internet_device": link.modem,
            "mtu": link.spec.mtu,
            "up": shape,
            "down": shape,
        }

    def _order(self, message: dict[str, Any]) -> dict[str, Any]:
        if self._emulator is None:
            raise LabError("the laboratory is not running; enter it with `with` first")
        return self._emulator.order(message)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated
