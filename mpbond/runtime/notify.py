"""Telling systemd how we are (sd_notify(3)): a datagram to $NOTIFY_SOCKET, nothing without it."""

import os
import socket


def notify(state: str) -> None:
    """Send a state such as "READY=1" or "STATUS=…"; does nothing outside systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect(address)
            sock.sendall(state.encode())
        except OSError:
            return
