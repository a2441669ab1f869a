"""The errors a person can do something about.

Each carries one sentence that names the guilty thing and what would be right; the command line
prints it and exits with 1. What the network sends never becomes one of these: it is a counted drop
(see `mpbond.core.stats`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path


class MpbondError(Exception):
    """Any foreseeable failure, told in one sentence."""


class ConfigError(MpbondError):
    """A configuration that cannot be used: names the file, the key path and what would be right."""

    @classmethod
    def at(cls, file: Path, key: str, wrong: str, right: str) -> Self:
        """Makes the sentence `file: key: wrong; right.`; an empty key means the file as a whole."""
        place = f"{file}: {key}: " if key else f"{file}: "
        return cls(f"{place}{wrong}; {right}.")


class PlatformError(MpbondError):
    """The system refuses something mpbond needs (a device, a permission, a port)."""


class ControlError(MpbondError):
    """A running mpbond cannot be reached over its control socket, or refuses the request."""


class HandshakeError(MpbondError):
    """A handshake message that cannot be accepted; `reason` is its drop counter's label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
