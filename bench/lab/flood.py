"""What a flood of handshake messages takes from a working session.

A stranger who knows the server's public key sends well-formed handshake messages (good first mac, no
cookie) as fast as one process can, from a host beside the server, while a TCP download runs through the
tunnel. The same run gives the baseline without the flood: CPU of the server process and what TCP gets.

    python -m bench.lab.flood [--seconds 8]
"""

from __future__ import annotations

import argparse
import base64
import random
import socket
import sys
import time
from typing import TYPE_CHECKING

from bench.lab import Lab, LinkSpec, topology
from bench.lab.bond import PORT
from bench.lab.iperf import Measurement
from bench.lab.processes import cpu_seconds
from mpbond.core.handshake import Initiator

if TYPE_CHECKING:
    import subprocess

SETTLING = 2.0  # s
WEB = topology.WEB[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each measurement")
    parser.add_argument("--send", metavar="KEY", help=argparse.SUPPRESS)
    parser.add_argument("--to", default="203.0.113.10", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        flood(options.to, base64.b64decode(options.send), options.seconds)
        return
    links = [LinkSpec.plain(rate_down=8e6, rate_up=8e6, delay=0.010) for _ in range(2)]
    with Lab(links=links) as lab:
        server = lab.start_server()
        lab.start_client(default_route=True)
        print("| | server CPU, share of a core | TCP download, Mbit/s | messages a second |")
        print("|---|---|---|---|")
        for name, flooded in (("quiet", False), ("flooded", True)):
            cpu, goodput, rate = measure(lab, server.pid, options.seconds, flooded=flooded)
            print(f"| {name} | {cpu:.3f} | {goodput / 1e6:.2f} | {rate:.0f} |")
        print(f"\ndrops: {lab.status('server')['drops']}")


def measure(lab: Lab, pid: int, seconds: float, *, flooded: bool) -> tuple[float, float, float]:
    """Returns (CPU share of the server process, TCP goodput in bit/s, messages per second)."""
    flooder = start_flood(lab, seconds + 2 * SETTLING + 2) if flooded else None
    measurement = Measurement(lab, WEB, seconds=seconds, omit=SETTLING)
    time.sleep(SETTLING)
    begin, cpu = time.monotonic(), cpu_seconds(pid)
    time.sleep(seconds)
    share = (cpu_seconds(pid) - cpu) / (time.monotonic() - begin)
    goodput = measurement.result().rate
    rate = 0.0
    if flooder is not None:
        out, _ = flooder.communicate(timeout=60)
        rate = float(out.split()[-1])
    return share, goodput, rate


def start_flood(lab: Lab, seconds: float, to: str = "203.0.113.10") -> subprocess.Popen[str]:
    """Starts the flood from the web host's namespace."""
    key = lab.bond.public_key("server")
    argv = [sys.executable, "-m", "bench.lab.flood", "--send", key, "--to", to]
    return lab.popen("web", *argv, "--seconds", f"{seconds:g}", stdout=-1)


def flood(host: str, server_key: bytes, seconds: float) -> None:
    """Sends handshake messages for `seconds` and prints how many a second."""
    rng = random.Random(1)
    initiator = Initiator(rng.randbytes(32), server_key, bytes(32), rng)
    messages = []
    for index in range(64):
        initiator.start(index, {"version": 1, "ciphers": ["AES-256-GCM"]})
        messages.append(initiator.datagram())
    count = 0
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect((host, PORT))
        while time.monotonic() < end:
            for message in messages:
                try:
                    out.send(message)
                    count += 1
                except OSError:
                    continue
    print(count / seconds)


if __name__ == "__main__":
    main()
