"""What must be remembered across a kill -9: files in the state directory, written before the change.

    <tun>.lock     held (flock) by the living instance that owns the name, however it dies
    <tun>.json     its record: the slot it holds and whether it has a firewall table
    sysctls.json   all instances' changed sysctls with their old values and who wants them changed
    sysctls.lock   held for the moments in which that file is read and written

Records name the boot and the network namespace they speak of: after a reboot, or seen from another
namespace, they say nothing about the system at hand and are dropped. Files are replaced as a whole
(write, fsync, rename, fsync of the directory), so that a reader sees the old or the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from typing import TYPE_CHECKING, Any, Final

from mpbond.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

FORMAT: Final = 1
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"


def place() -> str:
    """Returns a word for this boot and this thread's network namespace."""
    with open(_BOOT_ID) as boot:
        return f"{boot.read().strip()}:{os.stat('/proc/thread-self/ns/net').st_ino}"


class Journal:
    """One instance's lock and record.

    Attributes:
        leftover: the record of a predecessor that did not clean up, or None.

    Raises:
        PlatformError: another living process has the name, or the directory cannot be written.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        make_directory(directory)
        with exclusively(directory):
            self._lock = _open_lock(directory / f"{name}.lock")
            if not _take(self._lock, fcntl.LOCK_EX):
                owner = _owner(self._lock)
                os.close(self._lock)
                raise PlatformError(
                    f"another mpbond{owner} runs the tunnel {name} (it holds"
                    f" {directory / name}.lock); stop it, or give this one another `tun` or"
                    " `state_dir`"
                )
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        record = read(self._path)
        here = record is not None and record.get("place") == place()
        self.leftover: dict[str, Any] | None = record if here else None

    @property
    def _path(self) -> Path:
        return self._directory / f"{self._name}.json"

    def write(self, record: dict[str, Any]) -> None:
        """Puts the record on disk before it returns."""
        write(self._path, {"format": FORMAT, "place": place(), "pid": os.getpid(), **record})

    def close(self, *, clean: bool) -> None:
        """Gives the name free; a record stays behind unless everything is `clean`."""
        if clean:
            self._path.unlink(missing_ok=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def is_alive(directory: Path, name: str) -> bool:
    """Tells whether an instance of this name runs; ask only while holding `exclusively`."""
    try:
        lock = os.open(directory / f"{name}.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _take(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


@contextlib.contextmanager
def exclusively(directory: Path) -> Iterator[None]:
    """Keeps other instances of this state directory out for a moment."""
    lock = _open_lock(directory / "sysctls.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def make_directory(directory: Path) -> None:
    """Makes the state directory if it is not there.

    Raises:
        PlatformError: it cannot be made.
    """
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(directory, error) from None


def read(path: Path) -> dict[str, Any] | None:
    """Returns a file's record, or None if there is none that can be understood."""
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("cannot read the journal %s, going on without it: %s", path, error)
        return None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        logger.warning("the journal %s is of another version, going on without it", path)
        return None
    return record


def write(path: Path, record: dict[str, Any]) -> None:
    """Replaces a file by the record; on disk when this returns.

    Raises:
        PlatformError: the directory cannot be written.
    """
    scratch = path.with_suffix(".new")
    try:
        with open(scratch, "w") as file:
            json.dump(record, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise _unwritable(path.parent, error) from None


def _unwritable(directory: Path, error: OSError) -> PlatformError:
    return PlatformError(
        f"cannot write to the state directory {directory}: {error.strerror}; set `state_dir` to a"
        " directory that mpbond may write"
    )


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(path.parent, error) from None


def _take(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(lock: int) -> str:
    pid = os.pread(lock, 32, 0).decode(errors="replace").strip()
    return f" (pid {pid})" if pid.isdigit() else ""
