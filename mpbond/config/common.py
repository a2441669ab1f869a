"""What a client's and a server's own tables have in common: key, device, control socket, log.

The checks here need more than one key: exactly one private key, a control path that fits into a
socket address, a group that exists.
"""

from __future__ import annotations

import grp
from typing import TYPE_CHECKING, Any, Final

from mpbond.config import keys, values
from mpbond.config.model import DSCP_MODES, LOG_LEVELS, RUN_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mpbond.config.place import Parser, Place

_LONGEST_SOCKET_PATH: Final = 107  # bytes; sun_path without its final zero


def path(place: Place, value: object) -> Path:
    """Reads a path, relative to the configuration's directory."""
    return (place.file.parent / values.text(place, value)).absolute()


def control(place: Place, value: object) -> Path:
    """Reads the path of the control socket."""
    found = path(place, value)
    if len(str(found).encode()) > _LONGEST_SOCKET_PATH:
        right = f"use a path of at most {_LONGEST_SOCKET_PATH} characters"
        raise place.error("is too long for a Unix socket", right)
    return found


def group(place: Place, value: object) -> str:
    """Reads the name of a group of this machine."""
    name = values.text(place, value)
    try:
        grp.getgrnam(name)
    except KeyError:
        right = f"name an existing one or run groupadd --system {name}"
        raise place.error(f'there is no group "{name}" on this machine', right) from None
    return name


def version(_place: Place, value: object) -> object:
    """Passes the format's version, which `loading` has checked before anything else."""
    return value


PARSERS: Final[Mapping[str, Parser[Any]]] = {
    "private_key_file": values.secret_key_file,
    "private_key": values.secret_key,
    "tun": values.interface,
    "offload": values.flag,
    "scheduler": values.scheduler,
    "hold": values.hold,
    "dscp": values.choice(*DSCP_MODES),
    "control": control,
    "control_group": group,
    "state_dir": path,
    "log_level": values.choice(*LOG_LEVELS),
}


def complete(place: Place, found: dict[str, Any]) -> dict[str, Any]:
    """Settles the one private key, its public key and the socket's default path, in place."""
    from_file = found.pop("private_key_file", None)
    inline = found.pop("private_key", None)
    if from_file is not None and inline is not None:
        right = "keep one of them, better private_key_file"
        raise place.error("has both private_key_file and private_key", right)
    private_key = from_file if from_file is not None else inline
    if private_key is None:
        right = "make a key by mpbond keygen -o FILE and name that file here"
        raise place.under("private_key_file").error("is missing", right)
    found["private_key"] = private_key
    found["public_key"] = keys.public_key_of(private_key)
    if "tun" in found and "control" not in found:
        found["control"] = RUN_DIRECTORY / f"{found['tun']}.sock"
    return found


def refuse_own_key(place: Place, public_key: bytes, own: Mapping[str, Any], side: str) -> None:
    """Raises ConfigError if what should be another box's public key is a key of this one."""
    if public_key == own["public_key"]:
        raise place.error("is this box's own public key", f"use the {side}'s")
    if public_key == own["private_key"]:
        right = f"use the {side}'s public key, and make a new private key if this file was shown"
        raise place.error("is this box's private key", right)
