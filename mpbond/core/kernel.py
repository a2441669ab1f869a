"""The batch functions that the cost of a packet is made of, and which twin of them is in use.

    Aead           seals and opens datagrams                  aead
    join           segments to super-packets                  segments
    to_vnet        a packet as the device wants it            segments
    parse_frames   a plaintext taken apart                    wire

Each has a twin in Python (the modules named) and one in C (mpbond.native) on libcrypto. They give the
same results for all input; tests/property holds them against each other. Whoever wants the fast one
imports it from here. What the C one reads it checks as the Python one does; it does no I/O and keeps
nothing but keys.
"""

from mpbond import native
from mpbond.core.aead import Arrival
from mpbond.core.unfinished import Unfinished
from mpbond.core.wire import DataFrame, Frames, LoneRun, WireError

if native.kernel is None:
    from mpbond.core.aead import Aead
    from mpbond.core.segments import join, to_vnet
    from mpbond.core.wire import parse_frames
else:
    from mpbond.native._kernel import Aead, join, parse_frames, to_vnet

    native.kernel.adopt(Unfinished, Frames, DataFrame, LoneRun, Arrival, WireError)

__all__ = ["Aead", "in_use", "join", "parse_frames", "to_vnet"]


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
