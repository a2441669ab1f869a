"""What the system must offer before anything is changed on it, each lack with its remedy."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Final

from mpbond.errors import PlatformError

_TUN: Final = "/dev/net/tun"
_CAP_NET_ADMIN: Final = 12


def has_net_admin() -> bool:
    """Tells whether this process may change the network (CAP_NET_ADMIN)."""
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("CapEff:"):
                    return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    except OSError:
        pass
    return False


def require_platform(*, firewall: bool = True) -> None:
    """Checks that the tunnel can be set up here.

    Args:
        firewall: whether nft will be needed.

    Raises:
        PlatformError: the first thing that is missing, with what to do about it.
    """
    if not sys.platform.startswith("linux"):
        raise PlatformError(f"mpbond runs on Linux, not on {sys.platform}")
    if not os.path.exists(_TUN):
        raise PlatformError(
            f"{_TUN} is missing; run `modprobe tun`, or give the container --device {_TUN}"
        )
    if not os.access(_TUN, os.R_OK | os.W_OK):
        raise PlatformError(f"{_TUN} may not be opened; run mpbond as root or `chmod 0666 {_TUN}`")
    if not has_net_admin():
        raise PlatformError(
            "not permitted to change the network; run mpbond as root or give it CAP_NET_ADMIN and"
            " CAP_NET_RAW (systemd: AmbientCapabilities=, docker: --cap-add NET_ADMIN)"
        )
    if firewall and shutil.which("nft") is None:
        raise PlatformError("nft is not installed; apt install nftables")
