"""Everything mpbond changes on the system around it, and how all of it is undone.

One `SystemState` per running tunnel. Every change goes through it, is echoed as the shell command
that does the same, and is taken back by `undo_all`, or by the next start after a kill -9. What has
to be undone is remembered where it cannot go stale:

    rules and routes   in the kernel: our protocol number, in the ranges of our slot (`slots`), and in
                       the main table on our TUN. Whatever stands there is ours to remove.
    sysctls            in the state directory's ledger (`sysctls`), written before the change
    firewall table     in this instance's record (`journal`), written before the change
    the TUN's own      address, MTU, settings: they die with the device

The hard case is a router with six modems, each an interface with the same address and the same
gateway. A socket bound to an interface (SO_BINDTODEVICE) makes the kernel look routes up with that
`oif`; one rule per link leads to a table that knows only that link (`routes`), and a few settings let
in what comes back (`settings`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mpbond.errors import PlatformError
from mpbond.io import firewall, journal
from mpbond.io.kernel import Kernel, KernelError
from mpbond.io.requirements import has_net_admin, require_platform
from mpbond.io.routes import (
    INDICES,
    ROUTE_PROTOCOL,
    TABLE_MAIN,
    link_routes,
    link_rules,
    prefix_route,
    table_of,
    tunnel_routes,
    tunnel_rules,
)
from mpbond.io.settings import FORWARDING, forward, settle_link, settle_tun
from mpbond.io.slots import Slot, claim_slot, hold_slot, preferred_slot
from mpbond.io.sysctls import SysctlLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from ipaddress import (
        IPv4Address,
        IPv4Interface,
        IPv4Network,
        IPv6Address,
        IPv6Interface,
        IPv6Network,
    )
    from pathlib import Path

    from mpbond.io.firewall import ClientRules, ServerRules
    from mpbond.io.netlink import LinkState
    from mpbond.io.routes import Route

__all__ = ["SystemState", "has_net_admin", "require_platform"]

TXQUEUELEN: Final = 1000
"""Packets a TUN device queues for us; we read it promptly and queue ourselves."""
_IPV6_MINIMUM_MTU: Final = 1280


class SystemState:
    """The changes of one tunnel; making it cleans up after a predecessor that was killed.

    Every method may be repeated and then changes nothing. They block; call them from one thread at
    a time and never from one whose asyncio loop is running (`run_in_executor` is right).

    Args:
        state_dir: directory of locks and journals, shared by all tunnels of the machine.
        name: the name of the TUN device. It need not exist yet.
        dry_run: only echo; nothing is changed, locked or written.
        echo: gets each change as a shell command, without the newline.

    Raises:
        PlatformError: another instance runs this tunnel, the directory cannot be written, netlink
            or nft refuses.
    """

    def __init__(
        self,
        state_dir: Path,
        name: str,
        *,
        dry_run: bool = False,
        echo: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._name = name
        self._dry_run = dry_run
        self._echo = echo
        self._sysctls = SysctlLedger(state_dir, name, dry_run=dry_run, echo=echo)
        self._links: dict[str, tuple[int, LinkState, tuple[IPv4Address | IPv6Address, ...]]] = {}
        self._tunnel: frozenset[int] = frozenset()
        self._firewall: ServerRules | ClientRules | None = None
        self._firewall_left = False
        self._journal: journal.Journal | None = None
        self._slot = Slot(preferred_slot(name), None)
        if dry_run:
            return
        self._journal = journal.Journal(state_dir, name)
        try:
            self._recover(self._journal.leftover)
            with self._kernel() as kernel:
                self._slot = claim_slot(kernel, name)
                self._slot.sweep(kernel)
            self._remember()
        except BaseException:
            self._slot.close()
            self._journal.close(clean=False)
            raise

    def __enter__(self) -> SystemState:
        return self

    def __exit__(self, *exception: object) -> None:
        self.undo_all()

    def set_sysctl(self, path: str, value: str | int) -> None:
        """Sets a kernel setting; `path` as `net/ipv4/ip_forward` or with dots.

        Raises:
            PlatformError: there is no such setting, or it may not be changed.
        """
        self._sysctls.change(path, str(value))

    def not_forwarding(self) -> frozenset[int]:
        """Returns the IP versions that were not forwarded before any mpbond: those to guard."""
        return frozenset(v for v, path in FORWARDING.items() if self._sysctls.original(path) == "0")

    def enable_forwarding(self, versions: Iterable[int] = (4, 6)) -> None:
        """Makes this machine a router, without losing what it learns from router advertisements.

        Raises:
            PlatformError: not permitted.
        """
        forward(self._sysctls, set(versions), self._name)

    def tun_up(
        self,
        addresses: Sequence[IPv4Interface | IPv6Interface],
        mtu: int,
        *,
        txqueuelen: int = TXQUEUELEN,
    ) -> None:
        """Gives the TUN device exactly these addresses and this MTU (bytes), and sets it up.

        Raises:
            PlatformError: there is no such device, IPv6 is wanted and cannot be had, not permitted.
        """
        ipv6 = any(a.version == 6 for a in addresses)
        if ipv6 and mtu < _IPV6_MINIMUM_MTU:
            raise PlatformError(
                f"{self._name}: an MTU of {mtu} is too small for IPv6; use 1280 or more"
            )
        settle_tun(self._name, ipv6=ipv6, echo=self._echo, dry_run=self._dry_run)
        with self._kernel() as kernel:
            kernel.set_link(self._name, mtu=mtu, txqueuelen=txqueuelen, up=True)
            present = kernel.addresses(self._name)
            for address in present:
                if address not in addresses and not address.is_link_local:
                    kernel.delete_address(self._name, address)
            for address in addresses:
                if address not in present:
                    kernel.add_address(self._name, address)

    def set_mtu(self, mtu: int) -> None:
        """Changes the MTU of the TUN device, in bytes.

        Raises:
            PlatformError: there is no such device, or not permitted.
        """
        with self._kernel() as kernel:
            kernel.set_link(self._name, mtu=mtu)

    def link_table(
        self, link: LinkState, gateways: Sequence[IPv4Address | IPv6Address] = ()
    ) -> int | None:
        """Makes sockets bound to a link leave by it: settings, own table, rules.

        Call it for each link of each picture the watcher delivers, also for one that is down or has
        no gateway yet: its settings must be right before it can learn one.

        Args:
            gateways: configured ones, which go before those the link has learned.

        Returns:
            The table's id; None while the link is down or gone.

        Raises:
            PlatformError: the kernel refuses, or there are more than 63 links.
        """
        settle_link(self._sysctls, link.name, self._links)
        known = self._links.get(link.name)
        index = known[0] if known else self._free_index(link.name)
        self._links[link.name] = (index, link, (*gateways, *link.gateways))
        try:
            with self._kernel() as kernel:
                self._reconcile_link(kernel, link.name)
        except KernelError as error:
            if error.link_is_gone:
                return None
            raise
        return table_of(self._slot.number, index) if link.up else None

    def remove_link(self, name: str) -> None:
        """Takes back what `link_table` did for a link, whether the link is still there or not.

        Raises:
            PlatformError: the kernel refuses.
        """
        known = self._links.pop(name, None)
        if known is not None:
            with self._kernel() as kernel:
                self._slot.reconcile(kernel, known[0], [], [])
        if not self._dry_run:
            self._sysctls.release(name)

    def default_route(self, on: bool, *, versions: Iterable[int] = (4, 6)) -> None:
        """Sends what has no better route into the TUN, or no longer.

        Subnets in the main table still go direct, sockets bound to links still by their link, and
        answers given from a link's own address too.

        Args:
            versions: IP versions the tunnel carries; others are left as they are.

        Raises:
            PlatformError: the kernel refuses, for instance because the device is not there or down.
        """
        tunnel = frozenset(versions) if on else frozenset()
        number = self._slot.number
        rules, routes = tunnel_rules(number, tunnel), tunnel_routes(self._name, number, tunnel)
        with self._kernel() as kernel:
            self._slot.reconcile(kernel, 0, rules, routes)
            self._tunnel = tunnel
            for name in self._links:
                self._reconcile_link(kernel, name)

    def route(self, prefix: IPv4Network | IPv6Network) -> None:
        """Routes a prefix into the TUN, in the main table.

        Raises:
            PlatformError: the kernel refuses, for instance because another route has the prefix.
        """
        wanted = prefix_route(prefix, self._name)
        with self._kernel() as kernel:
            if wanted not in self._main_routes(kernel):
                kernel.add_route(wanted)

    def remove_route(self, prefix: IPv4Network | IPv6Network) -> None:
        """Takes a prefix's route into the TUN away again.

        Raises:
            PlatformError: the kernel refuses.
        """
        with self._kernel() as kernel:
            for route in self._main_routes(kernel):
                if route.destination == str(prefix):
                    kernel.delete_route(route)

    def apply_firewall(self, rules: ServerRules | ClientRules) -> None:
        """Puts firewall rules in force, in the place of earlier ones; see `mpbond.io.firewall`.

        Raises:
            PlatformError: nft is missing or refuses.
        """
        if rules == self._firewall:
            return
        # the record says so first: undoing what was not done does no harm
        before, self._firewall = self._firewall, rules
        self._remember()
        self._echo(firewall.as_text(firewall.render(rules)))
        if not self._dry_run:
            try:
                firewall.apply(rules)
            except PlatformError:
                self._firewall = before
                raise
        self._firewall_left = False

    @property
    def firewall_left(self) -> bool:
        """Whether a killed predecessor's rules are still in force.

        Recovery leaves them: translated connections live on if they are replaced, not removed.
        """
        return self._firewall_left

    def remove_firewall(self) -> None:
        """Takes the firewall table away.

        Raises:
            PlatformError: nft is missing or refuses.
        """
        if self._firewall is not None or self._firewall_left:
            self._drop_firewall()
            self._firewall, self._firewall_left = None, False
            self._remember()

    def undo_all(self) -> None:
        """Takes every change back and gives the tunnel's name free; calling it again does nothing.

        Raises:
            PlatformError: the first thing that could not be undone (the rest was); the next start
                will try again.
        """
        if self._journal is None:
            return
        refusals: list[PlatformError] = []
        for step in (self._undo_kernel, self._sysctls.release, self.remove_firewall):
            try:
                step()
            except PlatformError as refusal:
                refusals.append(refusal)
        self._slot.close()
        self._journal.close(clean=not refusals)
        self._journal = None
        self._links.clear()
        if refusals:
            raise refusals[0]

    def _undo_kernel(self) -> None:
        with self._kernel() as kernel:
            self._slot.sweep(kernel)
            for route in self._main_routes(kernel):
                kernel.delete_route(route)

    def _recover(self, leftover: dict[str, Any] | None) -> None:
        """Cleans up after predecessors that did not."""
        with self._kernel() as kernel:
            if leftover is not None:
                self._echo(f"# {self._name}: cleaning up after process {leftover.get('pid')}")
                number = leftover.get("slot")
                slot = hold_slot(number) if isinstance(number, int) else None
                # if it cannot be held, a living instance has it and has swept it
                if slot is not None:
                    slot.sweep(kernel)
                    slot.close()
            for route in self._main_routes(kernel):
                kernel.delete_route(route)
        self._firewall_left = leftover is not None and bool(leftover.get("firewall"))
        self._sysctls.release()

    def _drop_firewall(self) -> None:
        self._echo(firewall.as_text(firewall.render_removal(self._name)))
        if not self._dry_run:
            firewall.remove(self._name)

    def _remember(self) -> None:
        if self._journal is not None:
            stands = self._firewall is not None or self._firewall_left
            self._journal.write({"slot": self._slot.number, "firewall": stands})

    def _kernel(self) -> Kernel:
        return Kernel(echo=self._echo, dry_run=self._dry_run)

    def _main_routes(self, kernel: Kernel) -> list[Route]:
        return [
            route
            for protocol, route in kernel.routes()
            if protocol == ROUTE_PROTOCOL and route.table == TABLE_MAIN and route.link == self._name
        ]

    def _reconcile_link(self, kernel: Kernel, name: str) -> None:
        index, link, gateways = self._links[name]
        number = self._slot.number
        routes = link_routes(link, table_of(number, index), gateways)
        rules = link_rules(link, number, index, routes, tunnel=self._tunnel)
        # a link that is down takes no routes; its rules may stand
        self._slot.reconcile(kernel, index, rules, routes if link.up else [])

    def _free_index(self, name: str) -> int:
        taken = {index for index, _, _ in self._links.values()}
        for index in range(1, INDICES):
            if index not in taken:
                return index
        raise PlatformError(f"{name} is one link too many: mpbond takes {INDICES - 1}")
