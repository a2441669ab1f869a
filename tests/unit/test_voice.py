"""The E-model gives what ITU-T publishes, and play-out is chosen as a good receiver would."""

from random import Random

import pytest

from bench import voice


@pytest.mark.parametrize(
    ("r", "mos"),
    [(93.2, 4.41), (90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58), (0, 1), (100, 4.5)],
)
def test_scores_are_those_of_the_recommendation(r, mos):
    """G.107, Annex B, table B.1, and the score of its default values."""
    assert voice.score(r) == pytest.approx(mos, abs=0.0061)


def test_a_perfect_call_has_the_rating_of_the_default_values():
    assert voice.rating(0.0, 0.0) == 93.2


@pytest.mark.parametrize(
    ("delay", "impairment"), [(0.1, 0), (0.15, 0.16), (0.2, 3.04), (0.4, 24.1)]
)
def test_delay_counts_as_the_formula_of_the_recommendation(delay, impairment):
    """G.107, 7.4.3, computed by hand."""
    assert voice.delay_impairment(delay) == pytest.approx(impairment, abs=0.05)


def test_random_loss_counts_as_with_concealment():
    """95 · 5 / (5 + 25.1): G.107, 7.5, with the Bpl of G.113."""
    assert voice.loss_impairment(0.05) == pytest.approx(15.78, abs=0.01)


def test_loss_in_bursts_counts_more():
    assert voice.loss_impairment(0.05, 2.0) > voice.loss_impairment(0.05)


def test_random_loss_has_a_burst_ratio_of_one():
    random = Random(3)
    lost = [random.random() < 0.2 for _ in range(100_000)]
    assert voice.burst_ratio(lost) == pytest.approx(1, abs=0.02)


def test_pairs_of_lost_packets_have_nearly_twice_the_burst_ratio():
    lost = ([True, True] + [False] * 98) * 100
    assert voice.burst_ratio(lost) == pytest.approx(2 * 0.98)


def test_a_steady_call_is_scored_by_its_delay_and_a_packet():
    assert voice.mean_opinion([0.3] * 1000) == pytest.approx(voice.score(voice.rating(0.32, 0)))


def test_a_few_late_packets_are_given_up_instead_of_waited_for():
    delays = ([0.03] * 99 + [1.0]) * 10
    waiting = voice.score(voice.rating(1.02, 0))
    assert voice.mean_opinion(delays) == pytest.approx(voice.score(voice.rating(0.05, 0.01)))
    assert voice.mean_opinion(delays) > waiting + 1


def test_stretches_are_scored_by_themselves():
    good, bad = voice.mean_opinion([0.03] * 500), voice.mean_opinion([0.6] * 500)
    assert voice.mean_opinion([0.03] * 500 + [0.6] * 500) == pytest.approx((good + bad) / 2)


def test_a_call_of_which_nothing_arrives_has_the_lowest_score():
    assert voice.mean_opinion([None] * 700) == 1.0


def test_no_call_has_no_score():
    assert voice.mean_opinion([]) is None
