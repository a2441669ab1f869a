"""`mpbond client`: links come and go, the session stays.

The link watcher's pictures of the system arrive one after the other and are worked off in order: system
first (table and rules of the link), then its sockets, then the core. The default route is moved when the
tunnel comes up or has been down for a while, by `when_down`.
"""

import asyncio
import base64
import logging
import os
import time
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from random import SystemRandom
from typing import Any

from mpbond.config import Address, ClientConfig, load_client
from mpbond.core.client import ClientEndpoint, ClientSettings
from mpbond.core.keys import REKEY_AFTER
from mpbond.core.transmit import Configured, Event, PathChanged, SessionEnded, SessionStarted
from mpbond.core.wire import DATA_OVERHEAD, HEADER_SIZE, TAG_SIZE
from mpbond.errors import ConfigError, ControlError, PlatformError
from mpbond.io.firewall import ClientRules
from mpbond.io.netlink import LinkState, LinkWatcher
from mpbond.runtime.books import Books
from mpbond.runtime.ciphers import preferred_ciphers
from mpbond.runtime.control import Request
from mpbond.runtime.links import Links
from mpbond.runtime.policy import USED_UP, LinkPolicy
from mpbond.runtime.program import (
    Program,
    parse_direction,
    parse_hold,
    parse_scheduler,
    session_status,
)
from mpbond.runtime.resolve import resolve

PLACEHOLDERS = (ip_interface("192.0.0.8/32"), ip_interface("100::1/128"))
"""What the TUN device of a blocking client is called before the server has given it addresses: the IPv4
dummy address (RFC 7600) and one of the discard prefix (RFC 6666). Without any, the kernel would lend
this machine's own connections a link's address, and they would leave by that link."""
REVIEW_INTERVAL = 10.0  # seconds between looks at whether others have removed our rules
MINIMUM_MTU = 1280  # bytes; IPv6 needs it, and smaller paths carry packets in two parts
DEFAULT_TUN_MTU = 1438  # bytes; what fits a datagram on 1,500-byte links over IPv4
DOWN_AFTER = 3.0  # seconds without a path that is up, before traffic goes elsewhere
RESOLVE_INTERVAL = 10.0  # seconds between attempts to resolve the concentrator while not connected
CHECK_INTERVAL = 0.5  # seconds between looks at whether the tunnel is up
COUNT_INTERVAL = 1.0  # seconds between looks at what links have carried

_log = logging.getLogger(__name__)


class ClientProgram(Program[ClientConfig]):
    """A client from start to end."""

    role = "client"

    def __init__(self, config: ClientConfig) -> None:
        super().__init__(config)
        self.endpoint: ClientEndpoint
        self._pictures: asyncio.Queue[dict[str, LinkState]] = asyncio.Queue()
        self._picture: dict[str, LinkState] = {}
        self.links: Links
        self.policy = LinkPolicy(config, Books(config.state_dir, config.tun))
        self._watcher: LinkWatcher | None = None
        self._routed = False  # is the default route in the tunnel?
        self._last_up = float("-inf")
        self._routes: list[Any] = []
        self._dns: list[Any] = []  # what the server recommends; shown, not applied

    def make_endpoint(self) -> ClientEndpoint:
        """Build the core."""
        config = self.config
        settings = ClientSettings(
            private_key=config.private_key,
            server_key=config.concentrator.public_key,
            preshared_key=config.concentrator.preshared_key,
            scheduler=config.scheduler,
            downlink_scheduler=config.downlink_scheduler,
            hold=config.hold,
            keepalive=config.keepalive,
            addresses=tuple(map(str, config.addresses)),
            rules=config.rules,
            copy_dscp=config.dscp == "copy",
            ciphers=preferred_ciphers(),
            rekey_after=float(os.environ.get("MPBOND_TEST_REKEY_AFTER", REKEY_AFTER)),
        )
        self.endpoint = ClientEndpoint(settings, SystemRandom())
        return self.endpoint

    async def set_up(self) -> None:
        """Begin to watch links; everything else follows from what is found."""
        config = self.config
        self.mtu = config.mtu or DEFAULT_TUN_MTU
        await self.on_system(self.policy.books.load, self.driver.now())
        self.policy.count((), (), time.time())
        self.links = Links(self.driver, self.endpoint, self.policy, offload=config.offload)
        await self._resolve()
        blocked = config.default_route and config.when_down == "block"
        await self.on_system(self.system.tun_up, PLACEHOLDERS if blocked else [], self.mtu)
        if blocked:
            await self._route_default(True)
        await self._apply_firewall()
        if config.default_route or config.masquerade:
            await self.on_system(self.system.enable_forwarding)  # its guard stands by now
        loop = asyncio.get_running_loop()

        def on_change(picture: dict[str, LinkState]) -> None:
            loop.call_soon_threadsafe(self._pictures.put_nowait, picture)

        self._watcher = LinkWatcher(config.links, (config.tun, "lo"), on_change)
        await self.on_system(self._watcher.start)
        self.spawn(self._follow_links(), "links")
        self.spawn(self._watch_connection(), "connection")
        self.spawn(self._keep_books(), "books")

    async def stop_watching(self) -> None:
        """Stop the link watcher, and save the books."""
        if self._watcher is not None:
            await asyncio.to_thread(self._watcher.close)
        if hasattr(self, "links"):
            self._count()
            await self._save_books()

    # -- events -----------------------------------------------------------------------------------

    def handle_event(self, event: Event) -> None:
        """Follow the session."""
        if isinstance(event, SessionStarted):
            _log.info("session started, addresses %s", ", ".join(event.addresses))
            if event.addresses != self.addresses:
                self.addresses = event.addresses
                self.spawn(self._set_addresses(), "addresses")
            self.spawn(self._fit_mtu(), "mtu")
        elif isinstance(event, SessionEnded):
            _log.warning("session ended: %s", event.reason)
        elif isinstance(event, PathChanged):
            _log.info(
                "path %s (%s) is %s: %s", event.path_id, event.link, event.state, event.reason
            )
            if event.state == "up":
                self._last_up = self.driver.now()
                self.spawn(self._fit_mtu(), "mtu")
        elif isinstance(event, Configured):
            self._configure(event.settings)

    def _configure(self, settings: dict[str, Any]) -> None:
        """Take the server's longer configuration; a list comes in parts, the first marked so."""
        for key, known in (("dns", self._dns), ("routes", self._routes)):
            items = settings.get(key)
            if not isinstance(items, list):
                continue
            if settings.get("first"):
                known.clear()
            for item in items:
                try:
                    known.append(ip_address(item) if key == "dns" else ip_network(item))
                except ValueError:
                    _log.warning("the server tells %r, which is none of its %s", item, key)
        self.spawn(self._apply_firewall(), "firewall")

    def handle_set(self, name: str, value: Any, request: Request) -> None:
        """Carry out `mpbond set`."""
        if request.get("client") is not None:
            raise ControlError("This is a client: --client chooses among those of a server.")
        if name == "scheduler":
            self.endpoint.set_scheduler(parse_scheduler(value), parse_direction(request))
        elif name == "hold":
            self.endpoint.set_hold(parse_hold(value))
        elif name in ("tier", "cap"):
            if request.get("link") not in self._picture:
                known = ", ".join(self._picture) or "none"
                raise ControlError(f"There is no link {request.get('link')!r}; there is {known}.")
            self.links.obey(self.policy.change(name, value, request))
        else:
            raise ControlError(f"{name!r} cannot be set; scheduler, hold, tier and cap can.")

    def describe(self, now: float) -> dict[str, Any]:
        """Return the client's part of status."""
        session = self.endpoint.session
        sessions = []
        if session is not None:
            shown = session_status(
                session,
                now,
                client=True,
                local=self.links.local,
                offloads=self.driver.offloads,
            )
            shown["scheduler"]["down"] = self.endpoint.settings.downlink_scheduler
            for path in shown["paths"]:
                path["quota"] = self.policy.status(path["link"])
                if not self.policy.allows(path["link"]):
                    path["reason"] = USED_UP
            key = base64.b64encode(self.config.concentrator.public_key).decode()
            endpoint = self.config.concentrator.endpoints[0]
            sessions.append(
                {
                    "peer": str(endpoint),
                    "public_key": key,
                    "addresses": list(self.addresses),
                    "routes": [str(route) for route in self._routes],
                    **shown,
                }
            )
        return {
            "state": self._state(),
            "when_down": self.config.when_down if self.config.default_route else None,
            "default_route": self._routed,
            "dns": [str(address) for address in self._dns],
            "sessions": sessions,
            "links": [
                {"name": name, "state": self.links.words(state)}
                for name, state in self._picture.items()
            ],
        }

    def reload(self) -> None:
        """Read again what can change while sessions live on: settings of links, and rules."""
        if not hasattr(self, "links"):
            return  # it is but starting
        try:
            config = load_client(self.config.path)
        except ConfigError as error:
            _log.warning("configuration not reloaded: %s", error)
            self.warnings["reload"] = f"The configuration was not reloaded: {error}"
            return
        taken = replace(self.config, link_settings=config.link_settings, rules=config.rules)
        if taken != config:
            self.warnings["reload"] = (
                "Only [link] and [[rule]] were read again: restart for the rest."
            )
            _log.warning("%s", self.warnings["reload"])
        else:
            self.warnings.pop("reload", None)
        if taken.rules != self.config.rules:
            self.endpoint.set_rules(taken.rules)
        self.config = taken
        self.policy.reload(taken)
        self._count()
        if self._picture:
            self._pictures.put_nowait(dict(self._picture))  # gateways may be others
        _log.info("configuration reloaded")

    # -- links ------------------------------------------------------------------------------------

    async def _follow_links(self) -> None:
        while True:
            picture = await self._pictures.get()
            while not self._pictures.empty():
                picture = self._pictures.get_nowait()
            await self._carefully("links", self._take_picture(picture))

    async def _take_picture(self, picture: Mapping[str, LinkState]) -> None:
        names_changed = set(picture) != set(self._picture)
        self._picture = dict(picture)
        patterns = ", ".join(self.config.links)
        if picture:
            self.warnings.pop("no link", None)
        else:
            waiting = f"No interface matches {patterns}: waiting for one."
            if "no link" not in self.warnings:
                _log.warning("%s", waiting)
            self.warnings["no link"] = waiting
        for name in [name for name in self.links.names() if name not in picture]:
            self.links.close(name)
            await self.on_system(self.system.remove_link, name)
        for name, state in picture.items():
            try:
                table = await self.on_system(self.system.link_table, state, self._gateways(name))
                self.links.update(state, usable=state.up and table is not None)
                self.warnings.pop(name, None)
            except PlatformError as error:
                _log.warning("link %s: %s", name, error)
                self.warnings[name] = f"link {name}: {error}"
        if names_changed:
            await self._apply_firewall()
        await self._fit_mtu()
        self.driver.turn()

    # -- the system around the tunnel -------------------------------------------------------------

    async def _set_addresses(self) -> None:
        addresses = [ip_interface(text) for text in self.addresses]
        config = self.config
        await self.on_system(self.system.tun_up, addresses, self.mtu)
        await self._apply_firewall()
        if config.default_route:
            await self._route_default(True)

    async def _route_default(self, on: bool) -> None:
        versions = {ip_interface(text).version for text in self.addresses} or {4, 6}
        await self.on_system(self.system.default_route, on, versions=versions)
        self._routed = on

    async def _apply_firewall(self) -> None:
        config = self.config
        if not (config.masquerade or config.default_route):
            await self.on_system(self.system.remove_firewall)
            return
        if self.system.firewall_left and not self.addresses:
            return  # a killed predecessor's rules know our address; connections live by them
        guard = await self.on_system(self.system.not_forwarding)
        rules = ClientRules(
            tun=config.tun,
            mtu=self.mtu,
            addresses=tuple(ip_interface(text).ip for text in self.addresses),
            links=tuple(self._picture),
            routed=tuple(self._routes),
            masquerade=config.masquerade,
            direct=config.when_down == "direct",
            guard=guard,
        )
        await self.on_system(self.system.apply_firewall, rules)

    async def _fit_mtu(self) -> None:
        """Let the TUN device's MTU follow what the links carry, unless it is configured."""
        endpoint = self.endpoint
        carried = [endpoint.path_mtu(link) for link in endpoint.links.values() if link.usable]
        if self.config.mtu is not None or not carried:
            return
        mtu = max(MINIMUM_MTU, min(carried) - HEADER_SIZE - TAG_SIZE - DATA_OVERHEAD)
        if mtu != self.mtu:
            self.mtu = mtu
            await self.on_system(self.system.set_mtu, mtu)
            await self._apply_firewall()

    async def _watch_connection(self) -> None:
        """Resolve the concentrator again while there is none, and obey `when_down`."""
        resolved = reviewed = self.driver.now()
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            now = self.driver.now()
            if now - reviewed >= REVIEW_INTERVAL:
                reviewed = now
                await self._carefully("rules", self._restore_rules())
            await self._carefully("default route", self._obey_when_down(now))
            connected = self.endpoint.session is not None and self.endpoint.session.connected
            if not connected and now - resolved >= RESOLVE_INTERVAL:
                resolved = now
                await self._resolve()

    async def _obey_when_down(self, now: float) -> None:
        session = self.endpoint.session
        connected = session is not None and session.connected
        if connected:
            self._last_up = now
        if not (self.config.default_route and self.config.when_down == "direct"):
            return
        if connected and not self._routed and self.addresses:
            await self._route_default(True)
        elif not connected and self._routed and now - self._last_up >= DOWN_AFTER:
            _log.warning("no path is up: traffic goes out by the links themselves")
            await self._route_default(False)

    async def _restore_rules(self) -> None:
        """Put back what others have removed: network managers like to tidy up after strangers."""
        for name, state in self._picture.items():
            if name in self.links:
                await self.on_system(self.system.link_table, state, self._gateways(name))
        if self._routed:
            await self._route_default(True)

    def _gateways(self, name: str) -> tuple[Address, ...]:
        gateway = self.policy.settings(name).gateway
        return () if gateway is None else (gateway,)

    # -- the books --------------------------------------------------------------------------------

    async def _keep_books(self) -> None:
        """Count what links carry, hold it against their quotas, and save it now and then."""
        while True:
            await asyncio.sleep(COUNT_INTERVAL)
            self._count()
            if self.policy.due(self.links.names(), self.driver.now()):
                await self._save_books()

    def _count(self) -> None:
        session = self.endpoint.session
        paths = session.paths.values() if session is not None else ()
        self.policy.count(paths, self.links.names(), time.time())
        for name in self.links.names():
            self.links.obey(name)
        self.driver.turn()

    async def _save_books(self) -> None:
        books = self.policy.books
        record = books.to_save(self.driver.now())
        await self._carefully("books", self.on_system(books.write, record))

    async def _carefully(self, subject: str, change: Coroutine[Any, Any, None]) -> None:
        """Do a change that the system may refuse: that is a warning, and the next one is tried."""
        try:
            await change
            self.warnings.pop(subject, None)
        except PlatformError as error:
            _log.warning("%s: %s", subject, error)
            self.warnings[subject] = str(error)

    async def _resolve(self) -> None:
        found, problems = await resolve(self.config.concentrator.endpoints)
        if problems:
            self.warnings["resolve"] = " ".join(problems)
        else:
            self.warnings.pop("resolve", None)
        if found and found != self.links.concentrator:
            self.links.concentrator = found
            if self._picture:
                self._pictures.put_nowait(dict(self._picture))

    def _state(self) -> str:
        session = self.endpoint.session
        if session is None:
            return "connecting"
        return "connected" if session.connected else "down"
