"""The handshake as datagrams: one INIT, one RESPONSE, keys for both sides.

    client                                            server
      start()     -> INIT on every link at once         refusal(): size, version, mac1
                                                        parse_init(): who is it, what does it want
      read_response() <- RESPONSE on each of them       respond(): keys
      Established                                       Established

The noise bytes of an INIT are the same on all links and for all its repetitions; only mac2, which
depends on the cookie of a link, differs. So a server that remembers its answer by `init_digest`
computes once, however many links bring the question, and a client may read the answer once for each
link: `read_response` gives the same Established for the same RESPONSE.

A payload is a msgpack map with text keys, behind its length (u16) and before zeros up to a fixed
size. Unknown keys are ignored. The map in a RESPONSE holds the server's index under "index".

Whatever comes from the network is refused with a HandshakeError whose reason is one of
`envelope.REASONS`, and changes nothing. What our own side does wrong (a payload too long, steps out
of order) is a ValueError.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgpack

from mpbond.core.envelope import (
    HEADER,
    INIT,
    INIT_SIZE,
    MAC_SIZE,
    MACS_SIZE,
    NO_MAC,
    RESPONSE,
    RESPONSE_SIZE,
    VERSION,
    Datagram,
    Mac1,
    index_of,
    init_digest,
    mac2,
    open_cookie,
)
from mpbond.core.noise import (
    MESSAGE_1_OVERHEAD,
    MESSAGE_2_OVERHEAD,
    HandshakeState,
    KeyPair,
    NoiseError,
)
from mpbond.errors import HandshakeError

if TYPE_CHECKING:
    import random

T = TypeVar("T")

PROLOGUE = b"mpbond 1"
LENGTH_SIZE = 2
INIT_PAYLOAD_SIZE = INIT_SIZE - HEADER.size - MESSAGE_1_OVERHEAD - MACS_SIZE
RESPONSE_PAYLOAD_SIZE = RESPONSE_SIZE - HEADER.size - MESSAGE_2_OVERHEAD - MACS_SIZE
INIT_MAP_LIMIT = INIT_PAYLOAD_SIZE - LENGTH_SIZE
"""The most bytes a client's map may take as msgpack."""
RESPONSE_MAP_LIMIT = RESPONSE_PAYLOAD_SIZE - LENGTH_SIZE
"""The most bytes a server's map may take as msgpack."""

_INDEX_LIMIT = 1 << 32
_REASON = {
    "short": "handshake_size",
    "key": "handshake_key",
    "decrypt": "handshake_decrypt",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Established:
    """A finished handshake: what the peer said, and 32-byte keys nobody else has."""

    payload: dict[str, Any]
    peer_index: int
    """The index to write into datagrams to the peer."""
    remote_public: bytes
    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)
    hash: bytes
    """Names this handshake; the same on both sides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitRequest:
    """An INIT that could be opened: its sender holds the private key of `remote_public`."""

    remote_public: bytes
    payload: dict[str, Any]
    sender_index: int
    digest: bytes
    """As `init_digest` gives it."""
    noise: HandshakeState = field(repr=False)


class Initiator:
    """The client's side. One object serves a client for as long as it lives."""

    def __init__(
        self,
        static_private: bytes,
        responder_public: bytes,
        preshared_key: bytes,
        rng: "random.Random",
    ) -> None:
        self._static = KeyPair.from_private(static_private)
        self._responder_public = responder_public
        self._preshared_key = preshared_key
        self._rng = rng
        self._mac1_out = Mac1(responder_public)
        self._mac1_in = Mac1(self._static.public)
        self._noise: HandshakeState | None = None
        self._index = 0
        self._sealed_body = b""
        self._answer: tuple[bytes, Established | HandshakeError] | None = None

    @property
    def public(self) -> bytes:
        """This side's public key."""
        return self._static.public

    @property
    def last_mac1(self) -> bytes:
        """The mac1 of the present INIT; empty before `start`."""
        return self._sealed_body[-MAC_SIZE:]

    def start(self, sender_index: int, payload: Mapping[str, Any]) -> None:
        """Begins a handshake with fresh keys; the one before it can no longer be answered.

        Raises ValueError for a payload over INIT_MAP_LIMIT, and HandshakeError "handshake_key" if
        the server's configured public key cannot be one.
        """
        header = HEADER.pack(INIT, VERSION, 0, sender_index)
        plain = _pack(payload, INIT_PAYLOAD_SIZE)
        noise = HandshakeState.initiator(
            self._static, self._responder_public, self._preshared_key, PROLOGUE + header, self._rng
        )
        try:
            body = header + noise.write_message(plain)
        except NoiseError as error:
            raise HandshakeError(_REASON[error.reason]) from None
        self._noise = noise
        self._index = sender_index
        self._sealed_body = body + self._mac1_out.over(body)
        self._answer = None

    def datagram(self, cookie: bytes | None = None) -> bytes:
        """Returns the INIT, with mac2 under the cookie the server gave this link, if it did."""
        if self._noise is None:
            raise ValueError("there is no handshake to send: start() comes first")
        unanswered = self._sealed_body + NO_MAC
        return unanswered if cookie is None else self._sealed_body + mac2(cookie, unanswered)

    def read_cookie(self, datagram: Datagram) -> bytes:
        """Returns the cookie a COOKIE answers the present INIT with; HandshakeError otherwise."""
        if self._noise is None:
            raise HandshakeError("handshake_unexpected")
        return open_cookie(self._responder_public, datagram, self._index, self.last_mac1)

    def read_response(self, datagram: Datagram) -> Established:
        """Returns what the RESPONSE to the present INIT establishes; HandshakeError otherwise."""
        reason = self._mac1_in.refusal(datagram, RESPONSE, RESPONSE_SIZE)
        if reason is not None:
            raise HandshakeError(reason)
        if self._noise is None:
            raise HandshakeError("handshake_unexpected")
        if index_of(datagram) != self._index:
            raise HandshakeError("handshake_index")
        message = bytes(datagram[HEADER.size : -MACS_SIZE])
        if self._answer is None:
            self._answer = message, self._open(self._noise, message)
        known, outcome = self._answer
        if message != known:
            raise HandshakeError("handshake_unexpected")
        if isinstance(outcome, HandshakeError):
            raise HandshakeError(outcome.reason)
        return outcome

    def _open(self, noise: HandshakeState, message: bytes) -> Established | HandshakeError:
        try:
            plain = noise.read_message(message)
        except NoiseError as error:
            raise HandshakeError(_REASON[error.reason]) from None
        try:
            payload = _unpack(plain)
            peer_index = _index(payload)
        except HandshakeError as error:
            # only the server can have sealed this: it ends the handshake as a good answer does
            return error
        send_key, receive_key = noise.split()
        return Established(
            payload=payload,
            peer_index=peer_index,
            remote_public=self._responder_public,
            send_key=send_key,
            receive_key=receive_key,
            hash=noise.hash,
        )


class Responder:
    """The server's side: holds its key and no state about anyone."""

    def __init__(self, static_private: bytes, rng: "random.Random") -> None:
        self._static = KeyPair.from_private(static_private)
        self._rng = rng
        self._mac1 = Mac1(self._static.public)

    @property
    def public(self) -> bytes:
        """This side's public key."""
        return self._static.public

    def refusal(self, datagram: Datagram) -> str | None:
        """Returns why a datagram is no INIT for this server, None if it is worth opening.

        Costs one hash at most: this is what a flood gets to see.
        """
        return self._mac1.refusal(datagram, INIT, INIT_SIZE)

    def check_mac1(self, datagram: Datagram) -> bool:
        """Tells whether `refusal` finds nothing to object to."""
        return self.refusal(datagram) is None

    def parse_init(self, datagram: Datagram) -> InitRequest:
        """Opens an INIT (two Diffie-Hellmans); HandshakeError if it is not one for this server.

        The caller then looks up `remote_public` and its preshared key.
        """
        reason = self.refusal(datagram)
        if reason is not None:
            raise HandshakeError(reason)
        data = bytes(datagram)
        noise = HandshakeState.responder(self._static, PROLOGUE + data[: HEADER.size], self._rng)
        try:
            plain = noise.read_message(data[HEADER.size : -MACS_SIZE])
        except NoiseError as error:
            raise HandshakeError(_REASON[error.reason]) from None
        return InitRequest(
            remote_public=noise.remote_public,
            payload=_unpack(plain),
            sender_index=index_of(data),
            digest=init_digest(data),
            noise=noise,
        )

    def respond(
        self, request: InitRequest, preshared_key: bytes, payload: Mapping[str, Any]
    ) -> tuple[bytes, Established]:
        """Returns the RESPONSE and this side's keys; works once for a request.

        `payload` names this side's index under "index" and fits RESPONSE_MAP_LIMIT, or ValueError.
        """
        try:
            _index(payload)
        except HandshakeError:
            raise ValueError('a response needs an "index" of 32 bits in its payload') from None
        plain = _pack(payload, RESPONSE_PAYLOAD_SIZE)
        noise = request.noise
        noise.set_preshared_key(preshared_key)
        try:
            message = noise.write_message(plain)
        except NoiseError as error:
            raise HandshakeError(_REASON[error.reason]) from None
        body = HEADER.pack(RESPONSE, VERSION, 0, request.sender_index) + message
        send_key, receive_key = noise.split()
        established = Established(
            payload=request.payload,
            peer_index=request.sender_index,
            remote_public=request.remote_public,
            send_key=send_key,
            receive_key=receive_key,
            hash=noise.hash,
        )
        return body + Mac1(request.remote_public).over(body) + NO_MAC, established


def required(payload: Mapping[str, Any], key: str, kind: type[T]) -> T:
    """Returns the value of `key`; HandshakeError "handshake_payload" if absent or of another type.

    True and False are no numbers here.
    """
    value = payload.get(key)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise HandshakeError("handshake_payload")
    return value


def optional(payload: Mapping[str, Any], key: str, kind: type[T], default: T) -> T:
    """As `required`, but an absent key or a null means `default`."""
    return default if payload.get(key) is None else required(payload, key, kind)


def packed_size(payload: Mapping[str, Any]) -> int:
    """Returns the bytes of a map as msgpack, to be held against a limit."""
    return len(msgpack.packb(payload))


def _pack(payload: Mapping[str, Any], size: int) -> bytes:
    packed: bytes = msgpack.packb(payload)
    if len(packed) > size - LENGTH_SIZE:
        limit = size - LENGTH_SIZE
        raise ValueError(f"a handshake payload of {len(packed)} bytes, and {limit} fit")
    return (len(packed).to_bytes(LENGTH_SIZE) + packed).ljust(size, b"\0")


def _unpack(plain: bytes) -> dict[str, Any]:
    length = int.from_bytes(plain[:LENGTH_SIZE])
    packed = plain[LENGTH_SIZE : LENGTH_SIZE + length]
    try:
        payload = msgpack.unpackb(packed, strict_map_key=True)
    except (ValueError, msgpack.UnpackException):
        raise HandshakeError("handshake_payload") from None
    if (
        len(packed) < length
        or not isinstance(payload, dict)
        or not all(isinstance(key, str) for key in payload)
    ):
        raise HandshakeError("handshake_payload")
    return payload


def _index(payload: Mapping[str, Any]) -> int:
    index = required(payload, "index", int)
    if not 0 <= index < _INDEX_LIMIT:
        raise HandshakeError("handshake_payload")
    return index
