"""From a path to a configuration: reads the file, finds out whose it is, and hands it on.

A `[server]` table makes it a server's configuration, a `[client]` table a client's. The words
overlap (`[[client]]`, a list, stands in a server's file), so a file that mixes them is told what
to change.
"""

from __future__ import annotations

import re
import stat
import tomllib
from typing import TYPE_CHECKING, Final

from mpbond.config.client import parse_client
from mpbond.config.model import ClientConfig, ServerConfig
from mpbond.config.place import Place, kind, shown
from mpbond.config.server import parse_server

if TYPE_CHECKING:
    from pathlib import Path

    from mpbond.errors import ConfigError

FORMAT: Final = 1
_LARGEST_FILE: Final = 1 << 20  # bytes; ten thousand clients fit in it
_WHERE: Final = re.compile(
    r"^(?P<what>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)$"
)


def load(path: Path) -> ClientConfig | ServerConfig:
    """Reads a configuration of either role; raises ConfigError."""
    return parse(_document(path), path)


def load_client(path: Path) -> ClientConfig:
    """Reads a client's configuration; raises ConfigError, also if it is a server's."""
    config = load(path)
    if isinstance(config, ClientConfig):
        return config
    raise Place(path).error("is a server's configuration", f"run mpbond server --config {path}")


def load_server(path: Path) -> ServerConfig:
    """Reads a server's configuration; raises ConfigError, also if it is a client's."""
    config = load(path)
    if isinstance(config, ServerConfig):
        return config
    raise Place(path).error("is a client's configuration", f"run mpbond client --config {path}")


def parse(document: dict[str, object], path: Path) -> ClientConfig | ServerConfig:
    """Turns a TOML document, read from `path`, into a configuration; raises ConfigError."""
    top = Place(path)
    _check_version(top, document)
    has_server = "server" in document
    client = document.get("client")
    if has_server and isinstance(client, dict):
        right = "keep one, and write [[client]] for the clients of a server"
        raise top.error("has both a [server] and a [client] table", right)
    if has_server:
        return parse_server(top, document)
    if isinstance(client, list):
        right = "add it, or write [client] with single brackets for a client's own settings"
        raise top.error("has [[client]] but no [server] table", right)
    if client is None:
        right = "add one; mpbond init client and mpbond init server write an example"
        raise top.error("has neither a [client] nor a [server] table", right)
    return parse_client(top, document)


def _check_version(top: Place, document: dict[str, object]) -> None:
    place = top.under("version")
    right = f"write version = {FORMAT}"
    if "version" not in document:
        raise place.error("is missing", f"{right} above the first table")
    version = document["version"]
    if isinstance(version, bool) or not isinstance(version, int):
        raise place.error(f"{shown(version)} is {kind(version)}", right)
    if version != FORMAT:
        raise place.error(f"{shown(version)} is a format that this mpbond does not know", right)


def _document(path: Path) -> dict[str, object]:
    top = Place(path)
    raw = _contents(path)
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise top.error(f"line {line} is not UTF-8 text", "save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(top, str(error)) from None
    except (ValueError, RecursionError):
        wrong = "holds a number too long or lists too deep to be read"
        raise top.error(wrong, "start from a file that mpbond init writes") from None


def _syntax_error(top: Place, message: str) -> ConfigError:
    found = _WHERE.match(message)
    what, line = (found["what"], found["line"]) if found else (message, None)
    if line is None:
        return top.error(f"ends too early ({what})", "complete its last line")
    return top.error(f"line {line} is not TOML ({what})", "correct it there or on the line before")


def _contents(path: Path) -> bytes:
    top = Place(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise top.error("is not a regular file", "name a TOML file")
        with path.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        right = "mpbond init client or mpbond init server writes one"
        raise top.error("does not exist", right) from None
    except OSError as error:
        right = "let the user mpbond runs as read it"
        raise top.error(f"cannot be read ({error.strerror})", right) from None
    if len(raw) > _LARGEST_FILE:
        raise top.error("is larger than 1 MiB", "name a TOML file")
    return raw
