"""What the generators of a load tell, put together; without a network."""

from __future__ import annotations

import dataclasses

import pytest

from bench import workloads
from bench.lab import LabError, loads
from bench.lab.systems import Carrier
from bench.lab.traffic.meter import tardiness
from bench.links.shape import LinkSpec
from bench.scenarios import Scenario
from bench.systems import mean_rates

ALONE = Scenario(name="one", title="one link", links=(LinkSpec(),))
SHARED = dataclasses.replace(ALONE, rival=0)


def machine(late=0.001):
    return {"cpu": {"client": 0.5, "server": 0.25}, "lateness": tardiness([late])}


def transfer(**changes):
    told = {
        "bytes": 1000,
        "per_flow": [1000],
        "timeline": [1000],
        "retransmits": 2,
        "longest_stall": 0.1,
        "alive": True,
    }
    return told | machine() | changes


@pytest.fixture
def tell(monkeypatch):
    """Returns a function that lets generators tell something and says what the load makes of it."""

    def tell(workload, scenario=ALONE, **says):
        class Fake:
            def __init__(self, _lab, *, client, **_options):
                self._who = "rival" if client.startswith("rival") else client
                says.setdefault("flows", []).append(_options.get("flows"))
                says.setdefault("asked", []).append((_options.get("pieces"), _options.get("every")))

            def begin(self, start):
                pass

            def cancel(self):
                pass

            def result(self):
                told = says["main" if self._who == "client" else self._who]
                if isinstance(told, Exception):
                    raise told
                return told

            def results(self):
                return {"down": self.result()}

        for name in ("Transfer", "PageLoads", "UdpStream", "QuicTransfer"):
            monkeypatch.setattr(loads, name, type(name, (Fake,), {}))
        call = type("VoiceCall", (Fake,), {"result": lambda _self: says["call"]})
        monkeypatch.setattr(loads, "VoiceCall", call)
        chosen = workloads.get(workload)
        with loads.Load(None, scenario, chosen, Carrier(), 10.0, seed=1) as load:
            load.begin(0.0)
            return load.told()

    return tell


def test_a_download_that_carried_nothing_is_a_result(tell):
    nothing = transfer(bytes=0, per_flow=[0], timeline=[0], longest_stall=10.0, alive=False)
    told = tell("tcp1_down_cubic", main=nothing)
    assert told.doubt is None
    assert told.figures.received == {"down": 0, "up": None}
    assert told.figures.alive is False
    assert told.figures.flows == [0]


def test_pages_none_of_which_came_are_a_result(tell):
    told = tell("pages", main={"pages": [], "failed": 1, "bytes": 0} | machine())
    assert told.doubt is None
    assert (told.figures.pages, told.figures.pages_failed) == ([], 1)
    assert told.figures.received == {"down": 0, "up": None}


@pytest.mark.parametrize(
    ("workload", "told", "said"),
    [
        ("udp", {"sent": 1000, "lost": 9, "reordered": 0, "overrun": 9}, "too slow to read 9"),
        ("quic", {"alive": True, "saturated": True}, "was itself the limit"),
    ],
)
def test_a_generator_that_was_the_limit_is_doubted(tell, workload, told, said):
    told |= {"bytes": 1000, "timeline": [1000], "longest_stall": 0.1} | machine()
    found = tell(workload, main=told)
    assert said in found.doubt
    assert found.figures.received == {"down": 1000, "up": None}
    well = told | {"overrun": 0, "saturated": False}
    assert tell(workload, main=well).doubt is None


def test_a_further_box_downloads_beside_with_flows_of_its_own(tell):
    flows = []
    other = transfer(bytes=900, **machine(0.07))
    told = tell("fair", main=transfer(), client1=other, flows=flows)
    assert flows == [1, 30]
    assert told.figures.boxes == [1000, 900]
    assert told.figures.received == {"down": 1900, "up": None}
    assert told.late == 0.07
    assert told.cpu == 1.5


def test_a_player_asks_for_half_of_what_fits_every_two_seconds(tell):
    rate = sum(mean_rates(ALONE.links, "down"))
    asked = []
    tell("bursts", main=transfer(), asked=asked)
    assert asked == [(round(rate / 8), 2.0)]


def test_without_any_generator_nothing_is_told_and_nothing_was_late(tell):
    told = tell("idle")
    assert told.figures.received == {"down": None, "up": None}
    assert (told.late, told.cpu, told.doubt) == (0.0, 0, None)


def test_a_rival_that_took_its_part_counts_for_nothing_but_how_late_it_was(tell):
    told = tell("tcp1_down_cubic", SHARED, main=transfer(), rival=transfer(**machine(0.07)))
    assert told.doubt is None
    assert told.late == 0.07
    assert told.cpu == 0.75
    assert told.figures.received == {"down": 1000, "up": None}


@pytest.mark.parametrize(
    ("rival", "said"),
    [
        ({"bytes": 0, "alive": False}, "somebody else's download carried nothing"),
        ({"bytes": 0}, "somebody else's download carried nothing"),
        ({"alive": False}, "somebody else's download broke off"),
    ],
)
def test_without_its_rival_a_measurement_is_doubted(tell, rival, said):
    told = tell("tcp1_down_cubic", SHARED, main=transfer(), rival=transfer(**rival))
    assert told.doubt == said


def test_a_rival_that_fails_itself_is_an_error(tell):
    failure = LabError("tcp traffic from rival0 is not possible")
    with pytest.raises(LabError, match="from rival0"):
        tell("tcp1_down_cubic", SHARED, main=transfer(), rival=failure)


def test_a_call_beside_a_download_is_told_with_it_and_the_later_of_both_counts(tell):
    lost = [None, None]
    call = {
        "sent": 2,
        "up": {"delays": lost},
        "down": {"delays": [0.01, None]},
        "round_trips": lost,
    }
    told = tell("voice_tcp", main=transfer(), call=call | machine(0.03))
    assert told.figures.voice.up == lost
    assert told.figures.voice.down == [0.01, None]
    assert told.late == 0.03
    assert told.cpu == 1.5
