"""Any bytes at any door of the handshake: success or a HandshakeError, never anything else."""

import random

import msgpack
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mpbond.core import envelope, handshake
from mpbond.core.cookies import CookieJar
from mpbond.core.envelope import COOKIE, HEADER, INIT, RESPONSE, VERSION, Mac1
from mpbond.core.handshake import Initiator, Responder
from mpbond.core.noise import HandshakeState, KeyPair
from mpbond.errors import HandshakeError

PSK = b"\x07" * 32
INDEX = 77
SOURCE = b"source"

rng = random.Random(5)
server = Responder(rng.randbytes(32), rng)
client = Initiator(rng.randbytes(32), server.public, PSK, rng)
client.start(INDEX, {"version": "0.1.0"})
jar = CookieJar(rng, server.public)
QUESTION = client.datagram()
ANSWER, _ = server.respond(server.parse_init(QUESTION), PSK, {"index": 1})
BISCUIT = jar.reply(QUESTION, SOURCE, 0.0)

kinds = st.sampled_from([INIT, RESPONSE, COOKIE])


def fresh_client() -> Initiator:
    """The client as it was when it asked, so that ANSWER is still open to it."""
    state = random.Random(5)
    state.randbytes(32)
    again = Initiator(state.randbytes(32), server.public, PSK, state)
    again.start(INDEX, {"version": "0.1.0"})
    assert again.datagram() == QUESTION
    return again


def reasons(datagram) -> list[str | None]:
    """What each door says: None for success, or the reason of the refusal."""
    asker = fresh_client()
    said: list[str | None] = []
    for door in (server.parse_init, asker.read_response, asker.read_cookie):
        try:
            door(datagram)
            said.append(None)
        except HandshakeError as error:
            said.append(error.reason)
    assert {*said} <= {None, *envelope.REASONS}
    assert jar.verify(datagram, SOURCE, 0.0) in (True, False)
    assert server.check_mac1(datagram) == (
        said[0] not in ("handshake_size", "handshake_version", "handshake_mac1")
    )
    return said


@given(st.binary(max_size=600))
@example(b"")
def test_any_bytes(data):
    assert None not in reasons(data)


@given(kinds, st.binary(min_size=envelope.INIT_SIZE, max_size=envelope.INIT_SIZE))
def test_any_bytes_of_the_right_size_behind_a_right_header(kind, data):
    assert None not in reasons(HEADER.pack(kind, VERSION, 0, INDEX) + data[HEADER.size :])
    short = HEADER.pack(kind, VERSION, 0, INDEX) + data[: envelope.COOKIE_SIZE - HEADER.size]
    assert None not in reasons(short)


@given(st.sampled_from([QUESTION, ANSWER, BISCUIT]), st.data())
def test_truncations(datagram, data):
    cut = data.draw(st.integers(0, len(datagram) - 1))
    # an INIT cut to the size of a COOKIE is still no COOKIE
    assert {*reasons(datagram[:cut])} <= {"handshake_size", "handshake_version"}


@given(st.sampled_from([QUESTION, ANSWER, BISCUIT]), st.data())
def test_bit_flips(datagram, data):
    place = data.draw(st.integers(0, len(datagram) - 1))
    changed = bytearray(datagram)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    in_mac2 = datagram is not BISCUIT and place >= len(datagram) - envelope.MAC_SIZE
    if in_mac2:
        # mac2 is the cookie jar's business: without load nobody looks at it
        assert reasons(changed).count(None) == 1
        assert not jar.verify(changed, SOURCE, 0.0)
    else:
        assert None not in reasons(changed)


@given(st.sampled_from([QUESTION, ANSWER]), st.data())
def test_bit_flips_behind_a_mac1_made_good_again(datagram, data):
    place = data.draw(st.integers(HEADER.size, len(datagram) - envelope.MACS_SIZE - 1))
    changed = bytearray(datagram)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    receiver = server.public if datagram is QUESTION else client.public
    changed[-32:-16] = Mac1(receiver).over(changed[:-32])
    said = reasons(changed)[0 if datagram is QUESTION else 1]
    # the top bit of a public key is not part of it, but is part of what was agreed
    assert said in ("handshake_decrypt", "handshake_key")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
plaintexts = st.one_of(
    st.binary(max_size=handshake.INIT_PAYLOAD_SIZE),
    st.builds(
        lambda packed, cut: (len(packed) + cut).to_bytes(2, "big") + packed,
        values.map(msgpack.packb) | st.binary(max_size=200),
        st.integers(0, 3),
    ),
)


@given(plaintexts)
def test_any_plaintext_of_a_peer_with_good_keys(plain):
    plain = plain[: handshake.INIT_PAYLOAD_SIZE].ljust(handshake.INIT_PAYLOAD_SIZE, b"\0")
    header = HEADER.pack(INIT, VERSION, 0, INDEX)
    keys = KeyPair.from_private(bytes(range(32)))
    state = HandshakeState.initiator(
        keys, server.public, PSK, handshake.PROLOGUE + header, random.Random(1)
    )
    body = header + state.write_message(plain)
    said = reasons(body + Mac1(server.public).over(body) + bytes(16))[0]
    assert said in (None, "handshake_payload")


@given(st.dictionaries(st.text(max_size=8), values, max_size=4))
def test_any_map_that_fits_arrives(payload):
    again = fresh_client()
    assume(handshake.packed_size(payload) <= handshake.INIT_MAP_LIMIT)
    again.start(INDEX, payload)
    arrived = server.parse_init(again.datagram()).payload
    assert msgpack.packb(arrived) == msgpack.packb(payload)
