"""The program: the verbs in the order one meets them, under one name."""

import click

from mpbond import __version__
from mpbond.cli.check import check
from mpbond.cli.client import client
from mpbond.cli.group import SentenceGroup
from mpbond.cli.init import init
from mpbond.cli.keygen import keygen
from mpbond.cli.pubkey import pubkey
from mpbond.cli.server import server
from mpbond.cli.set import set_group
from mpbond.cli.status import status


def _version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from mpbond.core.kernel import in_use  # most calls do not ask, and it loads libcrypto

    click.echo(f"mpbond {__version__}\nfast path: {in_use()}")
    context.exit()


@click.group(cls=SentenceGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Show the version, and whether the compiled kernel is in use.",
)
def main() -> None:
    """Joins several bad links into one good one.

    Without a verb, shows the status of what runs here. A new pair starts with "mpbond init server"
    on the server; it prints what to run on the client.
    """


for verb in (status, set_group, init, check, server, client, keygen, pubkey):
    main.add_command(verb)
