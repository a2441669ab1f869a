"""The send queue agrees with one that looks at everything anew, in whichever order it is used."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mpbond.core.codel import INTERVAL, SPARED, TARGET
from mpbond.core.packet import NORMAL, REALTIME, Packet
from mpbond.core.queue import QUANTUM, REALTIME_LIMIT, SendQueue
from mpbond.core.stats import Drops

sizes = st.integers(1, 120) | st.integers(1, 1514) | st.just(1500)
flows = st.integers(0, 3) | st.integers(0, 40)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), flows, sizes, st.integers(1, 12), st.just(NORMAL)),
        st.tuples(st.just("push"), flows, sizes, st.integers(1, 12), st.just(NORMAL)),
        st.tuples(st.just("take"), st.integers(1, 12)),
        st.tuples(st.just("take"), st.integers(1, 12)),
        st.tuples(st.just("pass_over")),
        st.tuples(st.just("begin")),
        st.tuples(
            st.just("push"), flows, sizes | st.just(40_000), st.integers(1, 3), st.just(REALTIME)
        ),
        st.tuples(st.just("take_realtime")),
        st.tuples(st.just("limit"), st.integers(0, 60_000)),
        st.tuples(st.just("wait"), st.sampled_from([0.001, 0.05, TARGET, INTERVAL, 3.0])),
        st.tuples(st.just("may_drop"), st.booleans()),
    ),
    max_size=80,
)


class Naive:
    """Lists of packets by flow; what is to be known about them is counted anew each time."""

    def __init__(self) -> None:
        self.flows: dict[int, list[Packet]] = {}
        self.realtime: list[Packet] = []
        self.passed: set[int] = set()
        self.limit = 30_000
        self.drops = Counter()

    def waiting(self):
        return [item for flow in self.flows.values() for item in flow] + self.realtime

    def bytes(self):
        return size_of(self.waiting())

    def push(self, item):
        if item.kind == REALTIME:
            self.realtime.append(item)
        else:
            self.flows.setdefault(item.flow, []).append(item)
        while size_of(self.realtime) > REALTIME_LIMIT:
            self.realtime.pop(0)
            self.drops["realtime_full"] += 1
        self.shed()

    def shed(self):
        while self.bytes() > self.limit:
            if any(self.flows.values()):
                longest = max(self.flows, key=lambda flow: (size_of(self.flows[flow]), -flow))
                self.flows[longest].pop(0)
                self.drops["queue_full"] += 1
            else:
                self.realtime.pop(0)
                self.drops["realtime_full"] += 1

    def eligible(self):
        return [flow for flow, waiting in self.flows.items() if waiting and flow not in self.passed]


def size_of(packets):
    return sum(len(item.data) for item in packets)


@given(steps)
def test_packets_are_kept_taken_in_order_or_dropped_for_a_reason(steps):
    drops = Drops()
    queue, naive = SendQueue(drops, limit=30_000), Naive()
    now = 0.0
    for name, *values in steps:
        if name == "push":
            flow, size, count, kind = values
            for _ in range(count):
                item = Packet(bytes(size), flow, kind, now)
                queue.push(item)
                naive.push(item)
        elif name == "take":
            for _ in range(values[0]):
                take(queue, naive, now)
        elif name == "pass_over":
            head = queue.head()
            queue.pass_over()
            naive.passed |= set() if head is None else {head.flow}
        elif name == "begin":
            queue.begin()
            naive.passed.clear()
        elif name == "take_realtime":
            expected = naive.realtime.pop(0) if naive.realtime else None
            assert queue.take_realtime() is expected
        elif name == "limit":
            queue.limit = naive.limit = values[0]
            naive.shed()
        elif name == "wait":
            now += values[0]
        else:
            queue.may_drop = values[0]
        assert queue.bytes == naive.bytes() <= queue.limit
        assert len(queue) == len(naive.waiting())
        assert queue.flows == sum(1 for waiting in naive.flows.values() if waiting)
        assert list(queue.realtime) == naive.realtime
        assert +drops == +naive.drops
        oldest = min((item.queued for item in naive.waiting()), default=now)
        assert queue.delay(now) == now - oldest


@given(st.lists(st.tuples(st.integers(0, 4), sizes, st.booleans()), max_size=60))
def test_overflow_always_costs_the_longest_flow_its_oldest_packets(pushes):
    queue, naive = SendQueue(Drops(), limit=6_000), Naive()
    naive.limit = 6_000
    for flow, size, takes in pushes:
        item = Packet(bytes(size), flow, NORMAL, 0.0)
        queue.push(item)
        naive.push(item)
        if takes:
            take(queue, naive, 0.0)
    left = {id(item) for item in naive.waiting()}
    assert {id(queue.take(0.0)) for _ in range(len(queue))} == left


def take(queue, naive, now):
    head, backlog = queue.head(), queue.backlog()
    taken = queue.take(now)
    if not naive.eligible():
        assert (head, backlog, taken) == (None, 0, None)
        return
    assert taken is not None
    assert head is not None
    assert head.flow == taken.flow
    assert head.flow in naive.eligible()
    waiting = naive.flows[head.flow]
    assert head is waiting[0]
    assert backlog == size_of(waiting)
    while (item := waiting.pop(0)) is not taken:  # CoDel had it
        assert queue.may_drop
        assert now - item.queued >= TARGET
        assert size_of(waiting) > SPARED
        naive.drops["codel"] += 1


@given(
    st.lists(st.lists(sizes, min_size=1, max_size=5), min_size=2, max_size=6),
    st.lists(st.booleans(), min_size=1, max_size=20),
)
def test_flows_that_always_have_something_waiting_get_the_same_bytes(shapes, begins):
    queue = SendQueue(Drops(), limit=1 << 30)
    pushed = [0] * len(shapes)

    def refill(flow):
        queue.push(Packet(bytes(shapes[flow][pushed[flow] % len(shapes[flow])]), flow, NORMAL, 0.0))
        pushed[flow] += 1

    for flow in range(len(shapes)):
        refill(flow)
        refill(flow)
    sent = Counter(dict.fromkeys(range(len(shapes)), 0))
    for turn in range(300):
        if begins[turn % len(begins)]:
            queue.begin()
        taken = queue.take(0.0)
        sent[taken.flow] += len(taken.data)
        refill(taken.flow)
        assert max(sent.values()) - min(sent.values()) <= 2 * QUANTUM + 1514


@given(st.integers(1, 8), st.lists(st.integers(1, 60), min_size=1, max_size=20), sizes)
def test_a_packet_of_a_sparse_flow_overtakes_every_bulk_flow(bulks, pauses, size):
    queue = SendQueue(Drops(), limit=1 << 30)
    for flow in range(bulks):
        for _ in range(400):
            queue.push(Packet(bytes(1500), flow, NORMAL, 0.0))
    for _ in range(3 * bulks):  # until they are new no more
        assert queue.take(0.0) is not None
    for pause in pauses:
        queue.push(Packet(bytes(size), 99, NORMAL, 0.0))
        assert queue.take(0.0).flow == 99
        for _ in range(3 * bulks + pause):
            taken = queue.take(0.0)
            assert taken is None or taken.flow != 99
