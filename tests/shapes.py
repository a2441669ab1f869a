"""Shapes of links for property tests: all kinds, also odd ones."""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st

from bench.links.shape import (
    Background,
    Constant,
    GilbertElliott,
    Mask,
    Outages,
    Policer,
    Profile,
    RandomLoss,
    Shape,
    Step,
    Trace,
)

rates = st.floats(1e4, 1e9)
durations = st.floats(0, 2)
shares = st.floats(0, 1)


def apart(least=0.0, most=5.0, count=6):
    """Rising times (s) with at least a millisecond between them."""
    return st.lists(st.integers(0, 5000), min_size=2, max_size=count, unique=True).map(
        lambda times: [least + time / 1000 * (most - least) / 5 for time in sorted(times)]
    )


@st.composite
def profiles(draw):
    times = [0.0, *(time + 0.001 for time in draw(apart()))]
    steps = [
        Step(time, draw(st.just(0.0) | rates), draw(durations), draw(st.just(0.0) | shares))
        for time in times
    ]
    steps[-1] = dataclasses.replace(steps[-1], rate=draw(rates))
    if draw(st.booleans()):
        return Profile(tuple(steps))
    return Profile(
        tuple(steps), period=times[-1] + draw(st.floats(0.01, 3)), offset=draw(durations)
    )


traces = st.builds(
    Trace,
    st.lists(st.integers(0, 3000), min_size=1, max_size=40)
    .map(sorted)
    .filter(lambda times: times[-1] > 0)
    .map(tuple),
    offset=st.floats(0, 10),
    scale=st.floats(0.01, 20),
)
losses = st.one_of(
    st.none(),
    st.builds(RandomLoss, shares),
    st.builds(GilbertElliott, shares, shares, shares, shares),
    st.builds(Mask, st.frozensets(st.integers(0, 30)), st.none() | st.integers(31, 50)),
)
backgrounds = st.builds(Background, st.floats(1e4, 1e8), st.integers(1, 1500)) | st.builds(
    Background,
    st.floats(1e4, 1e8),
    st.integers(40, 1500),
    st.floats(0.001, 0.5),
    st.floats(0.001, 0.5),
)


@st.composite
def outages(draw):
    times = draw(apart(count=7))
    times = times[: len(times) // 2 * 2]
    windows = tuple(zip(times[::2], times[1::2], strict=True))
    return Outages(windows, draw(st.none() | st.just(times[-1] + 0.1)))


shapes = st.builds(
    Shape,
    rate=st.builds(Constant, rates) | profiles() | traces,
    queue=st.none() | st.floats(0.0001, 2),
    queue_bytes=st.none() | st.integers(1, 100_000),
    delay=durations,
    jitter=st.just(0.0) | durations,
    reorder=st.booleans(),
    loss=losses,
    policer=st.none() | st.builds(Policer, rates, st.integers(1500, 100_000)),
    background=st.none() | backgrounds,
    outages=st.none() | outages(),
    duplicate=st.just(0.0) | shares,
    corrupt=st.just(0.0) | shares,
)
