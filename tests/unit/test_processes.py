"""How much processor time processes have used."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from bench.lab.namespaces import LabError
from bench.lab.processes import TICK, cpu_seconds
from bench.lab.run import Stopclock

BUSY = """
import threading, time
def work():
    while time.thread_time() < 0.1:
        pass
threads = [threading.Thread(target=work) for _ in range(2)]
for each in threads:
    each.start()
for each in threads:
    each.join()
print("done", flush=True)
input()
"""


def test_the_processor_time_of_a_process_is_what_the_process_says_itself():
    own = resource.getrusage(resource.RUSAGE_SELF)
    assert cpu_seconds(os.getpid()) == pytest.approx(own.ru_utime + own.ru_stime, abs=3 / TICK)


def test_all_threads_of_a_process_count():
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "done\n"
        assert cpu_seconds(process.pid) >= 0.2 - 2 / TICK
        process.stdin.close()


def test_a_process_that_has_ended_while_nobody_looked_is_named():
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        used = Stopclock({"client": process.pid})
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(LabError, match="client ended in the middle of a measurement"):
            used.start()


def test_a_process_that_has_ended_is_named():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    with pytest.raises(ProcessLookupError, match=str(process.pid)):
        cpu_seconds(process.pid)
    with pytest.raises(LabError, match="server ended in the middle of a measurement"):
        Stopclock({"server": process.pid}).start()
