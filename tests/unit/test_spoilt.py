"""When the laboratory does not believe its own figures."""

from __future__ import annotations

import dataclasses

import pytest

from bench.lab.emulator import Lateness
from bench.lab.loads import Told
from bench.lab.run import spoilt
from bench.results import AppFigures

PUNCTUAL = Lateness(
    count=10_000,
    p50=1e-5,
    p99=3e-4,
    longest=0.001,
    share_late=0.0,
    longest_round=1e-3,
    refused=0,
    overrun=0,
    unread=0,
)
CONTENT = Told(figures=AppFigures(received={"down": 1, "up": None}), cpu=0.1, late=0.001)


def test_a_punctual_laboratory_is_believed():
    assert spoilt(PUNCTUAL, CONTENT) is None


def test_a_single_late_packet_does_no_harm():
    assert spoilt(dataclasses.replace(PUNCTUAL, longest=0.2, share_late=1e-4), CONTENT) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"p99": 0.0031}, "the emulator was late: 1 % of the packets by 3.1 ms or more"),
        ({"unread": 100}, "the emulator did not read 1.0% of the packets in time"),
        ({"overrun": 3}, "the emulator had no room for 3 packets"),
    ],
)
def test_an_emulator_that_was_the_bottleneck_spoils_a_measurement(changes, said):
    assert spoilt(dataclasses.replace(PUNCTUAL, **changes), CONTENT) == said


def test_links_that_carried_nothing_were_not_late():
    assert spoilt(dataclasses.replace(PUNCTUAL, count=0, p50=0, p99=0), CONTENT) is None


def test_a_starved_generator_spoils_a_measurement():
    starved = dataclasses.replace(CONTENT, late=0.2)
    assert "1 % of its timers fired 200 ms late" in spoilt(PUNCTUAL, starved)
