"""`mpbond init`: a working configuration with fresh keys, and what the other side needs to know.

The order of a new pair: `init server` prints the command for the client, with the server's public
key in it; `init client` prints the table that lets it in. Nothing secret is ever printed, and
nothing that exists is overwritten unasked.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mpbond.cli import init_text, writing
from mpbond.config import DEFAULT_PORT, Endpoint, keys, values
from mpbond.config.place import Place
from mpbond.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mpbond.config.place import Parser

ROUTES: Final = Path("/proc/net/route")
ROUTES6: Final = Path("/proc/net/ipv6_route")
_NOWHERE: Final = Place(Path("value"))  # an option stands in no file
_LINKS_IF_NONE: Final = ("wwan*",)
_NUMBERED: Final = re.compile(r"(wwan|usb|ppp)\d+")  # modems, which come and go
_NOT_A_LINK: Final = re.compile(r"lo|mpbond.*|tun.*|wg.*")

_DIRECTORY: Final = click.option(
    "--dir",
    "directory",
    type=click.Path(readable=False, path_type=Path, file_okay=False),
    default="/etc/mpbond",
    show_default=True,
    help="Where to write the configuration and the key.",
)
_FORCE: Final = click.option(
    "--force", is_flag=True, help="Replace files that exist, the key too: the other side needs it."
)


def _read_by(parser: Parser[Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Makes an option's value one of the configuration, with the configuration's own complaints."""

    def read(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
        try:
            if isinstance(value, tuple):
                return tuple(parser(_NOWHERE, item) for item in value)
            return None if value is None else parser(_NOWHERE, value)
        except ConfigError as error:
            raise click.BadParameter(str(error).removeprefix(f"{_NOWHERE.file}: ")) from None

    return read


@click.group(short_help="Writes a working configuration with a fresh key.")
def init() -> None:
    """Writes a working, commented configuration with a fresh key.

    Begin with "mpbond init server" on the server.
    """


@init.command()
@click.option(
    "--endpoint",
    metavar="HOST:PORT",
    callback=_read_by(values.endpoint),
    help="Where clients reach this server; its name or public address.",
)
@_DIRECTORY
@_FORCE
def server(endpoint: Endpoint | None, directory: Path, force: bool) -> None:
    """Writes server.toml and server.key, and prints the command for the client."""
    port = endpoint.port if endpoint else DEFAULT_PORT
    public_key, path = _write(
        directory,
        "server",
        init_text.server_text(key_file="server.key", port=port),
        force=force,
    )
    reached = str(endpoint) if endpoint else f"SERVER:{port}"
    click.echo("\nOn the client, run")
    click.echo(f"\n    mpbond init client --server-key {public_key} --endpoint {reached}\n")
    if not endpoint:
        click.echo("with this server's name or public address for SERVER. ", nl=False)
    click.echo(f"It prints a [[client]] table; add that to {path}, then start this side by")
    click.echo(f"\n    mpbond server --config {path}\n")
    click.echo("A client that has a configuration already needs only this table in it:\n")
    click.echo(init_text.concentrator_table(public_key, reached))


@init.command()
@click.option(
    "--server-key",
    required=True,
    metavar="KEY",
    callback=_read_by(values.public_key),
    help="The server's public key, as mpbond init server prints it.",
)
@click.option(
    "--endpoint",
    "endpoints",
    required=True,
    multiple=True,
    metavar="HOST:PORT",
    callback=_read_by(values.endpoint),
    help="Where the server is reached; give it again for more, best first.",
)
@click.option(
    "--link",
    "links",
    multiple=True,
    metavar="NAME|GLOB",
    callback=_read_by(values.link_pattern),
    help="A link to join; give it again for more. Otherwise those that have a default route now.",
)
@click.option("--name", help="What the server calls this client. Otherwise this machine's name.")
@_DIRECTORY
@_FORCE
def client(
    server_key: bytes,
    endpoints: tuple[Endpoint, ...],
    links: tuple[str, ...],
    name: str | None,
    directory: Path,
    force: bool,
) -> None:
    """Writes client.toml and client.key, and prints the table for the server."""
    found = links or tuple(_links_with_default_route()) or _LINKS_IF_NONE
    text = init_text.client_text(
        key_file="client.key",
        links=tuple(dict.fromkeys(found)),
        server_key=keys.encode(server_key),
        endpoints=[str(endpoint) for endpoint in dict.fromkeys(endpoints)],
    )
    public_key, path = _write(directory, "client", text, force=force)
    click.echo(f"It joins {', '.join(dict.fromkeys(found))}; see links in {path}.")
    click.echo("\nOn the server, add this to its server.toml and start or reload it:\n")
    click.echo(init_text.client_table(name or _machine_name(), public_key))
    click.echo(f"\nThen start this side by\n\n    mpbond client --config {path}")


def _write(directory: Path, role: str, text: str, *, force: bool) -> tuple[str, Path]:
    path, key_path = directory / f"{role}.toml", directory / f"{role}.key"
    if not force:
        writing.refuse_existing(path, key_path)
    private_key = keys.generate_private_key()
    writing.make_directory(directory)
    writing.write_key(key_path, private_key, replace=force)
    writing.write_text(path, text)
    click.echo(f"Wrote {path} and {key_path}.")
    return keys.encode(keys.public_key_of(private_key)), path


def _links_with_default_route() -> Iterator[str]:
    for name in sorted({*_default_devices(ROUTES, 1, 7), *_default_devices(ROUTES6, 0, 1)}):
        if _NOT_A_LINK.fullmatch(name):
            continue
        modem = _NUMBERED.fullmatch(name)
        yield f"{modem[1]}*" if modem else name


def _default_devices(table: Path, destination: int, mask: int) -> Iterator[str]:
    device = 0 if table == ROUTES else -1
    try:
        lines = table.read_text(encoding="ascii").splitlines()
    except OSError:
        return
    for line in lines:
        fields = line.split()
        if len(fields) > mask and not fields[destination].strip("0") + fields[mask].strip("0"):
            yield fields[device]


def _machine_name() -> str:
    name = socket.gethostname().partition(".")[0]
    return name if name.isprintable() and name.strip() else "client"
