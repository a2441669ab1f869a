"""The compiled core does what the one in Python does, to the last bit and the last nanosecond."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
RUN = """
import hashlib, json, sys
from mpbond import native
from tests.sim.worlds import change_links, drops_of, paths_of, session_of, stream, world_of

seed = int(sys.argv[1])
world = world_of(0.02, 0.05, 0.03, seed=seed, scheduler="adaptive", rate=6e6)
change_links(world, loss=0.02)
count = stream(world, "client", 1.0, 6.0, 0.001, size=1200)
stream(world, "server", 1.0, 6.0, 0.0007, size=900)
world.at(3.0, lambda: change_links(world, rate=2e6))
world.at(4.5, lambda: change_links(world, rate=9e6))
world.run(8.0)
told = {"compiled": native.core_absent is None, "sent": count}
for side in ("client", "server"):
    packets = getattr(world, side).packets
    text = repr([(time, hashlib.sha256(packet).hexdigest()) for time, packet in packets])
    told[side] = {
        "arrived": len(packets),
        "what and when": hashlib.sha256(text.encode()).hexdigest(),
        "drops": drops_of(world, side),
        "rates": [repr((path.rate.rate, path.rtt.smoothed)) for path in paths_of(world, side)],
        "status": {
            name: repr(value)
            for name, value in session_of(world, side).status(world.now).items()
            if name != "paths"
        },
        "paths": repr([value for _, value in session_of(world, side).status(world.now)["paths"]]),
    }
print(json.dumps(told))
"""
ASK = """
from mpbond.core.keys import Keypair

pair = Keypair("AES-256-GCM", bytes(32), bytes(range(32)), 1, 2, 0.0)
print(type(pair.send).__module__, type(pair.receive).__module__)
"""


def run(seed, pure):
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(seed)],
        cwd=ROOT,
        env={**os.environ, "MPBOND_PURE": pure, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("seed", [1, 2])
def test_both_cores_send_and_deliver_the_same_at_the_same_times(seed):
    compiled, pure, all_pure = run(seed, "0"), run(seed, "core"), run(seed, "1")
    assert [told.pop("compiled") for told in (compiled, pure, all_pure)] == [True, False, False]
    assert compiled["client"]["arrived"] > 3000
    assert compiled["server"]["arrived"] > 2000
    assert compiled == pure == all_pure


@pytest.mark.parametrize(
    ("pure", "twin"), [("0", "native._kernel"), ("core", "native._kernel"), ("1", "core.aead")]
)
def test_either_core_seals_by_the_batch_functions_that_are_in_use(pure, twin):
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=ROOT,
        env={**os.environ, "MPBOND_PURE": pure, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [f"mpbond.{twin}"] * 2, done.stderr
