"""Key pairs, their age and use; sealing and opening in batches."""

import pytest

from mpbond.core.keys import (
    CIPHERS,
    REJECT_AFTER,
    REKEY_AFTER_DATAGRAMS,
    REKEY_AFTER_FORGERIES,
    Keypair,
    KeyRing,
    seal,
    unseal,
)

ciphers = pytest.mark.parametrize("cipher", list(CIPHERS))


@ciphers
def test_a_batch_is_opened_by_the_other_side(cipher):
    here, there = two_sides(cipher)
    batch = [(0, 0, b"one"), (3, 1 << 32, b"two"), (255, (1 << 64) - 1, b"three")]
    datagrams = seal(here, batch)
    received = [
        (path, pn, datagram) for (path, pn, _), datagram in zip(batch, datagrams, strict=True)
    ]
    assert unseal(there, received) == [b"one", b"two", b"three"]
    assert (here.sent, there.forgeries) == (3, 0)


def test_a_datagram_is_its_header_the_frames_and_a_tag():
    here, _ = two_sides()
    (datagram,) = seal(here, [(3, 0x1_0203_0405, b"frames")])
    assert datagram[:10] == bytes.fromhex("04 03 000000bb 02030405")
    assert len(datagram) == 10 + 6 + 16


@ciphers
@pytest.mark.parametrize("place", [0, 1, 5, 9, 10, 15, 31])
def test_a_changed_byte_anywhere_is_a_forgery_and_spares_the_rest_of_the_batch(cipher, place):
    here, there = two_sides(cipher)
    first, second = seal(here, [(0, 0, b"frames"), (0, 1, b"frames")])
    changed = bytearray(first)
    changed[place] ^= 1
    assert unseal(there, [(0, 0, bytes(changed)), (0, 1, second)]) == [None, b"frames"]
    assert there.forgeries == 1


@pytest.mark.parametrize(("path_id", "number"), [(1, 7), (0, 8), (0, 7 + (1 << 32))])
def test_path_id_and_whole_packet_number_are_part_of_the_nonce(path_id, number):
    here, there = two_sides()
    (datagram,) = seal(here, [(0, 7, b"frames")])
    assert unseal(there, [(path_id, number, datagram)]) == [None]


def test_a_side_cannot_open_what_it_sealed_itself():
    here, _ = two_sides()
    (datagram,) = seal(here, [(0, 0, b"frames")])
    assert unseal(here, [(0, 0, datagram)]) == [None]


def test_a_key_sends_for_180_seconds_and_no_longer():
    here, _ = two_sides(now=10.0)
    assert not here.expired(10.0 + REJECT_AFTER - 0.001)
    assert here.expired(10.0 + REJECT_AFTER)
    assert REJECT_AFTER == 180.0


def test_a_key_is_worn_by_datagrams_or_by_forgeries():
    here, _ = two_sides()
    here.sent = REKEY_AFTER_DATAGRAMS - 1
    here.forgeries = REKEY_AFTER_FORGERIES - 1
    assert not here.worn()
    here.sent += 1
    assert here.worn()
    here.sent -= 1
    here.forgeries += 1
    assert here.worn()


def test_the_initiator_sends_under_new_keys_at_once_and_still_opens_the_old():
    old, new = two_sides()
    ring = KeyRing(old)
    ring.install(new)
    assert (ring.current, ring.previous, ring.next) == (new, old, None)
    assert ring.all() == [new, old]


def test_the_responder_waits_for_the_first_datagram_under_the_new_keys():
    old, new = two_sides()
    ring = KeyRing(old)
    ring.offer(new)
    assert ring.current is old
    assert not ring.confirm(old)
    assert ring.current is old
    assert ring.confirm(new)
    assert (ring.current, ring.previous, ring.next) == (new, old, None)
    assert not ring.confirm(new)


def test_a_newer_offer_replaces_one_that_was_never_confirmed():
    first, second = two_sides()
    third, _ = two_sides()
    ring = KeyRing(first)
    ring.offer(second)
    ring.offer(third)
    assert ring.all() == [first, third]


def two_sides(cipher="AES-256-GCM", now=0.0):
    one, other = bytes(range(32)), bytes(range(32, 64))
    here = Keypair(cipher, one, other, 0xAA, 0xBB, now)
    there = Keypair(cipher, other, one, 0xBB, 0xAA, now)
    return here, there
