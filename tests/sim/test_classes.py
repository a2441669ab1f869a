"""What real-time packets and acknowledgements gain, seen from end to end."""

import struct

import pytest

from mpbond.core.flow import flow_hash
from mpbond.core.outbound import COPY_BURST, COPY_RATE, COPY_SHARE
from mpbond.core.packet import REALTIME
from mpbond.core.rules import Rule
from tests.packets import TCP, ipv4, number_of
from tests.sim.worlds import (
    arrived,
    bytes_carried,
    client_address,
    cut,
    packets_from,
    paths_of,
    session_of,
    stream,
    world_of,
)

WEB = b"\x01\x02\x03\x04"
EF = 46 << 2
RECEIVER = {"client": "server", "server": "client"}
SIDES = pytest.mark.parametrize("side", ["client", "server"])


# -- first, and on the path with the least delay ----------------------------------------------------


@SIDES
def test_real_time_packets_go_before_all_that_waits(side):
    world = world_of(0.030, scheduler="adaptive", rate=2e6)
    stream(world, side, 1.0, 5.0, 0.004)  # 2.8 Mbit/s: there is always a queue
    calls = call(world, side, 3.0, 5.0)
    world.run(3.0)
    assert len(session_of(world, side).sender.outbound.queue) > 50
    world.run(8.0)
    delays = delays_of(world, side, calls)
    assert len(delays) == len(calls)
    assert sorted(delays)[len(delays) * 95 // 100] < 0.030 + 0.045  # what stands in the modem


@SIDES
def test_real_time_packets_take_the_quick_link_however_busy_the_others_are(side):
    world = world_of(0.020, 0.120, scheduler="adaptive", rate=4e6)
    stream(world, side, 1.0, 5.0, 0.0018)
    calls = call(world, side, 3.0, 5.0)
    world.run(8.0)
    delays = delays_of(world, side, calls)
    assert len(delays) == len(calls)
    assert sorted(delays)[len(delays) * 95 // 100] < 0.020 + 0.045


def test_a_datagram_has_the_mark_of_the_packet_in_it_only_where_that_is_asked_for():
    world = world_of(0.030)
    marks = []
    world.on_transmit = lambda side, transmit: marks.append((side.name, transmit.dscp))
    session_of(world, "client").sender.copy_dscp = True
    for side in RECEIVER:
        world.send(side, [segment(world, side, 0, size=600, dscp=EF)])
    world.run(1.5)
    assert ("client", 46) in marks
    assert {dscp for side, dscp in marks if side == "server"} == {0}


def test_the_second_half_of_a_packet_is_not_taken_for_a_header():
    world = world_of(0.030)
    marks = []
    world.on_transmit = lambda _side, transmit: marks.append(
        (len(transmit.buffers[0]), transmit.dscp)
    )
    session_of(world, "client").sender.copy_dscp = True
    whole = segment(world, "client", 0, size=2000, dscp=EF)
    half = b"\x45\xb8" * 10  # looks like a header
    world.send("client", [whole[:28] + half * 98 + whole[28 + 98 * len(half) :]])
    world.run(1.5)
    assert [dscp for size, dscp in marks if size > 900] == [46, 0]


# -- copies ---------------------------------------------------------------------------------------


@SIDES
def test_a_call_is_copied_and_arrives_once(side):
    world = world_of(0.020, 0.040, 0.060, scheduler="adaptive")
    calls = call(world, side, 1.0, 3.0)
    world.run(4.0)
    assert numbers_of(world, side, calls) == calls
    assert [path.stats.copies for path in paths_of(world, side)] == [0, len(calls), 0]
    assert session_of(world, RECEIVER[side]).receiver.stats.duplicate == len(calls)


@SIDES
def test_a_copied_call_does_not_notice_that_its_link_dies(side):
    world = world_of(0.020, 0.040, 0.060, scheduler="adaptive")
    calls = call(world, side, 1.0, 4.0)
    world.at(2.0, lambda: cut(world, 0))
    world.run(5.0)
    assert sorted(numbers_of(world, side, calls)) == calls
    assert max(delays_of(world, side, calls)) < 0.042 + 0.010


@SIDES
def test_what_the_quick_link_loses_of_a_call_is_repaired_before_a_copy_comes_from_far(side):
    world = world_of(0.020, 0.200, scheduler="adaptive")
    for link in world.links[0]:
        link.change(loss=0.05)
    calls = call(world, side, 1.0, 11.0)
    world.run(13.0)
    delays = delays_of(world, side, calls)
    assert len(delays) == len(calls)
    late = sum(delay > 0.190 for delay in delays)
    assert session_of(world, side).sender.outbound.repair.repaired > 0.03 * len(calls)
    assert late < 0.02 * len(calls)


def test_copies_beyond_their_budget_are_left_out():
    world = world_of(0.020, 0.040, scheduler="adaptive")
    count = round(20.0 / 0.004)  # 100 kB/s of video with a real-time mark
    calls = call(world, "client", 1.0, 21.0, interval=0.004, size=400)
    assert len(calls) == count
    world.run(22.0)
    path = paths_of(world, "client")[1]
    copied = path.stats.copies * 400
    always = COPY_BURST + 20.0 * COPY_RATE
    share = 20.0 * COPY_SHARE * 1e6
    assert always * 0.95 < copied < always + share + 5_000
    assert numbers_of(world, "client", calls) == calls


def test_a_tenth_of_the_rate_of_a_link_may_be_copies_beyond_what_is_always_allowed():
    world = world_of(0.020, 0.040, scheduler="adaptive", rate=4e6)
    stream(world, "client", 1.0, 12.0, 0.0015)  # both links are full and learned
    call(world, "client", 4.0, 12.0, interval=0.004, size=400)  # 100 kB/s
    world.run(12.0)
    copied = sum(path.stats.copies for path in paths_of(world, "client")) * 400
    allowed = COPY_BURST + 8.0 * COPY_RATE + 8.0 * COPY_SHARE * 4e6 / 8
    assert 0.85 * allowed < copied < 1.1 * allowed


def test_ordinary_packets_are_not_copied():
    world = world_of(0.020, 0.040, scheduler="adaptive")
    stream(world, "client", 1.0, 3.0, 0.002)
    world.run(4.0)
    assert [path.stats.copies for path in paths_of(world, "client")] == [0, 0]


# -- redundant ------------------------------------------------------------------------------------


@SIDES
def test_redundant_sends_packets_on_every_link_with_room_and_delivers_them_once(side):
    world = world_of(0.020, 0.040, 0.060, scheduler="redundant")
    count = stream(world, side, 1.0, 4.0, 0.010)
    before = [carried(world, side, index) for index in range(3)]
    world.run(6.0)
    assert arrived(world, RECEIVER[side]) == list(range(count))
    for index in range(3):
        assert carried(world, side, index) - before[index] > 0.95 * 1400 * count
    assert session_of(world, RECEIVER[side]).receiver.stats.duplicate > 0.95 * 2 * count


@SIDES
def test_redundant_does_not_notice_a_death_nor_much_loss(side):
    world = world_of(0.030, 0.030, 0.030, scheduler="redundant")
    count = stream(world, side, 1.0, 6.0, 0.010)
    for pair in world.links:
        for link in pair:
            link.change(loss=0.1)
    world.at(3.0, lambda: cut(world, 1))
    world.run(8.0)
    assert sorted(arrived(world, RECEIVER[side])) == list(range(count))
    # of 500 packets half a one is lost on all three, and then on both
    repair = session_of(world, side).sender.outbound.repair
    assert repair.repaired < 0.05 * count


def test_redundant_leaves_out_a_link_that_is_full():
    world = world_of(0.020, 0.040, scheduler="redundant", connect=False)
    world.client_endpoint.links["wwan1"].cap_up = 0.5e6
    world.run(1.0)
    count = stream(world, "client", 1.0, 5.0, 0.004)  # 2.8 Mbit/s
    world.run(7.0)
    assert arrived(world, "server") == list(range(count))
    assert carried(world, "client", 1) < 6.0 * 0.5e6 / 8 + 10_000


# -- never held -----------------------------------------------------------------------------------


@SIDES
@pytest.mark.parametrize("kind", ["real-time", "acknowledgement"])
def test_what_must_not_wait_is_not_held_for_a_lost_packet_of_its_lane(side, kind):
    world = world_of(0.030, 0.030, scheduler="adaptive")
    world.run(2.0)
    lose_next_full_datagram(world, side)
    flow = {"protocol": TCP} if kind == "acknowledgement" else {}
    first = segment(world, side, 1, size=1400, **flow)
    urgent = segment(world, side, 2, size=40 if flow else 100, dscp=0 if flow else EF, **flow)
    behind = segment(world, side, 3, size=1400, **flow)
    lane = {flow_of(world, side, packet) % 1024 for packet in (first, urgent, behind)}
    assert len(lane) == 1
    world.send(side, [first])
    world.run(2.001)
    world.send(side, [urgent])
    world.run(2.002)
    world.send(side, [behind])
    world.run(4.0)
    came = {packet: time for time, packet in getattr(world, RECEIVER[side]).packets}
    assert set(came) == {first, urgent, behind}
    assert came[urgent] < 2.001 + 0.032
    assert came[behind] >= came[first] > 2.030 + 0.030
    counts = session_of(world, side).sender.outbound.classes.counts
    assert counts["realtime" if not flow else "acknowledgement"]["packets"] == 1


# -- rules ----------------------------------------------------------------------------------------


def test_a_rule_of_the_client_holds_in_both_directions():
    world = world_of(0.020, 0.040, scheduler="adaptive")
    rule = Rule(name="game", protocol=17, ports=((7000, 7000),), kind=REALTIME)
    world.client_endpoint.set_rules((rule,))
    world.run(1.5)
    for side in ("client", "server"):
        count = stream(world, side, 1.5, 2.5, 0.050, port=7000, size=900)
        stream(world, side, 1.5, 2.5, 0.050, port=8000, size=900)
    world.run(3.5)
    for side in ("client", "server"):
        assert (
            session_of(world, side).sender.outbound.classes.counts["realtime"]["packets"] == count
        )
        assert sum(path.stats.copies for path in paths_of(world, side)) > 0


def test_a_rule_sends_a_flow_by_another_scheduler():
    world = world_of(0.020, 0.040, 0.060, scheduler="adaptive")
    rule = Rule(name="wallet", ports=((7000, 7000),), scheduler="redundant")
    world.client_endpoint.set_rules((rule,))
    world.run(1.5)
    count = stream(world, "client", 1.5, 2.5, 0.020, port=7000, size=900)
    world.run(3.5)
    assert arrived(world, "server") == list(range(count))
    assert session_of(world, "server").receiver.stats.duplicate > 0.9 * 2 * count


def call(world, side, start, stop, *, interval=0.020, size=160):
    """A call with a real-time mark; return its packets' numbers, which no stream has."""
    count = round((stop - start) / interval)
    first = 1_000_000
    for at, packet in enumerate(
        packets_from(world, side, count, size=size, port=5060, first=first)
    ):
        marked = packet[:1] + bytes((EF,)) + packet[2:]
        world.at(start + at * interval, lambda marked=marked: world.send(side, [marked]))
        world.__dict__.setdefault("called", {})[first + at] = start + at * interval
    return list(range(first, first + count))


def numbers_of(world, side, calls):
    wanted = set(calls)
    return [number for number in arrived(world, RECEIVER[side]) if number in wanted]


def delays_of(world, side, calls):
    """How long the packets of a call that arrived were under way, in seconds."""
    wanted = set(calls)
    return [
        time - world.called[number_of(packet)]
        for time, packet in getattr(world, RECEIVER[side]).packets
        if number_of(packet) in wanted
    ]


def segment(world, side, number, *, size, protocol=17, dscp=0):
    """A packet of one flow; of TCP, an acknowledgement if it has 40 bytes and data if it has more."""
    source, destination = client_address(world), WEB
    if side == "server":
        source, destination = destination, source
    rest = struct.pack(">IIBBHHH", number, 1, 5 << 4, 0x10, 1000, 0, 0) if protocol == TCP else b""
    packet = ipv4(
        source=source,
        destination=destination,
        protocol=protocol,
        payload=rest.ljust(size - 24 - 4, b"\0")
        + (b"" if size == 40 else struct.pack(">I", number)),
    )
    packet = packet[:1] + bytes((dscp,)) + packet[2:size]
    assert len(packet) == size
    return packet


def flow_of(world, side, packet):
    return flow_hash(packet, session_of(world, side).sender.outbound._seed)


def carried(world, side, index):
    """Bytes that a link has carried in the direction in which a side sends."""
    return bytes_carried(world.links[index][0 if side == "client" else 1])


def lose_next_full_datagram(world, side):
    """The next datagram full of data that a side sends is lost."""
    lost = []

    def watch(sender, transmit):
        for link in (link for pair in world.links for link in pair):
            link.up = True
        if sender.name == side and len(transmit.buffers[0]) > 1300 and not lost:
            index = transmit.socket if side == "client" else transmit.address[1]
            world.links[index][0 if side == "client" else 1].up = False
            lost.append(index)

    world.on_transmit = watch
