"""Kernel settings under /proc/sys that several tunnels may want and the last one puts back.

Two tunnels over the same modems both need `rp_filter` loose; the first to end must not take it away
from the second. So the state directory has one ledger for all instances: per setting the value found
before any of us, and who wants it changed. Whoever leaves strikes its name out; a setting nobody
alive wants any more gets its old value back, unless somebody else has changed it since.

Settings of a network interface are known by the interface's index. A modem that was pulled and came
back is a new interface with settings of its own; one that was renamed keeps them under a new path.

Some settings drag others along (`ip_forward` sets `forwarding` of every interface). Those are put
down with the one that causes it and restored after it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from typing import TYPE_CHECKING, Any, Final

from mpbond.errors import PlatformError
from mpbond.io import journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

logger = logging.getLogger(__name__)

_ROOT: Final = "/proc/sys"
_LEDGER: Final = "sysctls.json"
_NOT_INTERFACES: Final = frozenset({"all", "default"})


def normal_path(path: str) -> str:
    """Returns a setting's path below /proc/sys; `net.ipv4.ip_forward` is understood too."""
    return path.strip("/") if "/" in path else path.replace(".", "/")


def read_sysctl(path: str) -> str | None:
    """Returns the present value, None if this system has no such setting."""
    try:
        with open(f"{_ROOT}/{normal_path(path)}") as file:
            return " ".join(file.read().split())
    except OSError as error:
        # conf/<interface>/* of an interface that has just gone answers EINVAL or ENODEV
        if error.errno in (errno.ENOENT, errno.EINVAL, errno.ENODEV, errno.ENOTDIR):
            return None
        raise PlatformError(f"cannot read {_ROOT}/{path}: {error.strerror}") from None


def write_sysctl(path: str, value: str) -> None:
    """Sets a value.

    Raises:
        PlatformError: this system has no such setting, or does not let us.
    """
    path = normal_path(path)
    try:
        with open(f"{_ROOT}/{path}", "w") as file:
            file.write(f"{value}\n")
    except OSError as error:
        remedy = {
            errno.ENOENT: "this kernel has no such setting (or the interface is gone)",
            errno.EROFS: "/proc/sys is read-only here; set it outside of the container"
            f" (docker run --sysctl {path.replace('/', '.')}={value})",
            errno.EACCES: "not permitted; run mpbond as root or set it in /etc/sysctl.d",
            errno.EPERM: "not permitted; run mpbond as root or set it in /etc/sysctl.d",
        }.get(error.errno or 0, os.strerror(error.errno or 0))
        raise PlatformError(f"cannot set the sysctl {path} to {value}: {remedy}") from None


def interfaces(family: str) -> list[str]:
    """Returns the names that have settings under net/<family>/conf, without `all` and `default`."""
    try:
        names = os.listdir(f"{_ROOT}/net/{family}/conf")
    except FileNotFoundError:
        return []
    return sorted(set(names) - _NOT_INTERFACES)


class SysctlLedger:
    """One instance's view of the shared ledger; `user` is its name, `echo` gets each command."""

    def __init__(
        self, directory: Path, user: str, *, dry_run: bool, echo: Callable[[str], None]
    ) -> None:
        self._directory = directory
        self._user = user
        self._dry_run = dry_run
        self._echo = echo
        self._lamented: set[str] = set()

    def change(self, path: str, value: str, drags: Iterable[str] = ()) -> None:
        """Sets a value, having put down the old one and those it drags along.

        A value that is right already, and not by our doing, is nobody's to restore.

        Raises:
            PlatformError: as `write_sysctl`.
        """
        path = normal_path(path)
        present = read_sysctl(path)
        if self._dry_run:
            if present != value:
                self._echo(command(path, value))
            return
        with self._ledger() as entries:
            entry = _find(entries, path)
            if entry is None and present == value:
                return
            if entry is None:
                dragged = [_item(p, old) for p in drags if (old := read_sysctl(p)) is not None]
                entry = _item(path, present if present is not None else value)
                entry |= {"drags": dragged, "users": []}
                entries.append(entry)
            entry["new"] = value
            if self._user not in entry["users"]:
                entry["users"].append(self._user)
        if present != value:
            self._echo(command(path, value))
            write_sysctl(path, value)

    def prefer(self, path: str, value: str) -> None:
        """Sets a value if it can be set; else says so in the log, once.

        For what usually is right already where it cannot be set, as in a container.
        """
        if path in self._lamented:
            return
        try:
            self.change(path, value)
        except PlatformError as error:
            if read_sysctl(path) is not None:
                self._lamented.add(path)
                logger.warning("%s; going on without", error)

    def original(self, path: str) -> str | None:
        """Returns the value a setting had before any of us changed it."""
        path = normal_path(path)
        if not self._dry_run:
            with journal.exclusively(self._directory):
                entry = _find(self._read(), path)
            if entry is not None:
                return str(entry["old"])
        return read_sysctl(path)

    def release(self, interface: str | None = None) -> None:
        """Strikes this instance out, of one interface's settings or of all, and restores.

        Also restores what instances that died have left. Settings that are gone count as restored.
        """
        index = None if interface is None else _index(interface)
        if interface is not None and index is None:
            return
        refusal: PlatformError | None = None
        with self._ledger() as entries:
            for entry in reversed(list(entries)):
                if index is None or entry["ifindex"] == index:
                    entry["users"] = [u for u in entry["users"] if u != self._user]
                entry["users"] = [
                    u
                    for u in entry["users"]
                    if u == self._user or journal.is_alive(self._directory, u)
                ]
                if not entry["users"]:
                    try:
                        self._restore(entry)
                    except PlatformError as error:
                        refusal = error
                        continue
                    entries.remove(entry)
        if refusal is not None:
            raise refusal

    def _restore(self, entry: dict[str, Any]) -> None:
        path = _path_now(entry)
        if path is None or read_sysctl(path) != entry["new"]:
            return
        for item in [entry, *entry["drags"]]:
            path = _path_now(item)
            if path is not None and read_sysctl(path) not in (None, item["old"]):
                self._echo(command(path, item["old"]))
                write_sysctl(path, item["old"])

    @contextlib.contextmanager
    def _ledger(self) -> Any:
        with journal.exclusively(self._directory):
            entries = self._read()
            before = repr(entries)
            try:
                yield entries
            finally:
                if repr(entries) != before:
                    self._write(entries)

    def _read(self) -> list[dict[str, Any]]:
        record = journal.read(self._directory / _LEDGER) or {}
        return [e for e in _of_this_boot(record) if e["place"] == journal.place()]

    def _write(self, entries: list[dict[str, Any]]) -> None:
        path, here = self._directory / _LEDGER, journal.place()
        record = journal.read(path) or {}
        others = [e for e in _of_this_boot(record) if e["place"] != here]
        if entries or others:
            journal.write(path, {"format": journal.FORMAT, "entries": [*others, *entries]})
        else:
            path.unlink(missing_ok=True)


def command(path: str, value: str) -> str:
    """Returns the shell command that sets a value."""
    path = normal_path(path)
    # an interface name may contain dots: sysctl then takes slashes
    name = path if "." in path else path.replace("/", ".")
    return f"sysctl -w {name}={value}" if " " not in value else f'sysctl -w {name}="{value}"'


def _of_this_boot(record: dict[str, Any]) -> list[dict[str, Any]]:
    boot = journal.place().split(":")[0]
    return [e for e in record.get("entries", []) if e["place"].split(":")[0] == boot]


def _interface(path: str) -> str | None:
    parts = path.split("/")
    if len(parts) == 5 and parts[0] == "net" and parts[2] in ("conf", "neigh"):
        return None if parts[3] in _NOT_INTERFACES else parts[3]
    return None


def _index(interface: str) -> int | None:
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return None


def _item(path: str, old: str) -> dict[str, Any]:
    interface = _interface(path)
    index = None if interface is None else _index(interface)
    return {"place": journal.place(), "path": path, "ifindex": index, "old": old}


def _path_now(item: dict[str, Any]) -> str | None:
    """Returns where a setting stands today: its interface may be gone or have another name."""
    path = str(item["path"])
    if item["ifindex"] is None:
        return path if _interface(path) is None else None
    try:
        name = socket.if_indextoname(item["ifindex"])
    except OSError:
        return None
    parts = path.split("/")
    parts[3] = name
    return "/".join(parts)


def _find(entries: Iterable[dict[str, Any]], path: str) -> dict[str, Any] | None:
    return next((e for e in entries if _path_now(e) == path), None)
