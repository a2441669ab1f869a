"""Which kernel settings links, the TUN and a router need.

Six modems may each be an interface with the same address 192.168.8.100/24. What comes in by one of
them passes two questions in the kernel: could its source be reached by some route (rp_filter), and
should this interface answer ARP for that address? Both are settled per link:

    rp_filter    2   "some route back" suffices; strict would drop all but one modem's packets, and
                     their ARP requests with them (in force is the larger of `all` and the link's)
    arp_ignore   1   answer on an interface only for its own addresses, not for the LAN's
    arp_announce 2   ask with the address that belongs to the interface
    arp_filter   0   it answers only where the route back points: one modem of six

A kernel that forwards IPv6 ignores router advertisements where `accept_ra` is 1, and throws away the
gateways it had from them; on links, and before forwarding is switched on, 1 becomes 2.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from mpbond.errors import PlatformError
from mpbond.io.sysctls import command, interfaces, read_sysctl, write_sysctl

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mpbond.io.sysctls import SysctlLedger

FORWARDING: Final = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
_AT_LEAST: Final = {"rp_filter": 2, "arp_ignore": 1, "arp_announce": 2}
_ADDR_GEN_MODE_NONE: Final = "1"


def settle_link(ledger: SysctlLedger, name: str, links: Collection[str]) -> None:
    """Makes a link's settings right; `links` are the names of all links known so far.

    What cannot be set is only logged: one modem works without, and in a container, where /proc/sys
    is read-only, whoever started it may have set it already.
    """
    for key, least in _AT_LEAST.items():
        path = f"net/ipv4/conf/{name}/{key}"
        present = read_sysctl(path)
        if present is not None:
            ledger.prefer(path, str(max(int(present), least)))
    everywhere = "net/ipv4/conf/all/arp_filter"
    if ledger.original(everywhere) == "1":
        # `all` counts for each interface: it stays in force for those that are not links
        for other in interfaces("ipv4"):
            if other != name and other not in links:
                ledger.prefer(f"net/ipv4/conf/{other}/arp_filter", "1")
        ledger.prefer(everywhere, "0")
    if read_sysctl(f"net/ipv4/conf/{name}/arp_filter") is not None:
        ledger.prefer(f"net/ipv4/conf/{name}/arp_filter", "0")
    if read_sysctl(FORWARDING[6]) == "1":
        _accept_advertisements(ledger, name)


def forward(ledger: SysctlLedger, versions: Collection[int], tun: str) -> None:
    """Makes this machine a router for these IP versions.

    Raises:
        PlatformError: not permitted.
    """
    if 4 in versions:
        drags = [f"net/ipv4/conf/{n}/forwarding" for n in ["default", *interfaces("ipv4")]]
        ledger.change(FORWARDING[4], "1", [*drags, "net/ipv4/conf/all/accept_redirects"])
    if 6 in versions and read_sysctl(FORWARDING[6]) is not None:
        for name in ["default", *interfaces("ipv6")]:
            if name not in ("lo", tun):
                _accept_advertisements(ledger, name)
        drags = [f"net/ipv6/conf/{n}/forwarding" for n in ["default", *interfaces("ipv6")]]
        ledger.change(FORWARDING[6], "1", drags)


def settle_tun(name: str, *, ipv6: bool, echo: Callable[[str], None], dry_run: bool) -> None:
    """Gives the TUN IPv6 if wanted, without the kernel's own chatter. Dies with the device.

    Raises:
        PlatformError: IPv6 is wanted and cannot be had, or not permitted.
    """
    base = f"net/ipv6/conf/{name}"
    if ipv6 and not dry_run and read_sysctl(f"{base}/disable_ipv6") is None:
        raise PlatformError(
            f"{name} cannot have IPv6 addresses: this kernel has no IPv6; use IPv4 only"
        )
    silence, disabled = f"{base}/addr_gen_mode", f"{base}/disable_ipv6"
    if read_sysctl(silence) not in (None, _ADDR_GEN_MODE_NONE):
        echo(command(silence, _ADDR_GEN_MODE_NONE))
        if not dry_run:
            # chatter that cannot be helped is dropped and counted at the other end
            with contextlib.suppress(PlatformError):
                write_sysctl(silence, _ADDR_GEN_MODE_NONE)
    if ipv6 and read_sysctl(disabled) == "1":
        echo(command(disabled, "0"))
        if not dry_run:
            write_sysctl(disabled, "0")


def _accept_advertisements(ledger: SysctlLedger, name: str) -> None:
    path = f"net/ipv6/conf/{name}/accept_ra"
    if read_sysctl(path) in ("1", "2"):
        ledger.prefer(path, "2")
