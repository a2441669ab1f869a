"""When a lane's delay is evened out, how far, and how long its packets wait for it."""

from dataclasses import dataclass, field

import msgpack
import pytest

from mpbond.core.even import (
    END,
    MAXIMUM_LANES,
    MOST_WAY,
    PAUSE,
    PERIOD,
    ROOM,
    STEP,
    TRIAL,
    EvenDelay,
    Evened,
)
from mpbond.core.lanes import PACKET_COST, Lanes
from mpbond.core.stats import OrderStats
from mpbond.core.wire import LANE_COUNT

MBIT = 125_000.0
LANE = 7


# -- the receiver's part --------------------------------------------------------------------------


def test_a_packet_waits_for_its_time_and_the_lanes_say_when_that_is():
    lanes = Evenly()
    lanes.come(0, now=1.0, due=1.026)
    assert lanes.delivered == []
    assert 1.026 <= lanes.next_timeout(0.1) < 1.027
    lanes.release_due(1.025)
    assert lanes.delivered == []
    lanes.release_due(1.026)
    assert lanes.delivered == [b"0"]
    assert lanes.next_timeout(0.1) is None


def test_no_packet_overtakes_another_of_its_lane():
    lanes = Evenly()
    lanes.come(0, now=1.0, due=1.026)
    lanes.come(1, now=1.001)  # by the farther path
    lanes.come(2, now=1.002, due=1.010)
    assert lanes.delivered == []
    lanes.release_due(1.030)
    assert lanes.delivered == [b"0", b"1", b"2"]


def test_other_lanes_and_packets_that_need_no_order_do_not_wait():
    lanes = Evenly()
    lanes.come(0, now=1.0, due=1.026)
    lanes.come(0, now=1.0, lane=8)
    lanes.come(1, now=1.0, due=1.026, ordered=False)
    assert lanes.delivered == [b"0", b"1"]


def test_the_time_in_a_gap_counts():
    lanes = Evenly()
    lanes.come(0, now=1.0)
    lanes.come(2, now=1.0, due=1.020)
    lanes.come(3, now=1.015, due=1.035)
    lanes.come(1, now=1.025)
    assert lanes.delivered == [b"0", b"1", b"2"]
    lanes.release_due(1.035)
    assert lanes.delivered == [b"0", b"1", b"2", b"3"]


def test_a_late_packet_goes_behind_what_waits():
    lanes = Evenly()
    lanes.come(0, 2, now=1.0, due=1.030)
    lanes.release_expired(0.010, 1.010)
    lanes.come(1, now=1.020)
    lanes.release_due(1.030)
    assert lanes.delivered == [b"0", b"2", b"1"]


def test_when_memory_is_full_nothing_waits_any_more():
    lanes = Evenly(limit=3 * (1 + PACKET_COST))
    lanes.come(0, 1, 2, now=1.0, due=2.0)
    assert lanes.delivered == []
    lanes.come(3, now=1.0, due=2.0)
    assert lanes.delivered == [b"0", b"1", b"2", b"3"]


def test_a_gap_is_given_up_only_if_that_is_not_enough():
    lanes = Evenly(limit=3 * (1 + PACKET_COST))
    lanes.come(0, 1, now=1.0, due=2.0)
    lanes.come(3, 4, now=1.0)
    assert lanes.delivered == [b"0", b"1"]
    assert lanes.has_gaps
    lanes.come(5, 6, now=1.0)
    assert lanes.delivered == [b"0", b"1", b"3", b"4", b"5", b"6"]


def test_what_came_by_a_path_waits_for_the_difference_of_the_ways():
    even = Evened()
    assert even.take({"even": [[LANE, 26_000]], "ways": [[0, 0], [1, 26_000], [2, 30_000]]})
    assert even.wait(LANE, 0) == pytest.approx(0.026)
    assert even.wait(LANE, 1) == even.wait(LANE, 2) == 0.0
    assert even.wait(LANE, 9) == 0.0  # nothing is known of it
    assert even.wait(LANE + 1, 0) == 0.0


def test_no_packet_is_made_to_wait_for_long():
    even = Evened()
    assert even.take({"even": [[LANE, 10_000_000]], "ways": [[0, 0]]})
    assert even.wait(LANE, 0) == MOST_WAY


@pytest.mark.parametrize(
    "message",
    [
        {"even": 5, "ways": []},
        {"even": [[LANE, 5]]},
        {"even": [[LANE, 5, 6]], "ways": []},
        {"even": [[LANE, "5"]], "ways": []},
        {"even": [[LANE, -5]], "ways": []},
        {"even": [[LANE_COUNT, 5]], "ways": []},
        {"even": [[LANE, 5]], "ways": [[256, 5]]},
        {"even": [[lane, 5] for lane in range(MAXIMUM_LANES + 1)], "ways": []},
    ],
)
def test_a_malformed_message_ends_what_was_asked_for(message):
    even = Evened()
    even.take({"even": [[LANE, 26_000]], "ways": [[0, 0]]})
    assert not even.take(message)
    assert even.wait(LANE, 0) == 0.0


# -- the sender's part ----------------------------------------------------------------------------


def test_a_lane_that_fills_the_quick_path_alone_is_evened_out_in_steps():
    link = Reviews(path(0, 100, 0.004, 0.008), path(1, 20, 0.030, 0.060))
    assert link.carry(98, 0) is None
    first = STEP * 0.008 - 0.008
    assert link.carry(98, 0) == {LANE: pytest.approx(first)}
    assert link.seconds(10, 98, 0) == {LANE: pytest.approx(first)}
    assert link.seconds(2, 98, 0) == {LANE: pytest.approx(STEP * (0.008 + first) - 0.008)}
    assert link.seconds(11, 98, 0) == {LANE: pytest.approx(0.026)}
    assert link.seconds(20, 98, 19) == {LANE: pytest.approx(0.026)}


def test_the_round_trip_never_doubles_within_what_bbr_remembers():
    link = Reviews(path(0, 20, 0.010, 0.020), path(1, 20, 0.060, 0.120))
    seen = []
    for _ in range(40):
        link.carry(20, 0)
        seen.append(0.020 + link.even.lanes.get(LANE, 0.0))
    assert seen[-1] == pytest.approx(0.070)
    assert all(later < 2 * now for now, later in zip(seen, seen[int(PERIOD) :], strict=False))


@pytest.mark.parametrize(
    ("farther", "quick_load", "far_load"),
    [
        pytest.param((20, 0.030, 0.060), 60, 0, id="the quick path is not full"),
        pytest.param((20, 0.030, 0.060), 98, 19, id="the farther one is used"),
        pytest.param((5, 0.030, 0.060), 98, 0, id="it would not add much"),
        pytest.param((20, 0.008, 0.016), 98, 0, id="it is not much farther"),
        pytest.param((20, 0.010 + MOST_WAY, 0.220), 98, 0, id="it is too far"),
    ],
)
def test_nothing_begins_without_need(farther, quick_load, far_load):
    link = Reviews(path(0, 100, 0.004, 0.008), path(1, *farther))
    assert link.seconds(30, quick_load, far_load) is None


def test_what_would_wait_has_to_fit_the_receivers_memory():
    rate = 1.01 * ROOM / 0.026 / MBIT
    link = Reviews(path(0, rate, 0.004, 0.008), path(1, rate / 5, 0.030, 0.060))
    assert link.seconds(30, rate, 0) is None


def test_it_ends_when_the_lane_is_quiet():
    link = Reviews(path(0, 100, 0.004, 0.008), path(1, 20, 0.030, 0.060))
    link.seconds(5, 98, 0)
    assert link.even.lanes
    link.seconds(END - 1, 1, 0)
    assert link.even.lanes
    assert link.carry(1, 0) == {}


def test_a_path_that_is_for_overflow_is_no_reason():
    link = Reviews(path(0, 100, 0.004, 0.008), path(1, 20, 0.030, 0.060))
    link.paths[1].tier = 1
    assert link.seconds(30, 98, 0) is None


def test_it_rises_no_further_once_the_farther_path_is_full():
    link = Reviews(path(0, 100, 0.004, 0.008), path(1, 20, 0.030, 0.060))
    first = link.seconds(3, 98, 0)
    assert link.seconds(40, 98, 19) == first
    assert link.carry(98, 10) is None  # a moment only
    assert link.seconds(20, 98, 19) == first


def test_small_changes_of_the_ways_are_no_news():
    link = Reviews(path(0, 100, 0.004, 0.008), path(1, 20, 0.030, 0.060))
    link.seconds(30, 98, 0)
    for change in (0.001, -0.001, 0.0015, 0.0):
        link.paths[1].rate.base_owd = 0.030 + change
        assert link.carry(98, 19) is None
    link.paths[1].rate.base_owd = 0.026
    assert link.carry(98, 19) == {LANE: pytest.approx(0.022)}


def test_a_way_that_grows_again_is_followed_when_the_shorter_is_forgotten():
    link = Reviews(path(0, 100, 0.004, 0.008), path(1, 20, 0.030, 0.060))
    link.seconds(30, 98, 0)
    link.paths[1].rate.base_owd = 0.010
    assert link.carry(98, 5) == {LANE: pytest.approx(0.006)}
    link.paths[1].rate.base_owd = 0.030
    assert link.seconds(10, 98, 5) == {LANE: pytest.approx(0.006)}
    assert link.seconds(2, 98, 5) == {LANE: pytest.approx(STEP * 0.014 - 0.008)}


def test_it_ends_when_the_farther_path_goes():
    link = Reviews(path(0, 100, 0.004, 0.008), path(1, 20, 0.030, 0.060))
    link.seconds(5, 98, 0)
    link.paths[1].up = False
    assert link.carry(98, 0) == {}


def test_it_is_given_up_for_a_while_if_the_farther_path_is_not_used_for_all_that():
    link = Reviews(path(0, 100, 0.004, 0.008), path(1, 20, 0.030, 0.060))
    assert link.seconds(round(3 * PERIOD + TRIAL) + 5, 98, 0) == {}
    assert link.seconds(round(PAUSE) - 60, 98, 0) == {}
    assert link.seconds(60, 98, 0) != {}


def test_a_small_flow_beside_it_is_left_alone():
    link = Reviews(path(0, 100, 0.004, 0.008), path(1, 20, 0.030, 0.060))
    for _ in range(10):
        link.send(LANE + 1, 2)
        link.carry(96, 0)
    assert set(link.even.lanes) == {LANE}


def test_the_message_fits_whatever_is_evened_out():
    paths = [path(at, 1, 0.004 + at * 0.0005, 0.008) for at in range(31)]
    link = Reviews(*paths, path(255, 5, 0.030, 0.060))
    for _ in range(4):
        for lane in range(1000, 1000 + MAXIMUM_LANES + 4):
            link.send(lane, 3.2)
        link.carry(*([1] * 31), 0)
    assert len(link.even.lanes) == MAXIMUM_LANES
    assert len(link.packed) <= 500


# -- helpers --------------------------------------------------------------------------------------


class Evenly(Lanes):
    """Lanes whose packets are their sequences in letters."""

    def __init__(self, limit=1 << 20):
        super().__init__(OrderStats(), limit)

    def come(self, *sequences, lane=LANE, now, due=0.0, ordered=True):
        for sequence in sequences:
            packet = str(sequence).encode()
            self.insert(lane, sequence, packet, order=0, ordered=ordered, now=now, due=due)


@dataclass
class Known:
    """What rate control has learned: bytes per second, seconds."""

    rate: float
    base_owd: float
    base_rtt: float
    learned: bool = True


@dataclass
class Stats:
    last: float = 0.0

    @property
    def sent(self):
        return self


@dataclass
class Rtt:
    has_sample: bool = True


@dataclass
class FakePath:
    """What is asked of a path."""

    id: int
    rate: Known
    up: bool = True
    mtu: int = 1472
    tier: int = 0
    rtt: Rtt = field(default_factory=Rtt)
    stats: Stats = field(default_factory=Stats)


def path(number, rate, base_owd, base_rtt):
    """A path of so many Mbit/s."""
    return FakePath(number, Known(rate * MBIT, base_owd, base_rtt))


class Reviews:
    """Seconds of traffic, each followed by a review."""

    def __init__(self, *paths):
        self.paths = paths
        self.even = EvenDelay()
        self.now = 100.0
        self.packed = b""
        self._sequences = [0] * LANE_COUNT
        self.even.review(self.paths, self._sequences, self.now)

    def send(self, lane, rate):
        """Count what a lane sends in this second, in Mbit/s."""
        self._sequences[lane] += round(rate * MBIT / 1472)

    def carry(self, *rates):
        """A second of one lane over the paths, at so many Mbit/s; what of it is news of lanes, in seconds."""
        self.now += 1.0
        self.send(LANE, sum(rates))
        for each, rate in zip(self.paths, rates, strict=True):
            each.stats.last = rate * 1e6
        self.even.review(self.paths, self._sequences, self.now)
        message = self.even.news()
        if message is not None:
            self.packed = msgpack.packb(message)
        return None if message is None else dict(self.even.lanes)

    def seconds(self, count, *rates):
        """The same for a while; what is evened out at the end, None if nothing ever was."""
        any_news = bool(self.even.lanes) or bool(self.packed)
        for _ in range(count):
            any_news |= self.carry(*rates) is not None
        return dict(self.even.lanes) if any_news else None
