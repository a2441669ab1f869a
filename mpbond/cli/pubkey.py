"""`mpbond pubkey`: the public key that belongs to a private one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from mpbond.config import keys
from mpbond.errors import ConfigError

_ENOUGH: Final = 1024  # bytes; a key with its newline has 45


@click.command(short_help="Prints the public key of a private one.")
@click.argument("file", type=click.Path(readable=False, path_type=Path), default=Path("-"))
def pubkey(file: Path) -> None:
    """Prints the public key of the private key in FILE (or on standard input)."""
    try:
        if str(file) == "-":
            text = sys.stdin.buffer.read(_ENOUGH).decode("ascii", "replace")
            private_key = keys.decode_secret(text)
        else:
            private_key = keys.read_key_file(file)
    except keys.UnusableKeyError as problem:
        raise ConfigError(f"{problem.wrong}; {problem.right}.") from None
    click.echo(keys.encode(keys.public_key_of(private_key)))
