"""Turning the concentrator's endpoints, as configured, into socket addresses.

Literals need nobody; names go to the system's resolver in a thread. The order of the configuration is
the order of preference, and a name's addresses stand where the name stood.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

from mpbond.config import Endpoint
from mpbond.io.udp import Endpoint as SocketAddress


async def resolve(
    endpoints: Sequence[Endpoint],
) -> tuple[list[tuple[socket.AddressFamily, SocketAddress]], list[str]]:
    """Return (family, address) for all endpoints, and a sentence for each that has none."""
    found: list[tuple[socket.AddressFamily, SocketAddress]] = []
    problems = []
    loop = asyncio.get_running_loop()
    for endpoint in endpoints:
        try:
            literal = ipaddress.ip_address(endpoint.host)
        except ValueError:
            pass
        else:
            family = socket.AF_INET6 if literal.version == 6 else socket.AF_INET
            found.append((family, (str(literal), endpoint.port, None, 0)))
            continue
        try:
            answers = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_DGRAM)
        except OSError as error:
            problems.append(
                f"The concentrator's name {endpoint.host} cannot be resolved: {error.strerror}."
            )
            continue
        for family, _, _, _, address in answers:
            if family in (socket.AF_INET, socket.AF_INET6):
                scope = address[3] if len(address) > 3 else 0
                target = (str(address[0]), int(address[1]), None, int(scope))
                found.append((socket.AddressFamily(family), target))
    return list(dict.fromkeys(found)), problems
