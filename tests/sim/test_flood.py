"""A flood of handshakes from forged addresses does not keep anybody out."""

from random import Random

import pytest

from bench.sim.world import SERVER_SOCKET
from mpbond.core.handshake import Initiator
from mpbond.core.noise import public_key
from tests.sim.worlds import arrived, drops_of, session_of, states, stream, world_of

SIX = (0.030,) * 6


def test_a_working_session_goes_on_and_rekeys_during_a_flood():
    world = world_of(*SIX, rekey_after=2.0)
    flood(world, 1.0, 7.0)
    count = stream(world, "client", 1.0, 7.0, 0.010)
    world.run(8.0)
    assert arrived(world, "server") == list(range(count))
    assert session_of(world, "client").handshakes >= 3
    assert drops_of(world, "server")["handshake_under_load"] > 3000


@pytest.mark.parametrize("moment", [0.0013, 0.0026, 0.0039, 0.0052])
def test_a_client_that_starts_amid_a_flood_gets_in_with_a_cookie(moment):
    world = world_of(*SIX)
    flood(world, 1.0, 8.0)
    world.run(4.0 + moment)
    refused = drops_of(world, "server")["handshake_under_load"]
    world.restart_client()
    world.run(4.0 + moment + 5 * 0.062)
    assert session_of(world, "server").id == session_of(world, "client").id
    assert states(world, "client") == ["up"] * 6
    assert any(link.cookie for link in world.client_endpoint.links.values())
    assert drops_of(world, "server")["handshake_under_load"] > refused + 200


def test_a_client_whose_answers_do_not_arrive_cannot_get_in_during_a_flood():
    world = world_of(*SIX)
    flood(world, 1.0, 8.0)
    for _, down in world.links:
        down.up = False
    world.run(4.0)
    before = session_of(world, "server").id
    world.restart_client()
    world.run(7.0)
    assert session_of(world, "server").id == before


def test_the_server_computes_no_more_than_its_budget():
    world = world_of(*SIX)
    server = world.server_endpoint
    flood(world, 1.0, 6.0)
    world.run(6.0)
    computed = drops_of(world, "server")["peer_unknown"]
    asked_for = drops_of(world, "server")["handshake_under_load"]
    # half a bucket and what fills it go to strangers; the other half is kept for proven addresses
    assert 500 <= computed <= 50 + 5 * 100
    assert computed + asked_for == 5000
    assert len(server.sessions) == 1


def flood(world, start, stop):
    """A thousand INITs a second, each good and each from another address, by unknown keys."""
    rng = Random(99)
    server_key = public_key(world.server_private_key)
    strangers = []
    for _ in range(20):
        stranger = Initiator(rng.randbytes(32), server_key, bytes(32), rng)
        strangers.append(stranger)
    for tick in range(round((stop - start) * 1000)):

        def ask(tick=tick):
            stranger = strangers[tick % 20]
            stranger.start(tick, {"version": 1})
            world.server_endpoint.handle_datagrams(
                SERVER_SOCKET,
                ("client", 0, tick % 30000),
                stranger.datagram(),
                None,
                world.now,
                world.now,
            )

        world.at(start + tick / 1000, ask)
