"""The two long-running verbs, as the command line calls them."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import uvloop

from mpbond.config import ClientConfig, ServerConfig
from mpbond.io.firewall import ClientRules
from mpbond.io.netlink import LinkState, read_links
from mpbond.io.system import SystemState
from mpbond.runtime import client, server
from mpbond.runtime.program import Program


def run_client(config: ClientConfig, *, dry_run: bool) -> int:
    """Run a client until it is told to stop; return the exit status. Raises PlatformError."""
    if dry_run:
        links = read_links(config.links, (config.tun, "lo"))
        system = SystemState(config.state_dir, config.tun, dry_run=True, echo=print)
        _rehearse(config, system, links)
        return 0
    return _run(lambda: client.ClientProgram(config))


def run_server(config: ServerConfig, *, dry_run: bool) -> int:
    """Run a server until it is told to stop; return the exit status. Raises PlatformError."""
    if dry_run:
        system = SystemState(config.state_dir, config.tun, dry_run=True, echo=print)
        server.set_up_system(config, system)
        return 0
    return _run(lambda: server.ServerProgram(config))


def _run(make: Callable[[], Program[Any]]) -> int:
    async def main() -> int:
        return await make().run()

    # uvloop.install() would break pyroute2's synchronous calls in other threads
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _rehearse(config: ClientConfig, system: SystemState, links: Mapping[str, LinkState]) -> None:
    """Echo what a start would change now (`--dry-run`); addresses come from the server later."""
    system.tun_up([], config.mtu or client.DEFAULT_TUN_MTU)
    for name, state in links.items():
        gateway = config.settings_of(name).gateway
        system.link_table(state, (gateway,) if gateway is not None else ())
    if config.default_route:
        system.default_route(True)
    if config.masquerade or config.default_route:
        system.apply_firewall(
            ClientRules(
                tun=config.tun,
                mtu=config.mtu or client.DEFAULT_TUN_MTU,
                addresses=(),
                links=tuple(links),
                masquerade=config.masquerade,
                direct=config.when_down == "direct",
                guard=system.not_forwarding(),
            )
        )
        system.enable_forwarding()
