"""When a datagram that is read late counts as received."""

from mpbond.core.reading import SPAN, ReadingDelay

TURN = 0.001


def read_all(delay, arrivals, now):
    return [delay.date(arrival, now) for arrival in arrivals]


def settled():
    """A reader that has read everything as it came, for long."""
    delay = ReadingDelay()
    for turn in range(100):
        delay.date(turn * TURN, turn * TURN)
    return delay


def test_what_is_read_as_it_comes_is_received_then():
    assert settled().date(0.1, 0.1) == 0.1


def test_a_reader_that_was_kept_off_once_dates_all_by_their_arrival():
    delay = settled()
    arrivals = [0.1 + each * TURN for each in range(20)]
    assert read_all(delay, arrivals, 0.120) == arrivals


def test_a_reader_that_was_kept_off_may_take_some_turns_to_catch_up():
    delay = settled()
    now = 0.120
    arrivals = [0.1 + each * TURN / 10 for each in range(220)]
    for at in range(0, len(arrivals), 60):  # a turn reads 60 and takes a millisecond
        some = [each for each in arrivals[at : at + 60] if each <= now]
        assert read_all(delay, some, now) == some
        now += TURN


def test_a_reader_that_is_too_slow_dates_by_what_all_have_waited():
    delay = settled()
    dates = [
        delay.date(0.1 + turn * TURN / 2, 0.1 + turn * TURN)  # twice as much comes as it can read
        for turn in range(60)
    ]
    assert dates[0] == 0.1
    assert delay.standing > 0.020
    assert 0.1 + 59 * TURN - dates[-1] < 2 * SPAN


def test_once_the_buffer_is_empty_nothing_stands_any_more():
    delay = settled()
    for turn in range(60):
        delay.date(0.1 + turn * TURN / 2, 0.1 + turn * TURN)
    assert delay.date(0.2, 0.2) == 0.2
    assert delay.standing == 0.0


def test_an_arrival_in_the_future_is_one_now():
    assert settled().date(0.3, 0.2) == 0.2
