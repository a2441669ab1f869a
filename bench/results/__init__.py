"""What measurements found: how it is put together (`measured`) and kept (`record`)."""

from bench.results.measured import AppFigures, VoiceFigures, failed, measured
from bench.results.record import (
    Key,
    Lateness,
    Pages,
    Quantiles,
    Result,
    Timeline,
    Udp,
    Voice,
    append,
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
    "Udp",
    "Voice",
    "VoiceFigures",
    "append",
    "failed",
    "measured",
    "read",
]
