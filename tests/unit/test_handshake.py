"""INIT and RESPONSE as datagrams: what two honest sides agree on, and what is refused and why."""

import random
from hashlib import blake2s

import msgpack
import pytest

from mpbond.core import envelope, handshake, noise
from mpbond.core.envelope import (
    COOKIE,
    HEADER,
    INIT,
    INIT_SIZE,
    RESPONSE,
    RESPONSE_SIZE,
    VERSION,
    Mac1,
    init_digest,
)
from mpbond.core.handshake import Initiator, Responder
from mpbond.core.noise import HandshakeState, KeyPair
from mpbond.errors import HandshakeError

PSK = bytes(range(32))
CLIENT_INDEX = 0xC11E4701
SERVER_INDEX = 0x5E12FE02
HELLO = {"version": "0.1.0", "addresses": ["10.77.0.2"]}
WELCOME = {"index": SERVER_INDEX, "session": b"\x01" * 8, "mtu": 1438}


@pytest.fixture
def rng():
    return random.Random(7)


@pytest.fixture
def server(rng):
    return Responder(rng.randbytes(32), rng)


@pytest.fixture
def client(rng, server):
    return Initiator(rng.randbytes(32), server.public, PSK, rng)


def refused(reason):
    assert reason in envelope.REASONS
    return pytest.raises(HandshakeError, match=f"^{reason}$")


def answered(client, server):
    client.start(CLIENT_INDEX, HELLO)
    return server.respond(server.parse_init(client.datagram()), PSK, WELCOME)


def test_both_sides_agree_on_keys_and_hear_each_other(client, server):
    client.start(CLIENT_INDEX, HELLO)
    request = server.parse_init(client.datagram())
    assert request.remote_public == client.public
    assert request.payload == HELLO
    assert request.sender_index == CLIENT_INDEX
    response, there = server.respond(request, PSK, WELCOME)
    here = client.read_response(response)
    assert (here.payload, there.payload) == (WELCOME, HELLO)
    assert (here.peer_index, there.peer_index) == (SERVER_INDEX, CLIENT_INDEX)
    assert (here.remote_public, there.remote_public) == (server.public, client.public)
    assert (here.send_key, here.receive_key) == (there.receive_key, there.send_key)
    assert here.send_key != here.receive_key
    assert here.hash == there.hash


def test_without_a_preshared_key_zeros_do(rng, server):
    client = Initiator(rng.randbytes(32), server.public, noise.NO_PRESHARED_KEY, rng)
    client.start(1, HELLO)
    request = server.parse_init(client.datagram())
    response, there = server.respond(request, noise.NO_PRESHARED_KEY, WELCOME)
    assert client.read_response(response).send_key == there.receive_key


def test_the_layout_is_the_documented_one(client, server):
    response, _ = answered(client, server)
    first = client.datagram()
    assert first[:8] == bytes([1, 1, 0, 0]) + CLIENT_INDEX.to_bytes(4, "big")
    assert response[:8] == bytes([2, 1, 0, 0]) + CLIENT_INDEX.to_bytes(4, "big")
    for datagram, receiver in ((first, server), (response, client)):
        key = blake2s(b"mpbond mac1" + receiver.public).digest()
        mac1 = blake2s(datagram[:-32], key=key, digest_size=16).digest()
        assert datagram[-32:-16] == mac1
        assert datagram[-16:] == bytes(16)


def test_sizes_are_fixed_and_the_answer_is_never_longer_than_the_question(client, server):
    client.start(1, {})
    short = client.datagram()
    client.start(1, {"x": "y" * 300})
    assert len(client.datagram()) == len(short) == INIT_SIZE
    response, _ = answered(client, server)
    assert len(response) == RESPONSE_SIZE <= INIT_SIZE
    assert envelope.COOKIE_SIZE < INIT_SIZE


def test_payloads_are_taken_up_to_their_limits_and_not_a_byte_beyond(client, server):
    def filled(base, limit):
        pad = limit - handshake.packed_size({**base, "pad": b""}) - 1  # a longer length field
        return {**base, "pad": bytes(pad)}

    hello = filled({}, handshake.INIT_MAP_LIMIT)
    assert handshake.packed_size(hello) == handshake.INIT_MAP_LIMIT
    client.start(1, hello)
    request = server.parse_init(client.datagram())
    assert request.payload == hello
    welcome = filled({"index": 2}, handshake.RESPONSE_MAP_LIMIT)
    assert handshake.packed_size(welcome) == handshake.RESPONSE_MAP_LIMIT
    longer = {**welcome, "pad": welcome["pad"] + b"x"}
    with pytest.raises(ValueError, match=f"{handshake.RESPONSE_MAP_LIMIT} fit"):
        server.respond(request, PSK, longer)
    response, _ = server.respond(request, PSK, welcome)
    assert client.read_response(response).payload == welcome
    with pytest.raises(ValueError, match=f"{handshake.INIT_MAP_LIMIT} fit"):
        client.start(1, {"pad": hello["pad"] + b"x"})


def test_the_init_is_the_same_on_all_links_but_for_mac2(client):
    client.start(1, HELLO)
    plain, cooked = client.datagram(), client.datagram(b"c" * 16)
    assert client.datagram() == plain
    assert cooked[:-16] == plain[:-16]
    assert cooked[-16:] == blake2s(plain[:-16], key=b"c" * 16, digest_size=16).digest()
    assert init_digest(cooked) == init_digest(plain)
    assert client.last_mac1 == plain[-32:-16]


def test_the_digest_names_one_handshake(client, server):
    client.start(1, HELLO)
    first = client.datagram()
    assert server.parse_init(first).digest == init_digest(first)
    client.start(1, HELLO)
    assert init_digest(client.datagram()) != init_digest(first)


def test_views_and_bytearrays_are_read_as_bytes_are(client, server):
    client.start(CLIENT_INDEX, HELLO)
    request = server.parse_init(memoryview(bytearray(client.datagram())))
    assert request.digest == init_digest(memoryview(client.datagram()))
    response, there = server.respond(request, PSK, WELCOME)
    assert client.read_response(memoryview(response)).hash == there.hash
    assert client.read_response(bytearray(response)).hash == there.hash


def test_the_same_response_over_another_link_gives_the_same_keys(client, server):
    response, _ = answered(client, server)
    assert client.read_response(response) is client.read_response(response)


def test_a_second_response_to_one_init_is_not_taken(client, server):
    response, _ = answered(client, server)
    other, _ = server.respond(server.parse_init(client.datagram()), PSK, WELCOME)
    client.read_response(response)
    with refused("handshake_unexpected"):
        client.read_response(other)


def test_a_forged_response_does_not_spoil_the_true_one(client, server):
    response, there = answered(client, server)
    body = response[:60] + bytes([response[60] ^ 1]) + response[61:-32]
    with refused("handshake_decrypt"):
        client.read_response(body + Mac1(client.public).over(body) + bytes(16))
    assert client.read_response(response).hash == there.hash


def test_a_response_to_an_earlier_init_is_not_taken(client, server):
    late, _ = answered(client, server)
    client.start(CLIENT_INDEX + 1, HELLO)
    with refused("handshake_index"):
        client.read_response(late)
    client.start(CLIENT_INDEX, HELLO)
    with refused("handshake_decrypt"):
        client.read_response(late)


def test_a_response_before_any_init_is_not_taken(rng, server, client):
    response, _ = answered(client, server)
    idle = Initiator(random.Random(7).randbytes(64)[32:], server.public, PSK, rng)
    assert idle.public == client.public
    assert idle.last_mac1 == b""
    with refused("handshake_unexpected"):
        idle.read_response(response)
    with refused("handshake_unexpected"):
        idle.read_cookie(bytes(envelope.COOKIE_SIZE))


def test_another_preshared_key_is_refused(client, server):
    client.start(1, HELLO)
    response, _ = server.respond(server.parse_init(client.datagram()), bytes(32), WELCOME)
    with refused("handshake_decrypt"):
        client.read_response(response)


def test_an_init_for_another_server_stops_at_mac1(rng, client):
    client.start(1, HELLO)
    stranger = Responder(rng.randbytes(32), rng)
    assert stranger.refusal(client.datagram()) == "handshake_mac1"
    assert not stranger.check_mac1(client.datagram())
    with refused("handshake_mac1"):
        stranger.parse_init(client.datagram())


def test_an_init_of_a_wrong_length_is_refused(client, server):
    client.start(1, HELLO)
    datagram = client.datagram()
    for wrong in (b"", datagram[:-1], datagram + b"\0"):
        assert server.refusal(wrong) == "handshake_size"
        assert not server.check_mac1(wrong)
        with refused("handshake_size"):
            server.parse_init(wrong)


@pytest.mark.parametrize("head", [(2, 1, 0), (1, 0, 0), (1, 2, 0), (1, 1, 1), (1, 1, 256)])
def test_another_type_version_or_reserved_value_is_refused_before_any_hash(client, server, head):
    client.start(1, HELLO)
    datagram = HEADER.pack(*head, 1) + client.datagram()[8:]
    assert server.refusal(datagram) == "handshake_version"
    with refused("handshake_version"):
        server.parse_init(datagram)


@pytest.mark.parametrize("place", [8, 39, 40, 100, 400, INIT_SIZE - 33])
def test_a_changed_init_is_refused_at_mac1_and_if_that_is_made_good_at_its_tag(
    client, server, place
):
    client.start(1, HELLO)
    datagram = bytearray(client.datagram())
    datagram[place] ^= 0x40
    with refused("handshake_mac1"):
        server.parse_init(datagram)
    datagram[-32:-16] = Mac1(server.public).over(datagram[:-32])
    with refused("handshake_decrypt"):
        server.parse_init(datagram)


def test_the_header_is_part_of_what_is_agreed(client, server):
    client.start(1, HELLO)
    body = HEADER.pack(INIT, VERSION, 0, 2) + client.datagram()[8:-32]
    with refused("handshake_decrypt"):
        server.parse_init(body + Mac1(server.public).over(body) + bytes(16))


@pytest.mark.parametrize("low", [bytes(32), b"\x01" + bytes(31)])
def test_keys_of_low_order_are_refused(rng, client, server, low):
    response, _ = answered(client, server)
    body = client.datagram()[:8] + low + client.datagram()[40:-32]
    with refused("handshake_key"):
        server.parse_init(body + Mac1(server.public).over(body) + bytes(16))
    body = response[:8] + low + response[40:-32]
    with refused("handshake_key"):
        client.read_response(body + Mac1(client.public).over(body) + bytes(16))
    with refused("handshake_key"):
        Initiator(rng.randbytes(32), low, PSK, rng).start(1, HELLO)


def sealed_init(server, plain, rng):
    """An INIT by a holder of good keys, around a payload of its own making."""
    header = HEADER.pack(INIT, VERSION, 0, 1)
    keys = KeyPair.from_private(rng.randbytes(32))
    state = HandshakeState.initiator(keys, server.public, PSK, handshake.PROLOGUE + header, rng)
    body = header + state.write_message(plain.ljust(handshake.INIT_PAYLOAD_SIZE, b"\0"))
    return body + Mac1(server.public).over(body) + bytes(16)


def with_length(packed):
    return len(packed).to_bytes(2, "big") + packed


@pytest.mark.parametrize(
    "plain",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(with_length(b"\xc1"), id="no msgpack"),
        pytest.param(with_length(msgpack.packb([1, 2])), id="a list"),
        pytest.param(with_length(msgpack.packb({1: 2})), id="a number as key"),
        pytest.param(with_length(msgpack.packb({b"k": 2})), id="bytes as key"),
        pytest.param(with_length(b"\x81\x90\x01"), id="a list as key"),
        pytest.param(with_length(b"\x81\xa1k"), id="cut short"),
        pytest.param(with_length(b"\x80\x80"), id="two maps"),
        pytest.param(with_length(b"\x81\xa1\xff\x01"), id="no utf-8"),
        pytest.param(with_length(b"\x81\xa1k\xdd\xff\xff\xff\xff"), id="a huge list"),
        pytest.param(with_length(b"\x81\xa1k" + b"\x91" * 300), id="deep lists"),
        pytest.param(with_length(b"\x81\xa1k\xc7\x03\xff\0\0\0"), id="a bad timestamp"),
        pytest.param(b"\xff\xff" + msgpack.packb({}), id="a length beyond the end"),
        pytest.param(
            b"\xff\xff\x81\xa1k\xc5\x01\x70".ljust(handshake.INIT_PAYLOAD_SIZE, b"\0"),
            id="a whole map with a length beyond the end",
        ),
    ],
)
def test_a_payload_that_is_no_map_is_refused(rng, server, plain):
    datagram = sealed_init(server, plain, rng)
    assert server.check_mac1(datagram)
    with refused("handshake_payload"):
        server.parse_init(datagram)


def test_unknown_keys_and_padding_do_no_harm(rng, server):
    packed = msgpack.packb({"future": {"x": [1, None, 2.5]}, "version": "9"})
    request = server.parse_init(sealed_init(server, with_length(packed) + b"junk", rng))
    assert request.payload["version"] == "9"


@pytest.mark.parametrize("index", [None, -1, 1 << 32, "7", 7.0, True])
def test_a_response_without_a_good_index_ends_the_handshake(client, server, index, monkeypatch):
    client.start(1, HELLO)
    request = server.parse_init(client.datagram())
    with pytest.raises(ValueError, match="index"):
        server.respond(request, PSK, {"index": index})
    with monkeypatch.context() as patch:
        patch.setattr(handshake, "_index", lambda _payload: 0)
        response, _ = server.respond(request, PSK, {"index": index})
    for _ in range(2):
        with refused("handshake_payload"):
            client.read_response(response)
    assert len(client.datagram()) == INIT_SIZE


def test_a_response_of_a_wrong_shape_is_refused(client, server):
    response, _ = answered(client, server)
    with refused("handshake_size"):
        client.read_response(response[:-1])
    with refused("handshake_version"):
        client.read_response(HEADER.pack(COOKIE, VERSION, 0, CLIENT_INDEX) + response[8:])
    with refused("handshake_mac1"):
        client.read_response(HEADER.pack(RESPONSE, VERSION, 0, 5) + response[8:])
    body = HEADER.pack(RESPONSE, VERSION, 0, 5) + response[8:-32]
    with refused("handshake_index"):
        client.read_response(body + Mac1(client.public).over(body) + bytes(16))


def test_steps_out_of_order_are_programming_errors(client, server):
    with pytest.raises(ValueError, match="start"):
        client.datagram()
    client.start(1, HELLO)
    request = server.parse_init(client.datagram())
    server.respond(request, PSK, WELCOME)
    with pytest.raises(ValueError, match="step"):
        server.respond(request, PSK, WELCOME)


def test_fields_are_read_by_type():
    payload = {"n": 5, "s": "x", "yes": True, "none": None}
    assert handshake.required(payload, "n", int) == 5
    assert handshake.required(payload, "yes", bool) is True
    assert handshake.optional(payload, "s", str, "") == "x"
    assert handshake.optional(payload, "absent", int, 3) == 3
    assert handshake.optional(payload, "none", int, 3) == 3
    for key, kind in (("n", str), ("yes", int), ("none", int), ("absent", int)):
        with refused("handshake_payload"):
            handshake.required(payload, key, kind)
    with refused("handshake_payload"):
        handshake.optional(payload, "s", int, 0)


def test_keys_are_not_shown(client, server):
    response, there = answered(client, server)
    for established in (there, client.read_response(response)):
        assert "_key=" not in repr(established)
        assert repr(established.send_key) not in repr(established)
