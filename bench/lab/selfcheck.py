"""Measures whether the link emulator does what it says, on this machine and now.

    python -m bench.lab.selfcheck [--seconds 2]

Six links are loaded at the same time, once with a few Mbit/s and once with 500 Mbit/s in all:

* above their rates: what comes out per second must be the rate, within 1 %;
* below their rates: every packet must come out when the Python `Link` says so, given the time it was
  sent at, within 2 ms for 99 of 100.

Times are taken by the programs that send and receive, so they contain what the kernel's devices,
forwarding and NAT add, and everything else that a real program on this network meets. CPU is the
emulator's, in shares of one core; its writes include the kernel's work of delivering the packet.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.lab.lab import Lab
from bench.lab.native import program
from bench.lab.topology import WEB
from bench.links.link import Link
from bench.links.shape import LinkSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.lab.emulator import Lateness

SIZE = 1500  # bytes of an IP packet
PORT = "5000"
RATES = {
    "low": (4e6, 2e6, 1e6, 8e6, 5e6, 0.5e6),
    "500 Mbit/s": (150e6, 120e6, 100e6, 60e6, 50e6, 20e6),
}
DELAYS = (0.030, 0.010, 0.060, 0.005, 0.020, 0.045)
QUEUE = 0.050  # s
ABOVE, BELOW = 1.2, 0.8
SETTLING = 0.3  # s that do not count towards a rate
RATE_ERROR = 0.01
DELAY_ERROR = 0.002  # s


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What was seen while all links had so much to carry."""

    name: str
    rate_errors: tuple[float, ...]
    """Share, by link, signed."""
    delay_p50: float
    """Seconds by which packets came later than they should have, all links together."""
    delay_p99: float
    delay_longest: float
    cpu: float
    """The emulator's share of one core while the links were full."""
    above: Lateness
    below: Lateness

    @property
    def unread(self) -> int:
        """Packets the emulator did not read in time."""
        return self.above.unread + self.below.unread

    @property
    def good(self) -> bool:
        """Whether rates and delays were kept."""
        rates = all(abs(error) <= RATE_ERROR for error in self.rate_errors)
        return rates and self.delay_p99 <= DELAY_ERROR and self.unread == 0


def selfcheck(seconds: float = 2.0) -> dict[str, Any]:
    """Measures; returns `ok`, a `text` for people, and the figures by load. Takes 20 s or so."""
    links = [
        LinkSpec.plain(rate_down=rate, rate_up=rate, delay=delay, queue=QUEUE)
        for rate, delay in zip(RATES["500 Mbit/s"], DELAYS, strict=True)
    ]
    with Lab(links=links) as lab:
        loads = [measure(lab, name, rates, seconds) for name, rates in RATES.items()]
    ok = all(load.good for load in loads)
    return {
        "ok": ok,
        "text": f"{table(loads)}\n{verdict(ok)}",
        "loads": {load.name: dataclasses.asdict(load) for load in loads},
    }


def measure(lab: Lab, name: str, rates: Sequence[float], seconds: float) -> Load:
    """Loads all links above and below their rates."""
    begin(lab, rates)
    used = cpu_time(lab.emulator_pid)
    seen = blast(lab, [ABOVE * rate for rate in rates], seconds)
    cpu = (cpu_time(lab.emulator_pid) - used) / seconds
    above = lab.lateness()
    errors = [rate_of(each) / rate - 1 for each, rate in zip(seen, rates, strict=True)]
    begin(lab, rates)
    seen = blast(lab, [BELOW * rate for rate in rates], seconds)
    late = sorted(
        error
        for delay, rate, each in zip(DELAYS, rates, seen, strict=True)
        for error in too_late(delay, rate, each)
    )
    return Load(
        name=name,
        rate_errors=tuple(errors),
        delay_p50=late[len(late) // 2],
        delay_p99=late[len(late) * 99 // 100],
        delay_longest=late[-1],
        cpu=cpu,
        above=above,
        below=lab.lateness(),
    )


def begin(lab: Lab, rates: Sequence[float]) -> None:
    """Restarts the links with these rates."""
    lab.restart_links()
    for link, rate in enumerate(rates):
        lab.rate(link, down=rate)


Seen = list[tuple[int, int]]
"""When a packet was sent and when it came (ns), in the order of coming."""


def blast(lab: Lab, rates: Sequence[float], seconds: float) -> list[Seen]:
    """Sends at these rates over all links down at the same time; returns what came, by link."""
    tool, length = str(program("blast")), f"{seconds:g}"
    sender = lab.popen("web", tool, "send", PORT, length, str(SIZE), *(f"{r:.0f}" for r in rates))
    assert sender.stdout is not None
    if sender.stdout.readline() != "ready\n":
        raise BenchError("the sender of the self-check did not start")
    devices = [link.name for link in lab.links]
    told = lab.run("client", tool, "receive", WEB[0], PORT, length, *devices).stdout
    lab.stop(sender)
    noted = [json.loads(line) for line in told.splitlines()]
    if not all(each["sent"] for each in noted):
        raise BenchError("nothing came over one of the self-check's links")
    return [
        [(sent, sent + delay) for sent, delay in zip(each["sent"], each["delay"], strict=True)]
        for each in noted
    ]


def rate_of(seen: Seen) -> float:
    """The rate (bit/s) at which packets came, once the queue stood."""
    start = seen[0][1] + SETTLING * 1e9
    end = seen[-1][0]  # when the last one was sent; the queue may run empty later
    came = [time for _, time in seen if start <= time <= end]
    return (len(came) - 1) * SIZE * 8e9 / (came[-1] - came[0])


def too_late(delay: float, rate: float, seen: Seen) -> list[float]:
    """By how much (s) each packet came later than the link by itself would have let it."""
    link = Link(LinkSpec.plain(rate_down=rate, delay=delay, queue=QUEUE).down)
    zero = seen[0][0]
    return [
        (came - zero - arrival.time) / 1e9
        for sent, came in seen
        for arrival in link.transmit(SIZE, sent - zero)
    ]


def cpu_time(pid: int) -> float:
    """Returns the processor time (s) a process has used."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def table(loads: Sequence[Load]) -> str:
    """Returns the figures as text."""
    lines = [
        "link emulator, six links at once    rate error      delay error, ms       CPU of   not read",
        "                                    (worst link)    p50    p99   longest  a core    in time",
    ]
    for load in loads:
        worst = max(load.rate_errors, key=abs)
        delays = [1e3 * each for each in (load.delay_p50, load.delay_p99, load.delay_longest)]
        lines.append(
            f"  {load.name:32}  {worst:+11.2%}  {delays[0]:7.2f} {delays[1]:6.2f} {delays[2]:9.2f}"
            f"  {load.cpu:6.0%} {load.unread:10}"
        )
    return "\n".join(lines)


def verdict(ok: bool) -> str:
    """Returns one sentence."""
    if ok:
        return "the emulator keeps rates within 1 % and delays within 2 ms"
    return "the emulator does not keep rates within 1 % and delays within 2 ms on this machine now"


def main() -> int:
    """Prints the figures; the exit status tells whether they are good."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.lab.selfcheck", description="Measure the link emulator."
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each measurement")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    options = parser.parse_args()
    try:
        found = selfcheck(options.seconds)
    except KeyboardInterrupt:
        return 130
    except (BenchError, OSError) as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    print(json.dumps(found) if options.json else found["text"])
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
