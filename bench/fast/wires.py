"""The network of the fast path: two namespaces, and as many plain wires between them as there are paths.

    client ── wwan0 ════════ modem0 ── server
           ── wwan1 ════════ modem1 ──        (veth pairs; no modem, no NAT, no emulator)

The server has the laboratory's public address, on its loopback device; every wire is a way there. Wires are
as fast as the kernel moves packets between namespaces, unless `limit` puts a token bucket on one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lab import topology
from bench.lab.site import Site
from bench.links.shape import LinkSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENT, SERVER = "client", "server"
BURST = 64 * 1024
"""Bytes that a token bucket lets through at once: a packet of the kernel's offloads."""
QUEUE = 0.05
"""Seconds of its rate that may wait in front of a token bucket."""


class Wires(Site):
    """A running network of so many wires."""

    def __init__(self, count: int) -> None:
        """Describes it; it is built on entering."""
        super().__init__(topology.place([LinkSpec.plain()] * count, distinct=True))
        self._limited: list[str] = []

    def limit(self, rates: Sequence[float]) -> None:
        """Let the first wires carry so much (bit/s) each way, and no more."""
        for link, rate in zip(self.links, rates, strict=False):
            for side, device in ((CLIENT, link.name), (SERVER, link.modem)):
                self.run(side, *bucket(device, rate))
        self._limited = [link.name for link, _ in zip(self.links, rates, strict=False)]

    def unlimit(self) -> None:
        """Take all limits away."""
        for link in self.links:
            if link.name in self._limited:
                for side, device in ((CLIENT, link.name), (SERVER, link.modem)):
                    self.run(side, *f"tc qdisc del dev {device} root".split())
        self._limited = []

    def _build(self) -> None:
        for name in (CLIENT, SERVER):
            self.spaces.add(name)
        self.spaces.ip(SERVER, f"addr add {topology.SERVER[0]}/32 dev lo")
        for link in self.links:
            peer = self.spaces.full(SERVER)
            self.spaces.ip(
                CLIENT, f"link add {link.name} type veth peer name {link.modem} netns {peer}"
            )
            self.spaces.ip(
                SERVER, f"addr add {link.gateway}/24 dev {link.modem}", f"link set {link.modem} up"
            )
            topology.configure(self.spaces, link)


def bucket(device: str, rate: float) -> list[str]:
    """Return the command that limits what leaves by a device to a rate in bit/s."""
    limit = BURST + round(rate / 8 * QUEUE)
    words = f"tc qdisc replace dev {device} root tbf rate {rate:.0f}bit burst {BURST} limit {limit}"
    return words.split()
