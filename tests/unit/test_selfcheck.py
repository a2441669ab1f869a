"""The judgement about the emulator, on packets that are made up."""

from __future__ import annotations

import dataclasses

import pytest

from bench.lab import selfcheck
from bench.lab.emulator import Lateness
from bench.lab.selfcheck import BELOW, DELAYS, QUEUE, SIZE, Trial, delay_errors, rate_of
from bench.links.link import Link
from bench.links.shape import LinkSpec

MEGABIT = 1_000_000
ON_TIME = Lateness(
    count=1000,
    p50=1e-5,
    p99=3e-4,
    longest=1e-3,
    share_late=0.0,
    longest_round=1e-3,
    refused=0,
    overrun=0,
)
GOOD = Trial(
    name="low",
    rate_errors=(0.001, -0.002),
    delay_p50=1e-4,
    delay_p99=1e-3,
    delay_longest=5e-3,
    sent=10_000,
    missing=10,
    cpu=0.1,
    above=ON_TIME,
    below=ON_TIME,
)


def carried(rate, share, *, delay=0.010, seconds=1.0):
    """When a link of this rate let packets come that were sent at a share of it (ns)."""
    link = Link(LinkSpec.plain(rate_down=rate, delay=delay, queue=QUEUE).down)
    between = round(SIZE * 8e9 / (rate * share))
    began = 1_000_000_000_000
    return [
        (began + moment, began + arrival.time)
        for moment in range(0, round(seconds * 1e9), between)
        for arrival in link.transmit(SIZE, moment)
    ]


def test_a_link_that_does_what_it_says_has_no_errors():
    assert set(delay_errors(0.010, 4 * MEGABIT, carried(4 * MEGABIT, BELOW))) == {0.0}
    assert rate_of(carried(4 * MEGABIT, 1.2)) == pytest.approx(4 * MEGABIT, rel=1e-6)


def test_packets_that_come_too_late_or_too_early_have_errors_of_either_sign():
    seen = [(sent, came + 3_000_000) for sent, came in carried(4 * MEGABIT, BELOW)]
    assert delay_errors(0.010, 4 * MEGABIT, seen) == pytest.approx([0.003] * len(seen))
    seen = [(sent, came - 3_000_000) for sent, came in carried(4 * MEGABIT, BELOW)]
    assert delay_errors(0.010, 4 * MEGABIT, seen) == pytest.approx([-0.003] * len(seen))


def test_a_packet_that_the_link_would_have_dropped_does_not_make_up_for_one_that_is_missing():
    at_once = [(0, 10_000_000 + place) for place in range(100)]
    room = int(QUEUE * 4 * MEGABIT / 8 / SIZE)
    assert len(delay_errors(0.010, 4 * MEGABIT, at_once)) == room


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({}, True),
        ({"missing": 11}, False),
        ({"missing": -11}, False),
        ({"delay_p99": 0.0021}, False),
        ({"rate_errors": (0.001, -0.011)}, False),
        ({"above": dataclasses.replace(ON_TIME, unread=1)}, False),
        ({"below": dataclasses.replace(ON_TIME, unread=1)}, False),
    ],
)
def test_an_emulator_is_good_that_keeps_its_rates_its_delays_and_its_packets(changes, good):
    assert dataclasses.replace(GOOD, **changes).good is good


class Unplugged:
    """A laboratory that carries nothing; only its emulator's books are asked for."""

    emulator_pid = 1

    def restart_links(self):
        pass

    def rate(self, link, *, down):
        pass

    def lateness(self):
        return ON_TIME


@pytest.mark.parametrize(
    ("befalls", "good"),
    [
        (lambda seen: seen, True),
        (lambda seen: [(sent, came + 3_000_000) for sent, came in seen], False),
        (lambda seen: [(sent, came - 3_000_000) for sent, came in seen], False),
        (lambda seen: seen[:-1], False),
    ],
    ids=["nothing", "late", "early", "lost"],
)
def test_packets_that_are_late_early_or_lost_below_the_rates_fail_the_check(
    monkeypatch, befalls, good
):
    rates = (4 * MEGABIT, 2 * MEGABIT)
    monkeypatch.setattr(selfcheck, "DELAYS", DELAYS[:2])

    def blast(_lab, offered, seconds):
        seen = [
            carried(rate, asked / rate, delay=delay, seconds=seconds)
            for rate, asked, delay in zip(rates, offered, DELAYS, strict=False)
        ]
        return [befalls(each) for each in seen], [len(each) for each in seen]

    monkeypatch.setattr(selfcheck, "blast", blast)
    trial = selfcheck.measure(Unplugged(), "low", rates, 2.0)
    assert trial.good is good
    assert f" {trial.missing} " in selfcheck.table([trial])
