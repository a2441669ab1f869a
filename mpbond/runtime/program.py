"""What the client's and the server's programs share: signals, the system's thread, status, the end.

The system (addresses, routes, rules, firewall) is changed by one thread, one change after the other, so
that the loop never waits for the kernel. Whatever happens, the end is the same: goodbye to the peers,
control socket gone, every change undone.
"""

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, ParamSpec, TypeVar

from mpbond import __version__
from mpbond.config import SCHEDULERS, ClientConfig, ServerConfig
from mpbond.core.endpoint import Endpoint
from mpbond.core.kernel import in_use
from mpbond.core.path import Path
from mpbond.core.session import Session
from mpbond.core.transmit import Event
from mpbond.core.wire import CLOSE_SHUTDOWN
from mpbond.errors import ControlError, PlatformError
from mpbond.io.requirements import require_platform
from mpbond.io.system import SystemState
from mpbond.io.tun import TunDevice
from mpbond.runtime.control import ControlServer, Request
from mpbond.runtime.driver import LATENESS_BOUNDS, Driver
from mpbond.runtime.notify import notify

COLLECTOR_THRESHOLDS = (25_000, 20, 20)  # objects more than before, and collections of the young

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)
_system_log = logging.getLogger("mpbond.system")


ConfigT = TypeVar("ConfigT", ClientConfig, ServerConfig)


class Program(Generic[ConfigT]):
    """One running mpbond. Subclasses say what to set up and what to do with events and requests."""

    role = ""

    def __init__(self, config: ConfigT) -> None:
        self.config: ConfigT = config
        self.warnings: dict[str, str] = {}  # by subject; shown in status
        self.mtu = 0
        self.addresses: tuple[str, ...] = ()
        self.driver: Driver
        self.system: SystemState
        self._started = time.monotonic()
        self._stop = asyncio.Event()
        self._stopping = False
        self._failure: BaseException | None = None
        self._system_thread = ThreadPoolExecutor(1, thread_name_prefix="system")
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Run until a signal or a failure; return the exit status."""
        loop = asyncio.get_running_loop()
        require_platform()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        config = self.config
        self.system = await self.on_system(SystemState, config.state_dir, config.tun, echo=_echo)
        control = ControlServer(config.control, config.control_group, self.handle_request)
        try:
            control.bind()
            tun = TunDevice(config.tun, offload=config.offload)
            self.driver = Driver(self.make_endpoint(), tun, self.handle_event, self._fail)
            await self.set_up()
            await control.start()
            spare_collector()
            notify("READY=1")
            _log.info("%s running, pid %d", self.role, os.getpid())
            await self._stop.wait()
            _log.info("stopping")
        finally:
            notify("STOPPING=1")
            await self._tear_down(control)
        if self._failure is not None:
            raise self._failure
        return 0

    async def on_system(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a change of the system in its thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._system_thread, lambda: function(*args, **kwargs))

    def spawn(self, coroutine: Any, subject: str) -> None:
        """Do something beside; a PlatformError becomes a warning, anything else ends the program."""

        if self._stopping:
            coroutine.close()
            return

        async def guarded() -> None:
            try:
                await coroutine
                self.warnings.pop(subject, None)
            except PlatformError as error:
                _log.warning("%s", error)
                self.warnings[subject] = str(error)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                _log.exception("internal failure")
                self._fail(error)

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- for subclasses ---------------------------------------------------------------------------

    def make_endpoint(self) -> Endpoint:
        """Build the core."""
        raise NotImplementedError

    async def set_up(self) -> None:
        """Open sockets and set up the system."""
        raise NotImplementedError

    async def stop_watching(self) -> None:
        """Stop whatever `set_up` started beside the driver."""

    def handle_event(self, event: Event) -> None:
        """React to a rare thing."""
        raise NotImplementedError

    def handle_set(self, name: str, value: Any, request: Request) -> None:
        """Carry out `mpbond set`. Raises ControlError."""
        raise NotImplementedError

    def describe(self, now: float) -> dict[str, Any]:
        """Return the parts of status that only this role has."""
        raise NotImplementedError

    def reload(self) -> None:
        """Read the configuration again (SIGHUP)."""

    # -- control ----------------------------------------------------------------------------------

    def handle_request(self, request: Request) -> dict[str, Any]:
        """Answer a request of the control socket. Raises ControlError."""
        verb = request.get("verb")
        if verb == "status":
            return {"status": self.status()}
        if verb == "set":
            self.handle_set(str(request.get("name")), request.get("value"), request)
            self.driver.turn()
            return {}
        raise ControlError(f"There is no request named {verb!r}; there are status and set.")

    def status(self) -> dict[str, Any]:
        """Return everything `mpbond status --json` shows."""
        now = self.driver.now()
        return {
            "format": 1,
            "role": self.role,
            "version": __version__,
            "fast_path": in_use(),
            "pid": os.getpid(),
            "uptime": now - self._started,
            "tun": {
                "name": self.config.tun,
                "mtu": self.mtu,
                "addresses": list(self.addresses),
                "offloads": list(self.driver.tun.offloads),
            },
            "when_down": None,
            "warnings": list(self.warnings.values()),
            "links": [],
            "drops": {reason: n for reason, n in sorted(self.driver.endpoint.drops.items()) if n},
            "loop_lateness": {"le": list(LATENESS_BOUNDS), "count": list(self.driver.lateness)},
            **self.describe(now),
        }

    # -- end --------------------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        """Something that nothing can go on without has failed: end, and say so."""
        self._failure = error
        self._stop.set()

    async def _tear_down(self, control: ControlServer) -> None:
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        for step in (self.stop_watching, control.close, self._say_goodbye):
            try:
                await step()
            except Exception:
                _log.exception("at the end")
        try:
            await self.on_system(self.system.undo_all)
        finally:
            if hasattr(self, "driver"):
                self.driver.close()
            self._system_thread.shutdown()

    async def _say_goodbye(self) -> None:
        if hasattr(self, "driver"):
            self.driver.endpoint.close(
                CLOSE_SHUTDOWN, f"the {self.role} is stopping", self.driver.now()
            )
            self.driver.turn()
            self.driver.stop()  # or a peer that was told goodbye would be answered while we undo


def spare_collector() -> None:
    """Let the cyclic garbage collector look seldom, and never at what the program began with.

    Packets and their books are no cycles, but there are thousands at a time, and it goes through all of
    them: that is an eighth of the work at a gigabit.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def _echo(command: str) -> None:
    """Log a change of the system as the command that does the same; a long one by its first line."""
    first, _, more = command.partition("\n")
    if more:
        _system_log.info("%s (%d lines, shown with -v)", first, more.count("\n") + 1)
        _system_log.debug("%s", command)
    else:
        _system_log.info("%s", command)


def session_status(
    session: Session,
    now: float,
    *,
    client: bool,
    local: Callable[[Path], str | None],
    offloads: Callable[[int], Sequence[str]],
) -> dict[str, Any]:
    """Return what status shows of a session.

    `local` tells a path's own address, `offloads` what a socket has in use.
    """
    shown = session.status(now)
    scheduler = shown.pop("scheduler")
    shown["scheduler"] = {
        "up": scheduler if client else None,
        "down": None if client else scheduler,
    }
    paths = []
    for path, told in shown["paths"]:
        remote = path.remote
        told["remote"] = _address(remote) if isinstance(remote, tuple) else str(remote)
        told["local"] = local(path)
        told["offloads"] = list(offloads(path.socket))
        paths.append(told)
    shown["paths"] = paths
    return shown


def parse_scheduler(value: Any) -> str:
    """Return a scheduler's name. Raises ControlError."""
    if isinstance(value, str) and value in SCHEDULERS:
        return value
    raise ControlError(f"There is no scheduler named {value!r}; there are {', '.join(SCHEDULERS)}.")


def parse_hold(value: Any) -> float | None:
    """Return the hold in seconds, None for "auto". Raises ControlError."""
    if value == "auto":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 500:
        return value / 1000
    raise ControlError(f'A hold is "auto" or 0 to 500 milliseconds, not {value!r}.')


def parse_direction(request: Request) -> str:
    """Return "up", "down" or "both". Raises ControlError."""
    direction = request.get("direction", "both")
    if direction not in ("up", "down", "both"):
        raise ControlError(f"A direction is up, down or both, not {direction!r}.")
    return str(direction)


def _address(remote: tuple[Any, ...]) -> str:
    host, port = remote[0], remote[1]
    if str(host).startswith("::ffff:"):
        host = host[7:]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
