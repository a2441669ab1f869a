"""Cookies: who gets one, for how long it counts, and that a forged one is not believed."""

import random
from hashlib import blake2s

import pytest

from mpbond.core import cookies, envelope
from mpbond.core.cookies import SECRET_LIFETIME, CookieJar
from mpbond.core.envelope import INIT, VERSION
from mpbond.core.handshake import Initiator, Responder
from mpbond.errors import HandshakeError

HERE = b"\xc0\x00\x02\x01\x11\x9e"
ELSEWHERE = b"\xc0\x00\x02\x02\x11\x9e"


@pytest.fixture
def rng():
    return random.Random(11)


@pytest.fixture
def server(rng):
    return Responder(rng.randbytes(32), rng)


@pytest.fixture
def jar(rng, server):
    return CookieJar(rng, server.public)


@pytest.fixture
def client(rng, server):
    initiator = Initiator(rng.randbytes(32), server.public, bytes(32), rng)
    initiator.start(0x01020304, {"version": "0.1.0"})
    return initiator


def test_a_cookie_opens_the_door_it_was_baked_for(client, server, jar):
    assert not jar.verify(client.datagram(), HERE, 0.0)
    cookie = client.read_cookie(jar.reply(client.datagram(), HERE, 0.0))
    proved = client.datagram(cookie)
    assert jar.verify(proved, HERE, 1.0)
    assert not jar.verify(proved, ELSEWHERE, 1.0)
    assert server.parse_init(proved).sender_index == 0x01020304


def test_one_handshake_carries_a_cookie_for_each_of_its_links(client, jar):
    baked = {
        source: client.read_cookie(jar.reply(client.datagram(), source, 0.0))
        for source in (HERE, ELSEWHERE)
    }
    assert baked[HERE] != baked[ELSEWHERE]
    for source, cookie in baked.items():
        assert jar.verify(client.datagram(cookie), source, 0.0)


def test_a_cookie_is_good_for_the_next_handshake_too(client, jar):
    cookie = client.read_cookie(jar.reply(client.datagram(), HERE, 0.0))
    client.start(9, {})
    assert jar.verify(client.datagram(cookie), HERE, 5.0)


def test_a_cookie_outlives_one_change_of_the_secret_and_not_two(client, jar):
    born = 1000.0
    cookie = client.read_cookie(jar.reply(client.datagram(), HERE, born))
    proved = client.datagram(cookie)
    assert jar.verify(proved, HERE, born + SECRET_LIFETIME - 1e-3)
    assert jar.verify(proved, HERE, born + SECRET_LIFETIME)
    assert jar.verify(proved, HERE, born + 2 * SECRET_LIFETIME - 1e-3)
    assert not jar.verify(proved, HERE, born + 2 * SECRET_LIFETIME)


def test_a_quiet_server_does_not_keep_an_old_secret(client, jar):
    cookie = client.read_cookie(jar.reply(client.datagram(), HERE, 0.0))
    assert not jar.verify(client.datagram(cookie), HERE, 2 * SECRET_LIFETIME)
    late = client.read_cookie(jar.reply(client.datagram(), HERE, 500.0))
    assert late != cookie
    assert jar.verify(client.datagram(late), HERE, 500.0)


def test_after_a_change_new_cookies_come_from_the_new_secret(client, jar):
    old = client.read_cookie(jar.reply(client.datagram(), HERE, 0.0))
    new = client.read_cookie(jar.reply(client.datagram(), HERE, SECRET_LIFETIME))
    assert old != new
    for cookie in (old, new):
        assert jar.verify(client.datagram(cookie), HERE, SECRET_LIFETIME)


def test_the_layout_is_the_documented_one(client, jar):
    reply = jar.reply(client.datagram(), HERE, 0.0)
    assert len(reply) == envelope.COOKIE_SIZE == 8 + 24 + 32
    assert reply[:8] == bytes([3, 1, 0, 0, 1, 2, 3, 4])
    cookie = client.read_cookie(reply)
    proved = client.datagram(cookie)
    assert proved[-16:] == blake2s(proved[:-16], key=cookie, digest_size=16).digest()


def test_two_replies_never_look_alike(client, jar):
    first, second = (jar.reply(client.datagram(), HERE, 0.0) for _ in range(2))
    assert first[8:] != second[8:]
    assert client.read_cookie(first) == client.read_cookie(second)


def refused(reason):
    assert reason in envelope.REASONS
    return pytest.raises(HandshakeError, match=f"^{reason}$")


def test_a_cookie_of_a_wrong_shape_is_refused(client, jar):
    reply = jar.reply(client.datagram(), HERE, 0.0)
    with refused("handshake_size"):
        client.read_cookie(reply[:-1])
    with refused("handshake_version"):
        client.read_cookie(envelope.HEADER.pack(INIT, VERSION, 0, 0x01020304) + reply[8:])
    with refused("handshake_index"):
        client.read_cookie(reply[:4] + bytes(4) + reply[8:])


@pytest.mark.parametrize("place", [8, 31, 32, 47, 48, 63])
def test_a_changed_cookie_is_refused(client, jar, place):
    reply = bytearray(jar.reply(client.datagram(), HERE, 0.0))
    reply[place] ^= 1
    with refused("handshake_cookie"):
        client.read_cookie(reply)


def test_a_cookie_for_another_init_is_refused(client, jar):
    reply = jar.reply(client.datagram(), HERE, 0.0)
    client.start(0x01020304, {"version": "0.1.0"})
    with refused("handshake_cookie"):
        client.read_cookie(reply)


def test_a_cookie_by_who_does_not_know_the_server_is_refused(client, rng):
    forger = CookieJar(rng, bytes(range(32)))
    with refused("handshake_cookie"):
        client.read_cookie(forger.reply(client.datagram(), HERE, 0.0))


def test_what_is_no_init_gets_no_cookie_and_proves_nothing(client, jar):
    short = client.datagram()[:-1]
    assert not jar.verify(short, HERE, 0.0)
    with refused("handshake_size"):
        jar.reply(short, HERE, 0.0)


def test_views_are_read_as_bytes_are(client, jar):
    view = memoryview(bytearray(client.datagram()))
    cookie = client.read_cookie(memoryview(jar.reply(view, HERE, 0.0)))
    assert jar.verify(memoryview(client.datagram(cookie)), HERE, 0.0)


def test_secrets_are_as_long_as_a_blake2s_key_may_be():
    assert cookies.SECRET_SIZE == blake2s.MAX_KEY_SIZE
