"""How hypothesis looks for examples in every ring.

Where the environment has `CI` the examples are the same in every run; at a desk they are fresh ones. A
failing test prints the smallest example and, either way, the `@reproduce_failure` line that brings it
back; `pytest --hypothesis-seed=N` repeats a whole run. MPBOND_EXAMPLES asks for more examples than the
usual few.
"""

import os

from hypothesis import HealthCheck, settings

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
