"""What clients that are merely connected cost a server: CPU, datagrams and memory.

The real server runs in one namespace and knows as many clients as are asked for; in the other one a single
process is all of them (bench.fast.clients), with one path each. They come one after the other, so that no
flood guard finds fault with them, and then do nothing but keep their sessions and NAT mappings alive. CPU
time is the kernel's account of the server's process while they idle; the memory of a client is what the
server's resident memory has grown by since only one was there, divided by all others.

The server is not asked for its status in the meantime: telling of a thousand sessions costs more than having
them. How late its timers were it tells at the end, of all the time since it started.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from bench.fast.bounds import MISSED, REACHED
from bench.fast.clients import RATE, Count
from bench.fast.soak import LATE, share_late
from bench.fast.wires import CLIENT, SERVER, Wires
from bench.lab import topology
from bench.lab.bond import PORT
from bench.lab.namespaces import LabError
from bench.lab.processes import cpu_seconds, resident
from mpbond.config.keys import encode, generate_private_key, public_key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

FEWEST = 2
"""The fewest clients that tell anything of one more."""
CPU = 0.02
"""Share of a core that up to `CPU_CLIENTS` idle clients may take, and every so many more again."""
CPU_CLIENTS = 1000
MEMORY = 256 * 1024
"""Bytes of the server's memory that an idle client may take."""
SETTLING = 5.0
"""Seconds between the last client's coming and the beginning of the measurement: what follows a handshake."""
PATIENCE = 20.0
"""Seconds that the clients may need beyond what their coming one after the other takes."""
POLL = 0.2
POOL = ("10.77.0.0/16", "fd77::/64")
"""With addresses for all of them; holds those of the laboratory's boxes."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was seen at one time."""

    time: float
    """Seconds."""
    cpu: float
    """Seconds of processor time that the server has used."""
    memory: int
    """Resident bytes of the server."""
    clients: Count


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What so many clients cost while they did nothing."""

    clients: int
    """As many as were asked for."""
    connected: int
    """Of them, those that had a session at the end, by what both sides say."""
    lost: int
    """Sessions that ended, whether or not another followed."""
    seconds: float
    cpu: float
    """Share of a core."""
    up: float
    down: float
    """Datagrams a second, to the server and from it."""
    memory: float
    """Bytes for each client."""
    share_late: float
    """Of the server's timers since its start, those more than LATE late."""
    late: tuple[int, ...]
    """How many timers fired, by how late they were."""

    def judged(self) -> list[list[str]]:
        """Return a table: what was found, and of some of it what it has to be, and whether it is."""
        rows = [["", "measured", "bound", ""]]
        for title, figure, limit, good in self._bounds():
            rows.append([title, figure, limit, REACHED if good else MISSED])
        for title, figure in (
            ("datagrams a second to the server", f"{self.up:,.1f}"),
            ("datagrams a second from the server", f"{self.down:,.1f}"),
            (
                f"server's timers more than {LATE * 1e3:.0f} ms late, %",
                f"{self.share_late:.2%}"[:-1],
            ),
        ):
            rows.append([title, figure, "", ""])
        return rows

    @property
    def good(self) -> bool:
        """Whether every bound is reached."""
        return all(good for _, _, _, good in self._bounds())

    def _bounds(self) -> Iterator[tuple[str, str, str, bool]]:
        limit = CPU * max(1.0, self.clients / CPU_CLIENTS)
        yield (
            "clients connected",
            f"{self.connected:,}",
            f"= {self.clients:,}",
            self.connected == self.clients,
        )
        yield "sessions lost", f"{self.lost:,}", "= 0", self.lost == 0
        yield (
            "server's CPU, % of a core",
            f"{self.cpu:.2%}"[:-1],
            f"≤ {limit:.2%}"[:-1],
            self.cpu <= limit,
        )
        yield (
            "server's memory, KiB a client",
            f"{self.memory / 1024:,.1f}",
            f"≤ {MEMORY / 1024:,.0f}",
            self.memory <= MEMORY,
        )


def find(
    sights: tuple[Sight, Sight, Sight],
    clients: int,
    *,
    sessions: int,
    late: Sequence[int],
    bounds: Sequence[float],
) -> Finding:
    """Judge what was seen with one client alone, and at both ends of the time that `clients` of them idled.

    `sessions` is how many the server had then, `late` how many of its timers fired, by how late they were;
    `bounds` (s) are those of that.
    """
    alone, first, last = sights
    seconds = last.time - first.time
    before, after = first.clients, last.clients
    return Finding(
        clients=clients,
        connected=min(after.connected, sessions),
        lost=after.begun - before.begun + max(0, before.connected - after.connected),
        seconds=seconds,
        cpu=(last.cpu - first.cpu) / seconds,
        up=(after.sent - before.sent) / seconds,
        down=(after.received - before.received) / seconds,
        memory=(last.memory - alone.memory) / (clients - 1),
        share_late=share_late(late, bounds),
        late=tuple(late),
    )


def crowd(
    clients: int, seconds: float, say: Callable[[str], None], settling: float = SETTLING
) -> tuple[Finding, dict[str, Any]]:
    """Let so many clients idle for so long; return what was found, and what was seen for keeping."""
    secrets = [generate_private_key() for _ in range(clients)]
    tables = [
        {"name": f"idle{number}", "public_key": encode(public_key_of(secret))}
        for number, secret in enumerate(secrets)
    ]
    with Wires(1) as wires, _serving(wires, tables) as server, _Clients(wires, secrets) as many:
        many.raise_to(1)
        alone = _look(server, many)
        say(
            f"{clients:,} clients, {RATE:g} a second; with one the server has {_size(alone.memory)}"
        )
        many.raise_to(clients)
        time.sleep(settling)
        first = _look(server, many)
        say(f"all are connected; the server has {_size(first.memory)}")
        time.sleep(seconds)
        last = _look(server, many)
        status = wires.status(SERVER)
    lateness = status["loop_lateness"]
    finding = find(
        (alone, first, last),
        clients,
        sessions=len(status["sessions"]),
        late=lateness["count"],
        bounds=lateness["le"],
    )
    sights = {"alone": alone, "first": first, "last": last}
    kept = {name: dataclasses.asdict(sight) for name, sight in sights.items()}
    return finding, {
        "finding": dataclasses.asdict(finding),
        "sights": kept,
        "bounds": lateness["le"],
        "fast_path": status["fast_path"],
        "drops": status["drops"],
    }


def _look(pid: int, many: _Clients) -> Sight:
    """Look at the server of a process id, and at its clients."""
    return Sight(
        time=time.monotonic(), cpu=cpu_seconds(pid), memory=resident(pid), clients=many.count()
    )


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


@contextlib.contextmanager
def _serving(wires: Wires, tables: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    """Runs the server, which has to end well; gives its process id."""
    child = wires.start_server(others=tables, pool=list(POOL))
    try:
        yield child.pid
    finally:
        wires.stop(child)
    said = wires.bond.log(SERVER)
    if child.returncode != 0 or "Traceback" in said or "ERROR" in said:
        raise LabError(f"mpbond server ended with status {child.returncode}: {said[-1000:]}")


class _Clients:
    """The process that is all clients. A context manager: they say goodbye at the end."""

    def __init__(self, wires: Wires, secrets: Sequence[bytes]) -> None:
        self._wires = wires
        plan = wires.directory / "clients.json"  # the directory is root's alone
        plan.write_text(
            json.dumps(
                {
                    "server": [topology.SERVER[0], PORT],
                    "server_key": wires.bond.raw_public_key(SERVER).hex(),
                    "keys": [secret.hex() for secret in secrets],
                }
            )
        )
        self._log = wires.directory / "clients.log"
        with self._log.open("w") as log:
            self._child = wires.popen(
                CLIENT,
                *(sys.executable, "-m", "bench.fast.clients", str(plan)),
                stdin=subprocess.PIPE,
                stderr=log,
            )

    def __enter__(self) -> _Clients:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(PATIENCE)
        self._wires.stop(self._child)

    def raise_to(self, wanted: int) -> None:
        """Let there be so many, and wait until all are connected."""
        reached = self._ask(f"up {wanted}")
        patience = PATIENCE + (wanted - reached.connected) / RATE
        deadline = time.monotonic() + patience
        while self.count().connected < wanted:
            if time.monotonic() > deadline:
                raise LabError(
                    f"of {wanted} clients {self.count().connected} are connected after {patience:.0f} s"
                )
            time.sleep(POLL)

    def count(self) -> Count:
        """Ask how they are."""
        return self._ask("tell")

    def _ask(self, order: str) -> Count:
        self._tell(order)
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise LabError(self._ended())
        return Count(**json.loads(line))

    def _tell(self, line: str) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(line + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise LabError(self._ended()) from None

    def _ended(self) -> str:
        status, said = self._wires.stop(self._child), self._log.read_text(errors="replace")
        return f"the clients ended with status {status} and said: {said[-1000:]}"
