"""How much of a super-packet leaves together."""

import pytest

from mpbond.core.batch import Batch
from mpbond.core.builder import Builder
from mpbond.core.outbound import TRAIN, Outbound
from mpbond.core.path import Path, PathOptions
from mpbond.core.stats import Drops
from mpbond.core.unfinished import Unfinished
from mpbond.core.wire import DATA_OVERHEAD, SEGMENT, UNORDERED
from tests.packets import tcp4

SEGMENT_SIZE = 1300


def sent(rate, *packets, mtu=1472, scheduler="adaptive"):
    """What a flush puts into datagrams on a path of `rate` bytes per second, and what is left behind."""
    path = Path(0, 0, "server", PathOptions(mtu=mtu), 0.0)
    path.liveness.restore(0.0, "for the test")
    path.rate.rate = rate
    path.rate.ramping, path.rate.learned = False, True
    path.rate.window = 1e9
    path.rate._pace = 1e9
    outbound = Outbound({0: path}, 1, scheduler, Drops(), lambda _: None)
    outbound.enqueue(list(packets), 10.0)
    batch = Batch()
    outbound.bind(batch, [path], 10.0)
    return batch.finish(), outbound


def super_packet(count, flags=0x10, segment_size=SEGMENT_SIZE):
    whole = Unfinished(tcp4(flags=flags, payload=bytes(count * segment_size)))
    whole.segment_size = segment_size
    return whole


def trains_of(loads):
    return [load[1].count for load in loads if not isinstance(load, Builder)]


def test_segments_are_bound_one_by_one_where_one_takes_long():
    loads, outbound = sent(1e6, super_packet(10))
    assert trains_of(loads) == []
    assert [len(load.packets) for load in loads] == [1] * 10
    assert [load.packets[0].sequence for load in loads] == list(range(10))
    assert {load.packets[0].flags for load in loads} == {SEGMENT}
    assert not len(outbound)


def test_no_train_takes_its_path_longer_than_two_milliseconds():
    size = SEGMENT_SIZE + 40 + DATA_OVERHEAD
    rate = 10.5 * size / TRAIN
    loads, outbound = sent(rate, super_packet(44))
    assert max(trains_of(loads)) == 10
    assert sum(trains_of(loads)) + sum(isinstance(load, Builder) for load in loads) == 44
    assert outbound.packets.count == 44
    places = []
    for load in loads:
        if isinstance(load, Builder):
            places += [packet.sequence for packet in load.packets]
        else:
            places += range(load[1].sequence, load[1].sequence + load[1].count)
    assert places == list(range(44))


@pytest.mark.parametrize(
    ("segment_size", "mtu"),
    [(200, 1472), (1300, 1200)],  # several share a datagram; each needs two
)
def test_what_does_not_fill_a_datagram_just_so_makes_no_train(segment_size, mtu):
    loads, outbound = sent(1e9, super_packet(20, segment_size=segment_size), mtu=mtu)
    assert trains_of(loads) == []
    assert outbound.packets.count == 20


def test_a_scheduler_that_copies_sends_single_packets():
    loads, _ = sent(1e9, super_packet(20), scheduler="redundant")
    assert trains_of(loads) == []


def test_a_new_connection_leaves_at_once_also_as_a_super_packet():
    loads, _ = sent(1e9, super_packet(3, flags=0x12))  # SYN and ACK
    assert trains_of(loads) == []
    assert all(load.packets[0].flags == SEGMENT | UNORDERED for load in loads)


def test_a_packet_that_only_lacks_its_checksum_is_told_as_such():
    loads, _ = sent(1e9, Unfinished(tcp4(payload=b"x" * 100)), tcp4(payload=b"y" * 100))
    (load,) = loads
    assert [packet.flags for packet in load.packets] == [SEGMENT, 0]
