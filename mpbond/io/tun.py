"""The TUN device: made by python-pytun, read and written through its descriptor.

python-pytun's own read allocates a full buffer every time and its write refuses memoryviews, and its
descriptor blocks and is inherited by child processes; so it only opens the device here. It passes its flags
on to TUNSETIFF as they are, IFF_VNET_HDR too. What is read and written then is the concern of `io.vnet`.
"""

import errno
import fcntl
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytun

from mpbond.core.segments import VNET
from mpbond.errors import PlatformError
from mpbond.io.vnet import OFFERS, VnetPort

TUNSETVNETHDRSZ, TUNSETOFFLOAD = 0x400454D8, 0x400454D0

_log = logging.getLogger(__name__)


class TunDevice:
    """A TUN device named `name`. Raises PlatformError when it cannot be made.

    `offload` says whether it may hand over and take super-packets and unfinished checksums.
    """

    def __init__(self, name: str, *, offload: bool = True) -> None:
        self.name = name
        self._device, vnet = _open(name, offload)
        self._fd: int = self._device.fileno()
        os.set_blocking(self._fd, False)
        os.set_inheritable(self._fd, False)
        offers = _offer(self._fd, vnet)
        self._packets = VnetPort(self._fd, name, offers if vnet else None, self._set_offers)
        _log.info("%s has offloads: %s", name, ", ".join(self.offloads) or "none")

    @property
    def offloads(self) -> tuple[str, ...]:
        """The names of the offloads in use."""
        return self._packets.offloads

    @property
    def unreadable(self) -> int:
        """How many super-packets were read that cannot be cut."""
        return self._packets.unreadable

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd

    def read(self, budget: int) -> list[bytes]:
        """Return about `budget` packets that are there now; a super-packet counts as many as it is.

        Raises PlatformError if the device is gone.
        """
        return self._packets.read(budget)

    def write(self, packets: Sequence[bytes]) -> int:
        """Write packets, neighbouring segments together; return how many the system refused."""
        return self._packets.write(packets)

    def close(self) -> None:
        """Release the device; it disappears."""
        self._device.close()

    def _set_offers(self, offers: int) -> None:
        fcntl.ioctl(self._fd, TUNSETOFFLOAD, offers)


def _open(name: str, offload: bool) -> tuple[pytun.TunTapDevice, bool]:
    """Make the device; tell whether a header stands before its packets."""
    flags = pytun.IFF_TUN | pytun.IFF_NO_PI
    if offload:
        with suppress(pytun.Error):
            return pytun.TunTapDevice(name=name, flags=flags | pytun.IFF_VNET_HDR), True
    try:
        return pytun.TunTapDevice(name=name, flags=flags), False
    except pytun.Error as error:
        raise PlatformError(_explain(error, name)) from error


def _offer(fd: int, vnet: bool) -> int:
    """Ask for the most offloads that the device grants; return them.

    Without a header they are taken back: a device that lasts may have kept those of another program.
    """
    if vnet:
        with suppress(OSError):  # the kernels without it know this one size
            fcntl.ioctl(fd, TUNSETVNETHDRSZ, VNET.size.to_bytes(4, sys.byteorder))
    for offers in OFFERS if vnet else (0,):
        with suppress(OSError):
            fcntl.ioctl(fd, TUNSETOFFLOAD, offers)
            return offers
    return 0


def _explain(error: Exception, name: str) -> str:
    number = error.args[0] if error.args else None
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO) or not Path("/dev/net/tun").exists():
        return (
            "/dev/net/tun is missing: load the tun module (modprobe tun), or give the container "
            "the device (--device /dev/net/tun)."
        )
    if number in (errno.EPERM, errno.EACCES):
        return "Making a TUN device needs CAP_NET_ADMIN: run as root or grant it."
    if number == errno.EBUSY:
        return (
            f"The TUN device {name} is in use: another mpbond runs with it, "
            "or choose another name with `tun`."
        )
    if number == errno.EINVAL:
        return f"{name} cannot be a TUN device: an interface of another kind has that name."
    return f"The TUN device {name} cannot be made: {error}."
