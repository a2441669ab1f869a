"""A receiver that is slower than its link: what waits for it is queue. One that is kept off is no queue."""

import pytest

import bench.sim.world
from mpbond.core.reading import ReadingDelay
from tests.sim.worlds import paths_of, stream, world_of

BEGIN, LOOK, END = 1.0, 3.0, 5.0


class Arrived:
    """Dates everything by its arrival."""

    def date(self, arrival, now):
        return arrival


def test_what_waits_for_a_slow_receiver_is_queue():
    world = world_of(0.001, rate=80e6, scheduler="adaptive")
    read = 3500
    world.client.reading = 1 / read
    stream(world, "server", BEGIN, END, 1 / 5000)
    waited = []

    def look(now):
        waited.append(world.client.waited)
        if now < END:
            world.at(now + 0.010, lambda: look(now + 0.010))

    world.at(LOOK, lambda: look(LOOK))
    world.run(END)
    came = sum(time > LOOK for time, _ in world.client.packets)
    assert max(waited) < 0.025
    assert came > 0.98 * read * (END - LOOK)


@pytest.mark.parametrize(("kept_off", "every"), [(0.020, 0.07), (0.050, 0.3)])
def test_a_receiver_that_is_kept_off_now_and_then_is_no_queue(monkeypatch, kept_off, every):
    def path_after(dating):
        monkeypatch.setattr(bench.sim.world, "ReadingDelay", dating)
        world = world_of(0.030, rate=20e6, scheduler="adaptive")
        world.client.reading = 0.00005
        stream(world, "server", BEGIN, END, 1 / 2000)

        def keep_off(now):
            world.client.free = now + kept_off
            if now < END:
                world.at(now + every, lambda: keep_off(now + every))

        world.at(LOOK, lambda: keep_off(LOOK))
        world.run(END)
        (path,) = paths_of(world, "server")
        came = sum(time > LOOK for time, _ in world.client.packets)
        return came, path.rate.rate, path.rate.target

    came, rate, target = path_after(ReadingDelay)
    usual, usual_rate, usual_target = path_after(Arrived)
    assert came > 0.99 * usual
    assert rate == pytest.approx(usual_rate, rel=0.02)
    assert target < 1.1 * usual_target
