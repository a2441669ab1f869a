"""The scoreboard against a naive one: whatever is sacked, acknowledged, lost and sent again."""

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.sim.tcp.flow import Flow
from bench.sim.tcp.rack import Rack
from bench.sim.tcp.sample import Sample, Snapshot
from bench.sim.tcp.scoreboard import Scoreboard
from bench.sim.tcp.sent import EVER, LOST, RETRANSMITTED, SACKED

SIZE = 100
FIRST = 1 << 33
SNAPSHOT = Snapshot(0.0, 1, 0.0, False)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 8)),
        st.tuples(
            st.just("sack"), st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=3)
        ),
        st.tuples(st.just("ack"), st.integers(0, 60)),
        st.tuples(st.just("lose"), st.integers(0, 60)),
        st.tuples(st.just("resend"), st.integers(1, 4)),
        st.tuples(st.just("detect"), st.just(0)),
        st.tuples(st.just("dsack"), st.integers(0, 60)),
        st.tuples(st.just("find_lost"), st.just(0)),
        st.tuples(st.just("renege"), st.just(0)),
    ),
    max_size=60,
)


class Oracle:
    """Looks at every packet every time."""

    def __init__(self):
        self.sent = {}  # start -> has it been sacked
        self.una = 0
        self.next = 0

    def sack(self, start, end):
        for number in range(start, end):
            if number in self.sent:
                self.sent[number] = True


class Pair:
    """The scoreboard and the oracle, given the same."""

    def __init__(self):
        self.flow = Flow(SIZE, FIRST)
        self.flow.min_rtt = 0.01
        self.board = Scoreboard(self.flow)
        self.rack = Rack(self.flow)
        self.oracle = Oracle()
        self.sample = Sample()

    def do(self, what, value):
        self.flow.now += 0.01
        self.sample.start(self.flow, self.flow.una, 1 << 40)
        getattr(self, what)(value)

    def send(self, count):
        for _ in range(count):
            start = self.flow.nxt
            self.board.send(start, start + SIZE, SNAPSHOT)
            self.flow.nxt += SIZE
            self.oracle.sent[self.oracle.next] = False
            self.oracle.next += 1

    def sack(self, blocks):
        wanted = []
        for start, length in blocks:
            end = start + length
            if end <= self.oracle.next and start >= self.oracle.una:
                wanted.append((FIRST + start * SIZE, FIRST + end * SIZE))
                self.oracle.sack(start, end)
        self.board.sack(wanted, self.sample, self.rack)

    def ack(self, to):
        to = min(max(to, self.oracle.una), self.oracle.next)
        self.flow.una = FIRST + to * SIZE
        count, _, _ = self.board.acknowledge(self.flow.una, self.sample, self.rack)
        assert count == to - self.oracle.una
        for number in range(self.oracle.una, to):
            del self.oracle.sent[number]
        self.oracle.una = to

    def lose(self, number):
        for packet in self.board.queue:
            if packet.start == FIRST + number * SIZE and not packet.marks & SACKED:
                self.board.lose(packet)

    def resend(self, count):
        for _ in range(count):
            packet = self.board.next_lost()
            waiting = [
                each.start
                for each in self.board.queue
                if each.marks & (LOST | RETRANSMITTED | SACKED) == LOST
            ]
            assert (packet.start if packet else None) == min(waiting, default=None)
            if packet is not None:
                self.board.resend(packet, SNAPSHOT)

    def detect(self, _):
        due = [
            packet
            for packet in self.board.queue
            if not packet.marks & SACKED
            and (not packet.marks & LOST or packet.marks & RETRANSMITTED)
            and (packet.sent_at, packet.end) < (self.rack.sent_at, self.rack.end)
            and packet.sent_at + self.rack.round_trip + self.rack.window(self.board)
            <= self.flow.now
        ]
        lost = self.flow.lost
        self.rack.detect(self.board)
        assert all(packet.marks & LOST for packet in due)
        assert self.flow.lost - lost <= len(due)

    def dsack(self, number):
        start = FIRST + number * SIZE
        self.board.dsack(start, start + SIZE, self.sample, 0, self.rack)

    def find_lost(self, _):
        self.board.find_lost()

    def renege(self, _):
        self.board.forget_sacks()
        self.oracle.sent = dict.fromkeys(self.oracle.sent, False)

    def check(self):
        flow, queue = self.flow, self.board.queue
        sacked = {(packet.start - FIRST) // SIZE for packet in queue if packet.marks & SACKED}
        assert sacked == {number for number, known in self.oracle.sent.items() if known}
        assert flow.packets_out == len(queue) == len(self.oracle.sent)
        assert flow.sacked_out == len(sacked)
        assert flow.lost_out == sum(1 for packet in queue if packet.marks & LOST)
        assert flow.retransmitted_out == sum(1 for each in queue if each.marks & RETRANSMITTED)
        assert all(packet.marks & EVER for packet in queue if packet.marks & RETRANSMITTED)
        highest = max((packet.end for packet in queue if packet.marks & SACKED), default=flow.una)
        assert self.board.highest() == highest
        assert flow.in_flight >= 0


@settings(max_examples=300, deadline=None)
@given(steps)
def test_marks_and_counters_are_those_of_a_scoreboard_that_looks_at_every_packet(steps):
    pair = Pair()
    for what, value in steps:
        pair.do(what, value)
        pair.check()
