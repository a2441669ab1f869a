"""Keys: made, read from files, written to files, and told apart from rubbish.

A key is 32 bytes, written as 44 characters of base64 on one line. A file with a secret key must be
closed to group and others; it is checked on the open descriptor, so that what was checked is what
is read. A public key of low order (which would make every shared secret zero) is refused by trying
one exchange with it: the library reports the zero.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

if TYPE_CHECKING:
    from pathlib import Path

KEY_SIZE: Final = 32
_LARGEST_KEY_FILE: Final = 4096  # bytes; a key with its newline has 45
_MAKE_ONE: Final = "use a key made by mpbond keygen"
_TAKE_PUBLIC: Final = "use the public key that mpbond pubkey prints"


class UnusableKeyError(Exception):
    """A key that cannot be used: what is wrong with it and what would be right."""

    def __init__(self, wrong: str, right: str) -> None:
        super().__init__(f"{wrong}; {right}")
        self.wrong = wrong
        self.right = right


def generate_private_key() -> bytes:
    """Makes a fresh X25519 private key."""
    return X25519PrivateKey.generate().private_bytes_raw()


def generate_preshared_key() -> bytes:
    """Makes a fresh preshared key."""
    return secrets.token_bytes(KEY_SIZE)


def public_key_of(private_key: bytes) -> bytes:
    """Derives the public key that belongs to a private one."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def encode(key: bytes) -> str:
    """Writes a key as base64."""
    return base64.b64encode(key).decode("ascii")


def decode_secret(text: str) -> bytes:
    """Reads a private or preshared key from base64; raises UnusableKeyError, which never repeats
    it."""
    key = _decode(text, "the key", _MAKE_ONE)
    if key == bytes(KEY_SIZE):
        raise UnusableKeyError("the key is all zeros", _MAKE_ONE)
    return key


def decode_public(text: str) -> bytes:
    """Reads a public key from base64; raises UnusableKeyError, also for a key of low order."""
    key = _decode(text, f'"{text[:60]}"', _TAKE_PUBLIC)
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(key))
    except ValueError:
        wrong = f'"{text}" is a point of low order, with which every secret would be zero'
        raise UnusableKeyError(wrong, _TAKE_PUBLIC) from None
    return key


def read_key_file(path: Path) -> bytes:
    """Reads a private or preshared key from a file closed to others; raises UnusableKeyError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        right = f"make it by mpbond keygen -o {path}, with --psk for a preshared key"
        raise UnusableKeyError(f"there is no file {path}", right) from None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    try:
        refuse_if_open_to_others(path, os.fstat(descriptor))
        text = os.read(descriptor, _LARGEST_KEY_FILE).decode("ascii", "replace").strip()
    except OSError as error:
        raise unreadable(path, error) from None
    finally:
        os.close(descriptor)
    if not text:
        raise UnusableKeyError(f"{path} is empty", f"make a key by mpbond keygen --force -o {path}")
    try:
        return decode_secret(text)
    except UnusableKeyError as problem:
        wrong = problem.wrong.replace("the key", f"the key in {path}", 1)
        raise UnusableKeyError(wrong, problem.right) from None


def write_secret_file(path: Path, key: bytes, *, replace: bool) -> None:
    """Writes a secret key to a file of mode 0600; refuses an existing one unless `replace`.

    Raises FileExistsError or another OSError. A replaced file is exchanged in one step.
    """
    target = path.with_name(path.name + ".new") if replace else path
    if replace:
        target.unlink(missing_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(encode(key) + "\n")
    if replace:
        target.replace(path)


def refuse_if_open_to_others(path: Path, status: os.stat_result) -> None:
    """Raises UnusableKeyError unless `path` is a regular file that only its owner can read or
    write."""
    if not stat.S_ISREG(status.st_mode):
        raise UnusableKeyError(f"{path} is not a regular file", "name a file that holds the key")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        wrong = f"{path} is open to group or others (mode {mode:04o})"
        raise UnusableKeyError(wrong, f"run chmod 600 {path}")


def unreadable(path: Path, error: Exception) -> UnusableKeyError:
    """Tells why a file with a key cannot be read."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    wrong = f"{path} cannot be read ({reason})"
    return UnusableKeyError(wrong, "name a file that the user mpbond runs as can read")


def _decode(text: str, name: str, right: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise UnusableKeyError(f"{name} is not base64", right) from None
    if len(key) != KEY_SIZE:
        wrong = f"{name} holds {len(key)} bytes instead of {KEY_SIZE}"
        raise UnusableKeyError(wrong, right)
    return key


_PROBE: Final = X25519PrivateKey.from_private_bytes(b"\x40" * KEY_SIZE)
