"""Load in a laboratory: starts the two programs of a generator, and reads what they say at their end.

    transfer = Transfer(lab, target=topology.WEB[0], flows=8, seconds=30)
    call = VoiceCall(lab, target=topology.WEB[0], seconds=30)
    start = lab.restart_links(seed) + 1.0
    transfer.begin(start)
    call.begin(start)
    figures, heard = transfer.result(), call.result()

That nothing came through is a result: no bytes, nothing alive, every page failed, every packet lost.
LabError is raised when a generator itself fails: it cannot start, there is no route, nobody serves.

Making a generator starts its programs and returns when both are ready, so nothing of that falls into
a measurement; `begin` gives them the moment, which any number of generators may share. Programs that
are not wanted any more end with `cancel`, with the laboratory at the latest.

Times in results are seconds; timelines have one sum of bytes per 100 ms from the beginning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from bench import workloads
from bench.lab.namespaces import LabError
from bench.lab.traffic.figures import (
    OneWay,
    PagesResult,
    QuicResult,
    TransferResult,
    UdpResult,
    VoiceResult,
)
from bench.lab.traffic.generator import SECONDS, Generator, Place
from bench.lab.traffic.meter import delays, round_trips

if TYPE_CHECKING:
    from bench.lab.site import Site

DRAIN = 3.0
"""Seconds after the end in which late datagrams still count as received."""
SATURATED = 0.8
"""Share of a core from which on a generator was itself the limit."""


class Transfer(Generator):
    """TCP or MPTCP in bulk, or in pieces."""

    program = "tcp"

    def __init__(
        self,
        lab: Site,
        *,
        direction: str = "down",
        flows: int = 1,
        congestion: str = "cubic",
        mptcp: bool = False,
        pieces: int | None = None,
        every: float | None = None,
        **place: Unpack[Place],
    ) -> None:
        """Starts `flows` connections.

        `direction` is where data goes: "down" (server to client), "up", or "both", which makes that
        many connections each way. `pieces` is how many bytes a client asks for at a time (down only),
        None for all at once; with `every` it asks at multiples of so many seconds only.
        """
        if direction not in ("down", "up", "both"):
            raise LabError(f'a direction is "down", "up" or "both", not {direction!r}')
        if pieces is not None and (direction != "down" or pieces < 1):
            raise LabError("only a download can be fetched in pieces, of 1 byte and more")
        if every is not None and (pieces is None or every <= 0):
            raise LabError("only pieces can be asked for every so many seconds")
        if flows < 1:
            raise LabError(f"a transfer has at least one flow, not {flows}")
        self._flows = flows
        self._directions = ("down", "up") if direction == "both" else (direction,)
        plan = {
            "down": flows if "down" in self._directions else 0,
            "up": flows if "up" in self._directions else 0,
            "congestion": congestion,
            "mptcp": mptcp,
            "piece": pieces,
            "every": every,
        }
        super().__init__(lab, plan, **place)

    def results(self) -> dict[str, TransferResult]:
        """Wait for the end and return the figures by direction."""
        fetched, served = self._ends()
        return {way: self._result(way, fetched, served) for way in self._directions}

    def result(self) -> TransferResult:
        """Wait for the end and return the figures of the one direction there is."""
        found = self.results()
        if len(found) > 1:
            raise LabError("a transfer both ways has two results; ask for `results`")
        return next(iter(found.values()))

    def _result(self, way: str, fetched: dict[str, Any], served: dict[str, Any]) -> TransferResult:
        receiver, sender = (fetched, served) if way == "down" else (served, fetched)
        first = self._flows if way == "up" and len(self._directions) == 2 else 0
        wanted = range(first, first + self._flows)
        took = {flow["number"]: flow for flow in receiver["flows"]}
        gave = {flow["number"]: flow for flow in sender["flows"]}
        infos = [flow["info"] for number, flow in gave.items() if number in wanted and flow["info"]]
        begun = [took[number] for number in wanted if number in took and number in gave]
        ends = begun + [gave[flow["number"]] for flow in begun]
        return TransferResult(
            bytes=receiver["bytes"],
            per_flow=[took[n]["received"] if n in took else 0 for n in wanted],
            timeline=receiver["timeline"],
            first_byte=receiver["first"],
            longest_stall=receiver["longest_stall"],
            sent=sum(flow["sent"] for number, flow in gave.items() if number in wanted),
            retransmits=sum(info["retransmits"] for info in infos),
            spurious=sum(info["spurious"] for info in infos),
            subflows=max((info["subflows"] for info in infos), default=0),
            congestion=next((info["congestion"] for info in infos), None),
            completed=receiver["completed"],
            alive=len(begun) == self._flows
            and all(flow["connected"] and flow["error"] is None for flow in ends),
            **self._machine(fetched, served),
        )


class PageLoads(Generator):
    """Visitors who open one page after the other."""

    program = "pages"

    def __init__(
        self,
        lab: Site,
        *,
        visitors: int = 1,
        connections: int = workloads.PAGE_CONNECTIONS,
        pause: float = workloads.PAGE_PAUSE,
        patience: float = 10.0,
        seed: int = 1,
        congestion: str = "cubic",
        mptcp: bool = False,
        **place: Unpack[Place],
    ) -> None:
        """Starts `visitors` at once, each with `connections` for a page and a `pause` (s) after it.

        A page that takes longer than `patience` (s) has failed. `seed` decides what is on the pages.
        """
        self._patience = patience
        plan = {
            "visitors": visitors,
            "connections": connections,
            "pause": pause,
            "patience": patience,
            "grace": patience + 1,
            "seed": seed,
            "congestion": congestion,
            "mptcp": mptcp,
            "piece": None,
        }
        super().__init__(lab, plan, **place)

    def result(self) -> PagesResult:
        """Wait for the end and return how long every page took."""
        fetched, served = self._ends(self._patience)
        return PagesResult(
            pages=fetched["pages"],
            failed=fetched["failed"],
            bytes=fetched["bytes"],
            timeline=fetched["timeline"],
            error=fetched["error"],
            **self._machine(fetched, served),
        )


class UdpStream(Generator):
    """UDP at a constant rate."""

    program = "udp"

    def __init__(
        self,
        lab: Site,
        *,
        rate: float,
        direction: str = "down",
        size: int = workloads.UDP_PAYLOAD,
        tos: int = 0,
        drain: float = DRAIN,
        **place: Unpack[Place],
    ) -> None:
        """Starts a stream of `rate` bit/s of payload in datagrams of `size` bytes of payload.

        What comes later than `drain` (s) after the end is lost.
        """
        if direction not in ("down", "up"):
            raise LabError(f'a direction is "down" or "up", not {direction!r}')
        if rate <= 0 or not 8 <= size <= 65_000:
            raise LabError("a UDP stream has a rate above 0 and datagrams of 8 to 65000 bytes")
        self._down = direction == "down"
        self._drain = drain
        plan = {
            "rate": rate,
            "size": size,
            "direction": direction,
            "tos": tos,
            "drain": drain,
        }
        super().__init__(lab, plan, **place)

    def result(self) -> UdpResult:
        """Wait for the end and return what came of what was sent."""
        fetched, served = self._ends(self._drain)
        sender, receiver = (served, fetched) if self._down else (fetched, served)
        return UdpResult(
            sent=sender["sent"],
            refused=sender["refused"],
            received=receiver["received"],
            lost=sender["sent"] - receiver["received"],
            duplicates=receiver["duplicates"],
            reordered=receiver["reordered"],
            overrun=receiver["overrun"],
            bytes=receiver["bytes"],
            timeline=receiver["timeline"],
            longest_stall=receiver["longest_stall"],
            **self._machine(fetched, served),
        )


class VoiceCall(Generator):
    """A call: both ends send a small packet every 20 ms."""

    program = "voice"

    def __init__(
        self,
        lab: Site,
        *,
        interval: float = workloads.VOICE_INTERVAL,
        size: int = workloads.VOICE_PAYLOAD,
        tos: int = workloads.VOICE_TOS,
        drain: float = DRAIN,
        **place: Unpack[Place],
    ) -> None:
        """Starts a call of packets of `size` bytes of payload every `interval` (s), each way.

        What comes later than `drain` (s) after the end is lost.
        """
        if size < 12 or interval <= 0 or place.get("seconds", SECONDS) < interval:
            raise LabError("a call has packets of 12 bytes and more, and time for one of them")
        self._drain = drain
        plan = {"interval": interval, "size": size, "tos": tos, "drain": drain}
        super().__init__(lab, plan, **place)

    def result(self) -> VoiceResult:
        """Wait for the end and return the delay of every packet."""
        fetched, served = self._ends(self._drain)
        up = self._way(fetched, served)
        down = self._way(served, fetched)
        trips = round_trips(up["delays"], fetched["sent"], down["delays"], served["sent"])
        return VoiceResult(
            sent=len(fetched["sent"]),
            up=up,
            down=down,
            round_trips=trips,
            **self._machine(fetched, served),
        )

    def _way(self, sender: dict[str, Any], receiver: dict[str, Any]) -> OneWay:
        listed = delays(len(sender["sent"]), receiver["received"])
        return OneWay(
            lost=listed.count(None),
            refused=sender["refused"],
            delays=listed,
        )


class QuicTransfer(Generator):
    """A download over QUIC."""

    program = "quic"

    def __init__(
        self,
        lab: Site,
        *,
        congestion: str = "cubic",
        **place: Unpack[Place],
    ) -> None:
        """Starts a download; `congestion` is one of aioquic's: "cubic" or "reno"."""
        if congestion not in ("cubic", "reno"):
            raise LabError(f'aioquic has congestion control "cubic" and "reno", not {congestion!r}')
        super().__init__(lab, {"congestion": congestion}, **place)

    def result(self) -> QuicResult:
        """Wait for the end and return what came."""
        fetched, served = self._ends()
        shares = [each["cpu"] / self.seconds for each in (fetched, served)]
        return QuicResult(
            bytes=fetched["bytes"],
            timeline=fetched["timeline"],
            longest_stall=fetched["longest_stall"],
            alive=fetched["connected"] and fetched["error"] is None,
            saturated=max(shares) > SATURATED,
            **self._machine(fetched, served),
        )
