"""What a valid configuration is, as frozen dataclasses, with every default.

Keys are 32 raw bytes, times are seconds, addresses are `ipaddress` objects. `None` means
"automatic" for `hold` and for a client's `mtu`. Secrets are kept out of `repr`, so that no log
line shows one.
"""

from __future__ import annotations

import fnmatch
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mpbond.core.rules import Rule

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_PORT: Final = 4510
RUN_DIRECTORY: Final = Path("/run/mpbond")
STATE_DIRECTORY: Final = Path("/var/lib/mpbond")
SCHEDULERS: Final = ("adaptive", "redundant", "weighted", "xor", "rr")
TIERS: Final = ("always", "overflow", "last resort")
"""When a link carries packets; its place here is the number that the wire knows."""
PERIODS: Final = ("day", "month")
QUOTA_ACTIONS: Final = ("last resort", "off")
DSCP_MODES: Final = ("clear", "copy")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
NO_PRESHARED_KEY: Final = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A UDP endpoint as written: an address or a host name, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What a link may carry in a day or a calendar month, up and down together: `volume` bytes."""

    volume: int
    period: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """What the user says about one link, or about all links that match a glob.

    `tier` is an index into TIERS; caps are bits per second, 0 for none; `quota_action` is what a
    link whose quota is used up becomes.
    """

    pattern: str
    weight: float = 1.0
    gateway: Address | None = None
    tier: int = 0
    cap_up: float = 0.0
    cap_down: float = 0.0
    quota: Quota | None = None
    quota_action: str = "last resort"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcentratorConfig:
    """The server a client speaks to; endpoints are in order of preference."""

    public_key: bytes
    endpoints: tuple[Endpoint, ...]
    preshared_key: bytes = field(default=NO_PRESHARED_KEY, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConfig:
    """A client as its server knows it.

    `addresses` are inner addresses fixed for this key, at most one of each pool; for a pool
    without one the server picks. `routes` are prefixes that go to this client un-NATed.
    """

    name: str
    public_key: bytes
    preshared_key: bytes = field(default=NO_PRESHARED_KEY, repr=False)
    addresses: tuple[Address, ...] = ()
    routes: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """A client's configuration; `public_key` is its own, derived from the private one."""

    path: Path
    private_key: bytes = field(repr=False)
    public_key: bytes
    concentrator: ConcentratorConfig
    links: tuple[str, ...]
    link_settings: tuple[LinkConfig, ...] = ()
    tun: str = "mpbond0"
    offload: bool = True
    mtu: int | None = None
    scheduler: str = "adaptive"
    downlink_scheduler: str = "adaptive"
    hold: float | None = None
    default_route: bool = False
    when_down: str = "direct"
    masquerade: bool = True
    keepalive: float = 20.0
    addresses: tuple[Address, ...] = ()
    rules: tuple[Rule, ...] = ()
    dscp: str = "clear"
    control: Path = RUN_DIRECTORY / "mpbond0.sock"
    control_group: str | None = None
    state_dir: Path = STATE_DIRECTORY
    log_level: str = "info"

    def wants_link(self, name: str) -> bool:
        """Tells whether the interface `name` is one of the links: matched, and not our own TUN."""
        if name in (self.tun, "lo"):
            return False
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.links)

    def settings_of(self, name: str) -> LinkConfig:
        """Finds the settings for one link: its exact name, else the first glob in file order."""
        for settings in self.link_settings:
            if settings.pattern == name:
                return settings
        for settings in self.link_settings:
            if fnmatch.fnmatchcase(name, settings.pattern):
                return settings
        return LinkConfig(pattern=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """A server's configuration; `scheduler` is for clients that express no wish."""

    path: Path
    private_key: bytes = field(repr=False)
    public_key: bytes
    listen: tuple[Endpoint, ...] = (
        Endpoint(host="0.0.0.0", port=DEFAULT_PORT),
        Endpoint(host="::", port=DEFAULT_PORT),
    )
    tun: str = "mpbond0"
    offload: bool = True
    mtu: int = 1438
    pool: tuple[Network, ...] = (
        ipaddress.IPv4Network("10.77.0.0/24"),
        ipaddress.IPv6Network("fd77::/64"),
    )
    clients: tuple[PeerConfig, ...] = ()
    nat: bool = True
    client_to_client: bool = False
    scheduler: str = "adaptive"
    hold: float | None = None
    dns: tuple[Address, ...] = ()
    rules: tuple[Rule, ...] = ()
    dscp: str = "clear"
    control: Path = RUN_DIRECTORY / "mpbond0.sock"
    control_group: str | None = None
    state_dir: Path = STATE_DIRECTORY
    log_level: str = "info"

    @property
    def port(self) -> int:
        """The one UDP port the server listens on."""
        return self.listen[0].port

    @property
    def own_addresses(self) -> tuple[Address, ...]:
        """The server's own inner addresses: the first host of each pool."""
        return tuple(own_address(pool) for pool in self.pool)


def own_address(pool: Network) -> Address:
    """Picks the address of `pool` that the server keeps for itself."""
    return pool.network_address + 1
