"""Load generators in a laboratory: what one end sends is what the other one counts."""

from __future__ import annotations

import contextlib
import itertools
import os
import time

import pytest

from bench.lab import LabError, topology
from bench.lab.traffic import PageLoads, QuicTransfer, Transfer, UdpStream, VoiceCall
from bench.links.shape import LinkSpec
from bench.workloads import PAGE_OBJECTS, VOICE_INTERVAL

WEB, WEB6 = topology.WEB
LEAD = 0.2  # s from being ready to the beginning


@pytest.fixture(scope="module")
def lab(module_laboratory):
    link = LinkSpec.plain(rate_down=20e6, rate_up=5e6, delay=0.005)
    with_ipv6 = LinkSpec.plain(rate_down=20e6, rate_up=5e6, delay=0.005, ipv6=True)
    return module_laboratory(link, with_ipv6)


def run(kind, lab, *, target=WEB, seconds=2.0, **options):
    generator = kind(lab, target=target, seconds=seconds, **options)
    generator.begin(time.monotonic() + LEAD)
    with contextlib.suppress(AttributeError):
        return generator.results()
    return generator.result()


@pytest.mark.parametrize("direction", ["down", "up", "both"])
def test_every_flow_of_a_transfer_carries_what_the_sender_sent(lab, direction):
    found = run(Transfer, lab, direction=direction, flows=3)
    assert list(found) == (["down", "up"] if direction == "both" else [direction])
    for way, told in found.items():
        limit = (20e6 if way == "down" else 5e6) / 8 * 2.0
        assert 0 < told["bytes"] <= limit
        assert sum(told["timeline"]) == sum(told["per_flow"]) == told["bytes"] <= told["sent"]
        assert len(told["timeline"]) == 20
        assert len(told["per_flow"]) == 3
        assert all(told["per_flow"])
        assert told["alive"]
        assert told["subflows"] == 1


@pytest.mark.parametrize(("direction", "congestion"), [("down", "reno"), ("up", "cubic")])
def test_the_side_that_sends_uses_the_congestion_control_asked_for(lab, direction, congestion):
    found = run(Transfer, lab, direction=direction, congestion=congestion, seconds=0.5)
    assert found[direction]["congestion"] == congestion


def test_pieces_are_fetched_one_after_the_other_on_every_connection(lab):
    told = run(Transfer, lab, flows=5, pieces=50_000)["down"]
    assert told["completed"] >= 5
    assert told["completed"] * 50_000 <= told["bytes"] <= told["sent"]
    assert told["bytes"] <= (told["completed"] + 5) * 50_000


def test_pieces_can_be_asked_for_at_multiples_of_a_time_only(lab):
    told = run(Transfer, lab, pieces=20_000, every=0.5, seconds=2.0)["down"]
    assert told["completed"] == 4
    assert told["bytes"] == 80_000
    for turn in range(0, 20, 5):
        assert sum(told["timeline"][turn : turn + 3]) == 20_000
    assert told["alive"]


def test_multipath_tcp_and_a_device_and_ipv6_can_be_asked_for(lab):
    before = lab.report()
    told = run(Transfer, lab, mptcp=True, device="wwan1", target=WEB6, seconds=1.0)["down"]
    assert told["bytes"] > 0
    assert told["subflows"] == 1
    after = lab.report()
    grown = {way: after[way]["carried"] - before[way]["carried"] for way in after}
    assert [way for way in sorted(grown) if grown[way] > 100] == ["1 down", "1 up"], grown


def test_pages_are_counted_when_all_their_objects_are_there(lab):
    told = run(PageLoads, lab, visitors=2, pause=0.1, patience=20.0)
    assert told["failed"] == 0
    assert told["error"] is None
    assert len(told["pages"]) >= 2
    assert all(each > 4 * 0.005 for each in told["pages"])  # SYN and request go there and back
    assert told["bytes"] > (len(told["pages"]) - 2) * PAGE_OBJECTS * 5_000


@pytest.mark.parametrize("direction", ["down", "up"])
def test_udp_at_a_rate_loses_what_the_link_cannot_carry(lab, direction):
    told = run(UdpStream, lab, rate=8e6, direction=direction, drain=0.5)
    assert told["sent"] == 8e6 * 2 / 8 // 1200
    assert told["received"] + told["lost"] == told["sent"]
    assert told["bytes"] <= told["received"] * 1200
    assert told["overrun"] == 0
    assert told["reordered"] == told["duplicates"] == 0
    if direction == "up":
        assert told["lost"] > told["sent"] / 10


def test_a_call_goes_on_through_an_outage_and_tells_its_gap(lab):
    generator = VoiceCall(lab, target=WEB, seconds=2.0, drain=0.5)
    start = time.monotonic() + LEAD
    generator.begin(start)
    lab.wait_until(lambda: time.monotonic() > start + 0.5, what="half a second")
    lab.silence(0)
    lab.wait_until(lambda: time.monotonic() > start + 1.0, what="a second")
    lab.unsilence(0)
    told = generator.result()
    assert told["sent"] == len(told["up"]["delays"]) == len(told["down"]["delays"]) == 100
    for way in (told["up"], told["down"]):
        assert 0 < way["lost"] < 100
        assert longest_run_of_lost(way["delays"]) > 0.4 / VOICE_INTERVAL
        assert min(each for each in way["delays"] if each is not None) > 0.0045
    known = [each for each in told["round_trips"] if each is not None]
    assert len(known) >= 100 - told["up"]["lost"] - told["down"]["lost"] - 2
    assert min(known) > 0.009


def longest_run_of_lost(delays):
    runs = itertools.groupby(delays, lambda delay: delay is None)
    return max(len(list(run)) for lost, run in runs if lost)


def test_quic_downloads(lab):
    told = run(QuicTransfer, lab)
    assert 0 < told["bytes"] == sum(told["timeline"]) <= 20e6 / 8 * 2
    assert told["alive"]


def test_every_generator_says_how_late_it_was_and_what_cpu_time_it_took(lab):
    told = run(Transfer, lab, seconds=0.5)["down"]
    assert set(told["cpu"]) == {"client", "server"}
    assert all(used > 0 for used in told["cpu"].values())
    assert told["lateness"]["count"] > 0
    assert told["lateness"]["p50"] <= told["lateness"]["p99"] <= told["lateness"]["max"]


@pytest.fixture
def silent_lab(lab):
    lab.silence(0)
    lab.silence(1)
    yield lab
    lab.unsilence(0)
    lab.unsilence(1)


@pytest.mark.parametrize("direction", ["down", "up", "both"])
def test_a_transfer_that_never_came_about_carried_nothing(silent_lab, direction):
    for told in run(Transfer, silent_lab, direction=direction, flows=2, seconds=0.3).values():
        assert told["bytes"] == sum(told["timeline"]) == 0
        assert told["per_flow"] == [0, 0]
        assert told["first_byte"] is None
        assert told["longest_stall"] == pytest.approx(0.3)
        assert not told["alive"]


def test_pages_of_which_nothing_came_have_failed(silent_lab):
    told = run(PageLoads, silent_lab, seconds=0.3, patience=0.2, pause=0.2)
    assert (told["pages"], told["bytes"]) == ([], 0)
    assert told["failed"] >= 1
    assert told["error"] == "it took too long"


@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_stream_of_which_nothing_came_was_lost(silent_lab, direction):
    told = run(UdpStream, silent_lab, rate=1e6, direction=direction, drain=0.1, seconds=0.3)
    assert told["lost"] == told["sent"] > 0
    assert told["received"] == told["bytes"] == sum(told["timeline"]) == 0


def test_a_call_that_was_never_answered_has_lost_every_packet(silent_lab):
    told = run(VoiceCall, silent_lab, drain=0.1, seconds=0.3)
    none = [None] * 15
    assert told["up"]["delays"] == told["down"]["delays"] == told["round_trips"] == none


def test_quic_that_was_never_answered_has_carried_nothing(silent_lab):
    told = run(QuicTransfer, silent_lab, seconds=0.3)
    assert told["bytes"] == sum(told["timeline"]) == 0
    assert not told["alive"]


@pytest.mark.parametrize("kind", [Transfer, PageLoads])
def test_a_server_that_is_not_there_is_an_error(lab, kind):
    with pytest.raises(LabError, match=r"no generator serves at .* port \d+"):
        run(kind, lab, target=topology.SERVER[0], seconds=0.3)


@pytest.mark.parametrize("kind", [Transfer, PageLoads, UdpStream, VoiceCall, QuicTransfer])
def test_without_a_route_nothing_begins(lab, kind):
    options = {"rate": 1e6} if kind is UdpStream else {}
    with pytest.raises(LabError, match=f"there is no route to {WEB6}"):
        kind(lab, target=WEB6, device="wwan0", **options)


@pytest.mark.parametrize(
    ("kind", "options", "complaint"),
    [
        (Transfer, {"congestion": "vegan"}, "no congestion control 'vegan'"),
        (VoiceCall, {"device": "wwan7"}, "the interface 'wwan7'"),
        (Transfer, {"target": "web"}, "numeric address, which 'web' is not"),
        (Transfer, {"direction": "left"}, "not 'left'"),
        (Transfer, {"direction": "up", "pieces": 9}, "only a download can be fetched in pieces"),
        (Transfer, {"every": 1.0}, "only pieces can be asked for every so many seconds"),
    ],
)
def test_what_is_not_possible_is_said_before_it_begins(lab, kind, options, complaint):
    with pytest.raises(LabError, match=complaint):
        kind(lab, **{"target": WEB, **options})


def test_nothing_begins_in_the_past(lab):
    generator = Transfer(lab, target=WEB)
    with pytest.raises(LabError, match="cannot begin"):
        generator.begin(time.monotonic() - 1)
    generator.cancel()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in generator.pids)
