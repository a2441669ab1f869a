"""Addresses of a small pool among many clients that come, wish, leave and come back."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from mpbond.core.peers import Peer, Peers

POOL = ip_network("10.77.0.0/28")
FIXED = ip_address("10.77.0.9")
wishes = st.lists(st.integers(0, 17).map(lambda host: f"10.77.0.{host}"), max_size=2)
steps = st.lists(
    st.tuples(st.integers(0, 19), st.sampled_from(["come", "come", "leave"]), wishes), max_size=60
)


@given(steps)
def test_no_address_has_two_owners_and_none_is_lost(steps):
    clients = [Peer(f"client {number}", bytes((number,))) for number in range(20)]
    clients[0].fixed = (FIXED,)
    peers = Peers([POOL], clients)
    for time, (number, action, wanted) in enumerate(steps):
        client = clients[number]
        if action == "leave":
            client.pending, client.last_seen = [], float(time)
            continue
        before = client.addresses
        given = peers.assign(client, wanted)
        if given:
            client.pending = [object()]
        if before:
            assert given == before
        present = [peer for peer in clients if peer.pending]
        owned = [address.ip for peer in present for address in peer.addresses]
        assert len(owned) == len(set(owned)) == len(present)
        assert all(peers.owner(ip.packed) in present for ip in owned)
        for ip in owned:
            assert ip in POOL
            assert ip not in (POOL[0], POOL[1], POOL[-1])
        assert all(FIXED not in [a.ip for a in peer.addresses] for peer in clients[1:])
        if not given:
            # the pool has 13 addresses for clients, one of them fixed
            assert len([peer for peer in present if peer is not clients[0]]) == 12


@given(st.lists(st.binary(max_size=20), max_size=5), st.lists(st.text(max_size=20), max_size=5))
def test_any_wish_is_answered(addresses, wanted):
    van = Peer("van", b"van")
    peers = Peers([POOL, ip_network("fd77::/64")], [van])
    assert len(peers.assign(van, wanted)) == 2
    for address in addresses:
        assert peers.owner(address) in (None, van)
