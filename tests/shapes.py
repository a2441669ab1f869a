"""Shapes of links for property tests: all kinds, also odd ones.

Round values stand beside any others: with them packets meet each other, and limits, to the nanosecond.
"""

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

rates = st.sampled_from([8e4, 8e5, 4e6, 8e6]) | st.floats(1e4, 1e9)
durations = st.integers(0, 100).map(lambda ms: ms / 1000) | st.floats(0, 2)
shares = st.floats(0, 1)
sizes = st.sampled_from([500, 1000, 1500]) | st.integers(1, 1600)


def apart(count=6):
    """Rising times (s) with at least a millisecond between them."""
    return st.lists(
        st.integers(0, 100) | st.integers(0, 5000), min_size=2, max_size=count, unique=True
    ).map(lambda times: [time / 1000 for time in sorted(times)])


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
periods = st.sampled_from([0.001, 0.010]) | st.floats(0.001, 0.5)
background_rates = rates.filter(lambda rate: rate <= 1e8)
backgrounds = st.one_of(
    st.builds(Background, background_rates, st.sampled_from([500, 1000]) | st.integers(40, 1500)),
    st.builds(Background, background_rates, st.integers(40, 1500), periods, periods),
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
    queue=st.none() | st.sampled_from([0.002, 0.015]) | st.floats(0.0001, 2),
    queue_bytes=st.none() | st.sampled_from([1000, 3000, 15_000]) | st.integers(1, 100_000),
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
