"""CONTROL: small messages that must arrive, in order, once (docs/protocol.md lists them).

A message is a msgpack map in one frame, numbered from 0; the frame is resent until acknowledged, and the
receiver delivers messages in the order of their numbers.
"""

from collections.abc import Callable
from typing import Any

import msgpack

from mpbond.core.wire import WireError, control_frame

MAXIMUM_SIZE = 500  # bytes of msgpack: fits a datagram of the smallest path
MAXIMUM_EARLY = 512  # messages that may wait for an earlier one


class ControlChannel:
    """Both directions of a session's CONTROL messages; `inbox` holds what came, oldest first."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.inbox: list[dict[str, Any]] = []
        self._send = send
        self._next_sent = 0
        self._next_received = 0
        self._early: dict[int, dict[str, Any]] = {}

    def post(self, message: dict[str, Any]) -> None:
        """Send a message. Raises ValueError when it is too long for one datagram."""
        body = msgpack.packb(message)
        if len(body) > MAXIMUM_SIZE:
            raise ValueError(f"a CONTROL message of {len(body)} bytes exceeds {MAXIMUM_SIZE}")
        self._send(control_frame(self._next_sent, body))
        self._next_sent += 1

    def on_message(self, number: int, body: bytes) -> None:
        """Take a received message. Raises WireError when it is too long or not a map."""
        if len(body) > MAXIMUM_SIZE:
            raise WireError("CONTROL is too long")
        if number < self._next_received or number >= self._next_received + MAXIMUM_EARLY:
            return
        self._early[number] = _unpack(body)
        while self._next_received in self._early:
            self.inbox.append(self._early.pop(self._next_received))
            self._next_received += 1


def _unpack(body: bytes) -> dict[str, Any]:
    try:
        message = msgpack.unpackb(body, strict_map_key=True)  # lengths are bounded by the body's
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError("CONTROL is not msgpack") from error
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise WireError("CONTROL is not a map")
    return message
