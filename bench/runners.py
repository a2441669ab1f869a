"""What makes measurements: the simulator and the lab, behind one shape.

The command line works with these three functions and nothing else of either clock, so its tests put
fakes in their place.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from bench import scenarios, workloads
from bench.systems import System

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.campaign import Measure, Opening
    from bench.plans import Case
    from bench.results import Result


@dataclasses.dataclass(frozen=True, slots=True)
class Runners:
    """How cases are measured."""

    simulate: Measure
    """Measures a case in the simulator; must be importable by name, for it runs in other processes."""
    opening: Opening
    """Opens the lab of a scenario and gives what measures in it."""
    check: Callable[[], dict[str, Any]]
    """Measures the emulator itself; "ok" says whether it may be trusted, "text" tells people."""


def simulate(case: Case) -> Result:
    """Measure a case in the simulator."""
    from bench.sim.run import simulate as run

    result = run(
        scenarios.get(case.scenario),
        System.parse(case.system),
        workloads.get(case.workload),
        seed=case.seed,
        seconds=case.seconds,
    )
    return dataclasses.replace(result, repetition=case.repetition)


@contextlib.contextmanager
def opening(scenario: str, say: Callable[[str], None]) -> Iterator[Measure]:
    """Build the network of a scenario; it is taken down behind."""
    from bench.lab.run import Laboratory

    with Laboratory(scenarios.get(scenario), say) as laboratory:

        def measure(case: Case) -> Result:
            result = laboratory.measure(
                System.parse(case.system),
                workloads.get(case.workload),
                seed=case.seed,
                seconds=case.seconds,
            )
            return dataclasses.replace(result, repetition=case.repetition)

        yield measure


def check() -> dict[str, Any]:
    """Measure the emulator."""
    from bench.lab.selfcheck import selfcheck

    return selfcheck()


REAL = Runners(simulate, opening, check)
