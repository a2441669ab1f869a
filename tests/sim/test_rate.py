"""Rate control over links of every kind, as `python -m bench.drives` shows them."""

import dataclasses

import pytest

from bench.drives import MEGA, RECORDED, Run, made, on_off, over, recorded
from bench.links.shape import GilbertElliott, Outages, Policer, RandomLoss, Shape, Step

DRIVES = {drive.name: drive for drive in made()}


def trickle(now):
    """A datagram each 15 ms for every other second, as BBR sends when it looks for the least round trip."""
    return now if now % 2.0 < 1.0 or now % 0.015 < 0.001 else now + 0.015 - now % 0.015


def outcome(drive, **changes):
    return Run(dataclasses.replace(drive, **changes)).run()


@pytest.mark.parametrize(
    ("drive", "share", "median", "high"),
    [
        (over("", 8, seconds=10.0), 0.98, 0.025, 0.035),
        (over("", 8, 0.010, seconds=10.0), 0.98, 0.025, 0.035),
        (over("", 50, 0.020, seconds=5.0), 0.97, 0.025, 0.035),
        (over("", 0.5), 0.97, 0.090, 0.110),
        (over("", 0.5, realtime=True), 0.97, 0.070, 0.100),
        (over("", 0.1, queue=9.0), 0.97, 0.400, 0.600),
        (over("", 8, 0.150), 0.94, 0.035, 0.080),
        (over("", 8, 0.040, jitter=0.020), 0.95, 0.060, 0.100),
        (over("", 8, 0.020, jitter=0.020), 0.96, 0.050, 0.080),
        (over("", 8, loss=RandomLoss(0.02)), 0.97, 0.030, 0.050),
        (over("", 8, loss=RandomLoss(0.3)), 0.92, 0.040, 0.080),
        (over("", 8, loss=GilbertElliott(0.005, 0.2)), 0.93, 0.030, 0.050),
    ],
)
def test_the_share_of_a_link_that_is_used_and_the_queue_it_takes(drive, share, median, high):
    result = outcome(drive)
    assert result.share > share
    assert result.queue(0.5) < median
    assert result.queue(0.95) < high


@pytest.mark.parametrize("name", RECORDED)
def test_drives_as_they_were_recorded_or_are_made_in_their_likeness(name):
    result = outcome(recorded(name), seconds=60.0)
    assert result.share > 0.86
    assert result.queue(0.5) < 0.110
    assert result.queue(0.95) < 0.450


@pytest.mark.parametrize(
    ("drive", "share", "lost"),
    [
        (over("", 8, 0.020, queue=0.010), 0.96, 0.02),
        (over("", 8, 0.020, queue=None, queue_bytes=7500), 0.96, 0.02),
        (over("", 50, 0.020, policer=Policer(8 * MEGA, 30_000)), 0.95, 0.03),
        (over("", 50, 0.020, policer=Policer(8 * MEGA, 200_000)), 0.95, 0.05),
    ],
)
def test_loss_of_our_own_making_stays_small(drive, share, lost):
    result = outcome(drive)
    assert result.share > share
    assert result.lost < lost


@pytest.mark.parametrize(("rate", "loss", "share"), [(30, 0.5, 0.953), (8, 0.6, 0.68)])
def test_much_loss_of_the_paths_own_is_tried_without_losing_the_rate(rate, loss, share):
    drive = over("", rate, 0.020, loss=RandomLoss(loss), seconds=20.0)
    assert outcome(drive).share > share


@pytest.mark.parametrize("burst", [30_000, 100_000])
def test_loss_of_a_policer_stays_small_also_where_the_application_does_not_fill_the_link(burst):
    """The policer's first burst passes at 50 Mbit/s, and samples of such an application never lower that."""
    demand = on_off(0.02, 0.02)
    drive = over("", 50, 0.020, policer=Policer(8 * MEGA, burst), demand=demand, seconds=20.0)
    result = outcome(drive)
    assert result.lost < 0.13
    assert result.share > 0.55


@pytest.mark.parametrize("pause", [0.02, 0.1, 0.5])
def test_an_application_with_pauses_is_not_taken_for_the_cause_of_loss(pause):
    drive = over("", 50, 0.020, loss=RandomLoss(0.02), demand=on_off(pause, pause), seconds=20.0)
    assert outcome(drive).share > 0.48


def test_a_link_that_falls_and_rises_is_followed():
    steps = (Step(0, 8 * MEGA), Step(10, MEGA / 2), Step(20, 8 * MEGA))
    result = outcome(over("", steps, queue=3.0))
    assert max(time + wait for time, wait in result.waits if time < 11) < 11 + 0.75
    assert max(wait for time, wait in result.waits if 12.5 < time < 20) < 0.2
    assert sum(result.used[220:230]) > 0.9 * MEGA


@pytest.mark.parametrize("farther", [0.02, 0.05, 0.1])
def test_a_way_that_becomes_longer_is_no_queue(farther):
    steps = (Step(0, 8 * MEGA), Step(10, 8 * MEGA, delay=farther))
    result = outcome(over("", steps, 0.020), seconds=20.0)
    assert sum(result.used[120:200]) > 0.95 * 8 * MEGA


def test_acks_that_come_late_or_not_at_all_are_no_reason_to_send_less():
    assert outcome(DRIVES["ACKs come 200 ms late"]).share > 0.95
    back = Shape(delay=0.030, loss=RandomLoss(0.2))
    assert outcome(over("", 8), back=back).share > 0.93


def test_a_link_that_was_out_is_used_again_at_once():
    result = outcome(over("", 8, outages=Outages(((10.0, 12.0),))), seconds=15.0)
    assert sum(result.used[125:135]) > 0.9 * MEGA


@pytest.mark.parametrize(
    "drive",
    [
        over("", 8, demand=on_off(1.0, 1.0)),
        over("", 8, demand=on_off(0.3, 0.7)),
        over("", 8, 0.040, jitter=0.020, demand=on_off(1.0, 1.0)),
        over("", 8, loss=RandomLoss(0.02), demand=on_off(0.5, 0.5)),
        over("", 8, 0.040, jitter=0.020),
        over("", 8, 0.020, jitter=0.020),
        over("", 8, 0.020, jitter=0.020, demand=trickle),
        over("", 8, loss=RandomLoss(0.02)),
    ],
)
def test_the_learned_rate_is_within_15_percent(drive):
    result = outcome(drive)
    assert 0.85 < result.learned(0.5) < 1.15
    assert result.learned(0.1) > 0.75
    assert result.learned(0.9) < 1.25


def test_a_cap_is_kept_to():
    result = outcome(over("", 8, cap=0.5 * MEGA), seconds=5.0)
    assert sum(result.used) / 5.0 == pytest.approx(0.51 * MEGA, rel=0.03)


def test_what_the_link_did_last_time_is_a_start_and_no_more():
    fresh, known = (outcome(over("", 50, remembered=rate)) for rate in (None, 6e6))
    assert sum(known.used[:5]) > 1.2 * sum(fresh.used[:5])
    wrong = outcome(over("", 2, queue=9.0, remembered=6e6))
    assert wrong.queue(1.0) < 1.2
    assert wrong.queue(0.95, 4.0) < 0.12


def test_after_long_idling_no_stale_window_is_sent_at_once():
    steps = (Step(0, 50 * MEGA), Step(5, MEGA))
    idle = outcome(
        over("", steps, queue=None, demand=lambda now: now if not 4 < now < 20 else 20.0)
    )
    assert idle.queue(1.0, 19.9) < 1.3  # a quarter of 50 Mbit/s times the path and its queue
    assert idle.queue(0.95, 23.0) < 0.1
