"""How hypothesis looks for examples in every ring.

Where the environment has `CI` the examples are the same in every run; at a desk they are fresh ones. A
failing test prints the smallest example and, either way, the `@reproduce_failure` line that brings it
back; `pytest --hypothesis-seed=N` repeats a whole run. MPBOND_EXAMPLES asks for more examples than the
usual few.

Tests of the rings unit and io, and those marked `python_core`, put stand-ins into the core: paths that are
none, methods that count. A compiled core takes none, so they ask for the one in Python.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

import mpbond.core
from mpbond import native

EXAMPLES = int(os.environ.get("MPBOND_EXAMPLES", "60"))

for name, repeatable in (("ci", True), ("desk", False)):
    settings.register_profile(
        name,
        derandomize=repeatable,
        deadline=None,  # a machine under load is slow, not wrong
        max_examples=EXAMPLES,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile("ci" if "CI" in os.environ else "desk")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Refuse tests that this core cannot run, rather than skip or fail them one by one."""
    assert mpbond.core.__path__
    if native.core_absent is None:
        rings = ("tests/unit/", "tests/io/")
        refused = [
            item.nodeid
            for item in items
            if item.nodeid.startswith(rings) or item.get_closest_marker("python_core")
        ]
        if refused:
            raise pytest.UsageError(
                f"{len(refused)} of these tests, {refused[0]} the first, need the core in Python:"
                " set MPBOND_PURE=core for them, as scripts/test does"
            )
