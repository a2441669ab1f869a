"""`mpbond keygen`: a fresh secret key, to standard output or to a file only its owner can read."""

from __future__ import annotations

from pathlib import Path

import click

from mpbond.cli.writing import write_key
from mpbond.config import keys


@click.command(short_help="Makes a private key, or a preshared one.")
@click.option(
    "-o",
    "--output",
    type=click.Path(readable=False, path_type=Path),
    help="Write the key to this file, with mode 0600, instead of printing it.",
)
@click.option("--psk", is_flag=True, help="Make a preshared key, which both sides need.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def keygen(output: Path | None, psk: bool, force: bool) -> None:
    """Makes a private key (or with --psk a preshared one)."""
    key = keys.generate_preshared_key() if psk else keys.generate_private_key()
    if output is None:
        click.echo(keys.encode(key))
        return
    write_key(output, key, replace=force)
    click.echo(f"Wrote {output}.")
    if not psk:
        click.echo(f"Its public key: {keys.encode(keys.public_key_of(key))}")
