"""Shows mpbond at work: six modems, one internet, the real programs, measured with iperf3.

It builds the laboratory's network, measures what each modem carries alone and plainly, starts
`mpbond server` and `mpbond client`, measures what a host behind the client gets through the bond,
pulls the best modem in the middle of a download, and takes everything down again.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.lab import Lab, LabError, LinkSpec, topology
from bench.lab.emulator import LATE
from bench.lab.iperf import Measured, Measurement, iperf
from bench.lab.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Sequence

RATES = (8e6, 7e6, 5e6, 4e6, 3e6, 2e6)
DELAY = 0.030  # s one way: 60 ms there and back
WEB = topology.WEB[0]
BAR = 40  # columns of the longest bar
SETTLING = 3  # s of slow start that are not shown
OFFERED = 0.94  # of what the modems carry alone: the bond's own headers take the rest
EVERY = 0.01  # s between the datagrams of the small stream that watches a modem being pulled
TITLE = """
mpbond: six bad links, one good one
===================================

  lan host -- client --+-- wwan0, a modem with NAT -- 8 Mbit/s --+
                       +-- wwan1                   -- 7 Mbit/s --+
                       +-- wwan2                   -- 5 Mbit/s --+-- internet -- server
                       +-- wwan3                   -- 4 Mbit/s --+      |
                       +-- wwan4                   -- 3 Mbit/s --+   web host
                       +-- wwan5                   -- 2 Mbit/s --+

  Network namespaces on this machine. Every modem hands out the same 192.168.8.100, has no public
  address, and takes 60 ms there and back. Server and client are the real programs; TCP is CUBIC.
"""


def main() -> int:
    """Runs the demonstration; returns the exit status."""
    options = _parse()
    seconds = 4 if options.quick else 8
    started = time.monotonic()
    say(TITLE)
    try:
        with Lab(links=[LinkSpec.plain(rate_down=r, rate_up=r, delay=DELAY) for r in RATES]) as lab:
            say(f"the network stands after {time.monotonic() - started:.1f} s")
            alone = measure_modems(lab, seconds)
            start(lab)
            measure_bond(lab, seconds, alone)
            pull_a_modem(lab, seconds)
            judge_the_links(lab)
            if options.keep:
                keep(lab)
            say("\ntaking everything down")
            stop(lab)
    except KeyboardInterrupt:
        say("\ninterrupted; everything is taken down")
        return 130
    except (BenchError, OSError) as failure:
        print(f"mpbond: {failure}", file=sys.stderr)
        return 1
    say(f"done in {time.monotonic() - started:.0f} s; nothing is left behind")
    return 0


def measure_modems(lab: Lab, seconds: float) -> tuple[float, float]:
    """Measures every modem alone, all at the same time; returns the sums of TCP and UDP."""
    say(f"\neach modem alone, without mpbond, download (2 x {seconds} s)")
    names = [link.name for link in lab.links]
    tcp = [Measurement(lab, WEB, device=name, seconds=seconds, omit=2) for name in names]
    by_tcp = [each.result() for each in tcp]
    udp = [
        Measurement(lab, WEB, device=name, seconds=seconds, omit=1, udp_rate=1.05 * rate)
        for name, rate in zip(names, RATES, strict=True)
    ]
    by_udp = [each.result() for each in udp]
    say("          rate   TCP CUBIC   UDP      Mbit/s of payload")
    for name, rate, one, other in zip(names, RATES, by_tcp, by_udp, strict=True):
        say(f"  {name}  {rate / 1e6:5.1f}  {one.rate / 1e6:8.2f}  {other.rate / 1e6:8.2f}")
    sums = sum(each.rate for each in by_tcp), sum(each.rate for each in by_udp)
    say(f"  sum    {sum(RATES) / 1e6:5.1f}  {sums[0] / 1e6:8.2f}  {sums[1] / 1e6:8.2f}")
    return sums


def start(lab: Lab) -> None:
    """Starts server and client as a user would, and waits for all six paths."""
    began = time.monotonic()
    lab.start_server()
    lab.start_client(default_route=True, masquerade=True)
    say(f"\nmpbond server and client started; six paths up after {time.monotonic() - began:.1f} s")


def measure_bond(lab: Lab, seconds: float, alone: tuple[float, float]) -> None:
    """Measures from the host behind the client to the web host behind the server."""
    tcp, udp = alone
    say(f"\nthrough the bond, from a host behind the client (4 x {seconds} s)")
    say("                          Mbit/s   of the sum")
    for name, share_of, options in (
        ("download, TCP, 1 flow ", tcp, {"flows": 1}),
        ("download, TCP, 8 flows", tcp, {"flows": 8}),
        ("upload, TCP, 8 flows  ", tcp, {"flows": 8, "direction": "up"}),
        ("download, UDP         ", udp, {"udp_rate": OFFERED * udp}),
    ):
        one = iperf(lab, WEB, client="lan", seconds=seconds, omit=2, **options)
        lost = f"   {one.loss:.2%} of the datagrams lost" if one.loss is not None else ""
        say(f"  {name}  {one.rate / 1e6:8.2f}   {one.rate / share_of:.0%}{lost}")


def pull_a_modem(lab: Lab, seconds: float) -> None:
    """Pulls the best modem in the middle of a download and puts it back."""
    name, third = lab.links[0].name, max(3.0, seconds / 2)
    say(f"\na download of 8 flows; {name} is pulled, and put back ({SETTLING + 3 * third:.0f} s)")
    probe = Probe(lab, WEB, client="lan", server="web", interval=EVERY)
    run = Measurement(lab, WEB, client="lan", flows=8, seconds=SETTLING + 3 * third, interval=1)
    began = time.monotonic()
    pulled = SETTLING + third + 0.5
    restored = pulled + third
    wait_for(lab, began + pulled)
    lab.pull(0)
    wait_for(lab, began + restored - 1)
    shown = status(lab)
    wait_for(lab, began + restored)
    lab.restore(0)
    measured = run.result()
    connecting = time.monotonic() - began - SETTLING - 3 * third
    trace = probe.finish()
    timeline(measured, pulled - connecting, restored - connecting)
    say(f"  the download went on; of {trace.sent} datagrams sent beside it, one each")
    say(f"  {EVERY * 1000:.0f} ms, {trace.lost} got no answer; the longest silence was", end=" ")
    say(f"{trace.longest_gap * 1000:.0f} ms")
    say(f"\nmpbond status, while {name} was out\n{shown}")


def judge_the_links(lab: Lab) -> None:
    """Says how punctual the emulated links were, so that nobody takes their limits for mpbond's."""
    seen = lab.lateness()
    say(
        f"\nthe emulated links: of {seen.count} packets, 99 % left within {seen.p99 * 1000:.1f} ms of"
    )
    say(
        f"their time, all within {seen.longest * 1000:.1f} ms; {seen.unread} found the emulator busy"
    )
    if seen.p99 > LATE or seen.unread:
        say("So this machine was too busy: the figures above are its limits, not only mpbond's.")


def wait_for(lab: Lab, moment: float) -> None:
    """Waits until the clock shows `moment`."""
    lab.wait_until(lambda: time.monotonic() >= moment, what="the right moment")


def timeline(measured: Measured, pulled: float, restored: float) -> None:
    """Draws one bar per second, once the flows have settled."""
    for second, rate in enumerate(measured.timeline, start=1):
        if second <= SETTLING:
            continue
        mark = ""
        if second - 1 <= pulled < second:
            mark = "pulled"
        elif second - 1 <= restored < second:
            mark = "put back"
        bar = "#" * round(BAR * rate / sum(RATES))
        say(f"  {second:3} s  {rate / 1e6:6.2f}  {bar:{BAR}}  {mark}".rstrip())


def status(lab: Lab) -> str:
    """Returns what `mpbond status` says on the client."""
    control = str(lab.bond.control_socket("client"))
    shown = lab.run("client", sys.executable, "-m", "mpbond", "status", "--control", control)
    return shown.stdout.rstrip()


def keep(lab: Lab) -> None:
    """Leaves everything running until the user has seen enough."""
    say("\nThe network stays until you press Enter. Try, in another terminal as root:")
    say(f"  ip netns exec {lab.spaces.full('lan')} ping {WEB}")
    say(f"  {sys.executable} -m mpbond status --control {lab.bond.control_socket('client')}")
    sys.stdin.readline()


def stop(lab: Lab) -> None:
    """Ends client and server by SIGTERM, so that each undoes what it did."""
    for side in ("client", "server"):
        status = lab.stop(lab.bond.running[side])
        if status != 0:
            raise LabError(f"mpbond {side} ended with status {status}: {lab.bond.log(side)[-500:]}")


def say(text: str, end: str = "\n") -> None:
    """Prints a line at once: the demonstration is watched."""
    print(text, end=end, flush=True)


def _parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description="Six modems, one internet: mpbond in namespaces, measured."
    )
    parser.add_argument("--quick", action="store_true", help="measure half as long")
    parser.add_argument("--keep", action="store_true", help="leave the network until Enter")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
