"""Inner addresses: who gets which, and whose a packet is."""

from ipaddress import ip_address, ip_network

import pytest

from mpbond.core.peers import Peer, Peers, destination_of, source_of
from tests.packets import ipv4, ipv6

POOLS = [ip_network("10.77.0.0/29"), ip_network("fd77::/64")]


def test_a_client_gets_an_address_of_each_pool_with_the_pools_length():
    peers, van = with_peers("van")
    four, six = peers.assign(van, [])
    assert (str(four.network), str(six.network)) == ("10.77.0.0/29", "fd77::/64")
    assert van.addresses == (four, six)


def test_it_gets_the_same_again():
    peers, van = with_peers("van")
    assert peers.assign(van, []) == peers.assign(van, [])


def test_it_gets_the_same_again_from_a_server_that_has_restarted():
    peers, van, _ = with_peers("van", "car")
    first = peers.assign(van, [])
    again, van, car = with_peers("van", "car")
    again.assign(car, [])
    assert again.assign(van, []) == first


def test_a_wish_is_granted_if_the_address_is_free():
    peers, van, car = with_peers("van", "car")
    assert str(peers.assign(van, ["10.77.0.5"])[0]) == "10.77.0.5/29"
    assert str(peers.assign(car, ["10.77.0.5"])[0]) != "10.77.0.5/29"


def test_a_wish_may_name_the_length_it_was_told():
    peers, van = with_peers("van")
    assert str(peers.assign(van, ["10.77.0.5/29"])[0]) == "10.77.0.5/29"


@pytest.mark.parametrize(
    "wish", ["10.77.0.0", "10.77.0.1", "10.77.0.7", "10.78.0.2", "nonsense", "", "fd77::1"]
)
def test_a_wish_for_what_is_no_clients_address_is_passed_over(wish):
    peers, van = with_peers("van")
    assert str(peers.assign(van, [wish])[0].ip) in {f"10.77.0.{host}" for host in range(2, 7)}


def test_a_fixed_address_is_given_and_kept_from_others():
    fixed = Peer("van", b"van", fixed=(ip_address("10.77.0.4"),))
    car = Peer("car", b"car")
    peers = Peers(POOLS, [fixed, car])
    assert str(peers.assign(car, ["10.77.0.4"])[0]) != "10.77.0.4/29"
    assert str(peers.assign(fixed, ["10.77.0.2"])[0]) == "10.77.0.4/29"


def test_a_full_pool_takes_the_address_of_who_has_been_away_longest():
    names = [f"client {number}" for number in range(6)]
    peers, *clients = with_peers(*names)
    given = {}
    for age, client in enumerate(clients[:5]):
        client.last_seen = 100.0 - age
        given[client.name] = peers.assign(client, [])[0].ip
    (new, _) = peers.assign(clients[5], [])
    assert new.ip == given["client 4"]
    assert peers.owner(new.ip.packed) is clients[5]
    assert [str(address.network) for address in clients[4].addresses] == ["fd77::/64"]


def test_in_a_full_pool_nobody_who_is_there_loses_an_address():
    peers, *clients = with_peers(*[f"client {number}" for number in range(6)])
    for client in clients[:5]:
        peers.assign(client, [])
        client.pending = [object()]
    assert [address.version for address in peers.assign(clients[5], [])] == [6]


def test_an_address_belongs_to_its_peer_and_to_nobody_before():
    peers, van = with_peers("van")
    address = ip_address("10.77.0.5").packed
    assert peers.owner(address) is None
    peers.assign(van, ["10.77.0.5"])
    assert peers.owner(address) is van


def test_a_routed_prefix_belongs_to_its_peer_and_the_longest_wins():
    van = Peer("van", b"van", routes=(ip_network("192.0.2.0/24"), ip_network("2001:db8:1::/56")))
    car = Peer("car", b"car", routes=(ip_network("192.0.2.8/29"),))
    peers = Peers(POOLS, [van, car])
    owners = [
        peers.owner(ip_address(text).packed)
        for text in ("192.0.2.7", "192.0.2.8", "192.0.2.15", "192.0.2.16", "192.0.3.0")
    ]
    assert owners == [van, car, car, van, None]
    assert peers.owner(ip_address("2001:db8:1:ff::1").packed) is van
    assert peers.owner(ip_address("2001:db8:1:100::1").packed) is None


def test_a_peer_that_is_removed_owns_nothing_any_more():
    van = Peer("van", b"van", routes=(ip_network("192.0.2.0/24"),))
    peers = Peers(POOLS, [van])
    (four, _) = peers.assign(van, [])
    peers.remove(van)
    assert peers.get(b"van") is None
    assert list(peers) == []
    assert peers.owner(four.ip.packed) is None
    assert peers.owner(ip_address("192.0.2.1").packed) is None


def test_source_and_destination_are_read_from_either_kind_of_packet():
    assert source_of(ipv4(source=5)) == bytes([10, 77, 0, 5])
    assert destination_of(ipv4(destination=9)) == bytes([10, 77, 0, 9])
    assert source_of(ipv6(source=5)) == ip_address("fd77::5").packed
    assert destination_of(ipv6(destination=9)) == ip_address("fd77::9").packed


@pytest.mark.parametrize(
    "packet", [b"\x45" + bytes(18), b"\x60" + bytes(38), b"\x00" * 60, b"\xff"]
)
def test_what_is_too_short_or_foreign_has_neither(packet):
    assert source_of(packet) is None
    assert destination_of(packet) is None


def with_peers(*names):
    clients = [Peer(name, name.encode()) for name in names]
    return Peers(POOLS, clients), *clients
