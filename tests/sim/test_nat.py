"""NATs that map a link to another port, and sources that are forged."""

import pytest

from bench.sim.world import SERVER_SOCKET
from tests.sim.worlds import (
    arrived,
    change_links,
    drops_of,
    packets_from,
    paths_of,
    session_of,
    states,
    stream,
    world_of,
)

SIX = (0.030,) * 6
ROUND_TRIP = 0.062  # seconds, with the datagrams' own time on the link


def test_a_rebound_link_goes_on_within_a_round_trip_of_its_next_datagram():
    world = world_of(*SIX)
    world.run(2.0)
    world.rebind(1)
    path = paths_of(world, "server")[1]
    world.client_endpoint.handle_packets(packets_from(world, "client", 6), world.now)
    world.run(2.0 + 0.032)  # one of the six goes over each link
    assert path.remote == ("client", 1, 40001)
    world.run(2.0 + 0.032 + ROUND_TRIP)
    assert path.remote == ("client", 1, 40002)
    assert states(world, "client") == states(world, "server") == ["up"] * 6


def test_a_download_survives_the_rebinding_of_every_link_in_turn():
    world = world_of(*SIX)
    count = stream(world, "server", 1.0, 8.0, 0.002)
    stream(world, "client", 1.0, 8.0, 0.020, size=60)  # its ACKs
    for index in range(6):
        world.at(1.5 + index, lambda index=index: world.rebind(index))
    world.run(9.0)
    numbers = arrived(world, "client")
    assert numbers == sorted(set(numbers))
    # a sixth of the packets is lost for as long as it takes to notice and to prove
    assert len(numbers) > count - 6 * 40
    assert session_of(world, "client").handshakes == 1


def test_a_download_notices_a_rebinding_by_silence_alone():
    world = world_of(0.030)
    stream(world, "server", 1.0, 4.0, 0.005)
    world.run(2.0)
    world.rebind(0)
    world.run(2.6)
    assert paths_of(world, "server")[0].remote == ("client", 0, 40001)
    before = len(world.client.packets)
    world.run(3.6)
    assert len(world.client.packets) > before + 150


def test_a_new_address_gets_three_times_what_came_from_it_until_it_answers():
    world = world_of(0.030)
    stream(world, "server", 1.0, 4.0, 0.002)
    copy = captured(world)
    world.run(1.5)
    forged = ("client", 0, 666)
    sent = bytes_to(world, forged)
    world.links[0][0].up = False  # so that the true client has no say
    datagram = copy()
    world.server_endpoint.handle_datagrams(SERVER_SOCKET, forged, datagram, None, 1.5, 1.5)
    world.run(4.0)
    assert 0 < sum(sent) <= 3 * len(datagram)


def test_a_copy_with_a_forged_source_does_not_move_a_path():
    world = world_of(0.030)
    count = stream(world, "server", 1.0, 4.0, 0.002)
    forged = ("client", 0, 666)
    sent = bytes_to(world, forged)
    overtake(world, forged)
    world.run(5.0)
    assert paths_of(world, "server")[0].remote == ("client", 0, 40000)
    numbers = arrived(world, "client")
    assert numbers == list(range(count))
    assert sum(sent) < 20_000  # of 4 Mbit: challenges, nothing else


def test_a_datagram_replayed_from_elsewhere_is_dropped_and_answered_by_nothing():
    world = world_of(0.030)
    stream(world, "client", 1.0, 2.0, 0.010)
    copy = captured(world)
    world.run(2.5)
    sent = bytes_to(world, ("client", 0, 666))
    before = drops_of(world, "server").get("replayed", 0)
    datagram = copy()
    world.server_endpoint.handle_datagrams(
        SERVER_SOCKET, ("client", 0, 666), datagram, None, 2.5, 2.5
    )
    world.run(3.0)
    assert drops_of(world, "server")["replayed"] == before + 1
    assert sent == []


def test_a_challenge_leaves_by_the_socket_on_which_the_new_address_was_seen():
    world = world_of(0.030)
    copy = captured(world)
    world.client_endpoint.handle_packets(packets_from(world, "client", 1), world.now)
    world.links[0][0].up = False
    world.run(world.now)
    sockets = {}
    world.on_transmit = lambda _, transmit: sockets.setdefault(transmit.address, transmit.socket)
    other_family = ("client", 0, 6666)
    world.server_endpoint.handle_datagrams(7, other_family, copy(), None, world.now, world.now)
    world.run(world.now + 0.001)
    assert sockets == {other_family: 7, ("client", 0, 40000): SERVER_SOCKET}


@pytest.mark.parametrize("seed", range(1, 4))
def test_rebindings_amid_losses_end_with_all_paths_up(seed):
    world = world_of(0.020, 0.040, 0.060, seed=seed)
    change_links(world, loss=0.05)
    stream(world, "client", 1.0, 10.0, 0.005)
    stream(world, "server", 1.0, 10.0, 0.005)
    for time in range(2, 10):
        world.at(time, lambda time=time: world.rebind(time % 3))
    world.run(12.0)
    assert states(world, "server") == ["up"] * 3
    assert [path.remote[2] for path in paths_of(world, "server")] == world.nat_ports
    numbers = arrived(world, "client")
    assert len(numbers) == len(set(numbers))


def captured(world):
    """The newest datagram that the client has sent, as somebody on the way sees it."""
    seen = []

    def watch(side, transmit):
        if side.name == "client":
            seen.append(b"".join(transmit.buffers))

    world.on_transmit = watch
    return lambda: seen[-1]


def overtake(world, forged):
    """A copy of each datagram of the client comes before the original, from another address."""
    previous = world.on_transmit

    def watch(side, transmit):
        previous(side, transmit)
        if side.name == "client":
            copy = b"".join(transmit.buffers)
            world.at(
                world.now + 0.029,
                lambda: world.server_endpoint.handle_datagrams(
                    SERVER_SOCKET, forged, copy, None, world.now, world.now
                ),
            )

    world.on_transmit = watch


def bytes_to(world, address):
    """The sizes of what the server sends to an address from now on."""
    sizes = []

    def watch(side, transmit):
        if side is world.server and transmit.address == address:
            sizes.append(sum(map(len, transmit.buffers)))

    world.on_transmit = watch
    return sizes
