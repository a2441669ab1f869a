"""What may carry the traffic over a set of links: names, and which links and settings they stand for.

A system is named by a word, and by the number of a link behind a colon where it uses one link only:
`bare:2` is link 2 by itself. Without a number such a system takes the best link, which is the one with
the largest mean rate in the direction of the traffic. mpbond knows one weight per link for both
directions, so `weighted` is given the mean rates of that direction too.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Self

from bench.errors import BenchError, unknown
from bench.links.capacity import mean_rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.links.shape import LinkSpec

BARE, MPBOND, MPTCP, WIREGUARD = "bare", "mpbond", "mptcp", "wireguard"
QUEUE_DROPS = ("codel", "queue_full", "realtime_full")
"""Reasons for which mpbond's send queue drops packets on purpose, as its status calls them."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """What carries the traffic."""

    name: str
    """As it was asked for, with the number of the link if one was given."""
    title: str
    kind: str
    """"bare" (no tunnel), "mpbond", "mptcp" (the kernel's) or "wireguard"."""
    one_link: bool = False
    """Whether it uses one link only."""
    link: int | None = None
    """The number of that link; None for the best one."""
    scheduler: str = "adaptive"
    """mpbond's, in both directions."""
    hold: str | int = "auto"
    """How long mpbond's receivers keep a packet for an earlier one: "auto", or milliseconds."""
    weighted: bool = False
    """Whether mpbond is told the links' mean rates as weights."""
    clocks: tuple[str, ...] = ("sim", "lab")

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the system of that name; BenchError says which there are."""
        word, colon, number = name.partition(":")
        known = SYSTEMS.get(word)
        if known is None:
            raise unknown("system", name, SYSTEMS)
        values = {field.name: getattr(known, field.name) for field in dataclasses.fields(cls)}
        if not colon:
            return cls(**values)
        if not known.one_link:
            raise BenchError(
                f"the system {word} uses all links and takes no number of one: {name!r}"
            )
        if not (number.isascii() and number.isdigit()):
            raise BenchError(f"{name!r} names no link; write its number, as in {word}:0")
        link = int(number)
        title = known.title.replace("the best link", f"link {link}")
        return cls(**values | {"name": f"{word}:{link}", "link": link, "title": title})

    def used(self, links: Sequence[LinkSpec], direction: str) -> tuple[int, ...]:
        """Return the numbers of the links it uses for traffic in a direction ("down" or "up").

        They are those of the first box; further boxes use all of their own.
        """
        if not self.one_link:
            return tuple(number for number, link in enumerate(links) if link.client == 0)
        if self.link is None:
            return (best_link(links, direction),)
        if self.link >= len(links):
            raise BenchError(
                f"{self.name} needs a link of number {self.link}, but they end at {len(links) - 1}"
            )
        return (self.link,)

    def weights(self, links: Sequence[LinkSpec], direction: str) -> list[float]:
        """Return the weight of every link, in Mbit/s if mean rates are what it goes by."""
        if not self.weighted:
            return [1.0] * len(links)
        return [max(0.001, rate / 1e6) for rate in mean_rates(links, direction)]

    def carries(self, kind: str) -> bool:
        """Tell whether it carries workloads of a kind: MPTCP carries TCP, and nothing else."""
        return self.kind != MPTCP or kind in ("bulk", "pieces", "pages")


def mean_rates(links: Sequence[LinkSpec], direction: str) -> list[float]:
    """Return what every link carries in the long run in a direction, in bit/s."""
    return [mean_rate(link.up if direction == "up" else link.down) for link in links]


def best_link(links: Sequence[LinkSpec], direction: str) -> int:
    """Return the number of the link with the largest mean rate; the first of equals."""
    rates = mean_rates(links, direction)
    return rates.index(max(rates))


def select(names: Iterable[str], links: int) -> list[System]:
    """Return the systems of these names, each once; `bare:*` is each of so many links alone."""
    found: dict[str, System] = {}
    for name in names:
        word, _, number = name.partition(":")
        every = [f"{word}:{link}" for link in range(links)] if number == "*" else [name]
        for each in every:
            system = System.parse(each)
            found[system.name] = system
    return list(found.values())


SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        System(name="bare", title="the best link by itself", kind=BARE, one_link=True),
        System(name="single", title="mpbond over the best link", kind=MPBOND, one_link=True),
        System(name="rr", title="mpbond rr, not reordering", kind=MPBOND, scheduler="rr", hold=0),
        System(name="rr+hold", title="mpbond rr, reordering", kind=MPBOND, scheduler="rr"),
        System(name="xor", title="mpbond xor, flow by flow", kind=MPBOND, scheduler="xor"),
        System(
            name="weighted",
            title="mpbond weighted by the links' mean rates",
            kind=MPBOND,
            scheduler="weighted",
            weighted=True,
        ),
        System(name="adaptive", title="mpbond as it is by itself", kind=MPBOND),
        System(
            name="redundant",
            title="mpbond that sends everything over every link",
            kind=MPBOND,
            scheduler="redundant",
        ),
        System(name="mptcp", title="the kernel's Multipath TCP", kind=MPTCP, clocks=("lab",)),
        System(
            name="wireguard",
            title="wireguard-go over the best link",
            kind=WIREGUARD,
            one_link=True,
            clocks=("lab",),
        ),
    )
}
"""Every system by its name; those of one link stand for the best link."""
