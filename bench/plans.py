"""What is to be measured: cases, and named plans of them.

A `Case` is one measurement to make; `cases` multiplies scenarios, systems and workloads out and leaves
out what cannot be (MPTCP carries TCP only; kernel MPTCP and WireGuard exist in the lab only). A
repetition takes the next seed, so that the same repetition on both clocks meets the same links.

`bare:*` and `single:*` stand for every link of the scenario on its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from typing import TYPE_CHECKING, Any

from bench import scenarios, systems, workloads
from bench.errors import BenchError, unknown
from bench.results import Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bench.scenarios import Scenario
    from bench.systems import System
    from bench.workloads import Workload

SIM, LAB = "sim", "lab"

RECORDED, LIKENESS = "lte_drive", "lte_synthetic"
"""Plans take the likeness where the recorded traces are missing."""

LAB_OVERHEAD = 2.0
"""Seconds that a measurement in the lab takes beside its window: programs start and stop."""
LAB_OPENING = 4.0
"""Seconds that it takes to build the network of a scenario."""
SIM_COST, SIM_COST_OF_RATE = 0.02, 12e-9
"""Seconds on the wall per virtual second, at rest and for each bit/s that is offered."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One measurement to make; all names."""

    clock: str
    scenario: str
    system: str
    workload: str
    seed: int
    repetition: int
    seconds: float

    def key(self, tree: str) -> Key:
        """Return the key that its result will have when files of that hash are measured."""
        return Key(**dataclasses.asdict(self), tree=tree)

    def __str__(self) -> str:
        return f"{self.scenario} {self.system} {self.workload} {self.repetition + 1}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Scenarios × systems × workloads, measured alike."""

    clock: str
    scenarios: tuple[str, ...]
    systems: tuple[str, ...]
    workloads: tuple[str, ...]
    seconds: float = 30.0
    repetitions: int = 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A named set of parts."""

    name: str
    title: str
    parts: tuple[Part, ...]


_FIVE = ("equal4", "cable_adsl", "fiber_lte", "article6", "lossy3")
_AGREEING = ("equal4", "cable_adsl", "article6")
_OTHERS = (
    *("tcp30_down_cubic", "tcp1_both_cubic", "pages", "udp", "voice_idle", "quic"),
    *("pull", "silent", "flap", "bad"),
)
_ALL_SYSTEMS = (
    "bare",
    "single",
    "mptcp",
    "wireguard",
    "rr",
    "rr+hold",
    "xor",
    "weighted",
    "adaptive",
)


def _quick(recorded: tuple[str, ...]) -> Iterator[Part]:
    everywhere = _FIVE + recorded
    one_flow = ("bare:*", "single", "mptcp", "wireguard", "rr", "rr+hold", "weighted", "adaptive")
    most = ("bare", "mptcp", "weighted", "adaptive")
    for places, chosen, names in (
        (everywhere, one_flow, ("tcp1_down_cubic",)),
        (everywhere, ("mptcp", "weighted", "adaptive"), ("tcp1_down_bbr",)),
        (everywhere, ("mptcp", "xor", "weighted", "adaptive"), ("tcp8_down_cubic",)),
        (everywhere, most, ("tcp1_up_cubic", "voice_tcp")),
        (("cable_adsl",), most, _OTHERS),
    ):
        yield Part(clock=LAB, scenarios=places, systems=chosen, workloads=names, seconds=10)


def _full(own: tuple[str, ...]) -> Iterator[Part]:
    yield Part(clock=LAB, scenarios=own, systems=_ALL_SYSTEMS, workloads=("all",))
    yield Part(
        clock=LAB,
        scenarios=own,
        systems=("bare:*", "single:*"),
        workloads=("tcp1_down_cubic", "tcp1_up_cubic"),
    )


def _agreement() -> Iterator[Part]:
    for clock in (SIM, LAB):
        yield Part(
            clock=clock,
            scenarios=_AGREEING,
            systems=("bare", "rr+hold", "weighted", "adaptive"),
            workloads=("tcp1_down_cubic", "tcp1_up_cubic"),
            seconds=10,
        )


def _plans() -> Iterator[Plan]:
    recorded = (LIKENESS,)
    with contextlib.suppress(BenchError):
        recorded = (_scenario(RECORDED).name,)
    everything = tuple(name for name in scenarios.SCENARIOS if name != RECORDED or name in recorded)
    matrix = tuple(name for name in everything if name.startswith("mq_"))
    yield Plan(
        name="quick",
        title="six scenarios in the lab, the systems that matter for each workload, 10 s",
        parts=tuple(_quick(recorded)),
    )
    yield Plan(
        name="full",
        title="every scenario but mq_…, every system and workload in the lab, each link alone, 30 s",
        parts=tuple(_full(tuple(name for name in everything if name not in matrix))),
    )
    yield Plan(
        name="mq",
        title="the scenarios mq_… in the lab: one TCP flow down, CUBIC and BBR, 30 s",
        parts=(
            Part(
                clock=LAB,
                scenarios=matrix,
                systems=("bare:*", "single:*", "mptcp", "rr", "rr+hold", "weighted", "adaptive"),
                workloads=("tcp1_down_cubic", "tcp1_down_bbr"),
            ),
        ),
    )
    yield Plan(
        name="agreement",
        title="the same on both clocks, to hold the simulator against the namespaces, 10 s",
        parts=tuple(_agreement()),
    )
    yield Plan(
        name="sim-all",
        title="every scenario in the simulator: one TCP flow down, CUBIC, 10 s",
        parts=(
            Part(
                clock=SIM,
                scenarios=everything,
                systems=("bare:*", "weighted", "adaptive"),
                workloads=("tcp1_down_cubic",),
                seconds=10,
            ),
        ),
    )


@functools.cache
def _scenario(name: str) -> Scenario:
    return scenarios.get(name)


def plans() -> dict[str, Plan]:
    """Return all plans by name."""
    return {plan.name: plan for plan in _plans()}


def get(name: str) -> Plan:
    """Return the plan of that name."""
    known = plans()
    if name not in known:
        raise unknown("plan", name, known)
    return known[name]


def override(part: Part, given: Mapping[str, Any]) -> Part:
    """Return a part with some of its fields as a person wants them."""
    return dataclasses.replace(part, **given)


def cases(part: Part, seed: int = 1) -> list[Case]:
    """Multiply a part out, in the order in which it is measured."""
    chosen = [_scenario(name) for name in dict.fromkeys(part.scenarios)]
    loads = workloads.select(part.workloads)
    found = [
        Case(
            clock=part.clock,
            scenario=scenario.name,
            system=system.name,
            workload=workload.name,
            seed=seed + repetition,
            repetition=repetition,
            seconds=float(part.seconds),
        )
        for scenario in chosen
        for repetition, workload in itertools.product(range(part.repetitions), loads)
        for system in _systems_over(part.systems, scenario)
        if can_be(part.clock, system, workload)
    ]
    if chosen and loads and part.systems and not found:
        raise BenchError(
            f"nothing can be measured: {', '.join(part.systems)} cannot carry "
            f"{', '.join(part.workloads)} on the {part.clock} clock"
        )
    return found


def _systems_over(names: Sequence[str], scenario: Scenario) -> list[System]:
    chosen = systems.select(names, len(scenario.links))
    for system in chosen:
        system.used(scenario.links, "down")  # complains of a link that is not there
    return chosen


def can_be(clock: str, system: System, workload: Workload) -> bool:
    """Say whether a system can carry a workload on a clock."""
    alone = workload.boxes == 1 or system.kind == systems.MPBOND
    carried = alone and system.carries(workload.kind)
    return carried and clock in workload.clocks and clock in system.clocks


def ordered(chosen: Iterable[Case]) -> list[Case]:
    """Return cases each once, those of one scenario together, so that its network is built once."""
    unique = list(dict.fromkeys(chosen))
    places = {name: n for n, name in enumerate(dict.fromkeys(case.scenario for case in unique))}
    return sorted(unique, key=lambda case: places[case.scenario])


def estimate(chosen: Iterable[Case], jobs: int = 1) -> float:
    """Return about how many seconds the measurements will take."""
    total, scenario = 0.0, None
    for case in chosen:
        if case.clock == SIM:
            offered = sum(systems.mean_rates(_scenario(case.scenario).links, "down"))
            speed = SIM_COST + SIM_COST_OF_RATE * offered
            total += (case.seconds + workloads.START) * speed / jobs
            continue
        if case.scenario != scenario:
            scenario, total = case.scenario, total + LAB_OPENING
        total += case.seconds + workloads.START + LAB_OVERHEAD
    return total


def duration(seconds: float) -> str:
    """Return a time for people: "40 s", "25 min", "3 h 10 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
