"""Counts instructions per packet, by the processor's counters or by callgrind.

    python -m bench.micro.instructions KEY:CALLS…       what is counted, in a process of its own

The processor's counters (`perf stat -e instructions:u`) are missing in many virtual machines; then valgrind's
callgrind counts, some fifty times slower but to the instruction. Either way an item is run with CALLS calls
and with none, in processes that do the same before; the difference is theirs. Each run is a fork, so that the
interpreter starts once, and so is each item set up: callgrind writes one file for each process. What needs
something before each call (`Item.prepared`) cannot be told apart from that and is not counted.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.micro.items import Item

PERF, CALLGRIND = "perf", "callgrind"
WORK = 440
"""Packets by which an item is counted, about."""
TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)
ROOT = Path(__file__).parents[2]


def counter() -> str | None:
    """Return what can count here; None if nothing can."""
    if shutil.which("perf") is not None:
        argv = ["perf", "stat", "-x,", "-e", "instructions:u", "true"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if parse_perf(done.stderr) is not None:
            return PERF
    return CALLGRIND if shutil.which("valgrind") is not None else None


def parse_perf(said: str) -> int | None:
    """Return the instructions that `perf stat -x,` tells of; None where it could not count any."""
    for line in said.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[2].startswith("instructions") and fields[0].isdigit():
            return int(fields[0])
    return None


def parse_callgrind(text: str) -> int:
    """Return the instructions that a file of callgrind tells of."""
    found = TOTAL.findall(text)
    if not found:
        raise BenchError("callgrind has left no total")
    return int(found[-1])


def count(items: Sequence[Item], by: str) -> dict[str, float]:
    """Return instructions per packet by key, of those items that can be counted."""
    items = [item for item in items if not item.prepared]
    wanted = [f"{item.key}:{calls}" for item in items for calls in (0, _calls(item))]
    with tempfile.TemporaryDirectory() as place:
        told = _by_perf(wanted) if by == PERF else _by_callgrind(wanted, Path(place))
    found = {}
    for item in items:
        (none, _), (some, packets) = (told[f"{item.key}:{n}"] for n in (0, _calls(item)))
        if packets:
            found[item.key] = (some - none) / packets
    return found


def _calls(item: Item) -> int:
    return max(2, WORK // item.batch)


def _by_perf(wanted: Sequence[str]) -> dict[str, tuple[int, int]]:
    told = {}
    for each in wanted:
        argv = ["perf", "stat", "-x,", "-e", "instructions:u", *_child(each)]
        done = _run(argv)
        counted = parse_perf(done.stderr)
        if counted is None:
            raise BenchError(f"perf counted nothing: {done.stderr.strip()[-300:]}")
        told[each] = (counted, _said(done.stdout)[each][1])
    return told


def _by_callgrind(wanted: Sequence[str], place: Path) -> dict[str, tuple[int, int]]:
    argv = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={place}/%p", *_child(*wanted)]
    told = {}
    for each, (pid, packets) in _said(_run(argv).stdout).items():
        told[each] = (parse_callgrind((place / str(pid)).read_text()), packets)
    return told


def _child(*wanted: str) -> list[str]:
    return [sys.executable, "-m", "bench.micro.instructions", *wanted]


def _run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    env: Mapping[str, str] = os.environ | {"PYTHONHASHSEED": "0"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env, cwd=ROOT)
    if done.returncode != 0:
        raise BenchError(f"counting instructions failed: {done.stderr.strip()[-500:]}")
    return done


def _said(text: str) -> dict[str, tuple[int, int]]:
    """Read which process did what, for how many packets."""
    found = {}
    for line in text.splitlines():
        key, pid, packets = line.rsplit(" ", 2)
        found[key] = (int(pid), int(packets))
    return found


def main() -> None:
    """Set items up, and run each in a fork for every number of calls."""
    from bench.micro.items import NotThereError, Running, items

    known = {item.key: item for item in items()}
    made: dict[str, Running] = {}
    gc.disable()  # else a collection may fall into one run and not into the other
    for wanted in sys.argv[1:]:
        key, _, calls = wanted.rpartition(":")
        if key not in made:
            try:
                made[key] = known[key].make()
                made[key].call()
            except NotThereError:
                made[key] = Running(lambda: 0)
        pid = os.fork()
        if pid:
            if os.waitpid(pid, 0)[1]:
                raise SystemExit(f"{wanted} failed")
            continue
        packets = sum(made[key].call() for _ in range(int(calls)))
        print(wanted, os.getpid(), packets, flush=True)
        os._exit(0)


if __name__ == "__main__":
    main()
