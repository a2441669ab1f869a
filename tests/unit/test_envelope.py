"""HINT, the one handshake datagram without a mac."""

import pytest

from mpbond.core import envelope
from mpbond.errors import HandshakeError


def test_a_hint_names_the_unknown_index_and_is_large_enough_for_shy_nats():
    hint = envelope.write_hint(0xDEADBEEF)
    assert hint == bytes([5, 1, 0, 0]) + bytes.fromhex("deadbeef") + bytes(24)
    assert len(hint) == envelope.HINT_SIZE == 32
    assert envelope.read_hint(hint) == envelope.read_hint(memoryview(hint)) == 0xDEADBEEF


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "handshake_size"),
        (envelope.write_hint(1)[:-1], "handshake_size"),
        (envelope.write_hint(1) + b"\0", "handshake_size"),
        (b"\x04" + envelope.write_hint(1)[1:], "handshake_version"),
        (b"\x05\x02" + envelope.write_hint(1)[2:], "handshake_version"),
    ],
)
def test_what_is_no_hint_is_refused(datagram, reason):
    with pytest.raises(HandshakeError, match=f"^{reason}$"):
        envelope.read_hint(datagram)
