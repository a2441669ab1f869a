"""Measures the figures of the README: what schedulers and the hold make of links side by side.

Each table comes from one network, with its baseline (each link alone, without mpbond, all at the
same time) measured in the same run. "Sum" is what the links carried alone, as TCP payload; a
bond's share of it includes the cost of its own headers (about 4 %). For `xor` the table also says
what the hash covered: the share of the links that got at least one of the flows, which no
scheduler that keeps flows whole can exceed. "Sent again" are TCP segments; "held" and "given up" are
packets the receiver kept back for an earlier one, and those it stopped waiting for.

    python -m bench.lab.measure [--seconds 10] [--json FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.lab import Lab, LinkSpec, topology
from bench.lab.iperf import Measurement, iperf

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE = 8e6  # bit/s of every link
WEB = topology.WEB[0]
SETTLING = 2.0  # s of slow start that do not count
COVERED = 0.3  # share of a link's full packets above which it has a flow, not only control traffic


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of a table."""

    scheduler: str
    flows: int
    hold: str | int = "auto"
    direction: str = "down"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One table: links, and what is tried on them."""

    title: str
    round_trips: tuple[float, ...]
    """Seconds there and back, for each link."""
    cases: tuple[Case, ...]


EXPERIMENTS = (
    Experiment(
        title="Six equal links of 8 Mbit/s and 20 ms",
        round_trips=(0.020,) * 6,
        cases=(
            Case(scheduler="xor", flows=32),
            Case(scheduler="xor", flows=8),
            Case(scheduler="rr", flows=1),
            Case(scheduler="rr", flows=1, direction="up"),
            Case(scheduler="weighted", flows=1),
        ),
    ),
    Experiment(
        title="Three links of 8 Mbit/s, of 20, 40 and 60 ms",
        round_trips=(0.020, 0.040, 0.060),
        cases=(
            Case(scheduler="rr", flows=1),
            Case(scheduler="rr", flows=1, hold=0),
            Case(scheduler="rr", flows=8),
            Case(scheduler="rr", flows=8, hold=0),
        ),
    ),
)


def main() -> int:
    """Measures all, prints Markdown, writes JSON; returns the exit status."""
    options = _parse()
    results = []
    try:
        for experiment in EXPERIMENTS:
            results.append(measure(experiment, options.seconds))
            print(table(results[-1]), flush=True)
    except KeyboardInterrupt:
        return 130
    except (BenchError, OSError) as failure:
        print(f"mpbond: {failure}", file=sys.stderr)
        return 1
    finally:
        if options.json is not None:
            options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


def measure(experiment: Experiment, seconds: float) -> dict[str, Any]:
    """Builds the network, measures baseline and cases, and returns the figures."""
    links = [
        LinkSpec.plain(rate_down=RATE, rate_up=RATE, delay=there_and_back / 2)
        for there_and_back in experiment.round_trips
    ]
    with Lab(links=links) as lab:
        runs = [
            Measurement(lab, WEB, device=link.name, seconds=seconds, omit=SETTLING)
            for link in lab.links
        ]
        alone = [run.result().rate for run in runs]
        rows = [measure_case(lab, case, seconds, sum(alone)) for case in experiment.cases]
    return {
        "title": experiment.title,
        "round_trips": experiment.round_trips,
        "rate": RATE,
        "seconds": seconds,
        "congestion_control": "cubic",
        "alone": alone,
        "sum": sum(alone),
        "rows": rows,
    }


def measure_case(lab: Lab, case: Case, seconds: float, together: float) -> dict[str, Any]:
    """Starts fresh programs with the case's settings, measures, and stops them."""
    lab.start_server(scheduler=case.scheduler, hold=case.hold)
    lab.start_client(scheduler=case.scheduler, hold=case.hold, default_route=True)
    before, busy = lab.report(), cpu_seconds(lab)
    seen = iperf(
        lab,
        WEB,
        seconds=seconds,
        omit=SETTLING,
        flows=case.flows,
        direction=case.direction,
    )
    after, worked = lab.report(), cpu_seconds(lab)
    order = lab.bond.session("client" if case.direction == "down" else "server")["order"]
    drops = {side: lab.status(side)["drops"] for side in ("client", "server")}
    for side in ("client", "server"):
        lab.stop(lab.bond.running[side])
    carried = [
        after[f"{link.number} {case.direction}"]["carried"]
        - before[f"{link.number} {case.direction}"]["carried"]
        for link in lab.links
    ]
    full = RATE * (seconds + SETTLING) / 8 / 1500
    return {
        **dataclasses.asdict(case),
        "rate": seen.rate,
        "share": seen.rate / together,
        "covered": sum(count > COVERED * full for count in carried) / len(carried),
        "packets_by_link": carried,
        "retransmits": seen.retransmits,
        "order": order,
        "drops": drops,
        "cpu": {side: (worked[side] - busy[side]) / (seconds + SETTLING) for side in worked},
    }


def cpu_seconds(lab: Lab) -> dict[str, float]:
    """Returns the processor time each side has used so far."""
    used = {}
    for side in ("client", "server"):
        stat = Path(f"/proc/{lab.bond.running[side].pid}/stat").read_text().rsplit(")", 1)[1]
        user, system = stat.split()[11:13]
        used[side] = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return used


def table(result: dict[str, Any]) -> str:
    """Returns one experiment as Markdown."""
    best, together = max(result["alone"]) / 1e6, result["sum"] / 1e6
    lines = [
        f"### {result['title']}",
        "",
        f"One link alone {best:.2f} Mbit/s, the sum {together:.2f} Mbit/s (TCP payload, CUBIC,"
        f" {result['seconds']:g} s).",
        "",
        "| scheduler | hold | TCP flows | direction | Mbit/s | of the sum | links covered by"
        " the flows | sent again | held | given up | CPU, client + server |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        hold = "off" if row["hold"] == 0 else "on"
        covered = f"{row['covered']:.2f}" if row["scheduler"] == "xor" else "all"
        lines.append(
            f"| `{row['scheduler']}` | {hold} | {row['flows']} | {row['direction']}"
            f" | {row['rate'] / 1e6:.2f} | {row['share']:.2f} | {covered}"
            f" | {row['retransmits']} | {row['order']['held']} | {row['order']['skipped']}"
            f" | {row['cpu']['client']:.0%} + {row['cpu']['server']:.0%} |"
        )
    return "\n".join([*lines, ""])


def _parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.lab.measure", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="length of each measurement")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
