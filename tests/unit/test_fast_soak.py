"""When memory counts as flat, descriptors as kept, and a loop as in time."""

import pytest

from bench.errors import BenchError
from bench.fast.soak import Sample, find

BOUNDS = (0.001, 0.002, 0.005, 0.010)
MB = 1_000_000


def samples(memory, *, descriptors=(12,) * 16, late=(0, 0, 0, 0, 0)):
    """Looks at a program; `late` is how many timers had fired at the last one."""
    return [
        Sample(
            time=float(at),
            memory=each,
            descriptors=descriptors[at],
            late=late if at == len(memory) - 1 else (100, 0, 0, 5, 0),
        )
        for at, each in enumerate(memory)
    ]


def test_memory_that_settles_after_the_start_is_flat():
    found = find("client", samples([20 * MB, 40 * MB, 50 * MB, 50 * MB] + [60 * MB] * 12), BOUNDS)
    assert found.growth == pytest.approx(0.0)
    assert found.flat
    assert "flat" in found.text()


def test_memory_that_grows_all_the_time_is_not():
    found = find("client", samples([(50 + at) * MB for at in range(16)]), BOUNDS)
    assert not found.flat
    assert not found.good
    assert "NOT flat" in found.text()


def test_a_page_more_or_less_is_no_growth():
    assert find("client", samples([20 * MB] * 8 + [20 * MB + 900_000] * 8), BOUNDS).flat


def test_descriptors_that_are_lost_are_found():
    kept = find("client", samples([MB] * 16, descriptors=(10, *(12,) * 14, 13)), BOUNDS)
    lost = find("client", samples([MB] * 16, descriptors=tuple(range(12, 28))), BOUNDS)
    assert kept.descriptors
    assert not lost.descriptors
    assert not lost.good


def test_only_timers_that_fired_meanwhile_count():
    good = find("server", samples([MB] * 16, late=(1080, 10, 5, 10, 0)), BOUNDS)
    bad = find("server", samples([MB] * 16, late=(1060, 10, 5, 10, 20)), BOUNDS)
    assert good.share_late == pytest.approx(5 / 1000)
    assert good.good
    assert bad.share_late == pytest.approx(25 / 1000)
    assert not bad.good


def test_a_few_looks_tell_nothing():
    with pytest.raises(BenchError, match="soak longer"):
        find("client", samples([MB] * 7), BOUNDS)
