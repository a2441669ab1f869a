"""The schedulers that know no rates, by hand; shares and stability in general are in tests/property.

Those that do are in test_adaptive.
"""

from dataclasses import dataclass

import pytest

from mpbond.core.scheduler import CACHE_LIMIT, DEFAULT_SCHEDULER, SCHEDULERS

BY_RULE = [name for name in SCHEDULERS if not SCHEDULERS[name].adapts]


def test_the_schedulers_are_known_by_their_names():
    assert [(name, made.name) for name, made in SCHEDULERS.items()] == [
        (name, name) for name in ("rr", "xor", "weighted", "adaptive", "redundant")
    ]
    assert DEFAULT_SCHEDULER == "adaptive"
    assert [name for name in SCHEDULERS if SCHEDULERS[name].per_flow] == ["xor"]
    assert [name for name in SCHEDULERS if SCHEDULERS[name].adapts] == ["adaptive", "redundant"]


def test_rr_takes_the_paths_in_turn():
    assert turns("rr", paths(0, 1, 2), 7) == [0, 1, 2, 0, 1, 2, 0]


def test_rr_takes_every_path_in_turn_in_whichever_order_they_stand():
    assert turns("rr", paths(4, 2, 9, 0), 8) == [0, 2, 4, 9] * 2


def test_rr_goes_on_with_the_next_path_when_one_has_gone_or_come():
    scheduler = SCHEDULERS["rr"]()
    assert turns(scheduler, paths(0, 1, 2), 2) == [0, 1]
    assert turns(scheduler, paths(0, 1), 1) == [0]
    assert turns(scheduler, paths(0, 1, 2, 255), 4) == [1, 2, 255, 0]


def test_weighted_spreads_the_turns_of_a_heavy_path():
    assert turns("weighted", paths(0, 1, 2, weights=(5, 1, 1)), 7) == [0, 0, 1, 0, 2, 0, 0]


def test_weighted_counts_bytes_not_packets():
    scheduler = SCHEDULERS["weighted"]()
    both = paths(0, 1)
    assert scheduler.choose(both, 0, 1400) == 0
    assert [scheduler.choose(both, 0, 100) for _ in range(13)] == [1] * 13


def test_weighted_follows_a_change_of_weights():
    scheduler = SCHEDULERS["weighted"]()
    turns(scheduler, paths(0, 1, weights=(1, 1)), 10)
    assert sorted(turns(scheduler, paths(0, 1, weights=(1, 3)), 8)) == [0] * 2 + [1] * 6


def test_weighted_gives_a_path_that_comes_back_no_more_than_its_share():
    scheduler = SCHEDULERS["weighted"]()
    turns(scheduler, paths(0, 1), 3)
    turns(scheduler, paths(0), 1000)
    assert turns(scheduler, paths(0, 1), 20).count(1) <= 11


def test_xor_sends_a_flow_the_same_way_again():
    scheduler = SCHEDULERS["xor"]()
    assert len({scheduler.choose(paths(0, 1, 2), 77, 1000) for _ in range(50)}) == 1


def test_xor_chooses_by_path_ids_not_by_the_order_in_which_paths_stand():
    for flow in range(100):
        one, other = paths(0, 1, 2), paths(2, 0, 1)
        assert (
            one[SCHEDULERS["xor"]().choose(one, flow, 1)].id
            == other[SCHEDULERS["xor"]().choose(other, flow, 1)].id
        )


def test_xor_remembers_no_more_flows_than_it_may():
    scheduler = SCHEDULERS["xor"]()
    both = paths(0, 1)
    first = [scheduler.choose(both, flow, 1) for flow in range(50)]
    for flow in range(CACHE_LIMIT + 1):
        scheduler.choose(both, flow, 1)
    assert [scheduler.choose(both, flow, 1) for flow in range(50)] == first


@pytest.mark.parametrize("name", BY_RULE)
def test_a_lone_path_takes_everything(name):
    assert turns(name, paths(3), 5) == [3] * 5


@dataclass
class Candidate:
    id: int
    weight: float


def paths(*ids, weights=None):
    return [Candidate(*pair) for pair in zip(ids, weights or [1.0] * len(ids), strict=True)]


def turns(scheduler, candidates, count):
    """The ids chosen for `count` packets of 1,000 bytes."""
    if isinstance(scheduler, str):
        scheduler = SCHEDULERS[scheduler]()
    return [candidates[scheduler.choose(candidates, 0, 1000)].id for _ in range(count)]
