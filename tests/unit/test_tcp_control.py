"""Parts of congestion control by themselves: windows, filters, timeouts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.sim.tcp.cubic import BETA, C, Cubic
from bench.sim.tcp.flow import LOSS, NEVER, Flow
from bench.sim.tcp.hystart import HyStart
from bench.sim.tcp.maximum import Maximum
from bench.sim.tcp.rtt import LEAST, RoundTrip
from bench.sim.tcp.sample import Sample


def flow(window=100, threshold=None):
    made = Flow(1000, 0)
    made.cwnd = window
    made.cwnd_limited = True
    if threshold is not None:
        made.ssthresh = threshold
    return made


def grow(cubic, flow, seconds, round_trip=0.1):
    """Acknowledge window after window."""
    end = flow.now + seconds
    while flow.now < end:
        window = flow.cwnd
        for _ in range(window):
            flow.now += round_trip / window
            sample = Sample()
            sample.rtt = round_trip
            cubic.acknowledged(sample)
            cubic.avoid(1)


def test_cubic_keeps_seven_tenths_of_its_window():
    made = flow(1000)
    assert Cubic(made).reduce() == int(1000 * BETA) == 700


def test_cubic_is_back_where_the_loss_was_after_the_cubic_root_and_then_goes_beyond():
    made = flow(1000)
    cubic = Cubic(made)
    made.ssthresh = made.cwnd = cubic.reduce()
    time = ((1000 - made.cwnd) / C) ** (1 / 3)
    grow(cubic, made, time / 2)
    assert 880 <= made.cwnd <= 990
    grow(cubic, made, time / 2)
    assert 980 <= made.cwnd <= 1005
    grow(cubic, made, time)
    assert made.cwnd >= 1200


def test_cubic_takes_a_second_loss_below_the_first_for_a_sign_to_give_way():
    made = flow(1000)
    cubic = Cubic(made)
    cubic.reduce()
    made.cwnd = 800
    cubic.reduce()
    made.cwnd = made.ssthresh = 560
    grow(cubic, made, 30 ** (1 / 3) * 2)
    assert made.cwnd <= 800


def test_cubic_is_no_slower_than_reno_where_round_trips_are_short():
    made = flow(20)
    cubic = Cubic(made)
    made.ssthresh = made.cwnd = cubic.reduce()
    grow(cubic, made, 1.0, round_trip=0.005)
    assert made.cwnd >= 14 + 200 * 3 * (1 - BETA) / (1 + BETA) * 0.8


def test_a_window_that_is_not_used_does_not_grow():
    made = flow(50, threshold=40)
    made.cwnd_limited = False
    cubic = Cubic(made)
    cubic.avoid(50)
    assert made.cwnd == 50


def test_slow_start_doubles_and_stops_at_the_threshold():
    made = flow(10, threshold=15)
    cubic = Cubic(made)
    cubic.avoid(4)
    assert made.cwnd == 14
    cubic.avoid(4)
    assert made.cwnd == 15


def test_a_timeout_makes_cubic_forget():
    made = flow(100)
    cubic = Cubic(made)
    cubic.reduce()
    cubic.hystart.found = True
    cubic.enter(LOSS)
    assert not cubic.hystart.found


def test_a_rise_of_the_round_trip_ends_slow_start():
    made = flow(64)
    hystart = HyStart(made)
    for number in range(300):
        made.now += 0.010  # too far apart for a train
        made.una = 1000 * number
        made.nxt = made.una + 64_000
        hystart.update(0.060 if number < 150 else 0.090, 0.060)
        if hystart.found:
            break
    assert 150 < number < 300
    assert hystart.found
    assert made.ssthresh == 64


def test_a_long_train_of_acknowledgements_ends_slow_start():
    made = flow(64)
    made.nxt = 64_000
    hystart = HyStart(made)
    while not hystart.found and made.now < 1:
        made.now += 0.001
        hystart.update(0.060, 0.060)
    assert made.now == pytest.approx(0.031, abs=0.002)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 100)), min_size=1, max_size=60))
def test_the_filtered_maximum_is_a_sample_of_the_window_and_no_smaller_than_the_newest(steps):
    window = 10
    maximum = Maximum(window)
    time = 0
    samples = []
    for step, value in steps:
        time += step
        maximum.add(time, value)
        samples.append((time, value))
        assert maximum.value >= value
        assert any(maximum.value == v for t, v in samples if time - t <= window)


def test_the_timeout_is_the_round_trip_and_at_least_200_ms():
    made = Flow(1000, 0)
    round_trip = RoundTrip(made)
    for number in range(100):
        made.una, made.nxt = number * 1000, number * 1000 + 500
        round_trip.add(0.050)
    assert made.srtt == pytest.approx(0.050)
    assert round_trip.timeout == pytest.approx(0.050 + LEAST)


def test_the_timeout_grows_at_once_with_the_spread_and_falls_slowly():
    made = Flow(1000, 0)
    round_trip = RoundTrip(made)
    for number in range(50):
        made.una, made.nxt = number * 1000, number * 1000 + 500
        round_trip.add(0.050)
    round_trip.add(1.0)
    high = round_trip.timeout
    assert high > 0.8
    for number in range(50, 53):
        made.una, made.nxt = number * 1000, number * 1000 + 500
        round_trip.add(0.050)
    assert 0.4 < round_trip.timeout < high
    assert made.min_rtt == NEVER  # that is the sender's to keep
