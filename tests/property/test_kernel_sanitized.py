"""The same comparisons with a kernel that checks every access to memory and all its arithmetic."""

import os
import subprocess
import sys
from pathlib import Path

from tests import kernels

ROOT = Path(kernels.__file__).parent.parent
COMPARISONS = Path(__file__).with_name("test_kernel.py")


def test_the_kernel_reads_and_writes_nothing_that_is_not_its_own():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(COMPARISONS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            kernels.VARIABLE: "sanitized",
            "LD_PRELOAD": kernels.libasan(),
            # Python gives back at its end what it holds; what the kernel leaks, unit/test_kernel finds
            "ASAN_OPTIONS": "detect_leaks=0",
            "PYTHONMALLOC": "malloc",  # so that each object has its own bounds
        },
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert " passed" in done.stdout
