"""Shows what is being measured, how much is done, and how long it will still take.

Every measurement is one line, and so is what happens besides and is worth knowing later. On a terminal
a bar that moves is below them; elsewhere each line has the time to go. That is the estimate of what is
left, corrected by how the estimates have fared so far.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from bench.plans import SIM, Case, duration, estimate
from bench.report.figures import headline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.results import Result


class Display:
    """A `Watcher` of campaigns for people; `jobs` are made at a time, results go to `out`."""

    def __init__(
        self,
        chosen: Sequence[Case],
        out: Path,
        *,
        console: Console | None = None,
        jobs: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.out = out
        self.done = 0
        self.refused = 0
        self.faults = 0
        self._left = _weights(chosen, jobs)
        self._total = len(chosen)
        self._running: list[Case] = []
        self._clock = clock
        self._began = self._turned = clock()
        self._worked = 0.0  # by the estimates, what has been done
        self._progress = Progress(
            TextColumn("{task.completed:.0f} of {task.total:.0f}"),
            BarColumn(bar_width=24),
            ToGo(self),
            TextColumn("{task.description}"),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("", total=self._total)

    @property
    def clean(self) -> bool:
        """Whether all that was measured can be used, and nothing is left behind."""
        return not self.refused and not self.faults

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._progress.stop()
        text = f"{self.done} of {self._total} measured, in {self.out}"
        if self.refused:
            text += f"; {self.refused} of them failed or cannot be used, the reasons stand above"
        if self.faults:
            text += "; not all was taken down, see above"
        if kind is not None or self.refused:
            text += "; the same command with --resume measures what is missing"
        self.console.print(text, markup=False, soft_wrap=True)

    def begin(self, case: Case) -> None:
        """A measurement begins."""
        self._running.append(case)
        self._show()

    def end(self, case: Case, result: Result) -> None:
        """It has ended: its line stays."""
        if case in self._running:
            self._running.remove(case)
        self._worked += self._left.pop(case)
        self._turned = self._clock()
        self.done += 1
        self.refused += not result.valid
        speed = ""
        if case.clock == SIM and result.wall and result.valid:
            speed = f"  {result.window[1] / result.wall:.1f} virtual s/s"
        self._print(
            f"{self.done:>4} of {self._total}  {case!s:<52} {headline(result)}{speed}",
            "" if result.valid else "red",
        )
        self._show()

    def say(self, text: str) -> None:
        """Something happens that takes time: it is shown while it does."""
        self._show(text)

    def note(self, text: str) -> None:
        """Something has happened: its line stays."""
        self._print(
            f"      {', '.join(map(str, self._running))}: {text}" if self._running else text
        )

    def fault(self, text: str) -> None:
        """Something is left behind: its line stays, and it counts."""
        self.faults += 1
        self._print(text, "red")

    def to_go(self) -> float:
        """Return about how many seconds are left."""
        rest = sum(self._left.values())
        if self._worked:
            rest *= (self._turned - self._began) / self._worked
        return max(0.0, rest - (self._clock() - self._turned))

    def _print(self, line: str, style: str = "") -> None:
        if not self.console.is_terminal:
            line += f"  ({duration(self.to_go())} to go)"
        self.console.print(line, style=style, markup=False, soft_wrap=True)

    def _show(self, text: str = "") -> None:
        what = text or ", ".join(map(str, self._running))
        self._progress.update(self._task, completed=self.done, description=what)


def _weights(chosen: Sequence[Case], jobs: int) -> dict[Case, float]:
    """Return the estimate (s) of every case; the first of a scenario has that of its network too."""
    weights = {}
    before: list[Case] = []
    for case in chosen:
        weights[case] = estimate([*before, case], jobs) - estimate(before, jobs)
        before = [case]
    return weights


class ToGo(ProgressColumn):
    """The time that is left."""

    def __init__(self, display: Display) -> None:
        super().__init__()
        self._display = display

    def render(self, task: Task) -> Text:
        """Return what stands in the column."""
        return Text(f"{duration(self._display.to_go())} to go")
