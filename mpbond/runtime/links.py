"""The client's links in use: a socket for each address family, and what the core knows of them.

`Links` brings both up to the link watcher's pictures. It changes nothing on the system: tables and rules of a
link are in force before it is asked to use the link.
"""

import logging
import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from mpbond.config import LinkConfig
from mpbond.core.client import ClientEndpoint
from mpbond.core.link import Link, Target
from mpbond.core.path import Path
from mpbond.io.netlink import LinkState
from mpbond.io.udp import OVERHEAD, UdpSocket, payload_mtu
from mpbond.io.udp import Endpoint as SocketAddress
from mpbond.runtime.driver import Driver
from mpbond.runtime.policy import LinkPolicy

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class OpenLink:
    """A link in use: the picture it was opened from, whether the concentrator can be reached by it,
    and its socket's number for each family."""

    state: LinkState
    reaches: bool = True
    sockets: dict[socket.AddressFamily, int] = field(default_factory=dict)


class Links:
    """All links in use; `concentrator` is where they lead, in order of preference."""

    def __init__(
        self,
        driver: Driver,
        endpoint: ClientEndpoint,
        policy: LinkPolicy,
        *,
        offload: bool = True,
    ) -> None:
        self.concentrator: list[tuple[socket.AddressFamily, SocketAddress]] = []
        self._driver = driver
        self._endpoint = endpoint
        self._policy = policy
        self._offload = offload
        self._open: dict[str, OpenLink] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._open

    def names(self) -> list[str]:
        """The links in use."""
        return list(self._open)

    def update(self, state: LinkState, *, usable: bool) -> None:
        """Bring the link's sockets and the core up to the picture."""
        now = self._driver.now()
        name = state.name
        opened = self._open.get(name)
        self._policy.judge(name)
        families = self._families(state, self._policy.settings(name)) if usable else []
        if opened is not None and opened.state.index != state.index:
            self.close(name)
            opened = None
        if opened is None:
            if not families:
                return
            opened = OpenLink(state)
            targets = self._targets(opened, state, families)
            self._open[name] = opened
            self._endpoint.add_link(self._link(name, targets), now)
            _log.info("link %s joins", name)
            return
        link = self._endpoint.links[name]
        targets = self._targets(opened, state, families)
        if targets and (opened.state != state or targets != list(link.targets)):
            self._endpoint.change_link(name, targets, now)
        opened.state = state
        opened.reaches = bool(families)
        self.obey(name)

    def obey(self, name: str) -> None:
        """Let the core use the link as its policy says; what is new is told to the server at once."""
        opened = self._open.get(name)
        if opened is None:
            return
        now = self._driver.now()
        link = self._endpoint.links[name]
        of = self._policy.settings(name)
        wanted = (of.tier, of.cap_up, of.cap_down, of.weight)
        if wanted != (link.tier, link.cap_up, link.cap_down, link.weight):
            self._endpoint.set_link(
                name,
                now,
                tier=of.tier,
                cap_up=of.cap_up,
                cap_down=of.cap_down,
                weight=of.weight,
            )
        usable = opened.reaches and self._policy.allows(name)
        if usable != link.usable:
            self._endpoint.set_link_usable(name, usable, now)
            _log.info("link %s is %s", name, "back" if usable else "down")

    def _link(self, name: str, targets: list[Target]) -> Link:
        of = self._policy.settings(name)
        up, down = self._policy.remembered(name)
        return Link(
            name,
            targets,
            weight=of.weight,
            usable=self._policy.allows(name),
            tier=of.tier,
            cap_up=of.cap_up,
            cap_down=of.cap_down,
            remembered_up=up,
            remembered_down=down,
        )

    def close(self, name: str) -> None:
        """The link has gone: its path and sockets go too."""
        opened = self._open.pop(name)
        self._endpoint.remove_link(name, self._driver.now())
        self._driver.turn()
        for number in opened.sockets.values():
            self._driver.remove_socket(number)
        _log.info("link %s is gone", name)

    def words(self, state: LinkState) -> str:
        """Say how a link is."""
        if not state.up:
            return "down"
        if not state.addresses:
            return "has no address yet"
        if state.name not in self._open:
            return "has no gateway: is a DHCP client running on it?"
        return "up"

    def local(self, path: Path) -> str | None:
        """The address that the path's datagrams leave from."""
        opened = self._open.get(path.link or "")
        if opened is None:
            return None
        version = 6 if isinstance(path.remote, tuple) and ":" in path.remote[0] else 4
        for address in opened.state.addresses:
            if address.version == version and not address.is_link_local:
                return str(address.ip)
        return None

    def _targets(
        self, opened: OpenLink, state: LinkState, families: list[socket.AddressFamily]
    ) -> list[Target]:
        targets = []
        for family, address in self.concentrator:
            if family not in families:
                continue
            mtu = payload_mtu(state.mtu, family)
            if family not in opened.sockets:
                port = UdpSocket(family, mtu=mtu, device=state.name, offload=self._offload)
                opened.sockets[family] = self._driver.add_socket(port)
            targets.append(Target(opened.sockets[family], address, mtu, OVERHEAD[family]))
        return targets

    def _families(self, state: LinkState, settings: LinkConfig) -> list[socket.AddressFamily]:
        """The address families in which this link can reach the concentrator."""
        families = []
        gateways = [*state.gateways, *([settings.gateway] if settings.gateway else [])]
        for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
            has_address = any(
                address.version == version and not address.is_link_local
                for address in state.addresses
            )
            has_way = state.point_to_point or any(g.version == version for g in gateways)
            wanted = any(family == known for known, _ in self.concentrator)
            if has_address and wanted and (has_way or self._on_link(state, family)):
                families.append(family)
        return families

    def _on_link(self, state: LinkState, family: socket.AddressFamily) -> bool:
        """Is the concentrator on the link's own subnet?"""
        for known, address in self.concentrator:
            if known == family:
                parse = IPv6Address if family == socket.AF_INET6 else IPv4Address
                host = parse(address[0])
                if any(a.version == host.version and host in a.network for a in state.addresses):
                    return True
        return False
