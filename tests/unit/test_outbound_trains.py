"""How much of a super-packet, or of packets that came together, leaves together."""

import pytest

from mpbond.core.batch import Batch
from mpbond.core.builder import Builder
from mpbond.core.outbound import TRAIN, Outbound
from mpbond.core.path import Path, PathOptions
from mpbond.core.stats import Drops
from mpbond.core.unfinished import Unfinished
from mpbond.core.wire import DATA_OVERHEAD, SEGMENT, UNORDERED
from tests.packets import TCP, UDP, ipv4, ipv6, tcp4

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


def run(count, size=1200, last=1200, make=ipv4, **fields):
    """Packets of one flow with payloads that tell them apart."""
    fields = {"protocol": UDP, **fields}
    sizes = [size] * (count - 1) + [last]
    return [
        make(payload=bytes(9) + b"\x10" + bytes((at,)) * size, **fields)
        for at, size in enumerate(sizes)
    ]


def sent_packets(loads):
    """What left, in order, as (bytes, sequence, flags)."""
    for load in loads:
        if isinstance(load, Builder):
            yield from ((each.data, each.sequence, each.flags) for each in load.packets)
        else:
            for at in range(load[1].count):
                packet = load[1].packet(at)
                yield packet.data, packet.sequence, packet.flags


@pytest.mark.parametrize("make", [ipv4, ipv6])
@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize(("kind", "flags"), [(bytes, 0), (Unfinished, SEGMENT)])
def test_packets_of_one_flow_that_came_together_leave_as_a_train(make, protocol, kind, flags):
    packets = [kind(each) for each in run(9, last=700, make=make, protocol=protocol)]
    loads, outbound = sent(1e9, *packets)
    assert trains_of(loads) == [9]
    assert list(sent_packets(loads)) == [(packet, at, flags) for at, packet in enumerate(packets)]
    counted = outbound.classes.counts["normal"]
    assert counted == {"packets": 9, "bytes": sum(map(len, packets))}


def test_packets_that_came_together_are_bound_one_by_one_where_one_takes_long():
    packets = run(9, last=700)
    loads, outbound = sent(1e6, *packets)
    assert trains_of(loads) == []
    assert list(sent_packets(loads)) == [(packet, at, 0) for at, packet in enumerate(packets)]
    assert not len(outbound)


@pytest.mark.parametrize(
    ("packets", "trains"),
    [
        (run(2) + run(2, source=6) + run(2), [2, 2, 2]),  # two flows in turn
        (run(3, last=800) + run(2), [3, 2]),  # behind a shorter one comes a longer
        (run(2, last=1300), []),
        (run(9, size=500, last=500), []),  # what content may tell to be something else
        (run(9, fragment=0x2000), []),
        (run(4, protocol=TCP) + run(4, protocol=UDP), [4, 4]),
        ([*run(2), *(Unfinished(each) for each in run(3))], [2, 3]),
    ],
)
def test_only_what_is_alike_leaves_together(packets, trains):
    loads, _ = sent(1e9, *packets)
    assert sorted(trains_of(loads)) == sorted(trains)
    assert sorted(packet for packet, _, _ in sent_packets(loads)) == sorted(packets)


def test_the_opening_of_a_connection_is_told_from_what_it_stands_among():
    packets = run(3, protocol=TCP)
    syn = packets[1][:33] + b"\x02" + packets[1][34:]
    loads, outbound = sent(1e9, packets[0], syn, packets[2])
    assert outbound.classes.counts["realtime"]["packets"] == 1
    assert next(sent_packets(loads))[0] == syn
    assert trains_of(loads) == []


def test_a_mark_is_believed_by_what_each_packet_weighs():
    marked = [packet[:1] + bytes((46 << 2,)) + packet[2:] for packet in run(60)]
    _, outbound = sent(1e9, *marked)
    assert outbound.classes.counts["realtime"]["packets"] == 48_000 // len(marked[0])
    assert outbound.classes.counts["normal"]["packets"] == 60 - 48_000 // len(marked[0])
