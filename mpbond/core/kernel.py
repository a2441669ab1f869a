"""The batch functions that the cost of a packet is made of, and which twin of them is in use.

    Aead           seals and opens datagrams                  aead
    Cut, join      super-packets to segments and back         segments
    to_vnet        a packet as the device wants it            segments
    parse_frames   a plaintext taken apart                    wire

Each has a twin in Python (the modules named) and one in C (mpbond.native) on libcrypto. They give the
same results for all input; tests/property holds them against each other. Whoever wants the fast one
imports it from here. What the C one reads it checks as the Python one does; it does no I/O and keeps
nothing but keys.
"""

from mpbond import native
from mpbond.core import segments
from mpbond.core.aead import Arrival
from mpbond.core.segments import Unfinished
from mpbond.core.wire import DataFrame, Frames, LoneRun, WireError

if native.kernel is None:
    from mpbond.core.aead import Aead
    from mpbond.core.segments import join, to_vnet
    from mpbond.core.wire import parse_frames
else:
    from mpbond.native._kernel import Aead, join, parse_frames, to_vnet

    native.kernel.adopt(Unfinished, Frames, DataFrame, LoneRun, Arrival, WireError)

__all__ = ["Aead", "Cut", "in_use", "join", "parse_frames", "to_vnet"]


class _Cut(segments.Cut):
    """A cut whose segments the compiled kernel makes."""

    def segment(self, index: int) -> bytes:
        return self.segments(index, 1)[0]

    def segments(self, first: int, count: int) -> list[bytes]:
        assert native.kernel is not None
        made: list[bytes] = native.kernel.cut(self.packet, self.size, first, count)
        return made


Cut = segments.Cut if native.kernel is None else _Cut


def in_use() -> str:
    """Return in words which twin is in use: "compiled (OpenSSL …)" or "pure Python (why)"."""
    if native.kernel is None:
        return f"pure Python ({native.absent})"
    return f"compiled ({native.kernel.LIBRARY})"
