"""Tables of results: overviews by scenario, and all figures of one workload over one scenario."""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING

from bench import systems
from bench.report import markdown
from bench.report.figures import (
    LESS,
    METRICS,
    MORE,
    NOT_CARRYING,
    Metric,
    cell,
    goodput,
    has_rate,
    offered,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.report.figures import Read
    from bench.results import Result

DETAILS = (
    *("goodput", "efficiency", "goodput_down", "goodput_up"),
    *("retransmits", "longest_stall", "died"),
    *("pages_count", "pages_p50", "pages_p95", "pages_failed", "udp_lost", "udp_reordered"),
    *(
        "voice_p50",
        "voice_p95",
        "voice_p99",
        "voice_lost",
        "voice_lost_up",
        "voice_150",
        "voice_300",
        "voice_gap",
    ),
    "mos",
)
ALONE = ("bare", "single")
"""Systems that use one link."""
AGREEMENT = 0.10
"""How far the simulator's efficiency may lie from the namespaces', as a share of it."""


def systems_of(results: Iterable[Result]) -> list[str]:
    """Return the names of all systems, in the order people want them."""
    order = list(systems.SYSTEMS)

    def place(name: str) -> tuple[int, int]:
        word, _, link = name.partition(":")
        known = order.index(word) if word in order else len(order)
        return known, int(link) + 1 if link.isdigit() else 0

    return sorted({one.system for one in results}, key=place)


def distinct(results: Iterable[Result], field: str) -> list[str]:
    """Return the values of a field, each once, in order of appearance."""
    return list(dict.fromkeys(getattr(one, field) for one in results))


def pick(results: Iterable[Result], **fields: str) -> list[Result]:
    """Return the results whose fields have these values."""
    return [
        one for one in results if all(getattr(one, name) == value for name, value in fields.items())
    ]


def alike(results: Sequence[Result]) -> list[Result]:
    """Return of each clock the results of the length that most have: others are no repetitions."""
    lengths = {
        clock: collections.Counter(one.seconds for one in pick(results, clock=clock))
        for clock in distinct(results, "clock")
    }
    common = {clock: counter.most_common(1)[0][0] for clock, counter in lengths.items()}
    return [one for one in results if one.seconds == common[one.clock]]


def with_best(results: Sequence[Result]) -> list[Result]:
    """Return results in which `bare` and `single` stand for the link that carried most alone.

    That is by scenario and workload, of all links that were measured; the other links are left out.
    """
    kept = [one for one in results if one.system.partition(":")[0] not in ALONE]
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for one in results:
        word = one.system.partition(":")[0]
        if word in ALONE:
            groups.setdefault((one.scenario, one.workload, word), []).append(one)
    for (_, _, word), group in groups.items():
        best = _best_system(group, word)
        if best is not None:
            kept += [dataclasses.replace(one, system=word) for one in pick(group, system=best)]
    return kept


def overview(results: Sequence[Result], metric: Metric) -> str:
    """Return a metric by scenario and system, of results of one clock and workload; "" if none."""
    results = with_best(results)
    names = systems_of(results)
    rows = []
    for scenario in distinct(results, "scenario"):
        group = pick(results, scenario=scenario)
        cells = markdown.row(markdown.by_system(group, names), metric)
        if cells is not None:
            rows.append([f"`{scenario}`", _offered(group), *cells])
    if not rows:
        return ""
    head = ["scenario", "offered, Mbit/s", *(f"`{name}`" for name in names)]
    return markdown.table(head, rows, "lr" + "r" * len(names))


def details(results: Sequence[Result]) -> str:
    """Return all figures, of results of one clock, scenario and workload, by system; "" if none."""
    names = systems_of(results)
    groups = markdown.by_system(results, names)
    metrics = [METRICS[name] for name in DETAILS]
    metrics[2:2] = relative(results)
    metrics += [*_cpu_metrics(results), METRICS["cpu"], METRICS["lateness"]]
    rows = []
    for metric in metrics:
        cells = markdown.row(groups, metric)
        if cells is not None:
            rows.append([metric.title, *cells])
    if not rows:
        return ""
    head = ["", *(f"`{name}`" for name in names)]
    return markdown.table(head, rows, "l" + "r" * len(names))


def relative(results: Sequence[Result]) -> list[Metric]:
    """Return the metrics that state goodput as a share of the best link's, bare and as mpbond."""
    metrics = []
    for word, title in (("bare", "of the best link alone"), ("single", "of mpbond over one link")):
        best = _best_of(results, word)
        if best:
            metrics.append(Metric(f"of_{word}", title, _over(best), 2, MORE))
    return metrics


def agreement(results: Sequence[Result]) -> str:
    """Return efficiency on both clocks, side by side, of what was measured on both; "" if nothing."""
    metric = METRICS["efficiency"]
    sides: dict[str, dict[tuple[str, str, str, float], list[Result]]] = {"sim": {}, "lab": {}}
    for one in results:
        if one.clock in sides:
            key = (one.scenario, one.system, one.workload, one.seconds)
            sides[one.clock].setdefault(key, []).append(one)
    rows = []
    for key in sides["lab"]:
        lab = cell(sides["lab"][key], metric)
        sim = cell(sides["sim"].get(key, ()), metric)
        if lab is None or sim is None or not lab.median:
            continue
        ratio = sim.median / lab.median
        near = abs(ratio - 1) <= AGREEMENT
        texts = [markdown.with_spread(one, metric) for one in (sim, lab)]
        rows.append(
            [
                *(f"`{name}`" for name in key[:3]),
                *texts,
                f"{ratio:.2f}",
                "yes" if near else "**no**",
            ]
        )
    head = ["scenario", "system", "workload", "simulator", "namespaces", "ratio", "within 10 %"]
    return markdown.table(head, rows, "lllrrrl") if rows else ""


def checks(results: Sequence[Result]) -> str:
    """Return what self-checks of the emulator found, each once; "" if there was none."""
    rows = []
    for check in {str(one.check): one.check for one in results if one.check}.values():
        for name, load in check.get("loads", {}).items():
            rows.append(
                [
                    name,
                    f"{100 * max(load['rate_errors'], key=abs):+.2f}",
                    *(f"{1e3 * load[which]:.2f}" for which in ("delay_p50", "delay_p99")),
                    f"{100 * load['cpu']:.0f}",
                ]
            )
    head = ["load on six links", "rate error of the worst, %", "delay error p50, ms", "p99, ms"]
    return markdown.table([*head, "CPU, % of a core"], rows, "lrrrr") if rows else ""


def lateness(results: Sequence[Result]) -> str:
    """Return how late packets left the emulator, by scenario: the worst of its measurements."""
    rows = []
    for scenario in distinct(results, "scenario"):
        late = [one.lateness for one in pick(results, scenario=scenario) if one.lateness]
        if late:
            rows.append(
                [
                    f"`{scenario}`",
                    f"{max(one.p50 for one in late) * 1e3:.2f}",
                    f"{max(one.p99 for one in late) * 1e3:.2f}",
                    f"{max(one.share_late for one in late) * 100:.2f}",
                ]
            )
    head = ["scenario", "p50, ms", "p99, ms", "later than 2 ms, %"]
    return markdown.table(head, rows, "lrrr") if rows else ""


def _offered(results: Sequence[Result]) -> str:
    found = cell(results, Metric("offered", "offered", lambda one: _scaled(offered(one)), 1, 0))
    return "" if found is None else f"{found.median:.1f}"


def _scaled(rate: float | None) -> float | None:
    return None if rate is None else rate / 1e6


def _best_of(results: Sequence[Result], word: str) -> float | None:
    """Return the median goodput of whichever link alone carried most."""
    best = _best_system(results, word)
    found = None if best is None else cell(pick(results, system=best), Metric("", "", goodput))
    return None if found is None else found.median


def _best_system(results: Sequence[Result], word: str) -> str | None:
    """Return the name of the system of one link, `bare` or `single`, that carried most."""
    plain = Metric("", "", goodput)
    rates = {
        name: one.median
        for name in systems_of(results)
        if name.partition(":")[0] == word
        and (one := cell(pick(results, system=name), plain)) is not None
    }
    return max(rates, key=lambda name: rates[name], default=None)


def _over(best: float) -> Read:
    def read(result: Result) -> float | None:
        rate = goodput(result)
        return rate / best if rate is not None and has_rate(result) else None

    return read


def _cpu_metrics(results: Sequence[Result]) -> list[Metric]:
    names = dict.fromkeys(name for one in results if one.clock != "sim" for name in one.cpu_per_gb)
    return [
        Metric(
            f"cpu_{name}",
            f"CPU of {name}, s/GB",
            _cpu_of(name),
            1,
            0 if name in NOT_CARRYING else LESS,
        )
        for name in names
    ]


def _cpu_of(name: str) -> Callable[[Result], float | None]:
    return lambda one: one.cpu_per_gb.get(name) if has_rate(one) else None
