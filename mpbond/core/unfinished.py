"""Inner packets whose checksums are still to be written.

A module of its own, and never compiled: mypyc makes no classes out of those that are built in.
"""


class Unfinished(bytes):
    """An inner packet of TCP or UDP whose transport checksum is still to be written.

    `segment_size` is how many bytes of payload each packet carries that it is to be cut into, the last
    perhaps fewer; 0: it is a packet already.
    """

    segment_size: int = 0
