"""Plots of results, as PNG: small multiples that share their axes, labelled where they are read.

Every function takes results and a file to write, draws one figure, and returns False when there was
nothing to draw. Figures are as wide as a README shows them, at twice its resolution; colours are those
of Okabe and Ito, which people with any kind of colour vision can tell apart.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.report.figures import METRICS, cell, direction, efficiency
from bench.report.multiples import FAINT, GREY, INK, multiples, note

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.results import Result

LINKS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8C8C8C")
SYSTEMS = {
    "bare": "#8C8C8C",
    "single": "#56B4E9",
    "mptcp": "#E69F00",
    "wireguard": "#CC79A7",
    "rr": "#999933",
    "rr+hold": "#0072B2",
    "xor": "#D55E00",
    "weighted": "#009E73",
    "adaptive": "#222222",
    "redundant": "#882255",
}
STEP = 0.5
"""Seconds of a step of the plots over time."""


def throughput(results: Sequence[Result], path: Path) -> bool:
    """Draw what each link carried over time, stacked, for each of some systems on the same links.

    The outline is what the links offered, the line what the application received.
    """
    shown = [one for one in results if one.valid and one.timeline is not None]
    if not shown:
        return False
    ways = {direction(one) for one in shown}
    way = "down" if "down" in ways else "up"
    with multiples(len(shown), path, "Mbit/s", "seconds") as axes:
        for ax, one in zip(axes, shown, strict=True):
            _stack(ax, one, way)
        note(axes[min(2, len(axes) - 1)], "outline: offered, line: received")
    return True


def queue_delay(results: Sequence[Result], path: Path) -> bool:
    """Draw how long packets stood in the queue of each link over time, for some systems."""
    shown = [one for one in results if one.valid and one.timeline is not None]
    if not shown:
        return False
    peaks = [
        [_peaks(series, one.timeline.step) for series in one.timeline.of("wait", direction(one))]
        for one in shown
        if one.timeline is not None
    ]
    longest = max((value for waits in peaks for series in waits for value in series), default=0.0)
    with multiples(len(shown), path, "longest wait in a link's queue, ms", "seconds") as axes:
        for ax, one, waits in zip(axes, shown, peaks, strict=True):
            for link, series in enumerate(waits):
                ms = [max(1.0, value * 1e3) if value else math.nan for value in series]
                colour = LINKS[link % len(LINKS)]
                times = [STEP * n for n in range(len(ms) + 1)]
                ax.step(times, [*ms, ms[-1]], where="post", color=colour, linewidth=1.0)
                ax.set_xlim(0, times[-1])
            ax.set_title(one.system)
            ax.set_yscale("log")
            ax.set_ylim(1, max(10.0, 1.3e3 * longest))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            ax.yaxis.grid(True, color=FAINT, linewidth=0.5)
        links = len(shown[0].timeline.of("wait", "down")) if shown[0].timeline else 0
        _legend_of_links(axes[min(2, len(axes) - 1)], links)
    return True


def voice(groups: Sequence[tuple[str, Sequence[Result]]], path: Path) -> bool:
    """Draw which share of a call's packets came back within a time, a panel for each group.

    A group is a title and one result for each system. A curve ends below 100 % by what was lost.
    """
    shown = [(title, [one for one in many if _has_call(one)]) for title, many in groups]
    shown = [(title, many) for title, many in shown if many]
    if not shown:
        return False
    with multiples(len(shown), path, "packets back within, %", "round trip, ms") as axes:
        for ax, (title, many) in zip(axes, shown, strict=True):
            ends = []
            for one in many:
                assert one.voice is not None
                times = [max(1.0, 1e3 * value) for value in one.voice.cdf["round_trip"]]
                kept = 1 - one.voice.lost_round_trip
                shares = [n * kept for n in range(101)]
                colour = _colour(one.system)
                ax.plot(times, shares, color=colour)
                ends.append((times, shares, one.system, colour))
            ax.set_title(title)
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            low, high = ax.get_xlim()
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_ylim(0, 101)
            ax.set_yticks([0, 25, 50, 75, 100])
            ax.grid(True, color=FAINT, linewidth=0.5)
            _label_curves(ax, ends)
    return True


def summary(
    groups: Sequence[tuple[str, Sequence[Sequence[Result]]]], path: Path, marked: str = "bare"
) -> bool:
    """Draw efficiency as bars, a panel for each group, with the system `marked` as a line through all.

    A group is a title and, for each system, its repetitions.
    """
    metric = METRICS["efficiency"]
    rows = [
        (
            title,
            [(many[0].system, found) for many in lists if many and (found := cell(many, metric))],
        )
        for title, lists in groups
    ]
    rows = [(title, bars) for title, bars in rows if bars]
    if not rows:
        return False
    height = max(3, *(len(bars) for _, bars in rows)) * 0.17 + 0.45
    with multiples(
        len(rows), path, "", "share of the capacity offered", height=height, share=False
    ) as axes:
        for ax, (title, bars) in zip(axes, rows, strict=True):
            _bars(ax, title, bars, marked)
        note(axes[min(2, len(axes) - 1)], "dashed: the best link alone")
    return True


def _bars(ax: Axes, title: str, bars: Sequence[tuple[str, Any]], marked: str) -> None:
    places = range(len(bars))
    for place, (system, one) in zip(places, bars, strict=True):
        ax.barh(place, one.median, height=0.72, color=_colour(system))
        if one.spread > 0.01:
            ax.plot([one.low, one.high], [place, place], color=INK, linewidth=0.7)
        ax.text(
            max(one.median, one.high) + 0.02,
            place,
            f"{one.median:.2f}",
            va="center",
            fontsize=7,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3},
        )
    reference = _median_of(bars, marked)
    if reference:
        ax.axvline(reference, color=INK, linewidth=0.7, linestyle=(0, (4, 2)))
    ax.set_yticks(list(places), [system for system, _ in bars])
    ax.tick_params(axis="y", length=0, labelcolor=INK)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.08)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "", ".5", "", "1"])
    ax.spines["left"].set_visible(False)
    ax.set_title(title)


def _median_of(bars: Sequence[tuple[str, Any]], system: str) -> float:
    return next((one.median for name, one in bars if name == system), 0.0)


def _stack(ax: Axes, one: Result, way: str) -> None:
    timeline = one.timeline
    assert timeline is not None
    step = timeline.step
    layers = [_rates(series, step) for series in timeline.of("", way)]
    offered = [sum(parts) for parts in zip(*timeline.of("capacity", way), strict=True)]
    outline = _rates(offered, step)
    times = [STEP * n for n in range(len(outline) + 1)]

    def closed(series: Sequence[float]) -> list[float]:
        return [*series, series[-1]]

    base = [0.0] * len(times)
    for link, layer in enumerate(layers):
        top = [low + high for low, high in zip(base, closed(layer), strict=True)]
        colour = LINKS[link % len(LINKS)]
        ax.fill_between(times, base, top, step="post", color=colour, alpha=0.75, linewidth=0)
        ax.step(times, top, where="post", color="white", linewidth=0.35)
        _label_layer(ax, f"{link}", times, base, top, max(outline))
        base = top
    ax.step(times, closed(outline), where="post", color=INK, linewidth=0.8)
    received = timeline.of("goodput", way)
    if received:
        ax.step(times, closed(_rates(received, step)[: len(outline)]), where="post", color=INK)
    share = efficiency(one)
    ax.set_title(one.system if share is None else f"{one.system}  {share:.2f}")
    ax.set_xlim(0, times[-1])
    ax.set_ylim(bottom=0)


def _label_layer(
    ax: Axes,
    text: str,
    times: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    scale: float,
) -> None:
    """Write a link's number where its layer is thickest, if there is room for it."""

    def room(n: int) -> tuple[float, float]:
        return max(low[n - 1], low[n]), min(high[n - 1], high[n])

    place = max(range(1, len(times) - 1), key=lambda n: room(n)[1] - room(n)[0], default=0)
    bottom, top = room(place)
    if top - bottom > 0.08 * scale:
        ax.text(
            times[place],
            (top + bottom) / 2,
            text,
            color="white",
            fontsize=6.5,
            ha="center",
            va="center_baseline",
        )


def _label_curves(ax: Axes, ends: Sequence[tuple[Any, Any, str, str]]) -> None:
    """Write each curve's name beside it, at heights of their own so that none covers another."""
    count = len(ends)
    for place, (times, shares, name, colour) in enumerate(sorted(ends, key=lambda end: end[0][50])):
        height = 92 - 84 * (place + 0.5) / max(count, 4)
        at = min(range(101), key=lambda n: abs(shares[n] - height))
        ax.annotate(
            name,
            (times[at], shares[at]),
            color=colour,
            fontsize=7,
            ha="center",
            va="center",
            fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.8},
        )


def _legend_of_links(ax: Axes, links: int) -> None:
    """Write the numbers of the links in their colours above a panel, at its right."""
    for link in range(links):
        ax.annotate(
            str(link),
            (1, 1),
            xytext=(-8 * (links - 1 - link), 4.5),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            color=LINKS[link % len(LINKS)],
            fontsize=7.5,
            fontweight="bold",
        )
    ax.annotate(
        "link",
        (1, 1),
        xytext=(-8 * links - 2, 4.5),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        color=GREY,
        fontsize=7.5,
    )


def _rates(series: Sequence[int], step: float) -> list[float]:
    """Bytes by step as Mbit/s by `STEP`."""
    group = max(1, round(STEP / step))
    parts = [series[n : n + group] for n in range(0, len(series), group)]
    return [sum(part) * 8 / (len(part) * step) / 1e6 for part in parts]


def _peaks(series: Sequence[float], step: float) -> list[float]:
    group = max(1, round(STEP / step))
    return [max(series[n : n + group]) for n in range(0, len(series), group)]


def _has_call(one: Result) -> bool:
    return one.valid and one.voice is not None and bool(one.voice.cdf.get("round_trip"))


def _colour(system: str) -> str:
    return SYSTEMS.get(system.partition(":")[0], GREY)
