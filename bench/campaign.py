"""Works cases off, one after the other in the lab, several at a time in the simulator.

Every result is written to its file as soon as it is there, so a campaign can be stopped at any time and
taken up again. A measurement that fails is recorded with its reason, and the rest goes on; what
opened is closed in every case. A result that cannot be written ends the campaign: so would the next. A
case counts as done when there is a *valid* result of the same key: what failed, and what the laboratory
refused, is measured again when a campaign is resumed.

Simulations run in processes that end with this one, whatever ends it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import dataclasses
import itertools
import signal
import time
import traceback
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Protocol

from bench.errors import BenchError
from bench.results import Result, failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from bench.plans import Case

    Measure = Callable[[Case], Result]
    Opening = Callable[[str, Callable[[str], None]], AbstractContextManager[Measure]]
    """Opens the laboratory of a scenario, by name, and gives what measures in it.

    It tells the function it is given what happens besides.
    """

PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that is sent when the parent dies."""


class Watcher(Protocol):
    """Is told what goes on."""

    def begin(self, case: Case) -> None:
        """A measurement begins."""

    def end(self, case: Case, result: Result) -> None:
        """It has ended, with whatever result."""

    def say(self, text: str) -> None:
        """Something else happens that takes time."""

    def note(self, text: str) -> None:
        """Something has happened that is worth knowing later."""

    def fault(self, text: str) -> None:
        """Something is left behind that should be gone."""


def pending(chosen: Iterable[Case], results: Iterable[Result], tree: str) -> list[Case]:
    """Return the cases, each once, of which there is no valid result yet of files of that hash."""
    done = {result.key for result in results if result.valid}
    return [case for case in dict.fromkeys(chosen) if case.key(tree) not in done]


def in_lab(
    chosen: Sequence[Case], opening: Opening, watcher: Watcher, record: Callable[[Result], None]
) -> None:
    """Measure cases in the lab; neighbours of one scenario share its network."""
    for scenario, group in itertools.groupby(chosen, key=lambda case: case.scenario):
        network = contextlib.ExitStack()
        try:
            watcher.say(f"building {scenario}")
            measure = network.enter_context(opening(scenario, watcher.note))
        except Exception as failure:
            for case in group:
                _end(case, failure_of(case, failure), watcher, record)
            continue
        try:
            for case in group:
                watcher.begin(case)
                _end(case, attempt(measure, case), watcher, record)
        finally:
            # Not a `with`: a fault of closing must not take the place of what ends the campaign.
            try:
                network.close()
            except Exception as failure:
                watcher.fault(f"closing {scenario}: {sentence(failure)}")


def in_simulator(
    chosen: Sequence[Case],
    simulate: Measure,
    jobs: int,
    watcher: Watcher,
    record: Callable[[Result], None],
) -> None:
    """Measure cases in the simulator, `jobs` of them at a time in processes of their own."""
    waiting = list(chosen)
    running: dict[concurrent.futures.Future[Result], Case] = {}
    while waiting or running:
        with _pool(jobs) as pool, contextlib.suppress(BrokenProcessPool):
            while waiting or running:
                while waiting and len(running) < jobs:
                    future = pool.submit(attempt, simulate, waiting[0])
                    running[future] = waiting.pop(0)
                    watcher.begin(running[future])
                ended, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in ended:
                    case = running[future]
                    result = future.result()
                    del running[future]
                    _end(case, result, watcher, record)
        for case in running.values():
            # A process died (of want of memory, say) and took the others of its pool with it.
            killed = BenchError("the simulating process was killed")
            _end(case, failure_of(case, killed), watcher, record)
        running.clear()


def _end(case: Case, result: Result, watcher: Watcher, record: Callable[[Result], None]) -> None:
    record(result)
    watcher.end(case, result)


def attempt(measure: Measure, case: Case) -> Result:
    """Measure a case; whatever goes wrong becomes a result that says so."""
    began = time.monotonic()
    try:
        result = measure(case)
    except Exception as failure:
        return failure_of(case, failure, time.monotonic() - began)
    if result.wall is None:
        return dataclasses.replace(result, wall=round(time.monotonic() - began, 3))
    return result


def failure_of(case: Case, failure: Exception, wall: float | None = None) -> Result:
    """Return the record of a failed measurement."""
    return failed(
        clock=case.clock,
        scenario=case.scenario,
        system=case.system,
        workload=case.workload,
        seed=case.seed,
        repetition=case.repetition,
        seconds=case.seconds,
        reason=sentence(failure),
        wall=wall,
    )


def sentence(failure: BaseException) -> str:
    """Return what failed, in one line; of a fault of our own also where."""
    text = " ".join(str(failure).split()) or type(failure).__name__
    if isinstance(failure, BenchError | OSError | RuntimeError):
        return text
    frames = traceback.extract_tb(failure.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(failure).__name__}: {text}{where}"


@contextlib.contextmanager
def _pool(jobs: int) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """A pool of processes that are ended, not waited for, when its block is left by an exception."""
    pool = concurrent.futures.ProcessPoolExecutor(jobs, initializer=_attach)
    try:
        yield pool
    except BaseException:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    pool.shutdown()


def _attach() -> None:
    """Make a process of the pool end when its parent wants it to, or is gone.

    Ctrl-C is for the parent, which ends its children.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
