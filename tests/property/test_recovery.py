"""What is outstanding, acknowledged and lost agrees with sets of numbers, whatever ACKs say."""

from hypothesis import given
from hypothesis import strategies as st

from mpbond.core.recovery import Sent, SentLog
from tests.oracles import NaiveSentLog

COUNT = 40
ranges = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), min_size=1, max_size=6).map(
    lambda pairs: in_order(pairs)
)
acks = st.tuples(st.integers(0, COUNT - 1), ranges)


@given(st.sets(st.integers(0, COUNT - 1)), st.lists(acks, max_size=20), st.booleans())
def test_acknowledging_agrees_with_sets(eliciting, acks, losing):
    log, naive = SentLog(), NaiveSentLog(sorted(eliciting))
    names = {}
    for number in sorted(eliciting):
        names[number] = Sent(number / 1000, 10)
        log.add(number, names[number])
    log.next_number = COUNT
    for largest, ranges in acks:
        expected = naive.acknowledge(largest, ranges)
        newly, top = log.acknowledge(largest, ranges)
        assert sorted(sent.time for sent in newly) == sorted(names[n].time for n in expected)
        assert top is (names[largest] if largest in expected else None)
        if losing:
            lost = log.detect_lost(rtt=9.0, now=0.0)
            numbers = {round(sent.time * 1000) for sent in lost}
            assert numbers <= naive.outstanding
            assert all(number <= log.largest_acked - 3 for number in numbers)
            naive.lose(numbers)
        assert len(log) == len(naive.outstanding)
        assert log.in_flight == 10 * len(naive.outstanding)
        assert (log.acked_count, log.lost_count) == (len(naive.acked), len(naive.lost))
        assert [sent.time for sent in log.outstanding()] == sorted(
            names[number].time for number in naive.outstanding
        )


@given(st.integers(0, 200), st.integers(0, 1 << 29), st.integers(0, 1 << 29))
def test_an_ack_of_any_range_costs_no_more_than_what_was_sent(largest, near, length):
    log = SentLog()
    for number in range(largest + 1):
        log.add(number, Sent(0.0, 1))
    log.next_number = largest + 1
    newly, _ = log.acknowledge(largest, [(near, near + length)])
    assert len(newly) == max(0, min(largest - near, length) + 1) if near <= largest else not newly


def in_order(pairs):
    """Ranges as an ACK has them: nearest first, none touching the next."""
    made, at = [], 0
    for gap, length in pairs:
        made.append((at + gap, at + gap + length))
        at = made[-1][1] + 2
    return made
