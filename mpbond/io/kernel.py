"""The kernel's rules, routes, devices and addresses, read and changed over netlink.

Thin: it knows how our `Rule` and `Route` look as netlink messages and which refusals mean that the
thing is already as wanted. Each change is echoed as the command that does the same, before it is
made; a dry one is echoed only.
"""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Any, Final

from mpbond.errors import PlatformError
from mpbond.io.routes import (
    ANYWHERE,
    ROUTE_PROTOCOL,
    SLOTS,
    TABLE_BASE,
    Route,
    Rule,
    table_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ipaddress import IPv4Interface, IPv6Interface

_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_VERSIONS: Final = {socket.AF_INET: 4, socket.AF_INET6: 6}
_SCOPE_LINK: Final = 253
_RTNH_F_ONLINK: Final = 4
_IFA_F_NODAD: Final = 0x02
_GONE: Final = (
    errno.ESRCH,
    errno.ENOENT,
    errno.ENODEV,
    errno.EAFNOSUPPORT,
    errno.ENETDOWN,
    errno.EADDRNOTAVAIL,
)

_REMEDIES: Final = {
    errno.EPERM: "not permitted; run mpbond as root or give it CAP_NET_ADMIN and CAP_NET_RAW",
    errno.EACCES: "refused; is IPv6 switched off by the sysctl net.ipv6.conf.*.disable_ipv6?",
    errno.EEXIST: "something else has put that there already; remove it or choose another",
    errno.ENODEV: "there is no such network interface; has it been unplugged?",
    errno.ENETDOWN: "the network interface is down; set it up first",
    errno.ENETUNREACH: "the gateway cannot be reached over that interface; check its address",
    errno.EOPNOTSUPP: "this kernel lacks policy routing; use one with CONFIG_IP_MULTIPLE_TABLES",
    errno.EAFNOSUPPORT: "this kernel lacks that address family or policy routing for it",
}


class KernelError(PlatformError):
    """A change the kernel does not make: which one, why, and what would help."""

    def __init__(self, command: str, code: int) -> None:
        remedy = _REMEDIES.get(code, f"the kernel says {errno.errorcode.get(code, str(code))}")
        super().__init__(f"`{command}` failed: {remedy}")
        self.code = code

    @property
    def link_is_gone(self) -> bool:
        """Whether the interface vanished, went down or lost its address meanwhile."""
        return self.code in (errno.ENODEV, errno.ENETDOWN, errno.ENETUNREACH, errno.EADDRNOTAVAIL)


class Kernel:
    """One netlink socket, opened for one piece of work and closed again; a context manager.

    So any thread may do the work: pyroute2 ties a socket to the thread that first used it. It also
    starts an event loop of its own and must therefore not be used where an asyncio loop is running.

    Raises:
        KernelError: from every method, if the kernel refuses.
    """

    def __init__(
        self, *, echo: Callable[[str], None] = lambda _: None, dry_run: bool = False
    ) -> None:
        self._echo = echo
        self._dry_run = dry_run
        self._socket: Any = None

    def __enter__(self) -> Kernel:
        from pyroute2 import IPRoute

        self._socket = IPRoute(groups=0)
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def rules(self) -> list[tuple[int, Rule]]:
        """Returns every rule with its protocol number."""
        found: list[tuple[int, Rule]] = []
        for version, family in _FAMILIES.items():
            found += [
                (message.get("protocol") or 0, _parse_rule(version, message))
                for message in self._socket.get_rules(family=family)
            ]
        return found

    def routes(self) -> list[tuple[int, Route]]:
        """Returns every route of ours and every route in our range of tables, with its protocol."""
        names = self.link_names()
        tables = range(TABLE_BASE, table_of(SLOTS, 0))

        def wanted(message: Mapping[str, Any]) -> bool:
            return message["family"] in _VERSIONS and (
                message["proto"] == ROUTE_PROTOCOL or _table(message) in tables
            )

        # given a predicate, pyroute2 asks for all families whatever it is told
        return [
            (message["proto"], _parse_route(_VERSIONS[message["family"]], message, names))
            for message in self._socket.get_routes(match=wanted)
        ]

    def add_rule(self, rule: Rule) -> None:
        """Adds a rule; one that stands already is left as it is."""
        self._do(rule.command("add"), self._socket.rule, "add", _rule_keys(rule), errno.EEXIST)

    def delete_rule(self, rule: Rule) -> None:
        """Deletes a rule; one that is gone already is no error."""
        self._do(rule.command("del"), self._socket.rule, "del", _rule_keys(rule), *_GONE)

    def add_route(self, route: Route) -> None:
        """Adds a route; that there is one to the destination already is an error."""
        self._route("add", route)

    def replace_route(self, route: Route) -> None:
        """Adds a route, in the place of one to the same destination."""
        self._route("replace", route)

    def delete_route(self, route: Route) -> None:
        """Deletes a route; one that is gone already, or whose interface is, is no error."""
        self._route("del", route, *_GONE)

    def link_names(self) -> dict[int, str]:
        """Returns the names of all network interfaces by index."""
        return {m["index"]: str(m.get("ifname")) for m in self._socket.get_links()}

    def set_link(
        self, name: str, *, mtu: int, txqueuelen: int | None = None, up: bool = False
    ) -> None:
        """Sets a device's MTU, and if told its queue and that it is up."""
        text, keys = f"ip link set {name} mtu {mtu}", {"mtu": mtu}
        if txqueuelen is not None:
            text, keys["txqlen"] = f"{text} txqueuelen {txqueuelen}", txqueuelen
        state = {"state": "up"} if up else {}
        self._do(
            f"{text} up" if up else text,
            self._socket.link,
            "set",
            lambda: {"index": self._index(name), **keys, **state},
        )

    def addresses(self, name: str) -> list[IPv4Interface | IPv6Interface]:
        """Returns a device's addresses; none if there is no such device."""
        index = next((i for i, n in self.link_names().items() if n == name), None)
        if index is None:
            return []
        return [
            ip_interface(f"{m.get('IFA_LOCAL') or m.get('IFA_ADDRESS')}/{m['prefixlen']}")
            for m in self._socket.get_addr(index=index)
        ]

    def add_address(self, name: str, address: IPv4Interface | IPv6Interface) -> None:
        """Gives a device an address, usable at once."""
        self._address("add", name, address, errno.EEXIST)

    def delete_address(self, name: str, address: IPv4Interface | IPv6Interface) -> None:
        """Takes an address from a device."""
        self._address("del", name, address, *_GONE)

    def _address(
        self, verb: str, name: str, address: IPv4Interface | IPv6Interface, *ignored: int
    ) -> None:
        keys: dict[str, Any] = {
            "address": str(address.ip),
            "prefixlen": address.network.prefixlen,
            "family": _FAMILIES[address.version],
        }
        text = f"ip addr {verb} {address} dev {name}"
        if address.version == 6 and verb == "add":
            text, keys["flags"] = f"{text} nodad", _IFA_F_NODAD
        self._do(
            text, self._socket.addr, verb, lambda: {"index": self._index(name), **keys}, *ignored
        )

    def _route(self, verb: str, route: Route, *ignored: int) -> None:
        self._do(
            route.command(verb),
            self._socket.route,
            verb,
            lambda: _route_keys(route, self._index(route.link)),
            *ignored,
        )

    def _index(self, name: str) -> int:
        for index, found in self.link_names().items():
            if found == name:
                return index
        raise OSError(errno.ENODEV, "no such interface", name)

    def _do(
        self,
        command: str,
        call: Callable[..., Any],
        verb: str,
        keys: dict[str, Any] | Callable[[], dict[str, Any]],
        *ignored: int,
    ) -> None:
        from pyroute2.netlink.exceptions import NetlinkError

        self._echo(command)
        if self._dry_run:
            return
        try:
            call(verb, **(keys() if callable(keys) else keys))
        except NetlinkError as error:
            code = error.code
        except OSError as error:
            code = error.errno or errno.EIO
        else:
            return
        if code not in ignored:
            raise KernelError(command, code)


def _table(message: Any) -> int:
    return int(message.get("RTA_TABLE") or message["table"])


def _parse_rule(version: int, message: Any) -> Rule:
    source = message.get("src")
    if source is not None and message["src_len"] != (32 if version == 4 else 128):
        source = f"{source}/{message['src_len']}"
    return Rule(
        family=version,
        priority=message.get("priority") or 0,
        table=message.get("FRA_TABLE") or message["table"],
        oif=message.get("oifname"),
        source=source,
        suppress_default=message.get("FRA_SUPPRESS_PREFIXLEN") == 0,
    )


def _parse_route(version: int, message: Any, names: Mapping[int, str]) -> Route:
    destination = message.get("dst") or ANYWHERE[version].split("/")[0]
    gateway = message.get("gateway")
    return Route(
        family=version,
        table=_table(message),
        destination=str(ip_network(f"{destination}/{message['dst_len']}")),
        link=names.get(message.get("oif") or 0, "?"),
        gateway=None if gateway is None else str(ip_address(gateway)),
        onlink=bool(message["flags"] & _RTNH_F_ONLINK),
    )


def _rule_keys(rule: Rule) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "family": _FAMILIES[rule.family],
        "priority": rule.priority,
        "table": rule.table,
        "action": "to_tbl",
        "protocol": ROUTE_PROTOCOL,
    }
    if rule.oif is not None:
        keys["oifname"] = rule.oif
    if rule.source is not None:
        network = ip_network(rule.source)
        keys |= {"src": str(network.network_address), "src_len": network.prefixlen}
    if rule.suppress_default:
        keys["suppress_prefixlen"] = 0
    return keys


def _route_keys(route: Route, index: int) -> dict[str, Any]:
    network = ip_network(route.destination)
    keys: dict[str, Any] = {
        "family": _FAMILIES[route.family],
        "table": route.table,
        "dst": str(network.network_address),
        "dst_len": network.prefixlen,
        "oif": index,
        "proto": ROUTE_PROTOCOL,
        "type": "unicast",
    }
    if route.gateway is not None:
        keys["gateway"] = route.gateway
    elif route.family == 4:
        keys["scope"] = _SCOPE_LINK
    if route.onlink:
        keys["flags"] = _RTNH_F_ONLINK
    return keys
