"""The TUN device: made by python-pytun, read and written through its descriptor.

python-pytun's own read allocates a full buffer every time and its write refuses memoryviews, and its
descriptor blocks and is inherited by child processes; so it only opens the device here.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytun

from mpbond.errors import PlatformError
from mpbond.io.ports import Buffer

MAXIMUM_PACKET = 65536  # bytes


class TunDevice:
    """A TUN device named `name`. Raises PlatformError when it cannot be made."""

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self._device = pytun.TunTapDevice(name=name, flags=pytun.IFF_TUN | pytun.IFF_NO_PI)
        except pytun.Error as error:
            raise PlatformError(_explain(error, name)) from error
        self._fd: int = self._device.fileno()
        os.set_blocking(self._fd, False)
        os.set_inheritable(self._fd, False)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd

    def read(self, budget: int) -> list[bytes]:
        """Return up to `budget` packets that are there now. Raises PlatformError if the device is gone."""
        packets = []
        read, fd = os.read, self._fd
        try:
            for _ in range(budget):
                packets.append(read(fd, MAXIMUM_PACKET))  # noqa: PERF401 (an exception ends it)
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EIO:  # the device is down
                raise PlatformError(
                    f"The TUN device {self.name} has gone: somebody deleted it."
                ) from error
        return packets

    def write(self, packets: Sequence[Buffer]) -> int:
        """Write packets; return how many the system refused (malformed, or the device is down)."""
        refused = 0
        write, fd = os.write, self._fd
        for packet in packets:
            try:
                write(fd, packet)
            except OSError:
                refused += 1
        return refused

    def close(self) -> None:
        """Release the device; it disappears."""
        self._device.close()


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
