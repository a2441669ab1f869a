"""Works cases off, one after the other in the lab, several at a time in the simulator.

Every result is written to its file as soon as it is there, so a campaign can be stopped at any time and
taken up again. A measurement that fails is recorded with its reason, and the rest goes on; what
opened is closed in every case. A case counts as done when there is a *valid* result of the same key: what
failed, and what the laboratory refused, is measured again when a campaign is resumed.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
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


class Watcher(Protocol):
    """Is told what goes on."""

    def begin(self, case: Case) -> None:
        """A measurement begins."""

    def end(self, case: Case, result: Result) -> None:
        """It has ended, with whatever result."""

    def say(self, text: str) -> None:
        """Something else happens that takes time."""


def pending(chosen: Iterable[Case], results: Iterable[Result], commit: str) -> list[Case]:
    """Return the cases, each once, of which there is no valid result yet."""
    done = {result.key for result in results if result.valid}
    return [case for case in dict.fromkeys(chosen) if case.key(commit) not in done]


def in_lab(
    chosen: Sequence[Case], opening: Opening, watcher: Watcher, record: Callable[[Result], None]
) -> None:
    """Measure cases in the lab; neighbours of one scenario share its network."""
    for scenario, group in itertools.groupby(chosen, key=lambda case: case.scenario):
        waiting = list(group)
        try:
            watcher.say(f"building {scenario}")
            with opening(scenario, watcher.say) as measure:
                while waiting:
                    case = waiting.pop(0)
                    watcher.begin(case)
                    result = attempt(measure, case)
                    record(result)
                    watcher.end(case, result)
        except Exception as failure:
            # The network could not be built (all are waiting), or not be taken down (none is).
            for case in waiting:
                result = failure_of(case, failure)
                record(result)
                watcher.end(case, result)
            if not waiting:
                watcher.say(f"closing {scenario}: {sentence(failure)}")


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
                    record(result)
                    watcher.end(case, result)
        for case in running.values():
            # A process died (of want of memory, say) and took the others of its pool with it.
            result = failure_of(case, BenchError("the simulating process was killed"))
            record(result)
            watcher.end(case, result)
        running.clear()


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
    pool = concurrent.futures.ProcessPoolExecutor(jobs, initializer=_ignore_interrupts)
    try:
        yield pool
    except BaseException:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    pool.shutdown()


def _ignore_interrupts() -> None:
    """Ctrl-C is for the parent, which ends its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
