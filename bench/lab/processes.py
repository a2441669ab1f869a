"""What the kernel knows of a process."""

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the processor time (s) that all threads of a process have used, in user and kernel mode.

    ProcessLookupError when there is no such process any more.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} has ended") from None
    return (int(fields[11]) + int(fields[12])) / TICK
