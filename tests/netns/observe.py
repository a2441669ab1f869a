"""What the tests look at: addresses to speak to, and what the programs changed on a system."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bench.lab import topology
from bench.lab.bond import INNER_SERVER

if TYPE_CHECKING:
    from bench.lab import Lab

WEB, WEB6 = topology.WEB
SERVER, SERVER6 = topology.SERVER
INNER, INNER6 = INNER_SERVER
PORT = 4510

SYSCTLS = "find /proc/sys/net/ipv4 /proc/sys/net/ipv6 -type f -path '*/conf/*' -o -name ip_forward"


def mpbond(lab: Lab, side: str, *argv: str, check: bool = True) -> str:
    """Runs the command line tool beside a daemon and returns what it printed."""
    control = str(lab.bond.control_socket(side))
    python = (sys.executable, "-m", "mpbond")
    return lab.run(side, *python, *argv, "--control", control, check=check).stdout


def system(lab: Lab, namespace: str) -> dict[str, str]:
    """Returns everything on a system that a tunnel may have changed, by how one would look."""
    looks = {
        "links": "ip -o link show | grep -o '^[0-9]*: [^:]*'",
        "addresses": "ip -o address show | awk '{print $2, $3, $4}'",
        "rules": "ip rule show",
        "IPv6 rules": "ip -6 rule show",
        "routes": "ip route show table all",
        "IPv6 routes": "ip -6 route show table all",
        "nftables": "nft list ruleset",
        "parameters": f"{SYSCTLS} | sort | xargs grep -s . | grep -v stable_secret",
    }
    return {name: lab.run(namespace, "sh", "-c", look).stdout for name, look in looks.items()}


def carried(lab: Lab, link: int, direction: str) -> int:
    """Returns how many packets the emulator has carried over a link."""
    return lab.report()[f"{link} {direction}"]["carried"]


def drops(lab: Lab, side: str) -> int:
    """Returns how much a side has dropped, all reasons together."""
    return sum(lab.status(side)["drops"].values())
