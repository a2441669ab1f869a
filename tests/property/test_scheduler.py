"""Shares and stability of the schedulers over any set of paths."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpbond.core.flow import mix
from mpbond.core.scheduler import SCHEDULERS
from tests.unit.test_scheduler import BY_RULE, Candidate

ids = st.lists(st.integers(0, 255), unique=True, min_size=1, max_size=8)
weights = st.integers(1, 9)
FLOWS = [mix(flow) for flow in range(300)]


@given(st.data(), ids)
def test_weighted_is_exact_over_a_round(data, ids):
    paths = [Candidate(at, data.draw(weights)) for at in ids]
    total = sum(path.weight for path in paths)
    scheduler = SCHEDULERS["weighted"]()
    for _ in range(3):
        turns = Counter(paths[scheduler.choose(paths, 0, 1400)].id for _ in range(total))
        assert turns == {path.id: path.weight for path in paths}


@given(st.data(), ids, st.lists(st.integers(40, 1500), min_size=1, max_size=200))
def test_weighted_keeps_every_path_near_its_share_of_the_bytes(data, ids, sizes):
    paths = [Candidate(at, data.draw(weights)) for at in ids]
    total = sum(path.weight for path in paths)
    scheduler = SCHEDULERS["weighted"]()
    carried: Counter[int] = Counter()
    for size in sizes:
        carried[paths[scheduler.choose(paths, 0, size)].id] += size
        for path in paths:
            due = sum(carried.values()) * path.weight / total
            assert abs(carried[path.id] - due) <= 1500 * len(paths)


@given(ids, st.integers(1, 100))
def test_rr_gives_no_path_more_than_one_packet_above_another(ids, count):
    paths = [Candidate(at, 1.0) for at in ids]
    scheduler = SCHEDULERS["rr"]()
    turns = Counter(scheduler.choose(paths, 0, 1400) for _ in range(count))
    shares = [turns[at] for at in range(len(paths))]
    assert max(shares) - min(shares) <= 1


@given(st.data(), ids, st.sampled_from(BY_RULE))
@pytest.mark.python_core
def test_every_choice_is_one_of_the_paths_while_they_come_and_go(data, ids, name):
    scheduler = SCHEDULERS[name]()
    for _ in range(20):
        alive = data.draw(st.lists(st.sampled_from(ids), unique=True, min_size=1))
        paths = [Candidate(at, data.draw(weights)) for at in alive]
        for flow in range(10):
            assert 0 <= scheduler.choose(paths, flow, 1400) < len(paths)


@given(st.data(), st.lists(st.integers(0, 255), unique=True, min_size=2, max_size=8))
def test_xor_moves_only_the_flows_of_a_path_that_dies_and_moves_them_back(data, ids):
    paths = [Candidate(at, data.draw(weights)) for at in ids]
    dead = data.draw(st.sampled_from(paths))
    rest = [path for path in paths if path is not dead]
    scheduler = SCHEDULERS["xor"]()
    before = assignment(scheduler, paths)
    during = assignment(scheduler, rest)
    assert all(during[flow] == before[flow] for flow in FLOWS if before[flow] != dead.id)
    assert assignment(scheduler, paths) == before


@given(st.data(), st.lists(st.integers(0, 255), unique=True, min_size=2, max_size=8))
def test_xor_moves_flows_only_onto_a_path_that_comes_or_grows(data, ids):
    paths = [Candidate(at, data.draw(weights)) for at in ids]
    scheduler = SCHEDULERS["xor"]()
    before = assignment(scheduler, paths)
    paths[0] = Candidate(paths[0].id, paths[0].weight * 2)
    after = assignment(scheduler, paths)
    assert all(after[flow] in (before[flow], paths[0].id) for flow in FLOWS)


def test_xor_shares_flows_by_weight():
    rng = Random(7)
    paths = [Candidate(at, weight) for at, weight in ((3, 8), (5, 4), (9, 2), (200, 2))]
    flows = [rng.getrandbits(32) for _ in range(16_000)]
    scheduler = SCHEDULERS["xor"]()
    count = Counter(paths[scheduler.choose(paths, flow, 1)].id for flow in flows)
    for path in paths:
        expected = 1000 * path.weight
        # five standard deviations of a binomial count
        assert abs(count[path.id] - expected) < 5 * (expected * (1 - path.weight / 16)) ** 0.5


def assignment(scheduler, paths):
    return {flow: paths[scheduler.choose(paths, flow, 1)].id for flow in FLOWS}
