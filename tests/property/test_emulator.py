"""The emulator's C link is the Python link: the same arrivals, and the same books, for anything."""

from __future__ import annotations

from itertools import chain

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
    Outages,
    Policer,
    Profile,
    RandomLoss,
    Shape,
    Step,
    Trace,
)
from tests.replay import replay, sanitized
from tests.shapes import durations, rates, shapes, shares, sizes

SECOND = 1_000_000_000

changes = st.one_of(
    st.builds(lambda rate: {"rate": rate}, rates),
    st.builds(lambda delay: {"delay": delay}, durations),
    st.builds(lambda jitter: {"jitter": jitter}, durations),
    st.builds(lambda loss: {"loss": loss}, st.just(0.0) | shares),
    st.builds(lambda duplicate: {"duplicate": duplicate}, st.just(0.0) | shares),
    st.builds(lambda up: {"up": up}, st.booleans()),
)
gaps = (
    st.integers(0, 50).map(lambda ms: ms * 1_000_000)
    | st.integers(0, 2_000_000)
    | st.integers(0, SECOND)
)
bursts = st.tuples(gaps, sizes, st.integers(1, 12)).map(lambda burst: [burst[:2]] * burst[2])
others = st.tuples(gaps, changes).map(lambda change: [change])
events = st.lists(bursts | others, max_size=25).map(lambda lists: list(chain.from_iterable(lists)))


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


def compare(emulator, shape, seed, mtu, first, second):
    """Drives both, restarts, which undoes every change, and drives both again with another seed."""
    orders = [*description([(Shape(), shape, mtu)], None), f"set 0 up seed {seed}", "start"]
    expected = [None] * len(orders)
    more, told = drive(shape, seed, mtu, first)
    orders += [*more, f"set 0 up seed {seed + 1}", "restart"]
    expected += [*told, None, None]
    more, told = drive(shape, seed + 1, mtu, second)
    answers = [understood(answer) for answer in replay(emulator, orders + more)]
    assert answers == expected + told


@settings(deadline=None, max_examples=250)
@given(shapes, st.integers(0, 2**63), st.integers(1000, 1500), events, events)
def test_both_links_do_the_same(emulator, shape, seed, mtu, first, second):
    compare(emulator, shape, seed, mtu, first, second)


MS = 1_000_000
BYTES = 1000  # take 1 ms at 8 Mbit/s
EDGES = {
    "the queue is exactly long enough": Shape(queue=0.002),
    "a packet comes when the one before has just passed": Shape(queue_bytes=1000),
    "jitter is drawn anew exactly when it may be": Shape(jitter=0.005),
    "somebody else's packet comes at the same time": Shape(
        queue_bytes=1000, background=Background(8e5, 1000)
    ),
    "an outage begins and ends": Shape(outages=Outages(((0.001, 0.002), (0.010, 0.011)))),
    "a step begins and ends": Shape(
        rate=Profile((Step(0, 8e6), Step(0.001, 0, 0.005), Step(0.002, 4e6)), 0.010)
    ),
    "the policer has exactly enough": Shape(policer=Policer(8e6, 2000)),
    "an opportunity comes now": Shape(rate=Trace((0, 1, 2, 10), scale=1000 / 1504)),
}


@pytest.mark.parametrize("edge", EDGES)
def test_both_links_do_the_same_at_the_very_edge(emulator, edge):
    """Packets of 1 ms at all whole milliseconds, once one by one and once in twos and threes."""
    ones = [(MS, BYTES)] * 25
    more = [(step * MS, BYTES) for step in (0, 0, 0, 1, 0, 1, 1, 0, 0, 2, 0, 5, 0, 0, 0, 9, 1, 0)]
    compare(emulator, EDGES[edge], 7, 1500, ones, more)


def test_a_packet_of_the_mtu_passes_and_a_byte_more_does_not(emulator):
    compare(emulator, Shape(), 1, 1000, [(0, 1000), (MS, 1001)], [(0, 999)])
