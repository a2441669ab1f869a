"""Proving addresses before traffic goes there; whole sessions do it in tests/sim/test_nat.py."""

from random import Random

import pytest

from mpbond.core.path import Path, PathOptions
from mpbond.core.roaming import Prover
from mpbond.core.wire import CHALLENGE, parse_path

SOCKET = 0


def test_a_first_address_is_challenged_and_gets_three_times_what_came_from_it():
    path, prover = opened()
    datagram(prover, path, "home", size=100, now=1.0)
    assert [address for address, _ in path.challenges] == ["home"]
    assert path.may_send(300)
    assert not path.may_send(301)
    assert not path.up


def test_too_small_a_datagram_buys_no_challenge():
    path, prover = opened()
    datagram(prover, path, "home", size=31, now=1.0)
    assert path.challenges == []
    datagram(prover, path, "home", size=1, now=1.001)
    assert len(path.challenges) == 1


def test_a_first_address_is_challenged_again_after_200_ms_and_not_before():
    path, prover = opened()
    for now in (1.0, 1.199, 1.201):
        datagram(prover, path, "home", now=now)
    assert [token_of(item) for item in path.challenges] == [token_of(path.challenges[0])] * 2


def test_the_right_token_proves_it_and_a_wrong_one_does_not():
    path, prover = opened()
    datagram(prover, path, "home", now=1.0)
    assert not prover.on_response(path, b"12345678", "home", 1.1)
    assert not path.proven
    assert prover.on_response(path, token_of(path.challenges[0]), "home", 1.1)
    assert (path.proven, path.up, path.may_send(10**9)) == (True, True, True)


def test_a_new_address_of_a_newer_datagram_is_challenged_and_so_is_the_old():
    path, prover = proven()
    datagram(prover, path, "away", now=2.0)
    assert [address for address, _ in path.challenges] == ["away", "home"]
    assert token_of(path.challenges[0]) != token_of(path.challenges[1])
    assert path.remote == "home"


def test_an_older_datagram_from_elsewhere_is_no_claim():
    path, prover = proven()
    datagram(prover, path, "away", now=2.0, newest=False)
    assert path.roaming is None


@pytest.mark.parametrize("source", ["away", "home"])
def test_the_new_addresses_token_moves_the_path_whichever_way_it_comes(source):
    path, prover = proven()
    datagram(prover, path, "away", now=2.0, socket=1)
    assert prover.on_response(path, token_of(path.challenges[0]), source, 2.1)
    assert (path.remote, path.socket, path.roaming) == ("away", 1, None)
    assert path.liveness.state == "up"


def test_the_old_addresses_token_from_there_ends_the_claim():
    path, prover = proven()
    datagram(prover, path, "away", now=2.0)
    new, old = path.challenges
    assert not prover.on_response(path, token_of(old), "home", 2.1)
    assert (path.remote, path.roaming) == ("home", None)
    assert not prover.on_response(path, token_of(new), "away", 2.2)
    assert path.remote == "home"


def test_the_old_addresses_token_from_the_new_one_decides_nothing():
    path, prover = proven()
    datagram(prover, path, "away", now=2.0)
    new, old = path.challenges
    assert not prover.on_response(path, token_of(old), "away", 2.1)
    assert prover.on_response(path, token_of(new), "away", 2.2)
    assert path.remote == "away"


def test_a_claim_lives_for_three_seconds():
    path, prover = proven()
    datagram(prover, path, "away", now=2.0)
    prover.on_timeout(path, 4.999)
    assert path.roaming is not None
    prover.on_timeout(path, 5.0)
    assert path.roaming is None


def test_a_claim_may_follow_another_after_50_ms_and_not_before():
    path, prover = proven()
    datagram(prover, path, "away", now=2.0)
    datagram(prover, path, "third", now=2.049)
    assert path.roaming.address == "away"
    datagram(prover, path, "third", now=2.051)
    assert path.roaming.address == "third"


def test_a_new_address_gets_no_challenge_it_has_not_paid_for():
    path, prover = proven()
    datagram(prover, path, "away", size=31, now=2.0)
    assert [address for address, _ in path.challenges] == ["home"]


def opened():
    path = Path(0, SOCKET, "home", PathOptions(), 0.0)
    path.proven = False
    path.liveness.start(0.0, "its address is being proven")
    return path, Prover(Random(1))


def proven():
    path, prover = opened()
    datagram(prover, path, "home", now=1.0)
    assert prover.on_response(path, token_of(path.challenges[0]), "home", 1.1)
    path.challenges.clear()
    return path, prover


def datagram(prover, path, source, *, now, size=100, newest=True, socket=SOCKET):
    prover.on_datagram(path, socket, source, size, newest, now)


def token_of(challenge):
    kind, path_id, token = parse_path(challenge[1][3:])
    assert (kind, path_id) == (CHALLENGE, 0)
    return token
