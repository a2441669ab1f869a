"""A dense run of datagrams that ends, seen by the receiver, and what the sender makes of it."""

import pytest

from mpbond.core.acks import ALARMS, ALARMS_SAVED, AckTimer
from mpbond.core.delay import QueueingDelay
from mpbond.core.delivery import Delivery
from mpbond.core.rate import RateControl
from mpbond.core.recovery import Sent, SentLog
from mpbond.core.stall import DENSE, LEAST_SILENCE, LONGEST, NEVER, Arrivals, Brake
from tests.unit.test_rate import SIZE, Pipe

RATE = 1_000_000  # bytes/s
WAY = 0.030  # seconds


def run_of(gaps):
    arrivals, time = Arrivals(), 5.0
    arrivals.add(time)
    for gap in gaps:
        time += gap
        arrivals.add(time)
    return arrivals, time


def test_silence_after_a_dense_run_means_something_soon():
    arrivals, last = run_of([0.0015] * 40)
    assert arrivals.due == pytest.approx(last + 0.0045, abs=2e-4)
    arrivals, last = run_of([0.0002] * 40)
    assert arrivals.due == pytest.approx(last + LEAST_SILENCE)


def test_the_more_uneven_a_run_the_longer_its_silence_is_nothing():
    even, last = run_of([0.002] * 100)
    uneven, last_uneven = run_of([0.0, 0.004] * 50)
    assert uneven.due - last_uneven > 1.8 * (even.due - last)


@pytest.mark.parametrize("gaps", [[0.0015] * (DENSE - 1), [0.0015] * 40 + [0.011], [0.011] * 40])
def test_silence_after_few_datagrams_or_a_pause_means_nothing(gaps):
    assert run_of(gaps)[0].due == NEVER


def test_of_one_silence_is_told_once():
    arrivals, last = run_of([0.0015] * 40)
    arrivals.forget()
    arrivals.add(last + 0.008)
    assert arrivals.due == NEVER


def test_an_alarm_is_due_at_once_and_puts_the_next_ack_off_by_little():
    timer = AckTimer()
    timer.on_sent(5.0)
    timer.alarm(5.010)
    assert timer.due == 5.010
    timer.on_sent(5.010)
    for _ in range(2):
        timer.on_eliciting(gap=False, interval=0.040, now=5.012)
    assert timer.due == 5.045  # instead of .050


def test_acks_in_their_turn_make_up_for_alarms():
    def sent_in(seconds, alarms):
        timer, count = AckTimer(), 0
        for turn in range(round(seconds * 1000)):
            now = 5.0 + turn / 1000
            timer.on_eliciting(gap=False, interval=0.040, now=now)
            if alarms and turn % 1500 == 730:
                timer.alarm(now)
            if timer.due is not None and timer.due <= now:
                timer.on_sent(now)
                count += 1
        return count

    assert sent_in(20.0, True) == pytest.approx(sent_in(20.0, False), abs=1)


def test_there_are_few_alarms():
    timer, sent = AckTimer(), 0
    for turn in range(1000):
        timer.alarm(5.0 + turn / 100)
        sent += timer.due is not None
        timer.on_sent(5.0 + turn / 100)
    assert sent <= 10 * ALARMS + ALARMS_SAVED


def test_the_datagram_that_an_ack_does_not_name_is_the_one_after_the_newest_it_names():
    log = SentLog()
    sent = [Sent(5.0 + number / 1000, SIZE) for number in range(5)]
    for number, one in enumerate(sent):
        log.add(number, one)
    log.acknowledge(2, [(0, 0)])
    assert log.following is sent[3]  # 0 and 1 are gaps
    log.acknowledge(4, [(0, 1)])
    assert log.following is None


class Told:
    """A brake on a path without queue, whose datagrams leave every 1.5 ms and are acknowledged at `time`."""

    def __init__(self, usual):
        delay, self.delivery = QueueingDelay(SIZE), Delivery()
        delay.update(5.0, self.at(5.0), SIZE, RATE, 5.0)
        self.brake = Brake(delay, self.delivery)
        for turn in range(200):
            self.told(6 + turn, usual[turn % len(usual)])

    def at(self, time):
        return round((time + WAY + SIZE / RATE) * 1e6)

    def told(self, time, delay, after=0.0015):
        """An ACK made `delay` after the datagram sent at `time` came; the next left `after` that one."""
        missing = Sent(time + after, SIZE)
        self.time = time
        late = self.brake.on_silence(missing, self.at(time), delay, RATE)
        if late:
            self.brake.stop(self.at(time), RATE, 0)
        return late

    def came(self, size, after):
        """So many bytes have come `after` the newest datagram that was named before."""
        self.delivery.total += size
        self.brake.on_ack(self.at(self.time + after), True)


def test_a_datagram_that_is_late_stops_the_sender():
    told = Told([0.0, 0.001])
    assert told.told(300.0, 0.0055)
    assert told.brake.active


@pytest.mark.parametrize(
    ("usual", "delay", "after"),
    [
        ([0.0, 0.001], 0.003, 0.0015),  # not late
        ([0.0, 0.001], 0.020, 0.025),  # it left later itself
        ([0.0, 0.012, 0.001, 0.007], 0.012, 0.0015),  # so late is usual there
    ],
)
def test_what_is_not_late_or_late_as_ever_does_not_stop_it(usual, delay, after):
    told = Told(usual)
    told.brake.active = False
    assert not told.told(300.0, delay, after)


def test_the_first_late_datagrams_of_a_path_stop_nothing():
    assert not Told([0.0]).brake.active
    assert not Told([0.012]).brake.active


def test_what_comes_as_fast_as_before_ends_a_false_alarm():
    told = Told([0.0, 0.001])
    told.told(300.0, 0.010)
    told.came(0.3 * RATE * 0.020, 0.020)
    assert told.brake.active
    told.came(0.5 * RATE * 0.040, 0.040)
    assert not told.brake.active
    assert not told.brake.slow


def test_a_sender_that_hears_of_no_rate_goes_on_in_the_end():
    told = Told([0.0, 0.001])
    told.told(300.0, 0.010)
    told.came(SIZE, LONGEST - 0.01)
    assert told.brake.active
    told.came(SIZE, LONGEST + 0.01)
    assert not told.brake.active


def test_a_path_that_is_slow_is_so_until_its_queue_has_gone():
    told = Told([0.0, 0.001])
    told.told(300.0, 0.010)
    assert told.brake.on_rate()
    assert told.brake.slow
    assert not told.brake.active
    assert not told.told(301.0, 0.010)
    told.brake.on_ack(told.at(302.0), False)
    assert not told.brake.slow


@pytest.mark.parametrize(
    ("learned", "loss", "stopped"), [(2.0, 0.0, True), (0.05, 0.0, False), (2.0, 0.02, False)]
)
def test_nothing_leaves_a_path_that_has_stopped_if_its_rate_was_known(learned, loss, stopped):
    """Of a path that loses some by itself, what is missing may just be lost."""
    control = RateControl(0.0, SIZE)
    pipe = Pipe(control, RATE, WAY)
    pipe.run(learned)
    control._caution.background = loss
    for turn in range(200):  # no gaps are usual here
        missing = pipe.under_way[0][1]
        control.on_silence(missing, round(pipe.under_way[0][0] * 1e6), 0.0, pipe.in_flight)
        assert control.allowance(pipe.in_flight - SIZE, pipe.now + 1) > 0, turn
    arrived, missing = pipe.under_way[0]
    control.on_silence(missing, round(arrived * 1e6), 0.010, pipe.in_flight)
    assert control._brake.active is stopped
    if stopped:
        assert control.allowance(pipe.in_flight, pipe.now + 1) <= 0
