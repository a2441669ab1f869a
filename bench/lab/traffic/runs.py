"""Load in a laboratory: starts the two programs of a generator, and reads what they say at their end.

    transfer = Transfer(lab, target=topology.WEB[0], flows=8, seconds=30)
    call = VoiceCall(lab, target=topology.WEB[0], seconds=30)
    start = lab.restart_links(seed) + 1.0
    transfer.begin(start)
    call.begin(start)
    figures, heard = transfer.result(), call.result()

Making a generator starts its programs and returns when both are ready, so nothing of that falls into
a measurement; `begin` gives them the moment, which any number of generators may share. Programs that
are not wanted any more end with `cancel`, with the laboratory at the latest.

Times in results are seconds; timelines have one sum of bytes per 100 ms from the beginning.
"""

from __future__ import annotations

import itertools
import json
import select
import subprocess
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from bench.lab.namespaces import LabError
from bench.lab.traffic.figures import (
    Machine,
    OneWay,
    PagesResult,
    QuicResult,
    TransferResult,
    UdpResult,
    VoiceResult,
)
from bench.lab.traffic.meter import delays, longest_gap, round_trips, worst
from bench.lab.traffic.program import family_of

if TYPE_CHECKING:
    from bench.lab.lab import Lab

FIRST_PORT = 7100
LAST_PORT = 29_999
READY = 20.0
"""Seconds that programs may take to become ready on a busy machine."""
PATIENCE = 20.0
"""Seconds beyond what they should take in which programs may come to their end."""
SATURATED = 0.8
"""Share of a core from which on a generator was itself the limit."""

_ports = itertools.cycle(range(FIRST_PORT, LAST_PORT))
_prepared: weakref.WeakKeyDictionary[Lab, set[str]] = weakref.WeakKeyDictionary()


class Generator:
    """Two programs of one kind: one that serves, and one that fetches from it."""

    program: ClassVar[str]

    def __init__(
        self,
        lab: Lab,
        plan: dict[str, Any],
        *,
        target: str,
        client: str,
        server: str,
        device: str | None,
        seconds: float,
        start: float | None,
    ) -> None:
        """Starts both programs and waits until they are ready; with `start`, also begins."""
        if seconds <= 0:
            raise LabError(f"traffic lasts longer than 0 s, not {seconds:g}")
        family_of(target)
        self._lab = lab
        self._client, self._server = client, server
        self.seconds = seconds
        self.port = next(_ports)
        self.start: float | None = None
        self.target = target
        plan |= {"target": target, "port": self.port, "device": device, "seconds": seconds}
        _prepare(lab, client, server)
        self._serving = self._launch(server, "serve", plan)
        try:
            self._await_ready(self._serving)
            self._fetching = self._launch(client, "fetch", plan)
            self._await_ready(self._fetching)
            if start is not None:
                self.begin(start)
        except BaseException:
            self.cancel()
            raise

    def begin(self, start: float) -> None:
        """Tell both programs the moment to begin, on the clock of `time.monotonic()`."""
        if self.start is not None:
            raise LabError(f"{self._what} has been told already when to begin")
        if (late := time.monotonic() - start) > 0:
            raise LabError(
                f"{self._what} cannot begin {late:.3f} s ago; leave the programs some time to hear of it"
            )
        self.start = start
        for child in (self._serving, self._fetching):
            assert child.stdin is not None
            try:
                child.stdin.write(f"{start!r}\n")
                child.stdin.flush()
            except BrokenPipeError:
                continue  # what it said comes with the result

    def cancel(self) -> None:
        """Give up: end both programs."""
        for child in (getattr(self, "_fetching", None), self._serving):
            if child is not None:
                self._lab.stop(child)

    @property
    def pids(self) -> tuple[int, int]:
        """The processes of client and server."""
        return self._fetching.pid, self._serving.pid

    def _ends(self, extra: float = 0.0) -> tuple[dict[str, Any], dict[str, Any]]:
        """Wait for both programs and return what client and server found; LabError on failure."""
        if self.start is None:
            raise LabError(f"{self._what} was never told when to begin")
        try:
            deadline = self.start + self.seconds + extra + PATIENCE
            fetched = self._end(self._fetching, deadline)
            return fetched, self._end(self._serving, deadline)
        except BaseException:
            self.cancel()
            raise

    @property
    def _what(self) -> str:
        return f"{self.program} traffic from {self._client} to {self.target}"

    def _launch(self, namespace: str, role: str, plan: dict[str, Any]) -> subprocess.Popen[str]:
        module = f"bench.lab.traffic.{self.program}"
        return self._lab.popen(
            namespace,
            *(sys.executable, "-m", module, role, json.dumps(plan)),
            stdin=subprocess.PIPE,
        )

    def _await_ready(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        if not select.select([child.stdout], (), (), READY)[0]:
            raise LabError(f"{self._what} was not ready within {READY:g} s")
        line = child.stdout.readline()
        if line != "ready\n":
            self._read(line + child.stdout.read())
            raise LabError(f"{self._what} said {line.strip()!r} instead of being ready")

    def _end(self, child: subprocess.Popen[str], deadline: float) -> dict[str, Any]:
        try:
            said, _ = child.communicate(timeout=max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise LabError(f"{self._what} did not come to its end") from None
        return self._read(said)

    def _read(self, said: str) -> dict[str, Any]:
        lines = said.strip().splitlines() or [""]
        try:
            figures = json.loads(lines[-1])
        except json.JSONDecodeError:
            figures = None
        if not isinstance(figures, dict):
            raise LabError(f"{self._what} failed and said: {said.strip()[-1000:] or 'nothing'}")
        if "error" in figures and len(figures) == 1:
            raise LabError(f"{self._what} is not possible: {figures['error']}")
        return figures

    def _machine(self, fetched: dict[str, Any], served: dict[str, Any]) -> Machine:
        return Machine(
            cpu={"client": fetched["cpu"], "server": served["cpu"]},
            lateness=worst([fetched["lateness"], served["lateness"]]),
        )


class Transfer(Generator):
    """TCP or MPTCP in bulk, or in pieces."""

    program = "tcp"

    def __init__(
        self,
        lab: Lab,
        *,
        target: str,
        client: str = "client",
        server: str = "web",
        direction: str = "down",
        flows: int = 1,
        congestion: str = "cubic",
        mptcp: bool = False,
        device: str | None = None,
        seconds: float = 10.0,
        pieces: int | None = None,
        start: float | None = None,
    ) -> None:
        """Starts `flows` connections from `client` to address `target`, which is `server`.

        `direction` is where data goes: "down" (server to client), "up", or "both", which makes that
        many connections each way. `pieces` is how many bytes a client asks for at a time (down only),
        None for all at once. `device` binds the client to one interface.
        """
        if direction not in ("down", "up", "both"):
            raise LabError(f'a direction is "down", "up" or "both", not {direction!r}')
        if pieces is not None and (direction != "down" or pieces < 1):
            raise LabError("only a download can be fetched in pieces, of 1 byte and more")
        if flows < 1:
            raise LabError(f"a transfer has at least one flow, not {flows}")
        self._flows = flows
        self._directions = ("down", "up") if direction == "both" else (direction,)
        plan = {
            "down": flows if "down" in self._directions else 0,
            "up": flows if "up" in self._directions else 0,
            "congestion": congestion,
            "mptcp": mptcp,
            "piece": pieces,
        }
        super().__init__(
            lab,
            plan,
            target=target,
            client=client,
            server=server,
            device=device,
            seconds=seconds,
            start=start,
        )

    def results(self) -> dict[str, TransferResult]:
        """Wait for the end and return the figures by direction; LabError when nobody answered."""
        fetched, served = self._ends()
        if not any(flow["connected"] for flow in fetched["flows"]):
            reasons = {flow["error"] for flow in fetched["flows"]} - {None}
            raise LabError(
                f"no TCP connection from {self._client} to {self.target} port {self.port} came about"
                f" within {self.seconds:g} s: {', '.join(sorted(reasons)) or 'no answer'}"
            )
        return {way: self._result(way, fetched, served) for way in self._directions}

    def result(self) -> TransferResult:
        """Wait for the end and return the figures of the one direction there is."""
        found = self.results()
        if len(found) > 1:
            raise LabError("a transfer both ways has two results; ask for `results`")
        return next(iter(found.values()))

    def _result(self, way: str, fetched: dict[str, Any], served: dict[str, Any]) -> TransferResult:
        receiver, sender = (fetched, served) if way == "down" else (served, fetched)
        first = self._flows if way == "up" and len(self._directions) == 2 else 0
        wanted = range(first, first + self._flows)
        took = {flow["number"]: flow for flow in receiver["flows"]}
        gave = {flow["number"]: flow for flow in sender["flows"]}
        infos = [flow["info"] for number, flow in gave.items() if number in wanted and flow["info"]]
        begun = [took[number] for number in wanted if number in took]
        return TransferResult(
            bytes=receiver["bytes"],
            per_flow=[took[n]["received"] if n in took else 0 for n in wanted],
            timeline=receiver["timeline"],
            first_byte=receiver["first"],
            longest_stall=receiver["longest_stall"],
            sent=sum(flow["sent"] for number, flow in gave.items() if number in wanted),
            retransmits=sum(info["retransmits"] for info in infos),
            spurious=sum(info["spurious"] for info in infos),
            subflows=max((info["subflows"] for info in infos), default=0),
            congestion=next((info["congestion"] for info in infos), None),
            completed=receiver["completed"],
            alive=len(begun) == self._flows
            and all(flow["connected"] and flow["error"] is None for flow in begun),
            **self._machine(fetched, served),
        )


class PageLoads(Generator):
    """Visitors who open one page after the other."""

    program = "pages"

    def __init__(
        self,
        lab: Lab,
        *,
        target: str,
        client: str = "client",
        server: str = "web",
        visitors: int = 1,
        connections: int = 6,
        pause: float = 0.5,
        patience: float = 10.0,
        seed: int = 1,
        congestion: str = "cubic",
        mptcp: bool = False,
        device: str | None = None,
        seconds: float = 10.0,
        start: float | None = None,
    ) -> None:
        """Starts `visitors` at once, each with `connections` for a page and a `pause` (s) after it.

        A page that takes longer than `patience` (s) has failed. `seed` decides what is on the pages.
        """
        self._patience = patience
        plan = {
            "visitors": visitors,
            "connections": connections,
            "pause": pause,
            "patience": patience,
            "grace": patience + 1,
            "seed": seed,
            "congestion": congestion,
            "mptcp": mptcp,
            "piece": None,
        }
        super().__init__(
            lab,
            plan,
            target=target,
            client=client,
            server=server,
            device=device,
            seconds=seconds,
            start=start,
        )

    def result(self) -> PagesResult:
        """Wait for the end and return how long every page took."""
        fetched, served = self._ends(self._patience)
        if not fetched["bytes"]:
            raise LabError(f"{self._what} brought nothing: {fetched['error'] or 'no answer'}")
        return PagesResult(
            pages=fetched["pages"],
            failed=fetched["failed"],
            bytes=fetched["bytes"],
            timeline=fetched["timeline"],
            error=fetched["error"],
            **self._machine(fetched, served),
        )


class UdpStream(Generator):
    """UDP at a constant rate."""

    program = "udp"

    def __init__(
        self,
        lab: Lab,
        *,
        rate: float,
        target: str,
        client: str = "client",
        server: str = "web",
        direction: str = "down",
        size: int = 1200,
        tos: int = 0,
        device: str | None = None,
        seconds: float = 10.0,
        start: float | None = None,
    ) -> None:
        """Starts a stream of `rate` bit/s of payload in datagrams of `size` bytes of payload."""
        if direction not in ("down", "up"):
            raise LabError(f'a direction is "down" or "up", not {direction!r}')
        if rate <= 0 or not 8 <= size <= 65_000:
            raise LabError("a UDP stream has a rate above 0 and datagrams of 8 to 65000 bytes")
        self._down = direction == "down"
        plan = {"rate": rate, "size": size, "direction": direction, "tos": tos}
        super().__init__(
            lab,
            plan,
            target=target,
            client=client,
            server=server,
            device=device,
            seconds=seconds,
            start=start,
        )

    def result(self) -> UdpResult:
        """Wait for the end and return what came of what was sent."""
        fetched, served = self._ends(DRAINING)
        sender, receiver = (served, fetched) if self._down else (fetched, served)
        return UdpResult(
            sent=sender["sent"],
            refused=sender["refused"],
            received=receiver["received"],
            lost=sender["sent"] - receiver["received"],
            duplicates=receiver["duplicates"],
            reordered=receiver["reordered"],
            overrun=receiver["overrun"],
            bytes=receiver["bytes"],
            timeline=receiver["timeline"],
            longest_stall=receiver["longest_stall"],
            **self._machine(fetched, served),
        )


DRAINING = 4.0
"""Seconds for which programs wait for late datagrams, and some."""


class VoiceCall(Generator):
    """A call: both ends send a small packet every 20 ms."""

    program = "voice"

    def __init__(
        self,
        lab: Lab,
        *,
        target: str,
        client: str = "client",
        server: str = "web",
        interval: float = 0.020,
        size: int = 172,
        tos: int = 0xB8,
        device: str | None = None,
        seconds: float = 10.0,
        start: float | None = None,
    ) -> None:
        """Starts a call of packets of `size` bytes of payload every `interval` (s), each way."""
        if size < 12 or interval <= 0 or seconds < interval:
            raise LabError("a call has packets of 12 bytes and more, and time for one of them")
        plan = {"interval": interval, "size": size, "tos": tos}
        super().__init__(
            lab,
            plan,
            target=target,
            client=client,
            server=server,
            device=device,
            seconds=seconds,
            start=start,
        )

    def result(self) -> VoiceResult:
        """Wait for the end and return the delay of every packet; LabError when nobody answered."""
        fetched, served = self._ends(DRAINING)
        if not fetched["received"] and not served["received"]:
            raise LabError(f"no packet of the {self._what} came through, in {self.seconds:g} s")
        up = self._way(fetched, served)
        down = self._way(served, fetched)
        trips = round_trips(up["delays"], fetched["sent"], down["delays"], served["sent"])
        return VoiceResult(
            sent=len(fetched["sent"]),
            up=up,
            down=down,
            round_trips=trips,
            longest_gap=max(up["longest_gap"], down["longest_gap"]),
            **self._machine(fetched, served),
        )

    def _way(self, sender: dict[str, Any], receiver: dict[str, Any]) -> OneWay:
        listed = delays(len(sender["sent"]), receiver["received"])
        arrivals = [came for _number, _left, came in receiver["received"]]
        return OneWay(
            lost=listed.count(None),
            refused=sender["refused"],
            delays=listed,
            longest_gap=longest_gap(arrivals, 0.0, self.seconds),
        )


class QuicTransfer(Generator):
    """A download over QUIC."""

    program = "quic"

    def __init__(
        self,
        lab: Lab,
        *,
        target: str,
        client: str = "client",
        server: str = "web",
        congestion: str = "cubic",
        device: str | None = None,
        seconds: float = 10.0,
        start: float | None = None,
    ) -> None:
        """Starts a download; `congestion` is one of aioquic's: "cubic" or "reno"."""
        if congestion not in ("cubic", "reno"):
            raise LabError(f'aioquic has congestion control "cubic" and "reno", not {congestion!r}')
        super().__init__(
            lab,
            {"congestion": congestion},
            target=target,
            client=client,
            server=server,
            device=device,
            seconds=seconds,
            start=start,
        )

    def result(self) -> QuicResult:
        """Wait for the end and return what came; LabError when nobody answered."""
        fetched, served = self._ends()
        if not fetched["connected"]:
            raise LabError(
                f"no QUIC connection from {self._client} to {self.target} port {self.port} came about"
                f" within {self.seconds:g} s: {fetched['error'] or 'no answer'}"
            )
        shares = [each["cpu"] / self.seconds for each in (fetched, served)]
        return QuicResult(
            bytes=fetched["bytes"],
            timeline=fetched["timeline"],
            longest_stall=fetched["longest_stall"],
            alive=fetched["error"] is None,
            saturated=max(shares) > SATURATED,
            **self._machine(fetched, served),
        )


def _prepare(lab: Lab, *namespaces: str) -> None:
    """Let no connection of a namespace begin with what an earlier one has learned."""
    done = _prepared.setdefault(lab, set())
    for name in namespaces:
        if name not in done:
            lab.spaces.sysctl(name, {"net/ipv4/tcp_no_metrics_save": 1})
            done.add(name)
