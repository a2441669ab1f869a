"""Inner IP packets by hand: just enough header for the code that reads them."""

import struct

ICMP, TCP, UDP, FRAGMENT, SCTP = 1, 6, 17, 44, 132


def ipv4(
    *,
    source=5,
    destination=9,
    protocol=UDP,
    ports=(1000, 80),
    fragment=0,
    options=b"",
    payload=b"payload",
):
    """10.77.0.`source` to 10.77.0.`destination`, or any addresses given as 4 bytes."""
    body = struct.pack(">HH", *ports) + payload
    head = struct.pack(
        ">BBHHHBBH4s4s",
        0x45 + len(options) // 4,
        0,
        20 + len(options) + len(body),
        1,
        fragment,
        64,
        protocol,
        0,
        _address(source, b"\x0a\x4d\0"),
        _address(destination, b"\x0a\x4d\0"),
    )
    return head + options + body


def tcp4(
    *, source=5, destination=9, sequence=0, flags=0x10, fragment=0x4000, options=b"", payload=b""
):
    """A TCP segment over IPv4 without checksums, which may not be fragmented unless `fragment` says so."""
    rest = struct.pack(">IIBBHHH", sequence, 77, 0x50 + (len(options) // 4 << 4), flags, 500, 0, 0)
    return ipv4(
        source=source,
        destination=destination,
        protocol=TCP,
        fragment=fragment,
        payload=rest + options + payload,
    )


def ipv6(
    *,
    source=5,
    destination=9,
    protocol=UDP,
    ports=(1000, 80),
    extensions=(),
    payload=b"payload",
):
    """fd77::`source` to fd77::`destination`, or any addresses given as 16 bytes.

    `extensions` are (type, header made by `extension`) in their order.
    """
    body = b""
    kinds = [kind for kind, _ in extensions] + [protocol]
    for (_, header), following in zip(extensions, kinds[1:], strict=True):
        body += bytes((following,)) + header
    body += struct.pack(">HH", *ports) + payload
    net = b"\xfd\x77" + bytes(13)
    head = struct.pack(">IHBB", 6 << 28, len(body), kinds[0], 64)
    return head + _address(source, net) + _address(destination, net) + body


def extension(content, unit=8):
    """An extension header without its first byte, padded to whole units behind the first eight."""
    length = -(-max(0, len(content) - 6) // unit)
    return bytes((length,)) + content.ljust(6 + length * unit, b"\0")


def udp_run(count, *, size=1400, port=1000, first=0, make=ipv4):
    """`count` packets of one flow, `size` bytes long, each carrying its number at the end."""
    empty = len(make(ports=(port, 80), payload=b""))
    return [
        make(ports=(port, 80), payload=bytes(size - empty - 4) + struct.pack(">I", number))
        for number in range(first, first + count)
    ]


def number_of(packet):
    """The number that `udp_run` gave a packet."""
    return struct.unpack(">I", packet[-4:])[0]


def _address(value, net):
    return value if isinstance(value, bytes) else net + bytes((value,))
