"""What holds for every link, whatever its shape and whatever comes; and a second opinion on its queue."""

import dataclasses
import math
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from bench.links.capacity import capacity, timeline
from bench.links.ledger import Ledger
from bench.links.link import Link
from bench.links.rates import BITS
from bench.links.shape import OPPORTUNITY, Constant, Profile, Shape, Step, Trace
from tests import shapes

MS = 1_000_000
SECOND = 1_000_000_000
MTU = 1500

packets = st.lists(
    st.tuples(st.integers(0, 2 * MS) | st.integers(0, SECOND), st.integers(1, 1600)), max_size=60
)
"""(time since the packet before, size)."""
rates = shapes.rates.map(Constant) | shapes.profiles() | shapes.traces


def feed(shape, seed, gaps):
    """Send packets; return the link and, for each, (time sent, size, arrivals)."""
    link, now, sent = Link(shape, seed, MTU), 0, []
    for gap, size in gaps:
        now += gap
        sent.append((now, size, link.transmit(size, now)))
    return link, sent


def bare(rate):
    """A rate that adds neither delay nor loss, so that packets arrive when they have passed."""
    if not isinstance(rate, Profile):
        return rate
    steps = tuple(Step(step.time, step.rate) for step in rate.steps)
    return dataclasses.replace(rate, steps=steps)


@given(shapes.shapes, st.integers(0, 2**64), packets)
def test_every_packet_is_accounted_for_once(shape, seed, gaps):
    link, sent = feed(shape, seed, gaps)
    books = link.ledger
    delivered = [size for _, size, arrivals in sent if arrivals]
    gone = books.full + books.policed + books.swallowed + books.oversize + books.lost
    assert books.packets == len(sent) == gone + len(delivered)
    assert books.carried == sum(delivered) <= sum(books.used)
    assert books.duplicated == sum(len(arrivals) == 2 for _, _, arrivals in sent)
    assert books.corrupted >= sum(bool(a) and a[0].damage >= 0 for _, _, a in sent)
    assert books.oversize == sum(size > MTU for _, size, _ in sent)


@given(shapes.shapes, st.integers(0, 2**64), packets)
def test_equal_seeds_give_equal_links(shape, seed, gaps):
    link, sent = feed(shape, seed, gaps)
    again, sent_again = feed(shape, seed, gaps)
    assert sent == sent_again
    assert link.ledger == again.ledger


@given(shapes.shapes, st.integers(0, 2**64), packets)
def test_nothing_arrives_early_or_overtakes_unless_it_may(shape, seed, gaps):
    _, sent = feed(shape, seed, gaps)
    arrivals = [arrival.time for _, _, pair in sent for arrival in pair]
    assert shape.reorder or arrivals == sorted(arrivals)
    least = max(0, math.floor((shape.delay - shape.jitter) * SECOND) - 2)
    assert all(pair[0].time >= now + least for now, _, pair in sent if pair)


@given(rates, st.none() | st.floats(0.0001, 2), st.none() | st.integers(1, 100_000), packets)
def test_no_window_carries_more_than_its_capacity_and_a_packet(rate, queue, queue_bytes, gaps):
    shape = Shape(rate=bare(rate), queue=queue, queue_bytes=queue_bytes, delay=0.0)
    _, sent = feed(shape, 1, gaps)
    passed = [(pair[0].time, size) for _, size, pair in sent if pair]
    lump = round(OPPORTUNITY * rate.scale) if isinstance(rate, Trace) else 1
    slack = MTU + lump
    for first in range(len(passed)):
        total = 0
        for time, size in passed[first:]:
            total += size
            assert total <= capacity(shape, Ledger(), passed[first][0], time + 1) + slack


@given(
    st.floats(1e5, 1e8),
    st.integers(1500, 20_000),
    st.lists(st.tuples(st.integers(0, 5 * MS), st.integers(1, 1500)), max_size=60),
)
def test_a_policer_lets_through_its_rate_and_its_burst_in_every_window(rate, burst, gaps):
    shape = Shape(rate=Constant(1e10), policer=shapes.Policer(rate, burst), queue=None, delay=0.0)
    _, sent = feed(shape, 1, gaps)
    passed = [(now, size) for now, size, pair in sent if pair]
    for first in range(len(passed)):
        total = 0
        for time, size in passed[first:]:
            total += size
            assert total * BITS <= burst * BITS + (time - passed[first][0]) * round(rate)


@given(packets, st.floats(0, 1))
def test_the_quantiles_of_waits_are_those_of_the_packets(gaps, share):
    link, sent = feed(Shape(rate=Constant(1e6), queue=None, delay=0.0), 1, gaps)
    waits = sorted(pair[0].time - now for now, _, pair in sent if pair)
    if waits:
        exact = waits[max(0, math.ceil(share * len(waits) - 1e-9) - 1)]
        least = waits[max(0, math.ceil(share * len(waits)) - 2)]
        assert least / SECOND <= link.ledger.wait_quantile(share) <= exact / SECOND + 0.002
    else:
        assert link.ledger.wait_quantile(share) == 0


@given(rates, st.none() | shapes.outages(), st.lists(st.integers(0, 20 * SECOND), min_size=3))
def test_capacities_of_neighbouring_windows_add_up(rate, outages, times):
    shape = Shape(rate=rate, outages=outages)
    start, middle, end = sorted(times)[:3]
    whole = capacity(shape, Ledger(), start, end)
    parts = capacity(shape, Ledger(), start, middle) + capacity(shape, Ledger(), middle, end)
    assert 0 <= whole - parts <= 2 + 2 * 60  # a byte is rounded off at every end of an outage


@given(rates, st.integers(0, SECOND), st.integers(1, SECOND), st.integers(MS, SECOND))
def test_a_timeline_is_the_capacity_of_its_steps(rate, start, length, step):
    shape = Shape(rate=rate)
    steps = timeline(shape, Ledger(), start, start + length, step)
    assert len(steps) == -(-length // step)
    assert 0 <= capacity(shape, Ledger(), start, start + length) - sum(steps) <= len(steps)


class Server:
    """A queue that is simulated event by event, where the link computes: bytes limit, steps of rate."""

    def __init__(self, steps, limit):
        self.steps = steps  # (time, rate), the last for ever
        self.limit = limit
        self.queue = deque()  # (name, size)
        self.need = 0  # bits by rate in ns that the first of the queue still needs
        self.now = 0
        self.finished = {}

    def rate(self):
        return next(rate for time, rate in reversed(self.steps) if time <= self.now)

    def run(self, until):
        """Let time pass from event to event: a step of the rate, a packet that is done."""
        while self.queue:
            rate = self.rate()
            step = min((time for time, _ in self.steps if time > self.now), default=math.inf)
            done = self.now - -self.need // rate if rate else math.inf
            event = min(done, step)
            if event > until:
                break
            if event == done:
                self.finished[self.queue.popleft()[0]] = event
                self.need = self.queue[0][1] * BITS if self.queue else 0
            else:
                self.need -= (event - self.now) * rate
            self.now = event
        if math.isfinite(until):
            self.need -= (until - self.now) * self.rate() if self.queue else 0
            self.now = until

    def arrive(self, name, size, now):
        self.run(now)
        if self.queue and sum(size for _, size in self.queue) + size > self.limit:
            return
        self.queue.append((name, size))
        if len(self.queue) == 1:
            self.need = size * BITS


@given(
    st.lists(
        st.tuples(st.integers(1, 3000), st.just(0) | st.integers(10_000, 100_000_000)), max_size=5
    ),
    st.integers(10_000, 100_000_000),
    st.integers(1, 20_000),
    packets,
)
def test_the_queue_agrees_with_one_that_is_simulated_event_by_event(lengths, last, limit, gaps):
    steps, time = [], 0
    for length, rate in lengths:
        steps.append((time, rate))
        time += length
    steps.append((time, last))
    profile = Profile(tuple(Step(time / 1000, float(rate)) for time, rate in steps))
    shape = Shape(rate=profile, queue=None, queue_bytes=limit, delay=0.0)
    _, sent = feed(shape, 1, gaps)
    server = Server([(time * MS, rate) for time, rate in steps], limit)
    for name, (now, size, _) in enumerate(sent):
        if size <= MTU:
            server.arrive(name, size, now)
    server.run(math.inf)
    passed = {name: pair[0].time for name, (_, _, pair) in enumerate(sent) if pair}
    assert passed == server.finished


class Player:
    """A recording that is played opportunity by opportunity."""

    def __init__(self, trace, limit):
        self.period = trace.times[-1]
        self.times = [time for round_ in range(40) for time in self.round(trace, round_)]
        self.times.sort()
        self.limit = limit
        self.queue = deque()  # [name, bytes left]
        self.sizes = {}
        self.finished = {}

    def round(self, trace, number):
        shift = number * self.period - round(trace.offset * 1000)
        return [time + shift for time in trace.times if time + shift >= 0]

    def run(self, until):
        """Play what comes before a time (ns)."""
        while self.times and self.times[0] * MS < until:
            time, room = self.times.pop(0), OPPORTUNITY
            while self.queue and room:
                first = self.queue[0]
                part = min(first[1], room)
                room -= part
                first[1] -= part
                if not first[1]:
                    self.finished[self.queue.popleft()[0]] = time * MS

    def arrive(self, name, size, now):
        self.run(now)
        standing = sum(self.sizes[other] for other, _ in self.queue)
        if not self.queue or standing + size <= self.limit:
            self.queue.append([name, size])
            self.sizes[name] = size


@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=20).map(sorted).filter(lambda t: t[-1] > 9),
    st.integers(0, 400),
    st.integers(1, 20_000),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 1500)), max_size=40),
)
def test_a_recording_agrees_with_one_that_is_played_opportunity_by_opportunity(
    times, offset, limit, gaps
):
    trace = Trace(tuple(times), offset=offset % times[-1] / 1000)
    shape = Shape(rate=trace, queue=None, queue_bytes=limit, delay=0.0)
    link, player, now = Link(shape, 1, MTU), Player(trace, limit), MS // 2
    passed = {}
    for name, (gap, size) in enumerate(gaps):
        now += gap * MS
        if now > 10 * times[-1] * MS:
            break  # the player knows 40 rounds
        player.arrive(name, size, now)
        for arrival in link.transmit(size, now):
            passed[name] = arrival.time
    player.run(math.inf)
    known = {name: time for name, time in passed.items() if name in player.finished}
    assert known == player.finished
    assert all(time >= 39 * times[-1] * MS for name, time in passed.items() if name not in known)
