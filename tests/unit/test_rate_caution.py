"""Whose loss it is."""

import random

import pytest

from mpbond.core.caution import TRIAL, Caution

SIZE = 1000


def drive(lose, seconds, rate=1e6, pace=1.25, seed=5):
    """Send over a path of `rate` bytes/s, `pace` times that where allowed; `lose(sent rate)` is a share.

    Returns the caution and the share lost in the last quarter.
    """
    rng = random.Random(seed)
    caution = Caution()
    position, now, lost, late = 0, 0.0, 0, [0, 0]
    while now < seconds:
        now += 0.01
        sending = rate * (1 + (pace - 1) * caution.level)
        if caution.level < 1:
            sending = min(sending, caution.safe * (1 + (pace - 1) * caution.level))
        share = lose(sending)
        count = round(sending * 0.01 / SIZE)
        losses = [rng.random() < share for _ in range(count)]
        position += count * SIZE
        lost = sum(losses)
        if lost:
            caution.on_lost([position] * lost)
        delivered = sending * (1 - lost / max(1, count))
        caution.on_acked(count - lost, position, position, min(rate, delivered), now)
        if now > 0.75 * seconds:
            late[0] += lost
            late[1] += count
    return caution, late[0] / late[1]


@pytest.mark.parametrize("share", [0.005, 0.02, 0.1, 0.3])
def test_to_loss_of_the_paths_own_nobody_gives_way(share):
    caution, _ = drive(lambda _sending: share, 30.0)
    assert caution.level == 1.0 or caution._trying
    assert caution.background == pytest.approx(share, rel=0.8, abs=0.01)


def test_loss_that_goes_away_when_less_is_sent_is_ours():
    caution, late = drive(lambda sending: max(0.0, 1 - 1e6 / sending), 30.0)
    assert late < 0.01
    assert caution.level < 1.0


def test_both_together_are_told_apart():
    caution, late = drive(lambda sending: 0.03 + max(0.0, 1 - 1e6 / sending), 30.0)
    assert late < 0.06
    assert caution.background == pytest.approx(0.03, abs=0.03)


@pytest.mark.parametrize("share", [0.01, 0.02, 0.05])
def test_chance_is_not_taken_for_ours(share):
    """Every window and trial is a throw of dice, and there are many in an hour."""
    blamed = 0
    for seed in range(20):
        caution, _ = drive(lambda _sending: share, 60.0, seed=seed)
        blamed += caution.level < 1.0 and not caution._trying
    assert blamed == 0


def test_a_trial_sends_a_little_less_than_was_delivered():
    caution = Caution()
    for share in range(2):
        assert caution.level == 1.0, share
        for number in range(8):
            caution.on_lost([1000 + number])
        trying = caution.on_acked(100, 2000, 3000, 5e5, 1.0)
    assert trying
    assert caution.level == 0.0
    assert caution.safe == TRIAL * 5e5


@pytest.mark.parametrize(("limited", "acked", "rate"), [(8, 12, 2e5), (3, 12, 5e5), (8, 30, 5e5)])
def test_where_much_is_lost_a_trial_goes_by_what_the_application_sends(limited, acked, rate):
    """A policer's burst may have taught any rate. A few such samples, or little loss, tell nothing."""
    caution = Caution()
    for number in range(16):
        caution.on_lost([1000 + number])
        found = 2e5 if number % 8 < limited else 0.0
        trying = caution.on_acked(acked, 2000, 3000, 5e5, 1.0, found)
    assert trying
    assert caution.safe == pytest.approx(TRIAL * rate)


def test_a_trial_sends_no_less_than_was_delivered_before_it():
    """Else what it loses lowers the rate, and that what it sends, round by round."""
    caution = Caution()
    for number in range(1, 17):
        caution.on_lost([1000 * number - 1])
        trying = caution.on_acked(9, 1000 * number, 0, 5e5, number / 100)
    assert trying
    assert caution.least == pytest.approx(TRIAL * 0.9 * 1e5, rel=0.02)
    caution.on_acked(1000, 20_000, 0, 5e5, 0.3)
    assert not caution._trying
    assert caution.least == 0.0


def test_a_burst_of_loss_is_no_share():
    caution = Caution()
    caution.on_lost(range(1000, 1030))
    assert not caution.on_acked(100, 2000, 3000, 5e5, 1.0)
    assert caution.level == 1.0


def test_a_share_from_before_an_outage_confirms_none_after_it():
    caution = Caution()
    for first in (1000, 2000):
        for number in range(8):
            caution.on_lost([first + number])
        assert not caution.on_acked(100, first + 900, 9000, 5e5, 1.0)
        assert caution.level == 1.0
        caution.forget(first + 900)


def test_what_was_not_lost_is_taken_back_and_so_is_what_followed_from_it():
    caution, _ = drive(lambda sending: max(0.0, 1 - 1e6 / sending), 30.0)
    assert caution.level < 1.0
    caution.acquit(1 << 40)
    assert (caution.level, caution._trying) == (1.0, False)
    caution.on_lost([1 << 39] * 100)
    assert not caution.on_acked(1000, 1 << 39, 1 << 41, 1e6, 40.0)
