"""Window and pacing of one path, ACK by ACK."""

import pytest

from mpbond.core.rate import INITIAL_WINDOW, RateControl
from mpbond.core.recovery import Sent

SIZE = 1472


class Pipe:
    """A link of exact rate and delay (seconds, bytes/s) whose receiver acknowledges every datagram."""

    def __init__(self, control, rate, delay, offset=0):
        self.control, self.rate, self.delay, self.offset = control, rate, delay, offset
        self.now = self.free = 0.0
        self.under_way = []
        self.in_flight = 0

    def send(self, size=SIZE):
        sent = Sent(self.now, size)
        self.in_flight += size
        sent.mark = self.control.on_sent(size, self.in_flight, self.now)
        self.free = max(self.free, self.now) + size / self.rate
        self.under_way.append((self.free + self.delay, sent))

    def run(self, until, wants=lambda: True):
        while self.now < until:
            while self.under_way and self.under_way[0][0] + self.delay <= self.now:
                arrived, sent = self.under_way.pop(0)
                self.in_flight -= sent.size
                time = (self.offset + round(arrived * 1e6)) & 0xFFFFFFFF
                rtt = self.now - sent.time
                self.control.on_ack([sent], sent, time, 0.0, rtt, self.in_flight, self.now)
            while self.control.allowance(self.in_flight, self.now) > 0:
                if not wants():
                    self.control.on_limited(self.now)
                    break
                self.send()
            self.now += 0.001


def test_a_first_window_is_sixteen_datagrams_spread_over_a_tenth_of_a_second():
    control = RateControl(5.0, SIZE)
    in_flight, now, times = 0, 5.0, []
    while in_flight < control.window:
        if control.allowance(in_flight, now) > 0:
            in_flight += SIZE
            control.on_sent(SIZE, in_flight, now)
            times.append(now)
        now += 0.001
    assert len(times) == INITIAL_WINDOW
    assert times[-1] - times[0] == pytest.approx(0.1, abs=0.011)


@pytest.mark.parametrize("rate", [62_500, 1_000_000, 5_000_000])
def test_the_rate_of_a_steady_link_is_learned(rate):
    control = RateControl(0.0, SIZE)
    Pipe(control, rate, 0.020).run(3.0)
    assert control.learned
    assert not control.ramping
    assert control.rate == pytest.approx(rate, rel=0.03)


def test_the_peers_clock_may_wrap_at_any_time():
    controls = []
    for offset in (0, 0xFFFFFFFF - 700_000):
        control = RateControl(0.0, SIZE)
        Pipe(control, 1_000_000, 0.020, offset).run(2.0)
        controls.append(control)
    assert controls[0].rate == pytest.approx(controls[1].rate)
    assert controls[0].window == pytest.approx(controls[1].window)


def test_an_application_that_sends_little_does_not_lower_the_rate():
    control = RateControl(0.0, SIZE)
    pipe = Pipe(control, 1_000_000, 0.020)
    pipe.run(2.0)
    learned = control.rate
    pipe.run(6.0, wants=lambda: pipe.in_flight == 0)
    assert control.rate == pytest.approx(learned, rel=0.02)


def test_the_first_rate_of_a_path_that_carried_next_to_nothing_does_not_slow_its_ramp():
    control = RateControl(0.0, SIZE)
    pipe = Pipe(control, 1_000_000, 0.050)
    for _ in range(40):
        pipe.send(100)
        pipe.run(pipe.now + 0.1, wants=lambda: False)
    assert 0 < control.rate < 10_000
    begin, sent = pipe.now, []
    pipe.run(begin + 0.35, wants=lambda: sent.append(pipe.now) or True)
    assert len(sent) > 3 * INITIAL_WINDOW
