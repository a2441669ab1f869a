"""Where packets are sent by those schedulers that know what paths can do.

Paths are real; what rate control knows of them is given: their rates, delays and windows.
"""

import pytest

from mpbond.core.adaptive import (
    GUARD,
    LOSSY,
    OVERFLOW_DELAY,
    REPAIR_TIME,
    SLACK,
    Adaptive,
    Redundant,
)
from mpbond.core.path import Path, PathOptions
from mpbond.core.rate import RateControl
from mpbond.core.recovery import Sent

NOW = 50.0
SIZE = 1400
MUCH = 10_000_000  # bytes of backlog: more than any path carries in the time that waiting may win


class Known(RateControl):
    """Rate control that is told what it would have to learn: bytes per second, seconds, bytes."""

    base_owd = base_rtt = queue = 0.0

    def __init__(
        self,
        rate,
        base_owd,
        base_rtt,
        *,
        window=1e6,
        queue=0.0,
        release=0.0,
        ramping=False,
        pace=1e9,
    ):
        super().__init__(0.0)
        self.rate, self.window, self._pace = rate, window, pace
        self.base_owd, self.base_rtt, self.queue = base_owd, base_rtt, queue
        self.release, self.ramping = release, ramping


def test_a_packet_goes_where_it_arrives_first():
    assert chosen(path(1e6, 0.040), path(1e6, 0.020), path(1e6, 0.060)) == 1


def test_delays_are_compared_whatever_the_offset_of_the_clocks():
    assert chosen(path(1e6, -0.960), path(1e6, -0.980), path(1e6, -0.940)) == 1


def test_the_rate_decides_between_equal_delays_of_busy_paths():
    # 1,400 bytes more take 14 ms or 1.4 ms
    slow, quick = path(1e5, 0.020, in_flight=4_000), path(1e6, 0.020, in_flight=40_000)
    assert chosen(slow, quick) == 1
    assert chosen(slow, path(1e6, 0.034, in_flight=40_000)) == 0


def test_a_queue_that_shows_counts():
    assert chosen(path(1e6, 0.020, queue=0.030), path(1e6, 0.040)) == 1
    assert chosen(path(1e6, 0.020, queue=0.015), path(1e6, 0.040)) == 0


def test_what_is_in_flight_beyond_the_pipe_counts_as_queue():
    # the pipe holds 40,000 bytes; what is more waits, 1 ms for each 1,000
    assert chosen(path(1e6, 0.020, in_flight=40_000), path(1e6, 0.030), backlog=MUCH) == 0
    assert chosen(path(1e6, 0.020, in_flight=60_000), path(1e6, 0.030), backlog=MUCH) == 1


def test_what_is_planned_in_this_flush_counts_as_queue_too():
    quick, slow = path(1e6, 0.020, rtt=0.0), path(1e6, 0.030, rtt=0.0)
    scheduler = begun(Adaptive(), quick, slow)
    turns = []
    for _ in range(20):
        at = scheduler.choose([quick, slow], 0, SIZE, MUCH)
        turns.append(at)
        (quick, slow)[at].planned += SIZE
    # 10 ms at 1 MB/s are 7 packets; from then on both take turns
    assert turns[:7] == [0] * 7
    assert turns[8:].count(0) == turns[8:].count(1) == 6


def test_a_path_that_loses_much_arrives_a_repair_later_in_proportion():
    clean, lossy = path(1e6, 0.032), path(1e6, 0.030)
    assert chosen(clean, lossy) == 1
    lossy.rtt.update(0.070, NOW)
    repaired = lossy.rtt.smoothed + REPAIR_TIME
    lossy.sent.loss = 0.0019 / repaired
    assert chosen(clean, lossy) == 1
    lossy.sent.loss = 0.0021 / repaired
    assert chosen(clean, lossy) == 0


# -- room, and waiting for it ---------------------------------------------------------------------


def test_a_path_without_room_in_its_window_gets_nothing():
    full, slow = path(1e6, 0.020, window=40_000, in_flight=40_000), path(1e6, 0.100)
    assert chosen(full, slow, backlog=MUCH) == 1
    assert chosen(full, backlog=MUCH) is None


def test_a_path_whose_pace_does_not_allow_it_gets_nothing():
    assert chosen(path(1e6, 0.020, release=NOW + 0.001), backlog=MUCH) is None
    assert chosen(path(1e6, 0.020, release=NOW)) == 0


def test_a_small_flow_waits_for_the_quick_path_and_a_large_one_uses_both():
    quick, slow = path(1e6, 0.020, release=NOW + 0.005), path(1e6, 0.080)
    # the slow one is 55 ms behind: in that time both could carry 110,000 bytes
    for backlog, expected in ((0, None), (SIZE, None), (100_000, None), (120_000, 1)):
        assert chosen(quick, slow, backlog=backlog) == expected


def test_nobody_waits_for_next_to_nothing():
    quick, slow = path(1e6, 0.020, release=NOW + 0.005), path(1e6, 0.025 + SLACK / 2)
    assert chosen(quick, slow, backlog=0) == 1
    assert chosen(quick, path(1e6, 0.025 + 2 * SLACK), backlog=0) is None


def test_nobody_waits_for_a_path_that_would_be_no_earlier():
    quick = path(1e6, 0.020, window=40_000, in_flight=140_000)  # 100 ms until it has room
    assert chosen(quick, path(1e6, 0.080), backlog=0) == 1


@pytest.mark.parametrize(("behind", "expected"), [(GUARD - 0.010, 1), (GUARD + 0.010, None)])
def test_no_packet_takes_a_path_far_behind_however_much_waits(behind, expected):
    quick = path(1e6, 0.020, release=NOW + 0.001)
    assert chosen(quick, path(1e6, 0.021 + behind), backlog=MUCH) == expected


def test_a_slow_path_that_is_alone_is_behind_nobody():
    assert chosen(path(10_000, 2.0)) == 0


def test_a_full_set_of_paths_says_so_and_a_wait_for_a_better_one_does_not():
    full = [path(1e6, 0.020, window=40_000, in_flight=40_000) for _ in range(3)]
    scheduler = begun(Adaptive(), *full)
    assert scheduler.choose(full, 0, SIZE, MUCH) is None
    assert scheduler.full
    waiting = [path(1e6, 0.020, release=NOW + 0.001), path(1e6, 0.080)]
    scheduler = begun(scheduler, *waiting)
    assert scheduler.choose(waiting, 0, SIZE) is None
    assert not scheduler.full


def test_room_is_what_window_and_pace_leave_of_it_and_shrinks_with_what_is_planned():
    here = path(1e6, 0.020, window=50_000, in_flight=40_000)
    scheduler = begun(Adaptive(), here)
    assert scheduler.room(0) == 10_000
    here.planned += 4_000
    assert scheduler.room(0) == 6_000
    paced = path(1e6, 0.020, release=NOW - 0.001, pace=2e6)
    assert begun(Adaptive(), paced).room(0) == pytest.approx(2_000 + paced.mtu)


def test_a_path_that_is_being_learned_counts_with_what_its_window_could_carry():
    new = path(0.0, 0.030, rtt=0.060, window=120_000.0, ramping=True)
    assert new.rate.speed == pytest.approx(2e6)
    assert path(3e6, 0.030, rtt=0.060, window=120_000.0, ramping=True).rate.speed == pytest.approx(
        3e6
    )
    assert path(1e6, 0.030, rtt=0.060, window=120_000.0).rate.speed == pytest.approx(1e6)


def test_a_path_that_was_slow_once_is_still_worth_a_datagram_or_two_in_a_round_trip():
    slow = path(100.0, 0.030, rtt=0.100)
    assert slow.rate.speed == pytest.approx(2 * slow.mtu / 0.100)
    assert path(0.0, 0.030, rtt=0.0, window=3000.0).rate.speed > 0


# -- tiers ----------------------------------------------------------------------------------------


def test_an_overflow_path_is_spared_while_little_waits_however_quick_it_is():
    fibre, modem = path(1e6, 0.040, tier=0), path(1e6, 0.020, tier=1)
    much = OVERFLOW_DELAY * 2e6
    assert chosen(fibre, modem, backlog=0) == 0
    assert chosen(fibre, modem, backlog=much - 1) == 0
    assert chosen(fibre, modem, backlog=much + 1) == 1


def test_an_overflow_path_takes_what_the_others_cannot():
    full = path(1e6, 0.020, window=40_000, in_flight=40_000)
    modem = path(1e6, 0.030, tier=1)
    assert chosen(full, modem, backlog=OVERFLOW_DELAY * 2e6 - 1) is None
    assert chosen(full, modem, backlog=OVERFLOW_DELAY * 2e6 + 1) == 1


def test_nobody_waits_for_an_overflow_path():
    modem = path(1e6, 0.010, tier=1, release=NOW + 0.001)
    assert chosen(path(1e6, 0.080), modem, backlog=0) == 0


def test_where_all_paths_are_of_one_tier_none_is_spared():
    for tier in (1, 2):
        assert chosen(path(1e6, 0.040, tier=tier), path(1e6, 0.020, tier=tier)) == 1


def test_urgent_packets_go_by_arrival_whether_or_not_there_is_room_but_never_over_an_overflow():
    paths = [
        path(1e6, 0.040),
        path(1e6, 0.020, release=NOW + 1.0),
        path(1e6, 0.010, tier=1),
        path(1e6, 0.030, queue=0.100),
        path(1e6, 0.030),
    ]
    assert begun(Adaptive(), *paths).urgent(SIZE) == [1, 4, 0, 3]


def test_a_repair_goes_nowhere_where_it_would_come_later_than_after_being_lost_once_more():
    later = 0.040 + REPAIR_TIME  # a round trip of the quickest, and what it takes to see the loss
    paths = [
        path(1e6, 0.020 + later + 0.001),
        path(1e6, 0.020, release=NOW + 1.0),
        path(1e6, 0.020 + later - 0.001),
    ]
    for one in paths:
        one.rtt.update(0.040, 0.0)
    assert begun(Adaptive(), *paths).for_repair(SIZE) == [1, 2]


def test_a_path_that_loses_much_repairs_nothing_while_another_is_near():
    bad, near = path(1e6, 0.020), path(1e6, 0.040)
    bad.sent.loss = 2 * LOSSY
    assert begun(Adaptive(), bad, near).for_repair(SIZE) == [1]
    assert begun(Adaptive(), bad).for_repair(SIZE) == [0]


def test_only_the_last_try_goes_far_from_a_path_that_loses_much():
    bad, far = path(1e6, 0.020), path(1e6, 0.520)
    bad.sent.loss = 2 * LOSSY
    assert begun(Adaptive(), bad, far).for_repair(SIZE) == [0]
    assert begun(Adaptive(), bad, far).for_repair(SIZE, last=True) == [1]
    far.sent.loss = 2 * LOSSY
    assert begun(Adaptive(), bad, far).for_repair(SIZE, last=True) == [0]


def test_redundant_chooses_as_adaptive_does():
    paths = [path(1e6, 0.040), path(1e6, 0.020)]
    assert begun(Redundant(), *paths).choose(paths, 0, SIZE) == 1
    assert isinstance(Redundant(), Adaptive)


def path(rate, owd, *, rtt=0.040, in_flight=0, tier=0, **known):
    """A path that drains `rate` bytes per second and takes `owd` seconds."""
    made = Path(0, 0, "home", PathOptions(tier=tier), 0.0)
    made.rate = Known(rate, owd, rtt, **known)
    if in_flight:
        made.sent.add(0, Sent(NOW - 0.020, in_flight))
    return made


def begun(scheduler, *paths):
    scheduler.begin(paths, NOW)
    return scheduler


def chosen(*paths, backlog=0):
    return begun(Adaptive(), *paths).choose(paths, 0, SIZE, backlog)
