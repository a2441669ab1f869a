"""What measurements found: how it is put together (`measured`), dated (`provenance`), kept (`record`)."""

from bench.results.measured import AppFigures, VoiceFigures, failed, measured
from bench.results.provenance import now, versions
from bench.results.record import (
    Key,
    Lateness,
    Pages,
    Quantiles,
    Result,
    Timeline,
    Tunnel,
    Udp,
    Voice,
    append,
    newest,
    read,
)

__all__ = [
    "AppFigures",
    "Key",
    "Lateness",
    "Pages",
    "Quantiles",
    "Result",
    "Timeline",
    "Tunnel",
    "Udp",
    "Voice",
    "VoiceFigures",
    "append",
    "failed",
    "measured",
    "newest",
    "now",
    "read",
    "versions",
]
