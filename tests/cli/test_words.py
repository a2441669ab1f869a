"""Numbers in words, at the edges where the unit changes."""

from __future__ import annotations

import pytest

from mpbond.cli import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (3.0, "<0.1 kbit/s"),
        (640, "0.6 kbit/s"),
        (999.6, "1.00 kbit/s"),
        (64_000, "64.0 kbit/s"),
        (512_300, "512 kbit/s"),
        (999_400, "999 kbit/s"),
        (999_600, "1.00 Mbit/s"),
        (7_820_000, "7.82 Mbit/s"),
        (48_000_000, "48.0 Mbit/s"),
        (1_234_000_000, "1.23 Gbit/s"),
    ],
)
def test_rate(value, text):
    assert words.rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (4_999, "0"),
        (5_000, "0.01"),
        (64_000, "0.06"),
        (7_820_000, "7.82"),
        (48_040_000, "48.0"),
        (1_234_000_000, "1234"),
    ],
)
def test_megabits(value, text):
    assert words.megabits(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (500_000_000, "500 MB"),
        (999_600_000, "1 GB"),
        (12_340_000_000, "12.3 GB"),
        (20 * 10**9, "20 GB"),
        (1_250_000_000, "1.25 GB"),
        (1_200_000_000, "1.2 GB"),
        (100 * 10**9, "100 GB"),
        (2 * 10**12, "2 TB"),
    ],
)
def test_volume(value, text):
    assert words.volume(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.0 ms"),
        (0.00321, "3.2 ms"),
        (0.00996, "10 ms"),
        (0.0614, "61 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (12.34, "12.3 s"),
    ],
)
def test_delay(value, text):
    assert words.delay(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.4, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (7400, "2 h 3 min"),
        (90_061, "1 d 1 h"),
    ],
)
def test_span(value, text):
    assert words.span(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0 %"),
        (0.0001, "<0.1 %"),
        (0.003, "0.3 %"),
        (0.0996, "10 %"),
        (0.17, "17 %"),
        (1.0, "100 %"),
    ],
)
def test_percent(value, text):
    assert words.percent(value) == text
