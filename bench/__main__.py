"""The laboratory's command line: `python -m bench`, with a verb.

A verb says what it will do and how long that takes, does it, and tells where the results are. What a
person got wrong, or the system denies, is one sentence after `bench:`. The exit status is

    0    done
    1    could not be done
    2    the command line is wrong
    3    done, but some measurements failed or cannot be used, not all was taken down, or a target is missed
    130  stopped by Ctrl-C or SIGTERM, with how to go on
"""

from __future__ import annotations

import errno
import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import campaign, keeping, plans, results, workloads
from bench.errors import BenchError
from bench.fast.command import fast
from bench.micro.command import micro
from bench.progress import Display
from bench.runners import REAL, Runners
from bench.systems import System
from bench.tracing import trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.plans import Case, Part

FAILED, PARTLY, STOPPED = 1, 3, 130
"""Exit statuses."""
DEFAULT_SYSTEMS = ("bare", "single", "rr", "rr+hold", "xor", "weighted", "adaptive")
FILES = click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULTS…"
)


class Program(click.Group):
    """A group whose errors for people are one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except BenchError as error:
            click.echo(f"bench: {error}", err=True)
            ctx.exit(FAILED)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # whoever read has seen enough; click ends quietly
            about = f"{error.filename}: " if error.filename else ""
            click.echo(f"bench: {about}{error.strerror or error}", err=True)
            ctx.exit(FAILED)
        except KeyboardInterrupt:
            click.echo("bench: stopped", err=True)
            ctx.exit(STOPPED)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measures mpbond and others over links that behave like modems."""
    results.versions.cache_clear()


@main.command("list")
@click.argument(
    "what", required=False, type=click.Choice(["scenarios", "systems", "workloads", "plans"])
)
def list_(what: str | None) -> None:
    """Names what there is, a line each."""
    from bench import scenarios, systems

    kinds: dict[str, Callable[[], dict[str, str]]] = {
        "scenarios": lambda: {name: one.title for name, one in scenarios.SCENARIOS.items()},
        "systems": lambda: {name: one.title for name, one in systems.SYSTEMS.items()},
        "workloads": lambda: (
            {name: one.title for name, one in workloads.WORKLOADS.items()}
            | {name: " ".join(members) for name, members in workloads.GROUPS.items()}
        ),
        "plans": lambda: {
            name: f"{plan.title} (about {plans.duration(_estimate(plan))})"
            for name, plan in plans.plans().items()
        },
    }
    for kind, titles in kinds.items():
        if what in (None, kind):
            click.echo(f"{kind}:" if what is None else "", nl=what is None)
            named = titles()
            width = max(map(len, named), default=0)
            for name, title in named.items():
                click.echo(f"  {name:<{width}}  {title}")


def _estimate(plan: plans.Plan) -> float:
    return plans.estimate(plans.ordered(case for part in plan.parts for case in plans.cases(part)))


def _measuring(command: Callable[..., None]) -> Callable[..., None]:
    """Add what `run` and `sim` have in common."""
    for option in reversed(
        (
            click.argument("scenario", nargs=-1),
            click.option("--plan", metavar="NAME", help="Take a named plan instead of scenarios."),
            click.option(
                "--systems",
                metavar="A,B,…",
                help=f"What carries the traffic. [default: {','.join(DEFAULT_SYSTEMS)}]",
            ),
            click.option(
                "--workloads", metavar="A,B,…", help="What is done. [default: tcp1_down_cubic]"
            ),
            click.option("--seconds", type=click.FloatRange(1, 3600), help="[default: 30]"),
            click.option("--repetitions", type=click.IntRange(1, 1000), help="[default: 1]"),
            click.option(
                "--seed", type=click.IntRange(0), default=1, show_default=True, help="Of chance."
            ),
            click.option(
                "--out",
                type=click.Path(path_type=Path, dir_okay=False),
                default=Path("results.jsonl"),
                show_default=True,
                help="Where results are kept, one a line.",
            ),
            click.option(
                "--resume", is_flag=True, help="Go on with a file: measure what it lacks."
            ),
            click.option("--dry-run", is_flag=True, help="Name the measurements, make none."),
        )
    ):
        command = option(command)
    return command


@main.command()
@_measuring
@click.option("--no-check", is_flag=True, help="Trust the emulator without measuring it first.")
@click.pass_context
def run(ctx: click.Context, /, no_check: bool, **options: Any) -> None:
    """Measures in network namespaces, with the real programs (root)."""
    runners: Runners = ctx.obj or REAL
    waiting = _waiting(plans.LAB, options)
    if options["dry_run"] or not waiting:
        return
    if ctx.obj is None and os.geteuid() != 0:
        raise BenchError("the lab makes network namespaces: run this as root, or by sudo")
    keeping.prepare(options["out"])
    with keeping.terminable():
        check = None if no_check else _check(runners)
        record = keeping.recorder(options["out"], check=check)
        with Display(waiting, options["out"]) as display:
            campaign.in_lab(waiting, runners.opening, display, record)
    ctx.exit(0 if display.clean else PARTLY)


@main.command()
@_measuring
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=len(os.sched_getaffinity(0)),
    show_default=True,
    help="How many simulations run at a time.",
)
@click.pass_context
def sim(ctx: click.Context, /, jobs: int, **options: Any) -> None:
    """Measures in the simulator, in virtual time."""
    runners: Runners = ctx.obj or REAL
    waiting = _waiting(plans.SIM, options)
    if options["dry_run"] or not waiting:
        return
    keeping.prepare(options["out"])
    record = keeping.recorder(options["out"])
    with keeping.terminable(), Display(waiting, options["out"], jobs=jobs) as display:
        campaign.in_simulator(waiting, runners.simulate, jobs, display, record)
    ctx.exit(0 if display.clean else PARTLY)


@main.command()
@FILES
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("report"),
    show_default=True,
    help="Directory for report.md and its plots.",
)
@click.option("--no-plots", is_flag=True, help="Tables only.")
def report(files: tuple[Path, ...], out: Path, no_plots: bool) -> None:
    """Makes a report: Markdown, with plots as PNG."""
    from bench.report import page

    found = results.newest(results.read(*files))
    written = page.write(found, out, plots=not no_plots)
    click.echo(f"{written} tells of {_count(len(found), 'measurement')}")


@main.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="Also what has not changed.")
def compare(before: Path, after: Path, everything: bool) -> None:
    """Compares two result files and marks what has changed beyond the noise."""
    from bench import compare as comparing

    found = comparing.compare(*(results.newest(results.read(file)) for file in (before, after)))
    click.echo(comparing.table(found, everything=everything))


@main.command()
@FILES
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("docs/benchmarks.md"),
    show_default=True,
    help="The page; its plots go into a directory beside it.",
)
def docs(files: tuple[Path, ...], out: Path) -> None:
    """Brings the figures of docs/benchmarks.md up to date."""
    from bench.report import benchmarks

    left = benchmarks.write(results.newest(results.read(*files)), out)
    if left.kept:
        click.echo(f"as they were, for want of results: {', '.join(left.kept)}", err=True)
    if left.empty:
        raise BenchError(f"{out} has nothing to show in {', '.join(left.empty)}; the rest is done")
    click.echo(f"{out} is up to date")


main.add_command(trace)
main.add_command(fast)
main.add_command(micro)


@main.command()
@click.option("--clock", type=click.Choice([plans.SIM, plans.LAB]), default=plans.SIM)
@click.option(
    "--only",
    metavar="A,B,…",
    default="",
    help='Groups, or rows by "scenario/workload/figure" or the beginning of that.',
)
@click.option("--system", default="adaptive", show_default=True, help="What is judged.")
@click.option("--beside", metavar="A,B,…", default="", help="What is shown beside it.")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=60.0, show_default=True)
@click.option("--repetitions", type=click.IntRange(1, 1000), default=3, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of chance.")
@click.option("--jobs", type=click.IntRange(1), default=len(os.sched_getaffinity(0)))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Where results are kept too."
)
@click.option("--resume", is_flag=True, help="Take what that file has and is of this tree.")
@click.option("--no-check", is_flag=True, help="Trust the emulator without measuring it first.")
@click.option("--dry-run", is_flag=True, help="Name the rows, measure none.")
@click.pass_context
def targets(ctx: click.Context, /, **options: Any) -> None:
    """Measures what mpbond has to reach, and says row by row whether it does."""
    from bench import judge
    from bench.targets import select

    runners: Runners = ctx.obj or REAL
    how = judge.How(
        clock=options["clock"],
        system=System.parse(options["system"]).name,
        seconds=options["seconds"],
        repetitions=options["repetitions"],
        seed=options["seed"],
        also=tuple(filter(None, options["beside"].split(","))),
    )
    board = judge.Board(
        select(filter(None, options["only"].split(",")), how.clock),
        how,
        tell=click.echo,
        warn=functools.partial(click.echo, err=True),
    )
    waiting = board.cases()
    if options["dry_run"]:
        for target in board.open:
            click.echo(f"{target.group:<10} {target.name}")
    out: Path | None = options["out"]
    keep: Callable[[results.Result], None] = _forget
    if out is not None and not options["dry_run"]:
        keeping.prepare(out)
        keep = keeping.recorder(out)
        if options["resume"]:
            tree = results.versions()["tree"]
            there = {one.key: one for one in results.read(out) if one.valid}
            board.take([(one, there[one.key(tree)]) for one in waiting if one.key(tree) in there])
            waiting = campaign.pending(waiting, there.values(), tree)
    click.echo(
        f"{_count(len(waiting), 'measurement')}; "
        f"about {plans.duration(plans.estimate(waiting, options['jobs']))}",
        err=True,
    )
    if options["dry_run"]:
        return
    with keeping.terminable():
        if how.clock == plans.SIM:
            campaign.in_simulator(waiting, runners.simulate, options["jobs"], board, keep)
        else:
            if waiting and not options["no_check"]:
                _check(runners)
            campaign.in_lab(plans.ordered(waiting), runners.opening, board, keep)
    click.echo(board.summary())
    ctx.exit(0 if board.clean else PARTLY)


def _waiting(clock: str, options: dict[str, Any]) -> list[Case]:
    """Return what is to be measured, and say how much and how long."""
    chosen = plans.ordered(
        case for part in _parts(clock, options) for case in plans.cases(part, options["seed"])
    )
    out: Path = options["out"]
    if out.exists() and out.stat().st_size and not options["resume"] and not options["dry_run"]:
        raise BenchError(
            f"{out} has results already; --resume goes on with it, --out names another file"
        )
    there = results.read(out) if options["resume"] and out.exists() else []
    waiting = campaign.pending(chosen, there, results.versions()["tree"])
    if options["dry_run"]:
        for case in waiting:
            click.echo(str(case))
    done = len(chosen) - len(waiting)
    click.echo(
        f"{_count(len(waiting), 'measurement')}{f', {done} are there already' if done else ''}; "
        f"about {plans.duration(plans.estimate(waiting, options.get('jobs', 1)))}",
        err=True,
    )
    return waiting


def _parts(clock: str, options: dict[str, Any]) -> list[Part]:
    given: dict[str, Any] = {
        name: tuple(filter(None, options[name].split(",")))
        for name in ("systems", "workloads")
        if options[name]
    }
    given |= {name: options[name] for name in ("seconds", "repetitions") if options[name]}
    if bool(options["plan"]) == bool(options["scenario"]):
        raise BenchError("name scenarios or a --plan, not both; `python -m bench list` has them")
    if not options["plan"]:
        default = plans.Part(
            clock=clock,
            scenarios=options["scenario"],
            systems=DEFAULT_SYSTEMS,
            workloads=("tcp1_down_cubic",),
        )
        return [plans.override(default, given)]
    found = [
        plans.override(part, given)
        for part in plans.get(options["plan"]).parts
        if part.clock == clock
    ]
    if not found:
        verb = {"sim": "run", "lab": "sim"}[clock]
        raise BenchError(f"the plan {options['plan']} has nothing on this clock; use `{verb}`")
    return found


def _check(runners: Runners) -> dict[str, Any]:
    click.echo("checking the emulator …", err=True)
    found = runners.check()
    if found.get("text"):
        click.echo(found["text"], err=True)
    if not found.get("ok"):
        raise BenchError(
            "the emulator does not keep its rates and delays on this machine now, so nothing is "
            "measured; let it run alone, or measure all the same with --no-check"
        )
    return {name: value for name, value in found.items() if name != "text"}


def _forget(_result: results.Result) -> None:
    """Keep no result."""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


if __name__ == "__main__":
    sys.exit(main(prog_name="python -m bench"))
