"""Measures systems over the links of a scenario, in namespaces and on the real clock.

A `Laboratory` builds the network of a scenario once and measures in it as often as is asked. One
measurement goes like this:

    links restart                      so that connecting meets the same links every time
    system up and connected, generators ready and waiting for a word
    links restart (time 0, seed)       what was measured before leaves no trace in them
    1 s                                traffic begins: the window that counts begins
    events, at their times             links pulled and put back, NATs that rebind, a rival's download
    1 s + seconds                      the window ends: books and CPU times are read
    generators wait for what is late, and tell; system down; connections left over are ended

The laboratory distrusts itself: a result is not valid when the emulator let packets out late or did not
read them in time, or when a generator did not run when it should have. Such a measurement is made once
more before it is given up. CPU seconds are those the processes themselves used, in user and kernel
mode, within the window; work that the kernel does on nobody's account (its TCP in soft interrupts,
forwarding, NAT) is in none of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from typing import TYPE_CHECKING, Self

from bench import results, workloads
from bench.lab.emulator import LATE
from bench.lab.lab import Lab
from bench.lab.loads import Load
from bench.lab.namespaces import LabError
from bench.lab.processes import cpu_seconds
from bench.lab.systems import Counts, carrying, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from bench.lab.emulator import Lateness
    from bench.lab.loads import Told
    from bench.lab.systems import Carrier
    from bench.results import Result
    from bench.scenarios import Scenario
    from bench.systems import System
    from bench.workloads import Event, Workload

ATTEMPTS = 2
UNREAD_SHARE = 0.001  # share of packets that may be dropped because the emulator did not read them
REST, REST_LOOKS = 0.3, 10  # s between looks, and how many: whether a tunnel still carries anything
STARVED = 0.050  # s; how late 99 % of a generator's timers may fire at most


class Laboratory:
    """The network of a scenario, to measure in. A context manager: all is gone when it ends."""

    def __init__(self, scenario: Scenario, say: Callable[[str], None] = lambda _text: None) -> None:
        """`say` is told what happens besides, in a few words."""
        self.scenario = scenario
        self.lab = Lab(links=scenario.links, distinct=True, rival=scenario.rival)
        self._say = say
        self._pulled: set[int] = set()
        self._silent: set[int] = set()

    def __enter__(self) -> Self:
        self.lab.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lab.close()

    def measure(self, system: System, workload: Workload, *, seed: int, seconds: float) -> Result:
        """Measure a system under a workload; what cannot be done at all raises.

        A result that the laboratory itself has spoilt is measured once more; if that is spoilt as
        well, it comes back as not valid, with the reason.
        """
        require(system)
        for attempt in range(1, ATTEMPTS + 1):
            result = self._once(system, workload, seed, seconds)
            if result.valid:
                break
            if attempt < ATTEMPTS:
                self._say(f"once more, for {result.reason}")
        return result

    def _once(self, system: System, workload: Workload, seed: int, seconds: float) -> Result:
        lab, specs = self.lab, self.scenario.links
        began, started = time.monotonic(), results.now()
        window = (workloads.START, workloads.START + seconds)
        lab.restart_links(seed)
        with contextlib.ExitStack() as running:
            running.callback(end_connections, lab)
            running.callback(self._put_back)
            carrier = running.enter_context(carrying(lab, system, specs, workload.leading))
            load = running.enter_context(Load(lab, self.scenario, workload, carrier, seconds, seed))
            before = carrier.counts() if carrier.counts is not None else None
            used = Stopclock(carrier.processes | {"emulator": lab.emulator_pid})
            epoch = lab.restart_links(seed)
            load.begin(epoch)
            acts = [(window[0], used.start), *self._acts(workload, seconds, carrier)]
            for moment, act in sorted(acts, key=lambda each: each[0]):
                self._wait(epoch + moment)
                act()
            self._wait(epoch + window[1])
            cpu = used.since()
            ledgers, lateness = lab.ledgers(), lab.lateness()
            told = load.told()
            if carrier.counts is not None and before is not None:
                told.figures.tunnel = tunnel(before, settled(carrier.counts))
            doubt = spoilt(lateness, told) or told.doubt or carrier.doubt()
        result = results.measured(
            clock="lab",
            scenario=self.scenario.name,
            system=system.name,
            workload=workload,
            seed=seed,
            seconds=seconds,
            window=window,
            specs=specs,
            ledgers=ledgers,
            app=told.figures,
            link=carrier.link,
            absences=workloads.absences(workload, seconds),
            cpu=cpu | {"generators": round(told.cpu, 3)},
            lateness=results.Lateness(
                p50=lateness.p50,
                p99=lateness.p99,
                max=lateness.longest,
                share_late=lateness.share_late,
                unread=lateness.unread,
                overrun=lateness.overrun,
            ),
            wall=round(time.monotonic() - began, 3),
            valid=doubt is None,
            reason=doubt,
            started=started,
        )
        return dataclasses.replace(result, versions=result.versions | carrier.versions)

    def _acts(
        self, workload: Workload, seconds: float, carrier: Carrier
    ) -> Iterator[tuple[float, Callable[[], None]]]:
        """What is done to the links, and when (s of their clock)."""
        for event in workloads.events(workload, seconds):
            yield event.time, functools.partial(self._happen, event, carrier)
        for link, spec in enumerate(self.scenario.links):
            for moment in spec.rebinds:
                if moment < workloads.START + seconds:
                    yield moment, functools.partial(self.lab.rebind, link)

    def _happen(self, event: Event, carrier: Carrier) -> None:
        if event.action == "pull":
            self._pulled.add(event.link)
            self.lab.pull(event.link)
            carrier.pulled(event.link)
        elif event.action == "restore":
            self.lab.restore(event.link)
            self._pulled.discard(event.link)
            carrier.restored(event.link)
        elif event.action == "silence":
            self._silent.add(event.link)
            self.lab.silence(event.link)
        elif event.action == "speak":
            self.lab.unsilence(event.link)
            self._silent.discard(event.link)
        else:
            self.lab.lose(event.link, event.loss)

    def _put_back(self) -> None:
        """Put back the links that a measurement which failed has left pulled or silent."""
        for link in sorted(self._pulled):
            self.lab.restore(link)
        for link in sorted(self._silent):
            self.lab.unsilence(link)
        self._pulled.clear()
        self._silent.clear()

    def _wait(self, moment: float) -> None:
        """Wait for a moment of the monotonic clock."""
        while (left := moment - time.monotonic()) > 0:
            time.sleep(left)


def tunnel(before: Mapping[str, Counts], after: Mapping[str, Counts]) -> results.Tunnel:
    """Return what a tunnel has done with packets in between, when nothing is under way any more."""
    grown = {
        side: Counts(*(now - then for now, then in zip(after[side], before[side], strict=True)))
        for side in ("server", "client")
    }
    server, client = grown["server"], grown["client"]
    return results.Tunnel(
        sent={"down": server.sent + server.dropped, "up": client.sent + client.dropped},
        received={"down": client.received, "up": server.received},
        dropped={"down": server.dropped, "up": client.dropped},
        rates={},
    )


def settled(counts: Callable[[], dict[str, Counts]]) -> dict[str, Counts]:
    """Return the counts of a tunnel once nothing is under way in it, or it will not come to rest."""
    last = counts()
    for _ in range(REST_LOOKS):
        time.sleep(REST)
        last, before = counts(), last
        if last == before:
            break
    return last


class Stopclock:
    """The processor time that processes use."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = processes
        self._before: dict[str, float] = {}

    def start(self) -> None:
        """Begin to count."""
        self._before = self._read()

    def since(self) -> dict[str, float]:
        """Return the seconds used since the start, by name; LabError when a process has ended."""
        now = self._read()
        return {name: round(now[name] - self._before[name], 3) for name in now}

    def _read(self) -> dict[str, float]:
        read = {}
        for name, pid in self._processes.items():
            try:
                read[name] = cpu_seconds(pid)
            except ProcessLookupError:
                raise LabError(f"{name} ended in the middle of a measurement") from None
        return read


def spoilt(lateness: Lateness, told: Told) -> str | None:
    """Say what of the laboratory's own work makes a measurement worthless; None if nothing."""
    unread = lateness.unread / max(1, lateness.count + lateness.unread)
    if lateness.p99 > LATE:
        return f"the emulator was late: 1 % of the packets by {lateness.p99 * 1e3:.1f} ms or more"
    if unread > UNREAD_SHARE:
        return f"the emulator did not read {unread:.1%} of the packets in time"
    if lateness.overrun:
        return f"the emulator had no room for {lateness.overrun} packets"
    if told.late > STARVED:
        return f"a traffic generator starved: 1 % of its timers fired {told.late * 1e3:.0f} ms late"
    return None


def end_connections(lab: Lab) -> None:
    """End the TCP connections that a measurement has left, before they send anything more."""
    for host in (*dict.fromkeys(link.box for link in lab.links), "web"):
        lab.run(host, "ss", "-HtaK", check=False)
