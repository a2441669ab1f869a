"""Measures whether the link emulator does what it says, on this machine and now.

    python -m bench.lab.selfcheck [--seconds 2]

Six links are loaded at the same time, once with a few Mbit/s and once with 500 Mbit/s in all:

* above their rates: what comes out per second must be the rate, within 1 %;
* below their rates: every packet must come out (999 of 1,000), and when the Python `Link` says so,
  given the time it was sent at: no more than 2 ms later or earlier (99 of 100).

Times are taken by the programs that send and receive, so they contain what the kernel's devices,
forwarding and NAT add, and everything else that a real program on this network meets. CPU is the
emulator's, in shares of one core; its writes include the kernel's work of delivering the packet.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.lab.emulator import LATE
from bench.lab.lab import Lab
from bench.lab.native import program
from bench.lab.processes import cpu_seconds
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
MISSING = 0.001  # share of the packets


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What was seen while all links had so much to carry."""

    name: str
    rate_errors: tuple[float, ...]
    """Share, by link, signed."""
    delay_p50: float
    """Seconds by which packets came later or earlier than they should have, all links together."""
    delay_p99: float
    delay_longest: float
    sent: int
    """Packets that all links together had to carry, below their rates."""
    missing: int
    """How many of them did not come, though there was room for them."""
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
        """Whether rates and delays were kept, and packets."""
        rates = all(abs(error) <= RATE_ERROR for error in self.rate_errors)
        whole = abs(self.missing) <= MISSING * self.sent and self.unread == 0
        return rates and self.delay_p99 <= LATE and whole


def selfcheck(seconds: float = 2.0) -> dict[str, Any]:
    """Measures; returns `ok`, a `text` for people, and the figures by load. Takes 20 s or so."""
    links = [
        LinkSpec.plain(rate_down=rate, rate_up=rate, delay=delay, queue=QUEUE)
        for rate, delay in zip(RATES["500 Mbit/s"], DELAYS, strict=True)
    ]
    with Lab(links=links) as lab:
        trials = [measure(lab, name, rates, seconds) for name, rates in RATES.items()]
    ok = all(trial.good for trial in trials)
    return {
        "ok": ok,
        "text": f"{table(trials)}\n{verdict(ok)}",
        "loads": {trial.name: dataclasses.asdict(trial) for trial in trials},
    }


def measure(lab: Lab, name: str, rates: Sequence[float], seconds: float) -> Trial:
    """Loads all links above and below their rates."""
    begin(lab, rates)
    used = cpu_seconds(lab.emulator_pid)
    seen, _ = blast(lab, [ABOVE * rate for rate in rates], seconds)
    cpu = (cpu_seconds(lab.emulator_pid) - used) / seconds
    above = lab.lateness()
    errors = [rate_of(each) / rate - 1 for each, rate in zip(seen, rates, strict=True)]
    begin(lab, rates)
    seen, sent = blast(lab, [BELOW * rate for rate in rates], seconds)
    wrong = sorted(
        abs(error)
        for delay, rate, each in zip(DELAYS, rates, seen, strict=True)
        for error in delay_errors(delay, rate, each)
    )
    return Trial(
        name=name,
        rate_errors=tuple(errors),
        delay_p50=wrong[len(wrong) // 2],
        delay_p99=wrong[len(wrong) * 99 // 100],
        delay_longest=wrong[-1],
        sent=sum(sent),
        missing=sum(sent) - len(wrong),
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


def blast(lab: Lab, rates: Sequence[float], seconds: float) -> tuple[list[Seen], list[int]]:
    """Sends at these rates over all links down at the same time.

    Returns by link what came, and how many packets were sent.
    """
    tool, length = str(program("blast")), f"{seconds:g}"
    sender = lab.popen("web", tool, "send", PORT, length, str(SIZE), *(f"{r:.0f}" for r in rates))
    assert sender.stdout is not None
    if sender.stdout.readline() != "ready\n":
        raise BenchError("the sender of the self-check did not start")
    devices = [link.name for link in lab.links]
    told = lab.run("client", tool, "receive", WEB[0], PORT, length, *devices).stdout
    noted = [json.loads(line) for line in told.splitlines()]
    if not all(each["sent"] for each in noted):
        lab.stop(sender)
        raise BenchError("nothing came over one of the self-check's links")
    sent = json.loads(sender.stdout.readline())
    lab.stop(sender)
    seen = [
        [(began, began + delay) for began, delay in zip(each["sent"], each["delay"], strict=True)]
        for each in noted
    ]
    return seen, sent


def rate_of(seen: Seen) -> float:
    """The rate (bit/s) at which packets came, once the queue stood."""
    start = seen[0][1] + SETTLING * 1e9
    end = seen[-1][0]  # when the last one was sent; the queue may run empty later
    came = [time for _, time in seen if start <= time <= end]
    return (len(came) - 1) * SIZE * 8e9 / (came[-1] - came[0])


def delay_errors(delay: float, rate: float, seen: Seen) -> list[float]:
    """By how much (s) each packet came later than the link by itself would have let it; or earlier: < 0.

    One that the link would not have let through at all has no error.
    """
    link = Link(LinkSpec.plain(rate_down=rate, delay=delay, queue=QUEUE).down)
    zero = seen[0][0]
    return [
        (came - zero - arrival.time) / 1e9
        for sent, came in seen
        for arrival in link.transmit(SIZE, sent - zero)
    ]


def table(trials: Sequence[Trial]) -> str:
    """Returns the figures as text."""
    lines = [
        "link emulator, six links at once   rate error     delay error, ms    packets  not read  CPU of",
        "                                   (worst link)   p50   p99  longest  missing   in time  a core",
    ]
    for trial in trials:
        worst = max(trial.rate_errors, key=abs)
        delays = [1e3 * each for each in (trial.delay_p50, trial.delay_p99, trial.delay_longest)]
        lines.append(
            f"  {trial.name:32} {worst:+11.2%}  {delays[0]:5.2f} {delays[1]:5.2f} {delays[2]:8.2f}"
            f" {trial.missing:8} {trial.unread:9} {trial.cpu:7.0%}"
        )
    return "\n".join(lines)


def verdict(ok: bool) -> str:
    """Returns one sentence."""
    if ok:
        return "the emulator keeps rates within 1 %, delays within 2 ms and every packet"
    return (
        "the emulator does not keep rates within 1 %, delays within 2 ms and every packet"
        " on this machine now"
    )


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
