"""The control socket: `mpbond status` and `mpbond set` talk to a running program here.

A unix stream socket with mode 0600, or 0660 for a named group. A request and a reply are each a 4-byte
big-endian length and a msgpack map. A malformed request ends its connection and nothing else.
"""

import asyncio
import contextlib
import grp
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

from mpbond.errors import ControlError, PlatformError

MAXIMUM_REQUEST = 1 << 16  # bytes
REQUEST_TIMEOUT = 10.0  # seconds a connection may take to say what it wants

Request = dict[str, Any]
Handler = Callable[[Request], dict[str, Any]]

_log = logging.getLogger(__name__)


class ControlServer:
    """Answers requests with `handler`, which raises ControlError to refuse one in a sentence."""

    def __init__(self, path: Path, group: str | None, handler: Handler) -> None:
        self._path = path
        self._group = group
        self._handler = handler
        self._listener: socket.socket | None = None
        self._server: asyncio.Server | None = None

    def bind(self) -> None:
        """Take the socket's place; nobody is answered yet. Raises PlatformError when it cannot be."""
        self._listener = self._make()

    async def start(self) -> None:
        """Answer from now on."""
        assert self._listener is not None
        self._server = await asyncio.start_unix_server(self._serve, sock=self._listener)

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
        if self._listener is not None:
            self._listener.close()
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    def _make(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._remove_stale()
            before = os.umask(0o177)
            try:
                listener.bind(str(self._path))
            finally:
                os.umask(before)
            if self._group is not None:
                os.chown(self._path, -1, grp.getgrnam(self._group).gr_gid)
                self._path.chmod(0o660)
        except KeyError as error:
            listener.close()
            raise PlatformError(
                f"There is no group named {self._group} (control_group): create it, or name another."
            ) from error
        except OSError as error:
            listener.close()
            raise PlatformError(
                f"The control socket {self._path} cannot be made: {error.strerror}; "
                "choose another place with `control`."
            ) from error
        listener.setblocking(False)
        return listener

    def _remove_stale(self) -> None:
        """Remove a socket nobody listens on; refuse to take one from a living program."""
        if not self._path.is_socket():
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self._path))
            except ConnectionRefusedError:
                self._path.unlink()
                return
            except OSError:
                return
        raise PlatformError(
            f"Another mpbond answers on {self._path}: stop it, or choose another `control`."
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await asyncio.wait_for(_read(reader), REQUEST_TIMEOUT)
                reply = self._answer(request)
                body = msgpack.packb(reply)
                writer.write(len(body).to_bytes(4, "big") + body)
                await writer.drain()
        except (ControlError, TimeoutError, OSError, EOFError):
            pass
        finally:
            writer.close()

    def _answer(self, request: Request) -> dict[str, Any]:
        try:
            return {"ok": True, **self._handler(request)}
        except ControlError as error:
            return {"ok": False, "error": str(error)}
        except Exception:
            _log.exception("a control request failed")
            return {"ok": False, "error": "The request failed inside mpbond; its log tells why."}


async def _read(reader: asyncio.StreamReader) -> Request:
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > MAXIMUM_REQUEST:
        raise ControlError("The request is too long.")
    body = await reader.readexactly(length)
    try:
        request = msgpack.unpackb(body, strict_map_key=True)
    except Exception as error:  # msgpack raises a dozen kinds, ValueError and its own among them
        raise ControlError("The request is not msgpack.") from error
    if not isinstance(request, dict):
        raise ControlError("The request is not a map.")
    return request
