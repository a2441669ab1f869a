"""Hosts and applications on simulated networks: what they send, and what they say they received."""

import struct

import pytest

from bench import workloads
from bench.links.link import Link
from bench.links.shape import Constant, Mask, Shape
from bench.sim.apps import REQUEST, Call, Pages, Stream, Transfers, Window
from bench.sim.hosts import Host
from bench.sim.wire import Clock, Wire

CLIENT, SERVER = bytes((10, 0, 0, 1)), bytes((1, 2, 3, 4))
MEGABIT = 1_000_000


def hosts_over(*, rate=8 * MEGABIT, delay=0.010, loss=None, queue=0.2):
    """Two hosts over one bare link; and the clock and the links (up, down)."""
    clock = Clock()
    up, down = (
        Link(Shape(rate=Constant(rate), delay=delay, queue=queue, loss=lost), seed)
        for seed, lost in ((1, None), (2, loss))
    )
    wire = Wire(clock, up, down)
    client = Host(clock, wire, "client", CLIENT, mss=1460)
    server = Host(clock, wire, "server", SERVER, mss=1460)
    return clock, client, server, (up, down)


def test_a_call_over_a_constant_link_takes_propagation_and_its_own_transmission_to_the_microsecond():
    clock, client, server, _ = hosts_over()
    call = Call(client, server, Window(1.0, 3.0), port=4000)
    clock.run(4.0)
    figures = call.figures()
    own = 0.010 + (172 + 28) * 8 / (8 * MEGABIT)
    assert figures.sent == 100
    assert figures.up == pytest.approx([own] * 100, abs=1e-6)
    assert figures.down == pytest.approx([own] * 100, abs=1e-6)
    # the far side answers with its own next packet; of the last ones there is none any more
    assert figures.round_trips[:99] == pytest.approx([2 * own] * 99, abs=1e-6)
    assert figures.round_trips[99] is None


def test_a_pulled_wire_lets_up_what_is_under_way_and_lets_nothing_down_until_it_is_back():
    clock = Clock()
    wire = Wire(clock, *(Link(Shape(delay=0.1)) for _ in range(2)))
    seen = {"client": [], "server": []}
    for side, packets in seen.items():
        wire.attach(side, packets.extend)

    def send(name):
        wire.send("client", [name])
        wire.send("server", [name])

    clock.at(0.00, lambda: send(b"under way"))
    clock.at(0.05, wire.pull)
    clock.at(0.06, lambda: send(b"while it is pulled, and come before it is back"))
    clock.at(0.15, lambda: send(b"while it is pulled, and come after it is back"))
    clock.at(0.20, wire.restore)
    clock.at(0.30, lambda: send(b"afterwards"))
    clock.run(1.0)
    assert seen["server"] == [b"under way", b"afterwards"]
    assert seen["client"] == [b"while it is pulled, and come after it is back", b"afterwards"]


def test_a_call_names_the_packets_that_were_lost():
    lost = frozenset({3, 4, 50})
    clock, client, server, _ = hosts_over(loss=Mask(lost))
    call = Call(client, server, Window(1.0, 3.0), port=4000)
    clock.run(4.0)
    figures = call.figures()
    assert {number for number, delay in enumerate(figures.down) if delay is None} == lost
    assert None not in figures.up


def test_voice_is_marked_for_expedited_forwarding():
    clock, client, server, (up, _) = hosts_over()
    seen = []
    receive = server.receive
    server._network.attach("server", lambda packets: (seen.extend(packets), receive(packets)))
    Call(client, server, Window(1.0, 1.1), port=4000)
    clock.run(2.0)
    assert len(seen) == 5
    assert {packet[1] for packet in seen} == {0xB8}
    assert {struct.unpack_from(">H", packet, 2)[0] for packet in seen} == {200}
    assert up.ledger.carried == 5 * 200


def test_a_stream_keeps_its_rate_and_counts_what_a_full_queue_drops():
    clock, client, server, (_, down) = hosts_over(rate=8 * MEGABIT, queue=0.05)
    rate = 10 * MEGABIT
    stream = Stream(
        server, client, Window(1.0, 3.0), interval=8 * 1200 / rate, size=1200, port=5000
    )
    clock.run(4.0)
    assert len(stream.sent) == int(2 * rate / 8 / 1200)
    assert stream.numbers().lost == down.ledger.full > 0
    assert stream.numbers().reordered == 0
    # from the first arrival on the link is always busy with 1,200 of 1,228 bytes
    assert stream.meter.bytes == pytest.approx((2.0 - 0.012) * MEGABIT * 1200 / 1228, abs=2400)


@pytest.mark.parametrize("congestion", ["cubic", "bbr"])
@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_bulk_transfer_fills_a_bare_link(direction, congestion):
    clock, client, server, (up, down) = hosts_over()
    transfer = Transfers(
        client,
        server,
        Window(1.0, 6.0),
        direction=direction,
        flows=1,
        congestion=congestion,
        port=80,
    )
    clock.run(6.0)
    link = down if direction == "down" else up
    capacity = link.capacity(1_000_000_000, 6_000_000_000)
    assert 0.88 * capacity < transfer.meter.bytes < capacity * 1448 / 1500
    assert transfer.alive
    assert transfer.meter.bytes == sum(transfer.meter.timeline) == transfer.flows[0].bytes


def test_flows_share_a_link_and_each_is_counted():
    clock, client, server, _ = hosts_over()
    transfer = Transfers(
        client, server, Window(1.0, 9.0), direction="down", flows=4, congestion="cubic", port=80
    )
    clock.run(9.0)
    assert sum(flow.bytes for flow in transfer.flows) == transfer.meter.bytes
    assert min(flow.bytes for flow in transfer.flows) > 0.3 * transfer.meter.bytes / 4


def test_a_connection_asks_for_the_next_piece_when_it_has_the_last():
    clock, client, server, (up, _) = hosts_over()
    transfer = Transfers(
        client,
        server,
        Window(1.0, 5.0),
        direction="down",
        flows=2,
        congestion="cubic",
        port=80,
        piece=100_000,
    )
    clock.run(5.0)
    received = [flow.bytes for flow in transfer.flows]
    assert transfer.completed == sum(count // 100_000 for count in received)
    assert transfer.completed > 20
    assert up.ledger.carried > transfer.completed * REQUEST


def test_a_stopped_transfer_sends_nothing_any_more():
    clock, client, server, links = hosts_over()
    transfer = Transfers(
        client, server, Window(1.0, 2.0), direction="down", flows=2, congestion="cubic", port=80
    )
    clock.run(2.0)
    transfer.stop()
    packets = [link.ledger.packets for link in links]
    clock.run(10.0)
    assert [link.ledger.packets for link in links] == packets
    assert clock.steps < 10_000


def test_pages_follow_each_other_and_take_at_least_their_bytes_and_round_trips():
    clock, client, server, (_, down) = hosts_over()
    pages = Pages(client, server, Window(1.0, 6.0), seed=7, congestion="cubic", port=80)
    clock.run(6.0)
    while pages.unfinished:
        clock.run(clock.now + 0.1)
    sizes = [sum(workloads.page(number, 7)) for number in range(len(pages.times))]
    assert len(pages.times) > 4
    for size, took in zip(sizes, pages.times, strict=True):
        # two connections' handshakes and requests one after the other, four round trips
        assert took > size * 8 / (8 * MEGABIT) + 4 * 0.020
        assert took < size * 8 / (8 * MEGABIT) + 20 * 0.020
    assert down.ledger.carried > sum(sizes)
    assert not client.sockets
    assert not server.sockets
