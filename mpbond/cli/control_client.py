"""The command line's end of the control socket: one request, one reply.

A message is four bytes of length, big-endian, and a msgpack map. The socket's mode decides who may
ask, so a refusal by the kernel is told with the group that would be let in.
"""

from __future__ import annotations

import grp
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

import msgpack

from mpbond.config import RUN_DIRECTORY
from mpbond.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TIMEOUT: Final = 5.0  # seconds; a daemon under full load answers within some hundredths
LARGEST_MESSAGE: Final = 1 << 20  # bytes, by the protocol
_LENGTH: Final = struct.Struct(">I")
_START: Final = "start it by mpbond client --config FILE or mpbond server --config FILE"


class NobodyListensError(ControlError):
    """No daemon is behind this control socket."""


def request(
    path: Path, message: Mapping[str, object], *, timeout: float = TIMEOUT
) -> dict[str, Any]:
    """Sends one request to the daemon at `path` and returns its reply; raises ControlError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        _connect(connection, path)
        try:
            body = msgpack.packb(dict(message))
            connection.sendall(_LENGTH.pack(len(body)) + body)
            reply = _reply(connection, path)
        except TimeoutError:
            wrong = f"mpbond at {path} did not answer within {timeout:g} seconds"
            raise ControlError(f"{wrong}; look at its log.") from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise ControlError(f"mpbond at {path} hung up ({reason}); look at its log.") from None
    if reply.get("ok") is not True:
        refusal = reply.get("error")
        raise ControlError(
            str(refusal) if refusal else f"mpbond at {path} refused, without a word."
        )
    return reply


def find_sockets(directory: Path | None = None) -> list[Path]:
    """Lists the control sockets of this machine, by name; a socket may be a dead daemon's."""
    directory = directory or RUN_DIRECTORY
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == ".sock")
    except FileNotFoundError:
        return []
    except OSError as error:
        reason = error.strerror or str(error)
        raise ControlError(f"{directory} cannot be read ({reason}); run as root.") from None


def nobody_runs() -> ControlError:
    """Tells that there is no daemon at all, and which command starts one."""
    return NobodyListensError(
        f"no mpbond is running here; {_START}, or name its socket by --control if it is not in "
        f"{RUN_DIRECTORY}."
    )


def _connect(connection: socket.socket, path: Path) -> None:
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        raise NobodyListensError(f"no mpbond is running at {path}; {_START}.") from None
    except PermissionError:
        raise ControlError(f"you may not ask mpbond at {path}; run as {_who_may(path)}.") from None
    except TimeoutError:
        raise ControlError(
            f"mpbond at {path} does not take connections; look at its log."
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ControlError(f"{path} is no control socket of mpbond ({reason}).") from None


def _who_may(path: Path) -> str:
    try:
        group = path.stat().st_gid
        name = grp.getgrgid(group).gr_name
    except (OSError, KeyError):
        return "root"
    return "root" if group == 0 else f"root or join the group {name}"


def _reply(connection: socket.socket, path: Path) -> dict[str, Any]:
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size, path))
    if length > LARGEST_MESSAGE:
        raise _not_mpbond(path)
    try:
        reply = msgpack.unpackb(_exactly(connection, length, path))
    except (ValueError, msgpack.UnpackException):
        raise _not_mpbond(path) from None
    if not isinstance(reply, dict):
        raise _not_mpbond(path)
    return reply


def _exactly(connection: socket.socket, size: int, path: Path) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise ControlError(f"mpbond at {path} hung up without an answer; look at its log.")
        parts += part
    return bytes(parts)


def _not_mpbond(path: Path) -> ControlError:
    return ControlError(f"what answers at {path} does not speak mpbond's control protocol.")
