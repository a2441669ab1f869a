"""Load for the wires: what runs through a tunnel, and what comes of it.

TCP is the laboratory's `Transfer` with CUBIC; UDP and pings are the C program `packets`, because neither
a Python loop nor iperf3 makes small packets fast enough to leave the two cores to what is measured. All
generators go before other programs. The first `WARM` seconds never count.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

from bench.fast.wires import CLIENT, SERVER
from bench.lab.namespaces import LabError
from bench.lab.native import program
from bench.lab.run import Stopclock
from bench.lab.traffic import Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.fast.tunnels import Carrier
    from bench.fast.wires import Wires

WARM = 1.5
"""Seconds for slow start, and for mpbond to learn what the wires carry."""
SOON = 0.3
"""Seconds in which generators hear when to begin."""
STEP = 0.1
"""Seconds of each sum in a transfer's timeline."""
PINGS, PING_EVERY, PING_SIZE = 1000, 0.005, 56
STEP_WARM, STEP_SECONDS = 0.5, 1.0
"""Of a step of `climb`."""
ALLOWED = 0.01
"""Share of small packets that may be lost at the rate that is said to pass."""
FIRST, FACTOR, LEAST, MOST = 8_000.0, 1.5, 500.0, 4e6
"""Datagrams per second: where a climb begins, by how much it rises, and where it ends at both sides."""
FINER = 2
"""Steps between what passes and what does not."""
OVERRUN = 0.0005
"""Share of datagrams that a sink may throw away, before it was the limit itself."""

_ports = itertools.cycle(range(6000, 7000))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """TCP, in the window that counts."""

    bytes: int
    seconds: float
    retransmits: int
    cpu: Mapping[str, float]
    """Seconds by process of the tunnel."""
    generators: float
    """Seconds that both generators used from beginning to end."""
    doubt: str | None = None

    @property
    def rate(self) -> float:
        """bit/s of payload."""
        return self.bytes * 8 / self.seconds


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """UDP at a constant rate; counts are datagrams."""

    offered: float
    """Datagrams per second that were asked for."""
    sent: int
    received: int
    came: float
    """Datagrams per second that came while it counted."""
    reordered: int
    overrun: int
    bytes: int
    seconds: float
    cpu: Mapping[str, float]
    generators: float

    @property
    def lost(self) -> float:
        """The share that did not come."""
        return max(0, self.sent - self.received) / self.sent if self.sent else 1.0

    @property
    def doubt(self) -> str | None:
        """Why the figures tell of a generator rather than of a tunnel."""
        if self.overrun > OVERRUN * max(1, self.sent):
            return f"the sink was too slow to read {self.overrun} datagrams"
        if self.sent < 0.95 * self.offered * self.seconds:
            return (
                f"the generator sent {self.sent / self.seconds:,.0f}/s, not {self.offered:,.0f}/s"
            )
        return None


def transfer(
    wires: Wires, carrier: Carrier, *, direction: str, flows: int, seconds: float
) -> Transferred:
    """Fill a tunnel with TCP for so many seconds."""
    running = _begun(wires, carrier, direction, flows, seconds)
    assert running.start is not None
    try:
        clock = Stopclock(carrier.processes)
        _wait(running.start + WARM)
        clock.start()
        _wait(running.start + WARM + seconds)
        cpu = clock.since()
    except BaseException:
        running.cancel()
        raise
    told = running.result()
    return Transferred(
        bytes=counted(told["timeline"], WARM, seconds),
        seconds=seconds,
        retransmits=told["retransmits"],
        cpu=cpu,
        generators=sum(told["cpu"].values()),
        doubt=None if told["alive"] else "a connection did not come about, or broke",
    )


def counted(timeline: Sequence[int], warm: float, seconds: float) -> int:
    """Return the bytes of a timeline that count."""
    first = round(warm / STEP)
    return sum(timeline[first : first + round(seconds / STEP)])


def stream(
    wires: Wires,
    carrier: Carrier,
    *,
    direction: str,
    size: int,
    rate: float,
    seconds: float,
    warm: float = WARM,
    train: int = 1,
) -> Streamed:
    """Send datagrams of `size` bytes of payload, `rate` a second; `train` are handed over at a time."""
    source, sink = (SERVER, CLIENT) if direction == "down" else (CLIENT, SERVER)
    tool, port = str(program("packets")), str(next(_ports))
    clock = Stopclock(carrier.processes)
    with _ready(wires, sink, tool, "sink", port) as taking:
        words = (str(size), f"{rate:.3f}", f"{warm:g}", f"{seconds:g}", str(train))
        sending = wires.popen(source, tool, "send", carrier.inner[sink], port, *words)
        try:
            began = time.monotonic()
            _wait(began + warm)
            clock.start()
            _wait(began + warm + seconds)
            cpu = clock.since()
            sent = _told(sending, seconds)
            came = _told(taking, seconds)
        finally:
            wires.stop(sending)
    return streamed(sent, came, rate, cpu)


def streamed(
    sent: Mapping[str, Any], came: Mapping[str, Any], offered: float, cpu: Mapping[str, float]
) -> Streamed:
    """Put together what `packets send` and `packets sink` said."""
    return Streamed(
        offered=offered,
        sent=sent["sent"],
        received=came["received"],
        came=came["in_time"] / sent["seconds"],
        reordered=came["reordered"],
        overrun=came["overrun"],
        bytes=came["bytes"],
        seconds=sent["seconds"],
        cpu=cpu,
        generators=sent["cpu"] + came["cpu"],
    )


def climb(probe: Callable[[float], Streamed]) -> list[Streamed]:
    """Offer more and more until too much is lost; return every step.

    `probe` offers a rate (datagrams per second). A step that loses more than ALLOWED, or that the generator
    cannot make, is tried once more. What lies between the last that passed and the first that did not is
    looked at in FINER steps.
    """
    steps: list[Streamed] = []

    def passes(rate: float) -> bool:
        for _ in range(2):
            steps.append(probe(rate))
            if steps[-1].lost <= ALLOWED and steps[-1].doubt is None:
                return True
        return False

    good, bad, rate = 0.0, 0.0, FIRST
    while LEAST <= rate <= MOST and not (good and bad):
        if passes(rate):
            good, rate = rate, rate * FACTOR
        else:
            bad, rate = rate, rate / FACTOR
    for _ in range(FINER if good and bad else 0):
        middle = (good * bad) ** 0.5
        if passes(middle):
            good = middle
        else:
            bad = middle
    return steps


def passed(steps: Sequence[Streamed]) -> Streamed | None:
    """Return the step in which most came and at most ALLOWED was lost."""
    fine = [step for step in steps if step.lost <= ALLOWED]
    return max(fine, key=lambda step: step.came, default=None)


def ping(wires: Wires, carrier: Carrier, *, loaded: bool = False) -> list[float | None]:
    """Return the round trips (s) of PINGS small packets; None for one that did not come back.

    With `loaded`, one TCP flow fills the tunnel meanwhile, down.
    """
    tool, port = str(program("packets")), str(next(_ports))
    seconds = PINGS * PING_EVERY
    with contextlib.ExitStack() as running:
        running.enter_context(_ready(wires, SERVER, tool, "echo", port))
        load = None
        if loaded:
            load = _begun(wires, carrier, "down", 1, seconds + 1)
            running.callback(load.cancel)
            assert load.start is not None
            _wait(load.start + WARM)
        words = (str(PINGS), f"{PING_EVERY * 1e6:.0f}", str(PING_SIZE))
        said = wires.run(CLIENT, tool, "ping", carrier.inner[SERVER], port, *words).stdout
        trips = round_trips(said)
        if load is not None and not load.result()["alive"]:
            raise LabError("the transfer beside the pings broke")
    return trips


def round_trips(said: str) -> list[float | None]:
    """Read what `packets ping` said, in seconds."""
    return [None if each < 0 else each / 1e9 for each in json.loads(said)]


def _begun(wires: Wires, carrier: Carrier, direction: str, flows: int, seconds: float) -> Transfer:
    made = Transfer(
        wires,
        target=carrier.inner[SERVER],
        client=CLIENT,
        server=SERVER,
        direction=direction,
        flows=flows,
        congestion="cubic",
        seconds=WARM + seconds,
    )
    made.begin(time.monotonic() + SOON)
    return made


@contextlib.contextmanager
def _ready(wires: Wires, side: str, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """Starts a program that says "ready"; it is ended at the end."""
    child = wires.popen(side, *argv)
    try:
        assert child.stdout is not None
        if (line := child.stdout.readline()) != "ready\n":
            raise LabError(f"{' '.join(argv)!r} said {line.strip()!r} instead of being ready")
        yield child
    finally:
        wires.stop(child)


def _told(child: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    try:
        said, _ = child.communicate(timeout=seconds + 40)
        found = json.loads(said)
    except subprocess.TimeoutExpired:
        raise LabError("a generator of packets did not come to its end") from None
    except json.JSONDecodeError:
        raise LabError(f"a generator of packets failed and said: {said.strip()[-500:]}") from None
    assert isinstance(found, dict)
    return found


def _wait(moment: float) -> None:
    """Wait for a moment of the monotonic clock."""
    while (left := moment - time.monotonic()) > 0:
        time.sleep(left)
