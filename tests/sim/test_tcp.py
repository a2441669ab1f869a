"""Connections over links in virtual time: throughput, loss, reordering, blackouts, fairness."""

import math

import pytest

from bench.links.shape import Outages, Policer, RandomLoss
from bench.sim.tcp import Connection, flags_of
from bench.sim.tcp.flow import LOSS
from bench.sim.tcp.segment import PSH, SYN, read
from tests.sim.tcp_network import CLIENT, SERVER, Network, goodput, link

MSS = 1386
PACKET = MSS + 52


def swallow(network, times):
    """Lose the first sending of the data packets with these numbers, counted from 0."""
    seen = {}

    def lose(direction, packet):
        if direction == "up" or flags_of(packet) & SYN or not read(packet).length:
            return False
        number = seen.setdefault(read(packet).sequence, len(seen))
        fresh = number == len(seen) - 1 and number not in lost
        if fresh and number in times:
            lost.add(number)
            return True
        return False

    lost = set()
    network.tamper = lose


@pytest.mark.parametrize("congestion", ["cubic", "bbr"])
def test_a_clean_link_is_filled(congestion):
    network = Network(link())
    client = network.flow(congestion)
    assert goodput(network, client, 1, 11) >= 0.93 * 8e6


@pytest.mark.parametrize("congestion", ["cubic", "bbr"])
def test_a_link_of_100_mbit_is_filled(congestion):
    network = Network(link(100e6, queue=0.05))
    client = network.flow(congestion)
    assert goodput(network, client, 1, 3) >= 0.93 * 100e6


@pytest.mark.parametrize("congestion", ["cubic", "bbr"])
def test_everything_arrives_once_and_both_ends_come_to_their_end(congestion):
    network = Network(link(loss=RandomLoss(0.05)), link(loss=RandomLoss(0.05), seed=2))
    client = network.flow(congestion, size=1_000_003)
    network.run(3)
    client.close(3)
    network.drive("client", 1000)
    network.run(60)
    server = network.server()
    assert client.received == server.acked == 1_000_003
    assert client.finished
    assert server.finished
    assert {client.state, server.state} == {"time-wait"}
    assert network.server().next_timeout() == math.inf


@pytest.mark.parametrize("loss", [0.003, 0.01])
def test_cubic_follows_its_response_function_under_random_loss(loss):
    """RFC 9438: the region friendly to Reno, sqrt(3/2 (1 + b)/(3 (1 - b)) ...), here with b = 0.7."""
    delay = 0.020
    total = 0.0
    for seed in range(3):
        network = Network(
            link(50e6, delay, loss=RandomLoss(loss), seed=seed + 1), link(delay=delay)
        )
        client = network.flow("cubic")
        total += goodput(network, client, 3, 18) / 3
    round_trip = 2 * delay
    reno = math.sqrt(1.5 / loss)  # packets of window
    cubic = 1.054 * (round_trip**3 / loss**3) ** 0.25  # RFC 9438, equation 5
    expected = max(reno, cubic) * MSS * 8 / round_trip
    assert 0.7 * expected <= total <= 1.3 * expected


@pytest.mark.parametrize("loss", [0.01, 0.02, 0.03])
def test_bbr_goes_through_random_loss(loss):
    network = Network(link(20e6, loss=RandomLoss(loss)))
    client = network.flow("bbr")
    assert goodput(network, client, 1, 11) >= 0.85 * 20e6


def test_bbr_keeps_the_queue_short_but_for_startup():
    network = Network(link(20e6, 0.020, queue=1.0))
    client = network.flow("bbr")
    network.run(2)
    for _ in range(70):
        network.run(network.now + 0.1)
        assert network.server().srtt < 0.1
    assert client.received > 0


def test_bbr_drains_the_path_every_ten_seconds_to_see_the_round_trip():
    network = Network(link(20e6, 0.020))
    network.flow("bbr")
    seen = []
    for step in range(130):
        network.run(step / 10)
        if step > 5:
            seen.append(network.server().sender.flow.in_flight)
    low = [index for index, packets in enumerate(seen) if packets <= 4]
    assert low
    assert 90 <= low[0] + 6 <= 115


def test_bbr_finds_the_rate_of_a_policer_and_keeps_to_it():
    network = Network(link(50e6, policer=Policer(10e6, 60_000)))
    client = network.flow("bbr")
    assert goodput(network, client, 2, 12) >= 0.85 * 10e6
    ledger = network.links["down"][0].ledger
    assert ledger.policed < 0.12 * ledger.packets
    assert network.server().sender.congestion.policer.rate * PACKET * 8 <= 1.1 * 10e6


def test_hystart_leaves_slow_start_before_the_queue_overflows():
    network = Network(link(20e6, 0.030, queue=0.2))
    network.flow("cubic")
    network.run(1)
    server = network.server()
    assert server.sender.congestion.hystart.found
    assert network.links["down"][0].ledger.full == 0
    assert server.retransmits == 0


def test_two_cubic_flows_share_a_link():
    network = Network(link(8e6, 0.020, queue=0.05))
    first = network.flow("cubic", port=1000)
    second = network.flow("cubic", port=1001, at=3.0)
    network.run(10)
    before = first.received, second.received
    network.run(40)
    one, other = first.received - before[0], second.received - before[1]
    assert one + other >= 0.93 * 8e6 / 8 * 30
    assert 0.6 <= one / other <= 1.67


def test_one_lost_packet_costs_one_retransmission_and_no_timeout():
    network = Network(link(queue=1.0))
    swallow(network, {40})
    network.flow("cubic", size=200 * MSS)
    network.run(3)
    server = network.server()
    assert server.acked == 200 * MSS
    assert server.retransmits == 1
    assert server.sender.recovery.spurious == 0


def test_a_burst_of_losses_is_repaired_without_a_timeout():
    network = Network(link(queue=1.0))
    swallow(network, set(range(100, 130)))
    network.flow("cubic", size=400 * MSS)
    states = set()
    for step in range(300):
        network.run(step / 100)
        if step > 5:
            states.add(network.server().sender.flow.state)
    assert network.server().acked == 400 * MSS
    assert network.server().retransmits == 30
    assert LOSS not in states


def test_a_lost_tail_is_repaired_by_a_probe_before_the_timeout():
    network = Network(link(queue=1.0))
    swallow(network, {49})
    client = network.flow("cubic", size=50 * MSS)
    network.run(0.6)
    server = network.server()
    assert client.received == 50 * MSS
    assert server.retransmits <= 2
    assert server.sender.timer.timeout < 0.5


def test_a_connection_lives_through_a_blackout_and_backs_off_in_it():
    network = Network(link(outages=Outages(((3.0, 8.0),))))
    client = network.flow("cubic")
    network.run(7.9)
    server = network.server()
    assert server.sender.timeouts >= 3
    assert server.sender.timer.timeout > 2
    assert goodput(network, client, 14, 20) >= 0.9 * 8e6
    assert server.sender.timeouts == 0


@pytest.mark.parametrize("congestion", ["cubic", "bbr"])
def test_a_stall_is_told_from_loss_and_its_timeout_undone(congestion):
    """Acknowledgements are held up for a second, then all come: F-RTO and Eifel see that."""
    network = Network(link(queue=2.0), link(100e6))
    client = network.flow(congestion, size=None)
    network.run(2)
    server = network.server()
    before = server.cwnd
    held = []
    network.tamper = lambda direction, packet: direction == "up" and not held.append(packet)
    network.run(3)
    network.tamper = None
    assert server.sender.timeouts >= 1
    for packet in held:
        server.handle(packet, network.now)
    network.drive("server", 1000)
    network.run(3.5)
    assert server.sender.recovery.spurious >= 1
    if congestion == "cubic":
        assert server.cwnd >= before
    assert client.established


def over(*delays, rate=8e6, queue=0.3):
    """Links to be used in turn."""
    return [link(rate, delay, queue, seed=number) for number, delay in enumerate(delays)]


@pytest.mark.parametrize("congestion", ["cubic", "bbr"])
def test_pure_reordering_costs_little_and_what_it_cost_is_undone(congestion):
    network = Network(over(0.010, 0.020, 0.030), over(0.010, 0.020, 0.030))
    client = network.flow(congestion)
    assert goodput(network, client, 2, 6) >= 0.88 * 24e6
    recovery = network.server().sender.recovery
    assert recovery.spurious >= 1
    lost = sum(each.ledger.full for each in network.links["down"])
    sent = sum(each.ledger.packets for each in network.links["down"])
    assert network.server().retransmits - lost < 0.03 * sent


def test_the_window_for_reordering_grows_by_dsacks():
    network = Network(over(0.010, 0.020, 0.030))
    network.flow("cubic")
    network.run(5)
    sender = network.server().sender
    assert sender.board.reorderings > 0
    assert sender.rack.persistence > 0
    assert sender.rack.window(sender.board) > sender.flow.min_rtt / 4


def test_a_retransmission_that_turns_out_spurious_by_dsack_gives_the_window_back():
    network = Network(link(20e6, 0.020, queue=1.0))
    network.flow("cubic")
    network.run(1)
    server = network.server()
    flow = server.sender.flow
    window = flow.cwnd
    delayed = []

    def delay_one(direction, packet):
        if direction == "down" and not delayed and read(packet).length:
            delayed.append(packet)
            return True
        return False

    network.tamper = delay_one
    for _ in range(200):
        if server.retransmits:
            break
        network.run(network.now + 0.01)
    assert server.retransmits == 1
    assert flow.ssthresh < window
    # the original comes after all, behind its retransmission
    network.run(network.now + 0.2)
    network.ends["client"][1000].handle(delayed[0], network.now)
    network.drive("client", 1000)
    network.run(network.now + 0.5)
    assert server.sender.recovery.spurious == 1
    assert flow.cwnd >= window


@pytest.mark.parametrize("congestion", ["cubic", "bbr"])
def test_equal_runs_are_equal_to_the_bit(congestion):
    def run():
        network = Network(over(0.010, 0.025, rate=6e6, queue=0.05))
        network.logging = True
        network.flow(congestion)
        network.flow(congestion, port=1001, at=0.3)
        network.run(4)
        return network.log

    assert run() == run()


def test_a_flow_survives_the_wrap_of_sequence_numbers():
    network = Network(link())
    client = network.flow("cubic", size=1_000_000, sequence=2**32 - 300_000)
    network.run(5)
    assert client.received == 1_000_000
    assert network.server().acked == 1_000_000


def test_a_lost_syn_is_sent_again_after_a_second_and_two():
    network = Network(link())
    gone = []
    network.tamper = lambda *_: len(gone) < 2 and not gone.append(network.now)
    client = network.flow("cubic", size=1000)
    network.run(5)
    assert gone == [0.0, 1.0]
    assert client.established_at == pytest.approx(3.02, abs=0.01)
    assert client.received == 1000


def test_a_lost_syn_ack_is_sent_again():
    network = Network(link())
    gone = []
    network.tamper = lambda direction, packet: (
        direction == "down" and not gone and not gone.append(packet)
    )
    client = network.flow("cubic", size=1000)
    network.run(5)
    assert client.received == 1000


def test_a_connection_nobody_answers_gives_up():
    network = Network(link())
    network.links["up"][0].up = False
    client = network.flow("cubic")
    network.run(300)
    assert client.state == "closed"
    assert not client.established
    assert client.next_timeout() == math.inf


def test_marked_packets_reduce_the_window_once_per_round_trip_without_loss():
    network = Network(link(20e6, 0.020, queue=1.0))
    network.flow("cubic", ecn=True)
    network.run(1)
    server = network.server()
    before = server.cwnd
    marked = []

    def mark(direction, packet):
        if direction == "down" and not marked and read(packet).length:
            marked.append(packet)
            return packet[:1] + bytes((packet[1] | 3,)) + packet[2:]
        return False

    network.tamper = mark
    network.run(1.3)
    assert server.retransmits == 0
    assert 0.6 * before <= server.cwnd <= 0.9 * before


def test_data_goes_both_ways_at_once():
    network = Network(link(), link())
    client = network.flow("cubic")
    client.write(None, 0.0)
    network.run(10)
    server = network.server()
    assert min(client.received, server.received) * 8 / 10 >= 0.85 * 8e6


def test_a_request_is_answered_in_one_round_trip():
    """A small write is pushed, and acknowledged with no delay; an answer starts with ten packets."""
    network = Network(link(100e6), link(100e6))
    client = network.flow("cubic", size=0)
    network.logging = True
    network.run(1)
    client.write(100, 1.0)
    network.drive("client", 1000)
    network.run(1.1)
    server = network.server()
    assert server.received == 100
    request = next(
        packet for _, side, packet in network.log if side == "server" and len(packet) > 100
    )
    assert flags_of(request) & PSH


def test_segments_fit_the_smaller_of_both_mss():
    client = Connection(local=(CLIENT, 1), remote=(SERVER, 2), mss=1398)
    client.connect(0.0)
    server = Connection.accept(client.poll(0.0)[0], 0.01, mss=1000)
    client.handle(server.poll(0.01)[0], 0.02)
    (ack,) = client.poll(0.02)
    client.write(None, 0.02)
    assert {len(packet) for packet in client.poll(0.02)} == {1000 + 40}
    server.handle(ack, 0.03)
    server.write(None, 0.03)
    assert {len(packet) for packet in server.poll(0.03)} == {1000 + 40}


def test_a_rate_that_falls_is_followed():
    slow = link(6e6, 0.030, queue=0.3)
    network = Network(slow)
    client = network.flow("bbr")
    network.run(5)
    slow.change(rate=3e6)
    assert goodput(network, client, 7, 12) >= 0.85 * 3e6


def test_only_kinds_that_exist_are_accepted():
    network = Network(link())
    network.flow("vegas")
    with pytest.raises(ValueError, match=r"bbr or cubic.*'vegas'"):
        network.run(1)
