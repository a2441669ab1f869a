from mpbond.core.aead import Aead as Aead
from mpbond.core.aead import Arrival
from mpbond.core.segments import cut as cut
from mpbond.core.segments import join as join
from mpbond.core.segments import to_vnet as to_vnet
from mpbond.core.unfinished import Unfinished
from mpbond.core.wire import DataFrame, Frames, LoneRun, WireError
from mpbond.core.wire import parse_frames as parse_frames

LIBRARY: str

def adopt(
    unfinished: type[Unfinished],
    frames: type[Frames],
    data_frame: type[DataFrame],
    lone_run: type[LoneRun],
    arrival: type[Arrival],
    wire_error: type[WireError],
) -> None: ...
