"""The emulator's C link is the Python link: the same arrivals, and the same books, for anything."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.lab.emulator import description, ledger_of, loss_order
from bench.links.draws import threshold
from bench.links.link import Link
from bench.links.rates import nanoseconds
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
from tests.replay import replay, sanitized

SECOND = 1_000_000_000

rates = st.floats(1e4, 1e9)
durations = st.floats(0, 2)
shares = st.floats(0, 1)
sizes = st.integers(1, 1600)


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

changes = st.one_of(
    st.builds(lambda rate: {"rate": rate}, rates),
    st.builds(lambda delay: {"delay": delay}, durations),
    st.builds(lambda jitter: {"jitter": jitter}, durations),
    st.builds(lambda loss: {"loss": loss}, st.just(0.0) | shares),
    st.builds(lambda duplicate: {"duplicate": duplicate}, st.just(0.0) | shares),
    st.builds(lambda up: {"up": up}, st.booleans()),
)
gaps = st.integers(0, 2_000_000) | st.integers(0, SECOND)
events = st.lists(st.tuples(gaps, sizes | changes), max_size=60)


def order_of(change):
    """The emulator's order for a change of the Python link."""
    ((name, value),) = change.items()
    return {
        "rate": lambda: f"steady {round(value)}",
        "delay": lambda: f"delay {nanoseconds(value)}",
        "jitter": lambda: f"jitter {nanoseconds(value)}",
        "loss": lambda: loss_order(RandomLoss(value)),
        "duplicate": lambda: f"duplicate {threshold(value)}",
        "up": lambda: f"up {int(value)}",
    }[name]()


def change(link, values):
    if "up" in values:
        link.up = values["up"]
    else:
        link.change(**values)


def drive(shape, seed, mtu, happenings):
    """What the Python link answers, and the orders that ask the emulator to do the same."""
    link = Link(shape, seed, mtu)
    now, orders, expected = 0, [], []
    for gap, what in happenings:
        now += gap
        if isinstance(what, int):
            orders.append(f"packet 0 up {what} {now}")
            expected.append([list(arrival) for arrival in link.transmit(what, now)])
        elif "rate" not in what or isinstance(shape.rate, Constant):
            change(link, what)
            orders.append(f"set 0 up {order_of(what)}")
            expected.append(None)
    link.advance(now)
    return [*orders, f"advance 0 up {now}", "ledger 0 up"], [*expected, None, link.ledger]


def understood(answer):
    """An answer as arrivals or a ledger; None for a mere acknowledgement."""
    if isinstance(answer, dict):
        assert "error" not in answer
        return ledger_of(answer) if "counters" in answer else None
    return answer


@pytest.fixture(scope="module")
def emulator():
    return sanitized()


@settings(deadline=None, max_examples=150)
@given(shapes, st.integers(0, 2**63), st.integers(1000, 1500), events, events)
def test_both_links_do_the_same(emulator, shape, seed, mtu, first, second):
    """Also after a restart, which undoes every change; the seed may be another one then."""
    orders = [*description([(Shape(), shape, mtu)], None), f"set 0 up seed {seed}", "start"]
    expected = [None] * len(orders)
    more, told = drive(shape, seed, mtu, first)
    orders += [*more, f"set 0 up seed {seed + 1}", "restart"]
    expected += [*told, None, None]
    more, told = drive(shape, seed + 1, mtu, second)
    answers = [understood(answer) for answer in replay(emulator, orders + more)]
    assert answers == expected + told
