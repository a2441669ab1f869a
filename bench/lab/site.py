"""A place in namespaces where programs run: what a laboratory and the wires of the fast path share.

A site makes its namespaces on entering and removes them on leaving, however that comes about. What stands
in them is up to those who build: `_build`, and `_close` for what must end last of all.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

from bench.lab.bond import Bond
from bench.lab.namespaces import LabError, Namespaces, stop

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence
    from types import FrameType, TracebackType

    from bench.lab.topology import Link

T = TypeVar("T")
PATIENCE = 20.0  # s; how long waiting for anything to happen may take on a slow machine
POLL = 0.02  # s between two looks at a condition


class Terminated(KeyboardInterrupt):
    """The site was asked to end by SIGTERM."""


class Site:
    """Namespaces with links between them. A context manager: everything is gone when it ends."""

    def __init__(self, links: Sequence[Link]) -> None:
        """Describes the links that client boxes have; the site is built on entering."""
        self.links = list(links)
        self.spaces = Namespaces()
        self.bond = Bond(self)
        self.directory = self.spaces.directory
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
        """Ends the programs and removes the network; Ctrl-C waits until that is done.

        What goes wrong on the way is raised when all else is gone.
        """
        handler, self._handler = self._handler, None
        signals = {signal.SIGINT, signal.SIGTERM}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        with contextlib.ExitStack() as closing:  # last in, first out
            closing.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)
            if handler is not None:
                closing.callback(signal.signal, signal.SIGTERM, handler)
            closing.callback(self._close)
            closing.callback(self.spaces.close)

    # Programs

    def run(
        self, namespace: str, *argv: str, timeout: float = 60, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end; raises LabError when it fails and `check` is set."""
        return self.spaces.run(namespace, *argv, timeout=timeout, check=check)

    def popen(self, namespace: str, *argv: str, **pipes: Any) -> subprocess.Popen[str]:
        """Starts a program; the site ends it at the latest when it ends itself."""
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
        """Makes what stands in the namespaces."""
        raise NotImplementedError

    def _close(self) -> None:
        """Ends what is not of the namespaces, when these are gone."""


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated
