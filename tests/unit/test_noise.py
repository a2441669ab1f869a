"""The Noise state machine against published vectors and against what an attacker may send."""

import json
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from mpbond.core import noise
from mpbond.core.noise import HandshakeState, KeyPair, NoiseError

VECTORS = json.loads(
    (Path(__file__).parent / "vectors" / "noise_ikpsk2.json").read_text(encoding="utf-8")
)["vectors"]
PROLOGUE = b"a prologue"
PSK = bytes(range(32))
# public keys of order 1, 2, 4 and 8 (and p - 1): multiplied by any private key they give zeros
LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


class Prescribed(random.Random):
    """Hands out exactly the given bytes, once."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self.data = data

    def randbytes(self, n: int) -> bytes:
        given, self.data = self.data[:n], self.data[n:]
        assert len(given) == n
        return given


def pair(*, client_psk: bytes = PSK, server_prologue: bytes = PROLOGUE, seed: int = 1):
    rng = random.Random(seed)
    client, server = (KeyPair.from_private(rng.randbytes(32)) for _ in range(2))
    return (
        HandshakeState.initiator(client, server.public, client_psk, PROLOGUE, rng),
        HandshakeState.responder(server, server_prologue, rng),
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["protocol_name"])
def test_published_vectors_are_met_byte_for_byte(vector):
    fact = {
        name: bytes.fromhex(text)
        for name, text in vector.items()
        if isinstance(text, str) and name != "protocol_name"
    }
    assert vector["protocol_name"].encode() == noise.PROTOCOL_NAME
    server_keys = KeyPair.from_private(fact["resp_static"])
    assert server_keys.public == fact["init_remote_static"]
    initiator = HandshakeState.initiator(
        KeyPair.from_private(fact["init_static"]),
        fact["init_remote_static"],
        bytes.fromhex(vector["init_psks"][0]),
        fact["init_prologue"],
        Prescribed(fact["init_ephemeral"]),
    )
    responder = HandshakeState.responder(
        server_keys, fact["resp_prologue"], Prescribed(fact["resp_ephemeral"])
    )
    responder.set_preshared_key(bytes.fromhex(vector["resp_psks"][0]))
    said = [
        (bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"]))
        for message in vector["messages"]
    ]

    assert initiator.write_message(said[0][0]) == said[0][1]
    assert responder.read_message(said[0][1]) == said[0][0]
    assert responder.write_message(said[1][0]) == said[1][1]
    assert initiator.read_message(said[1][1]) == said[1][0]
    assert initiator.hash == responder.hash == fact["handshake_hash"]

    up, down = initiator.split()
    assert responder.split() == (down, up)
    for number, (plain, sealed) in enumerate(said[2:]):
        cipher = ChaCha20Poly1305(up if number % 2 == 0 else down)
        nonce = bytes(4) + (number // 2).to_bytes(8, "little")
        assert cipher.encrypt(nonce, plain, b"") == sealed


def test_the_responder_learns_the_initiator_and_then_chooses_the_preshared_key():
    initiator, responder = pair()
    assert responder.read_message(initiator.write_message(b"hello")) == b"hello"
    assert responder.remote_public == initiator._static.public
    responder.set_preshared_key(PSK)
    assert initiator.read_message(responder.write_message(b"welcome")) == b"welcome"
    assert initiator.split() == responder.split()[::-1]
    assert initiator.hash == responder.hash


def test_different_preshared_keys_do_not_agree():
    initiator, responder = pair()
    responder.read_message(initiator.write_message(b""))
    responder.set_preshared_key(noise.NO_PRESHARED_KEY)
    with pytest.raises(NoiseError, match="decrypt"):
        initiator.read_message(responder.write_message(b""))


def test_different_prologues_do_not_agree():
    initiator, responder = pair(server_prologue=b"another prologue")
    with pytest.raises(NoiseError, match="decrypt"):
        responder.read_message(initiator.write_message(b""))


def test_a_message_for_another_static_key_is_not_read():
    initiator, _ = pair()
    _, stranger = pair(seed=2)
    with pytest.raises(NoiseError, match="decrypt"):
        stranger.read_message(initiator.write_message(b""))


def test_a_forged_message_leaves_both_states_as_they_were():
    initiator, responder = pair()
    first = initiator.write_message(b"hello")
    before = responder.hash
    for place in (0, 40, len(first) - 1):
        with pytest.raises(NoiseError):
            responder.read_message(flipped(first, place))
    assert (responder.hash, responder.remote_public) == (before, b"")
    assert responder.read_message(first) == b"hello"

    responder.set_preshared_key(PSK)
    second = responder.write_message(b"welcome")
    before = initiator.hash
    for place in (0, 40, len(second) - 1):
        with pytest.raises(NoiseError):
            initiator.read_message(flipped(second, place))
    assert initiator.hash == before
    assert initiator.read_message(second) == b"welcome"


@pytest.mark.parametrize("low", LOW_ORDER, ids=lambda low: low.hex()[:8])
def test_a_public_key_of_low_order_is_refused_wherever_it_stands(low):
    initiator, responder = pair()
    first = initiator.write_message(b"")
    with pytest.raises(NoiseError, match="key"):
        responder.read_message(low + first[32:])
    responder.read_message(first)
    with pytest.raises(NoiseError, match="key"):
        initiator.read_message(low + responder.write_message(b"")[32:])

    rng = random.Random(3)
    keys = KeyPair.from_private(rng.randbytes(32))
    with pytest.raises(NoiseError, match="key"):
        HandshakeState.initiator(keys, low, PSK, PROLOGUE, rng).write_message(b"")


def test_an_initiator_whose_static_key_is_of_low_order_is_refused():
    rng = random.Random(4)
    server = KeyPair.from_private(rng.randbytes(32))
    ephemeral = KeyPair.from_private(rng.randbytes(32))
    liar = HandshakeState.initiator(server, server.public, PSK, PROLOGUE, rng)
    liar._mix_ephemeral(ephemeral.public)
    liar._mix_key(ephemeral.exchange(server.public))
    message = ephemeral.public + liar._seal(bytes(32)) + bytes(16)
    with pytest.raises(NoiseError, match="key"):
        HandshakeState.responder(server, PROLOGUE, rng).read_message(message)


def test_short_messages_are_refused():
    initiator, responder = pair()
    first = initiator.write_message(b"")
    assert len(first) == noise.MESSAGE_1_OVERHEAD
    with pytest.raises(NoiseError, match="short"):
        responder.read_message(first[:-1])
    responder.read_message(first)
    second = responder.write_message(b"")
    assert len(second) == noise.MESSAGE_2_OVERHEAD
    with pytest.raises(NoiseError, match="short"):
        initiator.read_message(second[:-1])


def test_steps_out_of_order_are_programming_errors():
    initiator, responder = pair()
    with pytest.raises(ValueError, match="step 0"):
        initiator.split()
    with pytest.raises(ValueError, match="step 0"):
        initiator.read_message(bytes(200))
    with pytest.raises(ValueError, match="step 0"):
        responder.write_message(b"")
    initiator.write_message(b"")
    with pytest.raises(ValueError, match="step 1"):
        initiator.write_message(b"")


def test_keys_of_a_wrong_length_are_programming_errors():
    with pytest.raises(ValueError, match="private key has 32 bytes, not 31"):
        KeyPair.from_private(bytes(31))
    keys = KeyPair.from_private(bytes(range(32)))
    with pytest.raises(ValueError, match="public key has 32 bytes, not 3"):
        HandshakeState.initiator(keys, b"abc", PSK, PROLOGUE, random.Random(0))
    with pytest.raises(ValueError, match="preshared key has 32 bytes, not 0"):
        HandshakeState.initiator(keys, keys.public, b"", PROLOGUE, random.Random(0))


def test_a_public_key_follows_from_its_private_key():
    fact = VECTORS[0]
    public = noise.public_key(bytes.fromhex(fact["resp_static"]))
    assert public == bytes.fromhex(fact["init_remote_static"])


def test_a_private_key_is_not_shown():
    assert "private" not in repr(KeyPair.from_private(bytes(range(32))))


def flipped(message: bytes, place: int) -> bytes:
    return message[:place] + bytes([message[place] ^ 1]) + message[place + 1 :]
