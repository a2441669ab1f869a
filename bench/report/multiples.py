"""Small multiples: panels side by side in one style, and words inside of them."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.axes import Axes

WIDTH = 8.3
DPI = 200
INK, GREY, FAINT = "#222222", "#767676", "#dddddd"
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@contextlib.contextmanager
def multiples(
    count: int, path: Path, ylabel: str, xlabel: str, *, height: float = 1.65, share: bool = True
) -> Iterator[list[Axes]]:
    """Panels side by side, as many rows as it takes; written to the file when they are drawn."""
    columns = min(count, 3) if count != 4 else 2
    rows = math.ceil(count / columns)
    with mpl.rc_context(STYLE):
        figure, grid = plt.subplots(
            *(rows, columns),
            figsize=(WIDTH, height * rows + 0.35),
            sharex=share,
            sharey=share,
            squeeze=False,
            layout="constrained",
        )
        axes: list[Axes] = list(itertools.chain.from_iterable(grid))
        for ax in axes[count:]:
            ax.set_visible(False)
        for place, ax in enumerate(axes[:count]):
            if place + columns >= count:
                ax.tick_params(labelbottom=True)
            if share:
                ax.yaxis.set_major_locator(MaxNLocator(4))
        figure.supxlabel(xlabel, fontsize=8, color=GREY)
        if ylabel:
            figure.supylabel(ylabel, fontsize=8, color=GREY)
        try:
            yield axes[:count]
            path.parent.mkdir(parents=True, exist_ok=True)
            # Without the version in it, equal results make equal files.
            figure.savefig(path, dpi=DPI, metadata={"Software": None})
        finally:
            plt.close(figure)


def note(ax: Axes, text: str) -> None:
    """Write a remark above a panel, at its right."""
    ax.set_title(text, loc="right", color=GREY, fontsize=7, fontweight="normal")
