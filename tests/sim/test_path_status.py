"""What the client knows of its links reaches the server, in whatever order datagrams come."""

import pytest

from tests.sim.worlds import paths_of, world_of


@pytest.mark.parametrize("delays", [(0.010, 0.090), (0.090, 0.010), (0.030,) * 6])
def test_the_server_knows_every_path_before_anything_is_changed(delays):
    world = world_of(*delays, connect=False)
    world.run(1.0)
    for ours, theirs in zip(paths_of(world, "client"), paths_of(world, "server"), strict=True):
        assert theirs.status_number == ours.status_number == 0
        assert theirs.weight == ours.weight
        assert theirs.mtu == ours.mtu
