"""What measurements found: how it is put together (`measured`) and kept (`record`)."""

from bench.results.measured import AppFigures, VoiceFigures, commit, failed, measured, now
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
    "Udp",
    "Voice",
    "VoiceFigures",
    "append",
    "commit",
    "failed",
    "measured",
    "newest",
    "now",
    "read",
]
