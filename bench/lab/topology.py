"""The network of the laboratory: who is wired to whom, with which addresses.

    lan ── client ──┬─ modem0 (NAT) ══ link 0 ══┐
                    ├─ …                        ├── net ──┬── server
                    └─ modem5 (NAT) ══ link 5 ══┘         └── web

Every modem is 192.168.8.1 to its client (or, with distinct subnets, modem N is 192.168.{8+N}.1), hands
it the address .100/24 and a default route with a metric of its own, and translates to a WAN address
that only `net` knows; each forgets idle UDP mappings after a time of its own, and lets nothing in
that was not asked for. With `ipv6` it also
routes a prefix, untranslated, behind the gateway fe80::1 that all modems share. The double lines
are pairs of TUN devices joined by the emulator, which alone decides what a link does. `net` is the
internet: it routes between the modems, the server and the web host, and sends prefixes
reserved for routing to clients to the server. All public addresses are documentation ones.

A second box (`LinkSpec.client = 1`, namespace `client1`) has links of its own, as if it stood in
another house. Interfaces are called wwan0, wwan1, … on each box, like the links themselves. Somebody else
who shares modem N is the host `rivalN` on a second port of the modem, with a subnet of its own.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.lab.namespaces import Namespaces
    from bench.links.shape import LinkSpec

CLIENT_LAN = ("192.168.1.1", "fd00:1::1")
LAN = ("192.168.1.2", "fd00:1::2")
SERVER = ("203.0.113.10", "2001:db8:1::10")
SERVER_SECOND = ("203.0.113.11", "2001:db8:1::11")
WEB = ("198.51.100.80", "2001:db8:2::80")
ROUTED = ("192.0.2.0/24", "2001:db8:77::/48")
"""Prefixes that `net` sends to the server, for it to give to clients without NAT."""

DEVICE_QUEUE = 4000
"""Packets that may wait in front of the emulator until it reads them; the link's queue is in there."""


@dataclasses.dataclass(slots=True)
class Link:
    """A LinkSpec with its place in the network."""

    spec: LinkSpec
    number: int
    name: str
    box: str
    modem: str
    subnet: str = "192.168.8"
    """The first three numbers of the addresses between modem and box."""
    addresses: int = 0
    """How many public addresses the modem has had before this one."""
    ports: int = 0
    """How many ranges of public ports the modem has had before this one."""

    @property
    def metric(self) -> int:
        """Metric of the routes a DHCP client would install for this modem."""
        return 700 + int(self.name.removeprefix("wwan"))

    @property
    def address(self) -> str:
        """The address that the modem hands to its box."""
        return f"{self.subnet}.100"

    @property
    def gateway(self) -> str:
        """The modem's address on the box's side."""
        return f"{self.subnet}.1"

    @property
    def prefix6(self) -> str:
        """The first 64 bits of the IPv6 prefix behind the modem."""
        return f"2001:db8:{0x100 + self.number:x}:0"

    def public(self) -> str:
        """The modem's present WAN address."""
        return f"100.64.{self.number}.{2 + self.addresses % 250}"


def place(specs: Sequence[LinkSpec], *, distinct: bool = False) -> list[Link]:
    """Gives every link its names, and with `distinct` a subnet of its own."""
    used: dict[int, int] = {}
    links = []
    for number, spec in enumerate(specs):
        count = used.get(spec.client, 0)
        used[spec.client] = count + 1
        box = box_name(spec.client)
        subnet = f"192.168.{8 + number if distinct else 8}"
        links.append(Link(spec, number, f"wwan{count}", box, f"modem{number}", subnet))
    return links


def box_name(client: int) -> str:
    """Returns the namespace of a client box."""
    return "client" if client == 0 else f"client{client}"


def build_core(spaces: Namespaces, mtu: int) -> None:
    """Makes the internet, the server and the web host."""
    for name in ("net", "server", "web"):
        spaces.add(name)
    spaces.sysctl("net", {"net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1})
    for name, addresses in (("server", SERVER), ("web", WEB)):
        here, here6 = addresses
        hop, hop6 = here.rsplit(".", 1)[0] + ".1", here6.rsplit("::", 1)[0] + "::1"
        spaces.ip(
            "net",
            f"link add {name} mtu {mtu} type veth"
            f" peer name eth0 mtu {mtu} netns {spaces.full(name)}",
            f"addr add {hop}/24 dev {name}",
            f"addr add {hop6}/64 dev {name} nodad",
            f"link set {name} up",
        )
        spaces.ip(
            name,
            "link set eth0 up",
            f"addr add {here}/24 dev eth0",
            f"addr add {here6}/64 dev eth0 nodad",
            f"route add default via {hop}",
            f"route add ::/0 via {hop6}",
        )
    spaces.ip(
        "server",
        f"addr add {SERVER_SECOND[0]}/24 dev eth0",
        f"addr add {SERVER_SECOND[1]}/64 dev eth0 nodad",
    )
    spaces.ip(
        "net",
        f"route add {ROUTED[0]} via {SERVER[0]}",
        f"route add {ROUTED[1]} via {SERVER[1]}",
    )


def build_box(spaces: Namespaces, box: str, rp_filter: int) -> None:
    """Makes a client box; the first one also gets a host on its LAN side."""
    spaces.add(box)
    spaces.sysctl(
        box,
        {
            "net/ipv4/ip_forward": 1,
            "net/ipv4/conf/all/rp_filter": rp_filter,
            "net/ipv4/conf/default/rp_filter": rp_filter,
            "net/ipv6/conf/all/forwarding": 1,
            "net/ipv6/conf/default/accept_ra": 0,
        },
    )
    if box != box_name(0):
        return
    spaces.add("lan")
    spaces.ip(
        box,
        f"link add lan0 type veth peer name eth0 netns {spaces.full('lan')}",
        f"addr add {CLIENT_LAN[0]}/24 dev lan0",
        f"addr add {CLIENT_LAN[1]}/64 dev lan0 nodad",
        "link set lan0 up",
    )
    spaces.ip(
        "lan",
        "link set eth0 up",
        f"addr add {LAN[0]}/24 dev eth0",
        f"addr add {LAN[1]}/64 dev eth0 nodad",
        f"route add default via {CLIENT_LAN[0]}",
        f"route add ::/0 via {CLIENT_LAN[1]}",
    )


def build_modem(spaces: Namespaces, link: Link) -> None:
    """Makes a modem whose `wan` device exists already, and plugs it into its box."""
    spec = link.spec
    spaces.sysctl(
        link.modem,
        {
            "net/ipv4/ip_forward": 1,
            "net/ipv6/conf/all/forwarding": int(spec.ipv6),
            "net/netfilter/nf_conntrack_udp_timeout": spec.nat_timeout,
            "net/netfilter/nf_conntrack_udp_timeout_stream": spec.nat_timeout_stream,
            **_quiet("wan", spec),
        },
    )
    spaces.sysctl("net", _quiet(link.modem, spec))
    spaces.ip(
        link.modem,
        # keeps the device an IPv4 one while its public address changes
        "addr add 169.254.1.1/32 dev wan scope link",
        f"addr add {link.public()}/32 dev wan",
        f"link set wan mtu {spec.mtu} txqueuelen {DEVICE_QUEUE} up",
        "route add default dev wan",
    )
    spaces.ip(
        "net",
        f"link set {link.modem} mtu {spec.mtu} txqueuelen {DEVICE_QUEUE} up",
        f"addr add 100.64.{link.number}.1/32 dev {link.modem}",
        f"route add 100.64.{link.number}.0/24 dev {link.modem}",
    )
    if spec.ipv6:
        spaces.ip(link.modem, "route add ::/0 dev wan")
        spaces.ip("net", f"route add {link.prefix6}::/64 dev {link.modem}")
    spaces.nft(link.modem, modem_rules(link))
    plug(spaces, link)


def _quiet(device: str, spec: LinkSpec) -> dict[str, int]:
    """Keeps multicast of a family not in use off a link, which would give it other packets each time."""
    return {f"net/ipv6/conf/{device}/disable_ipv6": int(not spec.ipv6)}


def modem_rules(link: Link) -> str:
    """The modem's NAT and firewall; every change of mapping moves to another range of ports."""
    low = 20000 + 1000 * (link.ports % 40)
    ports = "" if link.ports == 0 else f" to :{low}-{low + 999}"
    return f"""
        table inet modem
        delete table inet modem
        table inet modem {{
            chain postrouting {{
                type nat hook postrouting priority srcnat; policy accept;
                meta nfproto ipv4 oifname "wan" meta l4proto {{ tcp, udp }} masquerade{ports}
                meta nfproto ipv4 oifname "wan" masquerade
            }}
            chain forward {{
                type filter hook forward priority filter; policy accept;
                iifname "wan" ct state new,invalid drop
            }}
            chain input {{
                type filter hook input priority filter; policy accept;
                iifname "wan" ct state new,invalid drop
            }}
        }}
    """


def plug(spaces: Namespaces, link: Link) -> None:
    """Puts the modem's cable into the box and does what a DHCP client would do there."""
    mtu = link.spec.mtu
    spaces.ip(
        link.box,
        f"link add {link.name} mtu {mtu} type veth"
        f" peer name lan0 mtu {mtu} netns {spaces.full(link.modem)}",
        # a modem gets packets, never the kernel's 64 KiB ones
        f"link set dev {link.name} gso_max_segs 1",
    )
    spaces.ip(
        link.modem,
        "link set dev lan0 gso_max_segs 1",
        f"addr add {link.gateway}/24 dev lan0",
        "link set lan0 up",
    )
    if link.spec.ipv6:
        spaces.ip(
            link.modem,
            "addr add fe80::1/64 dev lan0 nodad",
            f"addr add {link.prefix6}::1/64 dev lan0 nodad",
        )
    configure(spaces, link)


def configure(spaces: Namespaces, link: Link) -> None:
    """Raises the box's side of a link: address and routes, as from DHCP and router adverts."""
    spaces.ip(
        link.box,
        f"link set {link.name} up",
        f"addr replace {link.address}/24 dev {link.name} noprefixroute",
        f"route replace {link.subnet}.0/24 dev {link.name} src {link.address} metric {link.metric}",
        f"route replace default via {link.gateway} dev {link.name} metric {link.metric}",
    )
    if link.spec.ipv6:
        spaces.ip(
            link.box,
            f"addr replace {link.prefix6}::100/64 dev {link.name} nodad",
            f"route replace ::/0 via fe80::1 dev {link.name} metric {link.metric}",
        )


def build_rival(spaces: Namespaces, link: Link) -> str:
    """Makes a host behind a second port of a built modem; returns the name of its namespace."""
    name, subnet, mtu = f"rival{link.number}", f"10.0.{link.number}", link.spec.mtu
    spaces.add(name)
    spaces.ip(
        link.modem,
        f"link add lan1 mtu {mtu} type veth peer name eth0 mtu {mtu} netns {spaces.full(name)}",
        "link set dev lan1 gso_max_segs 1",
        f"addr add {subnet}.1/24 dev lan1",
        "link set lan1 up",
    )
    spaces.ip(
        name,
        "link set dev eth0 gso_max_segs 1",
        "link set eth0 up",
        f"addr add {subnet}.2/24 dev eth0",
        f"route add default via {subnet}.1",
    )
    return name
