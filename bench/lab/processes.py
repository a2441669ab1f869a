"""What the kernel knows of a process."""

import os
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
DEAD = ("Z", "X")
"""States of a process that has ended and of which nobody has taken notice yet."""


def cpu_seconds(pid: int) -> float:
    """Return the processor time (s) that all threads of a process have used, in user and kernel mode.

    ProcessLookupError when it has ended, whether or not its parent knows already.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # before or after it was opened
        fields = list(DEAD)
    if fields[0] in DEAD:
        raise ProcessLookupError(f"process {pid} has ended")
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid: int) -> int:
    """Return how many bytes of a process are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
