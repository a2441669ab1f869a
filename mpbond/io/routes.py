"""Policy rules and routes of this program's own, and the numbers that tell them from everybody else's.

Several tunnels may run on one box (one TUN each). Each owns a *slot*: a range of table ids and of rule
priorities that nobody else uses; `mpbond.io.slots` hands them out. Inside a slot index 0 belongs to
the TUN device and 1 to 63 to links.

    priority          selector              table                    what for
    0                 (all)                 local                    the kernel's own
    5000 + 64·s + k   oif <link k>          7000 + 64·s + k          sockets bound to a link leave by it
    6100 + s          (all)                 main, no default route   LANs and other known subnets
    6200 + 64·s + k   from <address of k>   7000 + 64·s + k          answers given from a link's address
    7300 + s          (all)                 7000 + 64·s              everything else into the TUN
    32766, 32767      (all)                 main, default            the kernel's own
    33000 + 64·s + k  from <address of k>   7000 + 64·s + k          the same while the TUN takes nothing

The two rules without a selector stand only while the TUN is the default route. The `from` rules do
one more thing: a reverse-path check looks for the way back without naming an interface, and in a box
whose main table has no default route it would find none and drop what the modems deliver.

Every rule and route carries protocol number 109, so that whatever a killed process left behind is
recognised in the kernel itself; there is no second copy of it to go stale.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address, IPv4Network, IPv6Network

    from mpbond.io.netlink import LinkState

ROUTE_PROTOCOL: Final = 109
"""Marks rules and routes as ours (`rtm_protocol`, FRA_PROTOCOL); not in iproute2's rt_protos."""

SLOTS: Final = 16
"""Tunnels that can run at once in one network namespace."""
INDICES: Final = 64
"""Tables of a slot: the TUN's own and one for each of 63 links."""

TABLE_BASE: Final = 7000
LINK_PRIORITY: Final = 5000
CONNECTED_PRIORITY: Final = 6100
SOURCE_PRIORITY: Final = 6200
TUNNEL_PRIORITY: Final = 7300
LATE_SOURCE_PRIORITY: Final = 33000

TABLE_MAIN: Final = 254
ANYWHERE: Final = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One policy rule of ours that looks a table up; `family` is 4 or 6."""

    family: int
    priority: int
    table: int
    oif: str | None = None
    source: str | None = None
    suppress_default: bool = False

    def command(self, verb: str) -> str:
        """Returns the shell command that does `verb` ("add" or "del") with this rule."""
        words = ["ip", *(["-6"] if self.family == 6 else []), "rule", verb]
        if self.source is not None:
            words += ["from", self.source]
        if self.oif is not None:
            words += ["oif", self.oif]
        words += ["lookup", "main" if self.table == TABLE_MAIN else str(self.table)]
        if self.suppress_default:
            words += ["suppress_prefixlength", "0"]
        words += ["priority", str(self.priority), "protocol", str(ROUTE_PROTOCOL)]
        return " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One unicast route of ours; `destination` is a prefix, `gateway` None if it is on the link."""

    family: int
    table: int
    destination: str
    link: str
    gateway: str | None = None
    onlink: bool = False

    def command(self, verb: str) -> str:
        """Returns the shell command that does `verb` ("add", "replace" or "del") with this route."""
        default = self.destination == ANYWHERE[self.family]
        words = ["ip", *(["-6"] if self.family == 6 else []), "route", verb]
        words += ["default" if default else self.destination]
        if self.gateway is not None:
            words += ["via", self.gateway]
        words += ["dev", self.link]
        if self.table != TABLE_MAIN:
            words += ["table", str(self.table)]
        words += ["proto", str(ROUTE_PROTOCOL)]
        if self.gateway is None and self.family == 4:
            words += ["scope", "link"]
        if self.onlink:
            words.append("onlink")
        return " ".join(words)


def table_of(slot: int, index: int) -> int:
    """Returns the table id of an index of a slot: 0 is the TUN's own, the rest are links."""
    return TABLE_BASE + INDICES * slot + index


def link_routes(
    link: LinkState, table: int, gateways: Sequence[IPv4Address | IPv6Address]
) -> list[Route]:
    """Returns the routes of a link's own table: its subnets, then a default through its gateway.

    The first gateway of each family counts. A link that needs none (`point_to_point`) gets its
    default route without; any other link without a gateway gets its subnets only.
    """
    routes = []
    for family in (4, 6):
        addresses = [a for a in link.addresses if a.version == family]
        if not addresses:
            continue
        networks = dict.fromkeys(a.network for a in addresses if a.network.num_addresses > 1)
        routes += [
            Route(family=family, table=table, destination=str(network), link=link.name)
            for network in networks
        ]
        gateway = next((g for g in gateways if g.version == family), None)
        routable = any(not a.ip.is_link_local for a in addresses)
        if gateway is not None:
            link_local = isinstance(gateway, IPv6Address) and gateway.is_link_local
            routes.append(
                Route(
                    family=family,
                    table=table,
                    destination=ANYWHERE[family],
                    link=link.name,
                    gateway=str(gateway),
                    onlink=not link_local and not any(gateway in n for n in networks),
                )
            )
        elif link.point_to_point and routable:
            routes.append(
                Route(family=family, table=table, destination=ANYWHERE[family], link=link.name)
            )
    return routes


def link_rules(
    link: LinkState, slot: int, index: int, routes: Iterable[Route], *, tunnel: frozenset[int]
) -> list[Rule]:
    """Returns the rules that lead to a link's table, for the families its `routes` are of.

    Args:
        tunnel: the families whose default route is the TUN at present.
    """
    table = table_of(slot, index)
    rules = []
    for family in sorted({r.family for r in routes}):
        rules.append(
            Rule(
                family=family,
                priority=LINK_PRIORITY + INDICES * slot + index,
                table=table,
                oif=link.name,
            )
        )
        if not any(r.family == family and r.destination == ANYWHERE[family] for r in routes):
            continue
        base = SOURCE_PRIORITY if family in tunnel else LATE_SOURCE_PRIORITY
        rules += [
            Rule(
                family=family,
                priority=base + INDICES * slot + index,
                table=table,
                source=str(address.ip),
            )
            for address in link.addresses
            if address.version == family and not address.ip.is_link_local
        ]
    return list(dict.fromkeys(rules))


def tunnel_routes(tun: str, slot: int, families: Iterable[int]) -> list[Route]:
    """Returns the default routes into the TUN, in the slot's first table."""
    return [
        Route(family=f, table=table_of(slot, 0), destination=ANYWHERE[f], link=tun)
        for f in sorted(families)
    ]


def tunnel_rules(slot: int, families: Iterable[int]) -> list[Rule]:
    """Returns the rules that let known subnets pass by and send the rest into the TUN."""
    rules = []
    for family in sorted(families):
        rules += [
            Rule(
                family=family,
                priority=CONNECTED_PRIORITY + slot,
                table=TABLE_MAIN,
                suppress_default=True,
            ),
            Rule(family=family, priority=TUNNEL_PRIORITY + slot, table=table_of(slot, 0)),
        ]
    return rules


def prefix_route(prefix: IPv4Network | IPv6Network, tun: str) -> Route:
    """Returns the route in the main table that sends a prefix into the TUN."""
    return Route(family=prefix.version, table=TABLE_MAIN, destination=str(prefix), link=tun)


def slot_priorities(slot: int) -> list[range]:
    """Returns the ranges of rule priorities that belong to a slot."""
    wide = (LINK_PRIORITY, SOURCE_PRIORITY, LATE_SOURCE_PRIORITY)
    ranges = [range(base + INDICES * slot, base + INDICES * (slot + 1)) for base in wide]
    ranges += [
        range(base + slot, base + slot + 1) for base in (CONNECTED_PRIORITY, TUNNEL_PRIORITY)
    ]
    return ranges


def slot_tables(slot: int) -> range:
    """Returns the table ids that belong to a slot."""
    return range(table_of(slot, 0), table_of(slot + 1, 0))
