"""Explicit congestion notification (RFC 3168) in inner packets.

A managed queue that finds a flow too long tells it so: by dropping a packet, or, where the ends said they
understand it, by the mark CE (congestion experienced) in a packet that is delivered. Both IP headers have
the two bits in their second byte. The IPv4 header's checksum is mended for the one 16-bit word that
changes (RFC 1624, equation 3), so a header that was wrong stays wrong and is found out at its destination.
"""

_CE4 = 0b11  # the low bits of the IPv4 type-of-service byte
_CE6 = 0b11 << 4  # the low bits of the traffic class, in the middle of the IPv6 header's first word


def mark_ce(packet: bytes) -> bytes | None:
    """Return the packet marked CE, or None if its ends do not take marks (Not-ECT, or not IP)."""
    if len(packet) < 20:
        return None
    version, second = packet[0] >> 4, packet[1]
    if version == 4:
        if not second & _CE4:
            return None
        if second & _CE4 == _CE4:
            return packet
        added = _CE4 - (second & _CE4)
        check = (packet[10] << 8 | packet[11]) ^ 0xFFFF
        check += added  # ~m + m' for a word that grows by `added`
        check = (check & 0xFFFF) + (check >> 16) ^ 0xFFFF
        return b"%c%c%b%c%c%b" % (
            packet[0],
            second + added,
            packet[2:10],
            check >> 8,
            check & 0xFF,
            packet[12:],
        )
    if version == 6 and len(packet) >= 40 and second & _CE6:
        return b"%c%c%b" % (packet[0], second | _CE6, packet[2:])
    return None
