"""What is made of looks at a server with many idle clients."""

import pytest

from bench.fast.clients import Count
from bench.fast.crowd import MEMORY, Sight, find

BOUNDS = (0.001, 0.005, 0.010)
KIB = 1024


def count(connected, begun=None, sent=0, received=0):
    begun = connected if begun is None else begun
    return Count(connected=connected, begun=begun, sent=sent, received=received)


def sights(clients=1001, *, cpu=0.3, memory=50 * KIB, end=None):
    """Looks at a server of 60 MiB with one client, and at both ends of 30 s with so many."""
    before = count(clients, sent=5000, received=4000)
    after = end or count(clients, sent=6500, received=5200)
    full = 60 * KIB * KIB + memory * (clients - 1)
    return (
        Sight(time=10.0, cpu=0.5, memory=60 * KIB * KIB, clients=count(1)),
        Sight(time=50.0, cpu=2.0, memory=full - 1, clients=before),
        Sight(time=80.0, cpu=2.0 + cpu, memory=full, clients=after),
    )


def found(*of, clients=1001, sessions=1001, late=(90, 9, 1, 0)):
    return find(of, clients, sessions=sessions, late=late, bounds=BOUNDS)


def test_shares_and_rates_are_those_of_the_time_that_all_idled():
    finding = found(*sights())
    assert finding.seconds == pytest.approx(30.0)
    assert finding.cpu == pytest.approx(0.01)
    assert finding.up == pytest.approx(50.0)
    assert finding.down == pytest.approx(40.0)
    assert finding.share_late == pytest.approx(0.01)
    assert finding.good


def test_the_memory_of_a_client_is_what_each_but_the_first_has_added():
    assert found(*sights(memory=50 * KIB)).memory == pytest.approx(50 * KIB)
    assert found(*sights(memory=MEMORY)).good
    assert not found(*sights(memory=MEMORY + 1)).good


def test_up_to_a_thousand_clients_may_take_two_hundredths_of_a_core_and_more_of_them_more():
    few, many, too_few = (
        found(*sights(clients, cpu=0.9), clients=clients, sessions=clients)
        for clients in (100, 2000, 1400)
    )
    assert not few.good
    assert many.good
    assert not too_few.good


def test_a_session_that_ended_is_lost_whether_or_not_another_followed():
    gone = found(*sights(end=count(1000, begun=1001)))
    replaced = found(*sights(end=count(1001, begun=1002)))
    assert (gone.connected, gone.lost) == (1000, 1)
    assert (replaced.connected, replaced.lost) == (1001, 1)
    assert not gone.good
    assert not replaced.good


def test_a_client_counts_only_if_the_server_has_it_too():
    finding = found(*sights(), sessions=999)
    assert finding.connected == 999
    assert not finding.good


def test_every_bound_is_told_with_its_verdict():
    rows = {row[0]: row[1:] for row in found(*sights(cpu=0.9)).judged()}
    assert rows["clients connected"] == ["1,001", "= 1,001", "reached"]
    assert rows["server's CPU, % of a core"] == ["3.00", "≤ 2.00", "missed"]
    assert rows["server's memory, KiB a client"] == ["50.0", "≤ 256", "reached"]
    assert rows["datagrams a second to the server"] == ["50.0", "", ""]
