"""Dates of datagrams that are read late, over any course of arrivals and turns."""

from hypothesis import given
from hypothesis import strategies as st

from mpbond.core.reading import SPAN, ReadingDelay

STEPS = st.integers(0, 20_000)  # microseconds
COURSES = st.lists(st.tuples(STEPS, STEPS), min_size=1, max_size=80)


@given(COURSES)
def test_no_date_is_before_the_arrival_or_after_the_reading_or_before_an_earlier_one(course):
    delay = ReadingDelay()
    arrival = now = last = 0.0
    for gap, pause in course:
        arrival += gap / 1e6
        now = max(now + pause / 1e6, arrival)
        date = delay.date(arrival, now)
        assert arrival - 1e-9 <= date <= now
        assert date >= last - 1e-9
        last = date


@given(COURSES)
def test_no_more_than_what_all_have_waited_for_a_span_stands(course):
    delay = ReadingDelay()
    read = []
    arrival = now = 0.0
    for gap, pause in course:
        arrival += gap / 1e6
        now = max(now + pause / 1e6, arrival)
        delay.date(arrival, now)
        read.append((now, now - arrival))
        lately = [waited for time, waited in read if time > now - SPAN]
        assert delay.standing <= min(lately) + 1e-9
        if now < SPAN:
            assert delay.standing == 0.0
