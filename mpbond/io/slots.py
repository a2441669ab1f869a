"""Slots: which range of tables and priorities belongs to which running tunnel.

A slot is held by an abstract unix socket named after it: such a name is one to a network namespace,
taken atomically, and given back by the kernel when its holder dies, however it dies. So a slot that
can be taken has no living owner, and whatever carries our protocol number in its ranges is left over
from a killed process and may be swept away. A slot in whose ranges somebody *else's* rules or routes
stand is passed over.
"""

from __future__ import annotations

import errno
import socket
import zlib
from typing import TYPE_CHECKING, Final

from mpbond.errors import PlatformError
from mpbond.io.routes import (
    ROUTE_PROTOCOL,
    SLOTS,
    TABLE_MAIN,
    slot_priorities,
    slot_tables,
    table_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from mpbond.io.kernel import Kernel
    from mpbond.io.routes import Route, Rule

_NAME: Final = "\0mpbond/slot/{}"


class Slot:
    """A range of tables and priorities; `number` is its place among the others."""

    def __init__(self, number: int, holder: socket.socket | None) -> None:
        self.number = number
        self._holder = holder

    def reconcile(
        self, kernel: Kernel, index: int, rules: Collection[Rule], routes: Collection[Route]
    ) -> None:
        """Makes one index of the slot hold exactly these rules and routes.

        Raises:
            KernelError: a change is refused.
        """
        standing_rules, standing_routes = self._standing(kernel)
        old_rules = [r for r in standing_rules if self._index(r) == index]
        old_routes = [r for r in standing_routes if r.table == table_of(self.number, index)]
        # subnets come before the gateways that must be found in them
        for route in routes:
            if route not in old_routes:
                kernel.replace_route(route)
        for rule in rules:
            if rule not in old_rules:
                kernel.add_rule(rule)
        for rule in _last_first(old_rules):
            if rule not in rules:
                kernel.delete_rule(rule)
        kept = {(r.family, r.destination) for r in routes}
        for route in old_routes:
            if (route.family, route.destination) not in kept:
                kernel.delete_route(route)

    def sweep(self, kernel: Kernel) -> None:
        """Removes all rules and routes of ours from the slot, whoever of us made them.

        Raises:
            KernelError: a change is refused.
        """
        rules, routes = self._standing(kernel)
        for rule in _last_first(rules):
            kernel.delete_rule(rule)
        for route in routes:
            kernel.delete_route(route)

    def close(self) -> None:
        """Gives the slot back; calling it again does nothing."""
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def _index(self, rule: Rule) -> int:
        """Returns the index a rule belongs to; the two without a selector belong to the TUN's."""
        return 0 if rule.table == TABLE_MAIN else rule.table - table_of(self.number, 0)

    def _standing(self, kernel: Kernel) -> tuple[list[Rule], list[Route]]:
        priorities, tables = slot_priorities(self.number), slot_tables(self.number)
        rules = [
            rule
            for protocol, rule in kernel.rules()
            if protocol == ROUTE_PROTOCOL and any(rule.priority in p for p in priorities)
        ]
        routes = [
            route
            for protocol, route in kernel.routes()
            if protocol == ROUTE_PROTOCOL and route.table in tables
        ]
        return rules, routes


def preferred_slot(name: str) -> int:
    """Returns the slot a TUN of this name tries first, so that restarts see the same numbers."""
    return zlib.crc32(name.encode()) % SLOTS


def claim_slot(kernel: Kernel, name: str) -> Slot:
    """Takes the first free slot, beginning with the preferred one.

    Raises:
        PlatformError: all slots are taken.
    """
    rules, routes = kernel.rules(), kernel.routes()
    first = preferred_slot(name)
    for step in range(SLOTS):
        number = (first + step) % SLOTS
        if not _strangers_in(number, rules, routes) and (slot := hold_slot(number)) is not None:
            return slot
    raise PlatformError(
        f"no free range of routing tables for {name}: {SLOTS} tunnels run already or other programs"
        " use rule priorities 5000-7316 or tables 7000-8023; stop one of them"
    )


def hold_slot(number: int) -> Slot | None:
    """Takes one slot; None if a living process has it."""
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        holder.bind(_NAME.format(number))
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return Slot(number, holder)


def _last_first(rules: Collection[Rule]) -> list[Rule]:
    return sorted(rules, key=lambda rule: -rule.priority)


def _strangers_in(
    number: int, rules: list[tuple[int, Rule]], routes: list[tuple[int, Route]]
) -> bool:
    priorities, tables = slot_priorities(number), slot_tables(number)
    return any(
        protocol != ROUTE_PROTOCOL
        and (rule.table in tables or any(rule.priority in p for p in priorities))
        for protocol, rule in rules
    ) or any(protocol != ROUTE_PROTOCOL and route.table in tables for protocol, route in routes)
