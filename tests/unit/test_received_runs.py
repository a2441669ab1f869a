"""Datagrams that come together are taken as if they had come one by one."""

from ipaddress import ip_interface

import pytest

from mpbond.core.unfinished import Unfinished
from tests.packets import tcp4
from tests.property.test_super_packets import WEB, Network

SEGMENT_SIZE = 1300


@pytest.fixture
def network():
    network = Network(1, 0.0, 64, 1, scheduler="rr")  # which sends all at once
    network.connect()
    return network


def datagrams(network, count=12):
    """The datagrams with so many segments of one super-packet, before they leave."""
    address = ip_interface(network.client.addresses[0]).ip.packed
    whole = Unfinished(tcp4(source=address, destination=WEB, payload=bytes(count * SEGMENT_SIZE)))
    whole.segment_size = SEGMENT_SIZE
    network.client.handle_packets([whole], network.now)
    made = []
    while (transmit := network.client.poll_transmit(network.now)) is not None:
        data, size = b"".join(transmit.buffers), transmit.segment_size or 1 << 16
        made += [data[at : at + size] for at in range(0, len(data), size)]
    full = [datagram for datagram in made if len(datagram) == len(made[0])]
    assert len(full) == count
    return full


def take(network, *batches):
    for batch in batches:
        network.server.handle_datagrams(
            0, ("client", 0), b"".join(batch), len(batch[0]), network.now, network.now
        )
    while network.server.poll_transmit(network.now) is not None:
        pass
    payload = sum(len(packet) - 40 for packet in network.server.poll_packets())
    (session,) = network.server.sessions.values()
    return payload // SEGMENT_SIZE, session


def test_a_batch_comes_out_as_one_packet(network):
    made = datagrams(network)
    before = len(network.packets)
    count, session = take(network, made)
    assert count == 12
    assert len(network.packets) == before
    (path,) = session.paths.values()
    assert path.received.largest == path.replay.top


def test_a_forged_datagram_in_a_batch_costs_nothing_else(network):
    made = datagrams(network)
    made[5] = made[5][:-1] + bytes((made[5][-1] ^ 1,))
    count, session = take(network, made)
    assert network.server.drops["auth_failed"] == 1
    assert count == 11
    assert session.receiver.stats.skipped == 1


def test_of_a_batch_that_comes_again_nothing_is_taken(network):
    made = datagrams(network)
    count, _ = take(network, made)
    assert (count, take(network, made)[0]) == (12, 0)
    assert network.server.drops["replayed"] == 12


def test_copies_within_a_batch_and_numbers_that_go_down_are_found(network):
    made = datagrams(network)
    shuffled = [*made[6:], made[7], *made[:6], made[0]]
    assert take(network, shuffled)[0] == 12
    assert network.server.drops["replayed"] == 2


def test_a_batch_of_strangers_is_dropped_one_by_one(network):
    made = [
        bytes((datagram[0], datagram[1])) + b"\0\0\0\1" + datagram[6:]
        for datagram in datagrams(network)
    ]
    assert take(network, made)[0] == 0
    assert sum(network.server.drops.values()) == 12


@pytest.mark.parametrize("size", [1, 26, 27, 100])
def test_any_bytes_may_come_as_a_batch(network, size):
    kinds = [bytes((kind,)) * size for kind in range(6)]
    for batch in (kinds, [b"\4" * size] * 3, [*datagrams(network)[:2], b"\4" * size]):
        padded = [datagram.ljust(size, b"\0") for datagram in batch]
        network.server.handle_datagrams(
            0, ("client", 0), b"".join(padded), size, network.now, network.now
        )
    assert sum(network.server.drops.values()) > 0
