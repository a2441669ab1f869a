"""The names of systems, and which links and settings they stand for."""

from __future__ import annotations

import dataclasses

import pytest

from bench.errors import BenchError
from bench.links.shape import LinkSpec, Profile, Shape, Step
from bench.systems import SYSTEMS, System, best_link, select

CABLE = LinkSpec.plain(rate_down=30e6, rate_up=5e6)
DSL = LinkSpec.plain(rate_down=20e6, rate_up=10e6)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_known_by_its_own_name(name):
    assert System.parse(name) == SYSTEMS[name]
    assert System.parse(name).name == name


def test_without_a_number_the_link_is_the_best_in_the_direction_of_the_traffic():
    bare = System.parse("bare")
    assert bare.used([DSL, CABLE], "down") == (1,)
    assert bare.used([DSL, CABLE], "up") == (0,)


def test_the_first_of_equally_good_links_is_the_best():
    assert best_link([DSL, DSL], "down") == 0


def test_the_best_link_is_told_by_its_mean_rate_and_not_by_its_peak():
    bursty = Profile((Step(0, 40e6), Step(1, 1e6)), period=10)
    wandering = LinkSpec(down=Shape(rate=bursty))
    assert best_link([wandering, DSL], "down") == 1


def test_a_number_names_the_link():
    single = System.parse("single:1")
    assert (single.name, single.link, single.kind) == ("single:1", 1, "mpbond")
    assert single.used([CABLE, DSL], "down") == (1,)
    assert single.title == "mpbond over link 1"


def test_systems_that_join_links_use_them_all():
    for name in ("rr", "rr+hold", "xor", "weighted", "adaptive", "redundant", "mptcp"):
        assert System.parse(name).used([CABLE, DSL], "down") == (0, 1)


def test_links_of_a_further_box_are_not_the_first_ones():
    other = dataclasses.replace(CABLE, client=1)
    assert System.parse("adaptive").used([DSL, other, CABLE, other], "down") == (0, 2)


def test_only_the_weighted_system_is_told_the_mean_rates():
    assert System.parse("weighted").weights([CABLE, DSL], "down") == [30, 20]
    assert System.parse("weighted").weights([CABLE, DSL], "up") == [5, 10]
    assert System.parse("xor").weights([CABLE, DSL], "down") == [1, 1]


def test_round_robin_is_asked_for_with_and_without_reordering():
    assert System.parse("rr").hold == 0
    assert System.parse("rr+hold").hold == "auto"
    assert System.parse("rr+hold").scheduler == "rr"


def test_the_default_scheduler_is_what_the_single_link_is_measured_with_too():
    for name in ("adaptive", "single", "single:1"):
        assert System.parse(name).scheduler == "adaptive"
        assert System.parse(name).weights([CABLE, DSL], "down") == [1, 1]
    assert System.parse("redundant").scheduler == "redundant"
    assert System.parse("weighted").scheduler == "weighted"


def test_multipath_tcp_carries_tcp_only():
    mptcp = System.parse("mptcp")
    assert mptcp.carries("bulk")
    assert not mptcp.carries("udp")
    assert System.parse("wireguard").carries("udp")


def test_each_link_alone_is_asked_for_by_a_star():
    names = [system.name for system in select(["bare:*", "rr", "bare:1"], links=3)]
    assert names == ["bare:0", "bare:1", "bare:2", "rr"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("weigted", "weighted"),
        ("bonding", "there are bare, single"),
        ("rr:1", "uses all links"),
        ("bare:", "names no link"),
        ("bare:one", "names no link"),
        ("bare:-1", "names no link"),
        ("bare:²", "names no link"),
    ],
)
def test_a_wrong_name_is_answered_with_what_would_be_right(name, said):
    with pytest.raises(BenchError, match=said):
        System.parse(name)


def test_a_link_that_is_not_there_is_told():
    with pytest.raises(BenchError, match="bare:2 needs a link of number 2, but they end at 1"):
        System.parse("bare:2").used([CABLE, DSL], "down")
