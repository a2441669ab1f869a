"""The batch functions that the cost of a packet is made of, and which twin of them is in use.

    Aead           seals and opens datagrams                  aead
    join           segments to super-packets                  segments
    to_vnet        a packet as the device wants it            segments
    parse_frames   a plaintext taken apart                    wire

Each has a twin in Python (the modules named) and one in C (mpbond.native) on libcrypto. They give the
same results for all input; tests/property holds them against each other. Whoever wants the fast one
imports it from here. What the C one reads it checks as the Python one does; it does no I/O and keeps
nothing but keys.

They stand here as variables, and `Sealer` says what both ciphers do. Of names imported in two branches
mypy sees the Python twins alone, and what mypyc compiles would call those, whichever is in use.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from mpbond import native
from mpbond.core import aead, segments, wire
from mpbond.core.aead import Arrival, Buffer, Plain
from mpbond.core.segments import Cut
from mpbond.core.unfinished import Unfinished
from mpbond.core.wire import DataFrame, Frames, LoneRun, WireError


class Sealer(Protocol):
    """One key; `aead.Aead` says what each of these does."""

    def seal(self, index: int, batch: Sequence[tuple[int, int, Plain]], /) -> list[bytes]:
        """Seal frames into datagrams."""

    def seal_run(self, index: int, path_id: int, first: int, run: Sequence[Plain], /) -> bytes:
        """Seal frames into datagrams with consecutive numbers, in one buffer."""

    def seal_train(
        self,
        index: int,
        path_id: int,
        number: int,
        flags: int,
        lane: int,
        sequence: int,
        order: int,
        source: Cut | list[bytes],
        first: int,
        count: int,
        /,
    ) -> bytes:
        """Seal packets, or segments of a super-packet, each alone in its datagram."""

    def open(self, batch: Sequence[tuple[int, int, Buffer]], /) -> list[bytes | None]:
        """Open datagrams into frames."""

    def open_run(
        self, buffer: Buffer, segment_size: int, at: int, expected: int, /
    ) -> tuple[int, list[Arrival]]:
        """Open a run of datagrams in one buffer."""


Aead: Callable[[str, bytes], Sealer]
join: Callable[[Sequence[bytes]], list[bytes]]
parse_frames: Callable[[bytes], Frames]
to_vnet: Callable[[bytes], tuple[bytes, bytes]]

if native.kernel is None:
    Aead, join, to_vnet = aead.Aead, segments.join, segments.to_vnet
    parse_frames = wire.parse_frames
else:
    Aead, join, to_vnet = native.kernel.Aead, native.kernel.join, native.kernel.to_vnet
    parse_frames = native.kernel.parse_frames
    native.kernel.adopt(Unfinished, Frames, DataFrame, LoneRun, Arrival, WireError)

__all__ = ["Aead", "Sealer", "in_use", "join", "parse_frames", "to_vnet"]


def in_use() -> str:
    """Return in words what is compiled: "compiled (OpenSSL …)", or what is not, and why."""
    core, functions = native.core_absent, native.absent
    if native.kernel is None:
        if core is None:
            return f"core compiled, batch functions in Python ({functions})"
        return f"pure Python ({functions if functions == core else f'{functions}; {core}'})"
    library = native.kernel.LIBRARY
    if core is None:
        return f"compiled ({library})"
    return f"batch functions compiled ({library}), core in Python ({core})"
