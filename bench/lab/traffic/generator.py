"""The two programs of a generator, from their start to what they say at their end.

One serves in one namespace, the other fetches in another; each is a `bench.lab.traffic.program`. They
get their plan as an argument and the moment to begin through standard input, where the end of the
stream also tells the server that nobody wants anything from it any more.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import select
import subprocess
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, Required, TypedDict

from bench.lab.namespaces import LabError
from bench.lab.traffic.figures import Machine
from bench.lab.traffic.meter import worst

if TYPE_CHECKING:
    from bench.lab.site import Site

FIRST_PORT = 7100
LAST_PORT = 29_999
SECONDS = 10.0
"""How long traffic lasts where nothing else is said."""
READY = 20.0
"""Seconds that programs may take to become ready on a busy machine."""
PATIENCE = 20.0
"""Seconds beyond what they should take in which programs may come to their end."""

_ports = itertools.cycle(range(FIRST_PORT, LAST_PORT))
_prepared: weakref.WeakKeyDictionary[Site, set[str]] = weakref.WeakKeyDictionary()


class Place(TypedDict, total=False):
    """Where and when a generator runs."""

    target: Required[str]
    """The address that `client` talks to; it is `server`'s."""
    client: str
    """The namespace that fetches, "client" if not given."""
    server: str
    """The namespace that serves, "web" if not given."""
    device: str | None
    """The one interface of the client's to use; None leaves it to the routes."""
    seconds: float
    """How long traffic lasts, SECONDS if not given."""
    start: float | None
    """The moment to begin (monotonic); None waits for `begin`."""


class Generator:
    """Two programs of one kind: one that serves, and one that fetches from it."""

    program: ClassVar[str]

    def __init__(
        self,
        lab: Site,
        plan: dict[str, Any],
        *,
        target: str,
        client: str = "client",
        server: str = "web",
        device: str | None = None,
        seconds: float = SECONDS,
        start: float | None = None,
    ) -> None:
        """Starts both programs and waits until they are ready; with `start`, also begins.

        Who talks to whom, and when, is the same for all kinds: see `Place`.
        """
        if seconds <= 0:
            raise LabError(f"traffic lasts longer than 0 s, not {seconds:g}")
        _check_numeric(target)
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


def _check_numeric(target: str) -> None:
    try:
        ipaddress.ip_address(target)
    except ValueError:
        raise LabError(f"traffic goes to a numeric address, which {target!r} is not") from None


def _prepare(lab: Site, *namespaces: str) -> None:
    """Let no connection of a namespace begin with what an earlier one has learned."""
    done = _prepared.setdefault(lab, set())
    for name in namespaces:
        if name not in done:
            lab.spaces.sysctl(name, {"net/ipv4/tcp_no_metrics_save": 1})
            done.add(name)
