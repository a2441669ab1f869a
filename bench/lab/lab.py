"""The laboratory: a network in namespaces, and the real programs in it.

    with Lab(links=[LinkSpec.plain(rate_down=8e6, delay=0.030) for _ in range(6)]) as lab:
        lab.start_server()
        lab.start_client()
        lab.run("client", "ping", "-c", "1", lab.inner("server"))

Names of namespaces: lan, client, modem0…, net, server, web (and client1… for further boxes, rivalN
for somebody else behind modem N). Links are as `bench.links` describes them, on a clock of their own,
which begins when the laboratory stands and again with every `restart_links`. A link is named by its
number. What happens to links at run time (`pull`, `silence`, `rebind`, …) happens to the network only:
no program is told.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from bench.lab import topology
from bench.lab.emulator import (
    DIRECTIONS,
    Emulator,
    Ends,
    Lateness,
    changes,
    loss_order,
    rate_order,
)
from bench.lab.namespaces import LabError
from bench.lab.site import Site
from bench.links.shape import Constant, RandomLoss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.links.ledger import Ledger
    from bench.links.shape import LinkSpec

COUNT_DEVICES = ("ip", "-s", "-d", "-j", "link", "show")


class Lab(Site):
    """A running network. A context manager: everything is gone when it ends, however it ends."""

    def __init__(
        self,
        *,
        links: Sequence[LinkSpec],
        seed: int = 1,
        rp_filter: int = 2,
        distinct: bool = False,
        rival: int | None = None,
    ) -> None:
        """Describes the network; it is built on entering.

        `seed` decides what is left to chance on the links. `rp_filter` is what the client boxes start
        with: 0 off, 1 strict, 2 loose. With `distinct` every modem has a subnet of its own, else all
        have the same. `rival` is the number of a link that somebody else shares.
        """
        super().__init__(topology.place(links, distinct=distinct))
        self._seed = seed
        self._rp_filter = rp_filter
        self._rival = rival
        self._emulator: Emulator | None = None
        self._unread = 0

    # Links at run time

    def pull(self, link: int) -> None:
        """Takes the link down on the client's side: its interface stays, without carrier."""
        each = self.links[link]
        self.spaces.ip(each.box, f"link set {each.name} down")

    def restore(self, link: int) -> None:
        """Puts a pulled link back, with its address and routes."""
        topology.configure(self.spaces, self.links[link])

    def unplug(self, link: int) -> None:
        """Takes the modem out of the box: its interface is gone."""
        each = self.links[link]
        self.spaces.ip(each.box, f"link del {each.name}")

    def plug(self, link: int) -> None:
        """Puts an unplugged modem back: a new interface of the same name."""
        topology.plug(self.spaces, self.links[link])

    def silence(self, link: int, direction: str | None = None) -> None:
        """Lets the link swallow everything ("up", "down" or both ways) and say nothing."""
        self.emulator.set(link, direction, "up 0")

    def unsilence(self, link: int, direction: str | None = None) -> None:
        """Lets a silent link carry again."""
        self.emulator.set(link, direction, "up 1")

    def shape(
        self,
        link: int,
        direction: str | None = None,
        *,
        delay: float | None = None,
        jitter: float | None = None,
        loss: float | None = None,
        duplicate: float | None = None,
    ) -> None:
        """Changes delay and jitter (s, one way), random loss or duplication of a link at run time."""
        orders = changes(delay=delay, jitter=jitter, loss=loss, duplicate=duplicate)
        self.emulator.set(link, direction, *orders)

    def lose(self, link: int, loss: float | None) -> None:
        """Lets the link lose so much both ways, at random; None gives it back its own loss."""
        spec = self.links[link].spec
        for direction, own in (("down", spec.down.loss), ("up", spec.up.loss)):
            order = loss_order(own if loss is None else RandomLoss(loss))
            self.emulator.set(link, direction, order)

    def rate(self, link: int, *, down: float | None = None, up: float | None = None) -> None:
        """Changes a link's rate (bit/s) at run time; only one that was constant."""
        spec = self.links[link].spec
        for direction, rate, shape in (("down", down, spec.down), ("up", up, spec.up)):
            if rate is None:
                continue
            if not isinstance(shape.rate, Constant):
                raise LabError(f"link {link} has no constant rate {direction} to be changed")
            self.emulator.set(link, direction, rate_order(Constant(rate)))

    def rebind(self, link: int, *, port_only: bool = False) -> None:
        """Gives the modem a new public address, or only new ports, and forgets its mappings."""
        each = self.links[link]
        before = each.public()
        each.ports += 1
        if not port_only:
            each.addresses += 1
        self.spaces.nft(each.modem, topology.modem_rules(each))
        self.spaces.ip(
            each.modem,
            f"addr del {before}/32 dev wan",
            f"addr add {each.public()}/32 dev wan",
        )
        # the kernel forgets translated connections when their address goes, unless too many
        # namespaces are being cleaned up at that moment
        self.run(each.modem, "conntrack", "-F")

    # The link emulator

    def restart_links(self, seed: int | None = None) -> float:
        """Begins the links' lives again, with empty books; returns when (s, on `now`'s clock).

        What was changed at run time (`silence`, `shape`, `rate`) is undone. From here on everything
        happens as in any other run with the same seed (None: the laboratory's) and packets.
        """
        self._unread = self._count_unread()
        return self.emulator.restart(self._seed if seed is None else seed)

    def ledgers(self) -> list[dict[str, Ledger]]:
        """Returns the books of all links since their start, by number and "down" or "up"."""
        return [
            {direction: self.emulator.ledger(link.number, direction) for direction in DIRECTIONS}
            for link in self.links
        ]

    def lateness(self) -> Lateness:
        """Returns how punctual the emulator was since the links' start."""
        seen = self.emulator.lateness()
        return dataclasses.replace(seen, unread=self._count_unread() - self._unread)

    def report(self) -> dict[str, dict[str, int]]:
        """Returns the packets the emulator delivered, lost and could not deliver since the start.

        By link and direction, as "0 up"; `overrun` are those its memory had no room for.
        """
        return self.emulator.traffic()

    @property
    def emulator(self) -> Emulator:
        """The running link emulator."""
        if self._emulator is None:
            raise LabError("the laboratory is not running; enter it with `with` first")
        return self._emulator

    @property
    def emulator_pid(self) -> int:
        """The process id of the link emulator."""
        return self.emulator.process.pid

    def _count_unread(self) -> int:
        """Packets that found the queue of a device in front of the emulator full, since it exists."""
        dropped = 0
        for namespace in ("net", *(link.modem for link in self.links)):
            for device in json.loads(self.run(namespace, *COUNT_DEVICES).stdout):
                if device.get("linkinfo", {}).get("info_kind") == "tun":
                    dropped += device["stats64"]["tx"]["dropped"]
        return dropped

    # Building

    def _build(self) -> None:
        mtu = max(1500, *(link.spec.mtu for link in self.links))
        topology.build_core(self.spaces, mtu)
        for box in dict.fromkeys(link.box for link in self.links):
            topology.build_box(self.spaces, box, self._rp_filter)
        for link in self.links:
            self.spaces.add(link.modem)
        self._emulator = Emulator(
            [(link.spec.down, link.spec.up, link.spec.mtu) for link in self.links],
            [
                Ends(
                    modem=(self.spaces.full(link.modem), "wan"),
                    internet=(self.spaces.full("net"), link.modem),
                )
                for link in self.links
            ],
            self._seed,
        )
        for link in self.links:
            topology.build_modem(self.spaces, link)
        if self._rival is not None:
            topology.build_rival(self.spaces, self.links[self._rival])
        self.restart_links()

    def _close(self) -> None:
        emulator, self._emulator = self._emulator, None
        if emulator is not None:
            emulator.close()
