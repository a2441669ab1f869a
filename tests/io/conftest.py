import pytest

from tests.io.world import World


@pytest.fixture(scope="module")
def world():
    """One network for the tests of a module: each leaves it as it found it."""
    made = World()
    try:
        made.build()
        yield made
    finally:
        made.close()
