"""`mpbond server`: one UDP port, many clients, and the way out."""

import asyncio
import base64
import dataclasses
import logging
import socket
from collections.abc import Hashable
from ipaddress import ip_address, ip_interface
from random import SystemRandom
from typing import Any

from mpbond.config import Network, PeerConfig, ServerConfig, load_server
from mpbond.core.envelope import INIT, INIT_SIZE
from mpbond.core.path import Path
from mpbond.core.peers import Peer, Peers
from mpbond.core.server import ServerEndpoint, ServerSettings
from mpbond.core.session import Session
from mpbond.core.transmit import Event, PathChanged, SessionEnded, SessionStarted
from mpbond.errors import ConfigError, ControlError, PlatformError
from mpbond.io.firewall import ServerRules
from mpbond.io.netlink import LinkState, read_links
from mpbond.io.system import SystemState
from mpbond.io.udp import UdpSocket, payload_mtu
from mpbond.runtime.ciphers import preferred_ciphers
from mpbond.runtime.control import Request
from mpbond.runtime.flood import FloodGuard
from mpbond.runtime.program import (
    Program,
    parse_direction,
    parse_hold,
    parse_scheduler,
    session_status,
)

DEFAULT_LINK_MTU = 1500  # bytes
WATCH_INTERVAL = 0.2  # seconds between looks at what the kernel dropped
FLOOD_WARNING = (
    "A flood of handshake messages is under way: new clients may take longer to connect."
)

_log = logging.getLogger(__name__)


class ServerProgram(Program[ServerConfig]):
    """A server from start to end."""

    role = "server"

    def __init__(self, config: ServerConfig) -> None:
        super().__init__(config)
        self.endpoint: ServerEndpoint
        self._names = {peer.public_key: peer.name for peer in config.clients}
        self._sockets: list[UdpSocket] = []
        self._flood = FloodGuard()

    def make_endpoint(self) -> ServerEndpoint:
        """Build the core."""
        config = self.config
        settings = ServerSettings(
            private_key=config.private_key,
            scheduler=config.scheduler,
            hold=config.hold,
            client_to_client=config.client_to_client,
            dns=tuple(map(str, config.dns)),
            rules=config.rules,
            copy_dscp=config.dscp == "copy",
            ciphers=preferred_ciphers(),
            prefix_of=_prefix_of,
        )
        peers = Peers(config.pool, map(_peer, config.clients))
        self.endpoint = ServerEndpoint(settings, peers, SystemRandom())
        return self.endpoint

    async def set_up(self) -> None:
        """Take the port, then set up the TUN device and the way out, then listen."""
        config = self.config
        self.mtu = config.mtu
        self.addresses = _own_interfaces(config)
        # first what may be refused because of others: then nothing has been changed yet
        link_mtu = await self.on_system(_largest_link_mtu, config.tun)
        self._sockets = self._open_sockets(link_mtu)
        self.endpoint.settings.link_mtu = link_mtu
        await self.on_system(set_up_system, config, self.system)
        self._warn_of_overlap(await self.on_system(read_links, ["*"], (config.tun, "lo")))
        for port in self._sockets:
            self.driver.add_socket(port)
        self.spawn(self._watch_sockets(), "sockets")

    def _warn_of_overlap(self, links: dict[str, LinkState]) -> None:
        """A pool inside a network this machine is on takes addresses from its neighbours."""
        for link in links.values():
            for address in link.addresses:
                for pool in self.config.pool:
                    if pool.version == address.version and pool.overlaps(address.network):
                        text = (
                            f"The pool {pool} overlaps {address.network} on {link.name}: "
                            "hosts there cannot be reached; choose another in [server] pool."
                        )
                        _log.warning("%s", text)
                        self.warnings[f"pool {pool}"] = text

    def _open_sockets(self, link_mtu: int) -> list[UdpSocket]:
        sockets: list[UdpSocket] = []
        for listen in self.config.listen:
            family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
            try:
                port = UdpSocket(
                    family,
                    mtu=payload_mtu(link_mtu, family),
                    bind=(listen.host, listen.port),
                    offload=self.config.offload,
                )
            except PlatformError as error:
                if family == socket.AF_INET6 and not socket.has_ipv6:
                    self.warnings["ipv6"] = str(error)
                    continue
                raise
            sockets.append(port)
        if not sockets:
            raise PlatformError("No address of [server] listen can be used on this machine.")
        return sockets

    def handle_event(self, event: Event) -> None:
        """Write down who comes and goes."""
        if isinstance(event, SessionStarted):
            _log.info("%s connected, %s", self._name(event.peer), ", ".join(event.addresses))
        elif isinstance(event, SessionEnded):
            _log.info("%s disconnected: %s", self._name(event.peer), event.reason)
        elif isinstance(event, PathChanged):
            _log.info(
                "%s: path %d is %s: %s",
                self._name(event.peer),
                event.path_id,
                event.state,
                event.reason,
            )

    def handle_set(self, name: str, value: Any, request: Request) -> None:
        """Carry out `mpbond set` for one client or all."""
        sessions = self._chosen(request.get("client"))
        if name == "scheduler":
            scheduler = parse_scheduler(value)
            if parse_direction(request) == "up":
                raise ControlError("The uplink's scheduler is the client's: set it there.")
            for session in sessions:
                session.sender.outbound.set_scheduler(scheduler)
        elif name == "hold":
            hold = parse_hold(value)
            for session in sessions:
                session.sender.hold_override = hold
        else:
            if name in ("tier", "cap"):
                raise ControlError(f"A link's {name} is set on the client, which tells the server.")
            raise ControlError(f"{name!r} cannot be set; scheduler and hold can.")

    def describe(self, now: float) -> dict[str, Any]:
        """Return the server's part of status."""
        sessions = []
        for session in self.endpoint.sessions.values():
            peer = self.endpoint.peers.get(session.peer)
            sessions.append(
                {
                    "peer": self._name(session.peer),
                    "public_key": base64.b64encode(session.peer).decode(),
                    "addresses": [str(address) for address in peer.addresses] if peer else [],
                    "routes": [str(route) for route in peer.routes] if peer else [],
                    **session_status(
                        session, now, client=False, local=_local, offloads=self.driver.offloads
                    ),
                }
            )
        return {
            "state": "connected" if sessions else "connecting",
            "sessions": sessions,
            "warnings": [*self.warnings.values(), *self.endpoint.warnings(now)],
        }

    def reload(self) -> None:
        """Read the clients again: removed keys are revoked at once, new ones may come."""
        try:
            config = load_server(self.config.path)
        except ConfigError as error:
            _log.warning("configuration not reloaded: %s", error)
            self.warnings["reload"] = f"The configuration was not reloaded: {error}"
            return
        taken = dataclasses.replace(self.config, clients=config.clients, rules=config.rules)
        if config != taken:
            self.warnings["reload"] = (
                "Only [[client]] and [[rule]] were read again: [server] needs a restart."
            )
            _log.warning("%s", self.warnings["reload"])
        else:
            self.warnings.pop("reload", None)
        config = taken
        self.endpoint.settings.rules = config.rules
        gone = _routes(self.config) - _routes(config)
        before = {peer.public_key: peer for peer in self.config.clients}
        after = {peer.public_key: peer for peer in config.clients}
        for key, peer in before.items():
            if after.get(key) != peer:
                self.endpoint.revoke(key, self.driver.now())
        for key, peer in after.items():
            if before.get(key) != peer:
                self.endpoint.peers.add(_peer(peer))
        self.config = config
        self._names |= {peer.public_key: peer.name for peer in config.clients}
        self.driver.turn()
        self.spawn(self._change_system(config, gone), "system")
        _log.info("configuration reloaded, clients known: %d", len(after))

    async def _change_system(self, config: ServerConfig, gone: set[Network]) -> None:
        for route in gone:
            await self.on_system(self.system.remove_route, route)
        await self.on_system(set_up_system, config, self.system)

    async def _watch_sockets(self) -> None:
        """Guard against floods, and count what the kernel dropped."""
        drops = self.endpoint.drops
        dropped = 0
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            flooded = self._flood.share is not None
            total = sum(port.kernel_drops() for port in self._sockets)
            drops["handshake_flood" if flooded else "receive_buffer_full"] += total - dropped
            dropped = total
            if self._flood.update(self.endpoint.handshakes_seen, self.driver.now()):
                share = self._flood.share
                for port in self._sockets:
                    port.admit_handshakes(share, INIT, INIT_SIZE)
                if share is None:
                    self.warnings.pop("flood", None)
                elif not flooded:
                    self.warnings["flood"] = FLOOD_WARNING
                    _log.warning("%s", FLOOD_WARNING)

    def _chosen(self, name: Any) -> list[Session]:
        sessions = list(self.endpoint.sessions.values())
        if name is None:
            return sessions
        chosen = [session for session in sessions if self._name(session.peer) == name]
        if not chosen:
            raise ControlError(f"No client named {name} is connected.")
        return chosen

    def _name(self, key: bytes) -> str:
        return self._names.get(key, base64.b64encode(key).decode())


def set_up_system(config: ServerConfig, system: SystemState) -> None:
    """Make the system what the configuration says; also the rehearsal of `--dry-run`."""
    routes = tuple(route for peer in config.clients for route in peer.routes)
    system.tun_up(_interfaces(config), config.mtu)
    for route in routes:
        system.route(route)
    system.apply_firewall(
        ServerRules(
            tun=config.tun,
            mtu=config.mtu,
            pool=config.pool,
            no_nat=routes,
            nat=config.nat,
            client_to_client=config.client_to_client,
            guard=system.not_forwarding(),
        )
    )
    system.enable_forwarding()  # its guard stands by now


def _local(path: Path) -> str | None:
    """The address of this machine that the path's client speaks to."""
    spoken_to = path.remote[2] if isinstance(path.remote, tuple) else None
    return None if spoken_to is None else str(ip_address(spoken_to))


def _prefix_of(source: Hashable) -> bytes:
    """The host a datagram came from, or its IPv6 /64: who has one address there has them all."""
    address = ip_address(source[0]) if isinstance(source, tuple) else None
    if address is None:
        return repr(source).encode()
    return address.packed if address.version == 4 else address.packed[:8]


def _peer(config: PeerConfig) -> Peer:
    return Peer(
        name=config.name,
        public_key=config.public_key,
        preshared_key=config.preshared_key,
        fixed=config.addresses,
        routes=config.routes,
    )


def _routes(config: ServerConfig) -> set[Network]:
    return {route for peer in config.clients for route in peer.routes}


def _interfaces(config: ServerConfig) -> list[Any]:
    return [ip_interface(text) for text in _own_interfaces(config)]


def _own_interfaces(config: ServerConfig) -> tuple[str, ...]:
    pairs = zip(config.own_addresses, config.pool, strict=True)
    return tuple(f"{address}/{pool.prefixlen}" for address, pool in pairs)


def _largest_link_mtu(tun: str) -> int:
    """What may leave this machine in one datagram: the MTU of the link with a default gateway."""
    links = read_links(["*"], (tun, "lo")).values()
    outward = [link.mtu for link in links if link.up and link.gateways]
    everything = [link.mtu for link in links if link.up]
    return min(outward or everything or [DEFAULT_LINK_MTU])
