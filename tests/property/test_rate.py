"""Rate control under ACKs of every kind."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from mpbond.core.rate import MINIMUM_WINDOW, RateControl
from mpbond.core.recovery import Sent

SIZE = 1472
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "ack", "lose", "pause", "suspect", "restore", "wait"]),
        st.integers(1, 30),
        st.floats(0.0, 3.0),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, offset=st.integers(0, 2**32 - 1), cap=st.sampled_from([0.0, 5e4]))
def test_whatever_happens_the_window_stays_a_window(steps, offset, cap):
    control = RateControl(0.0, SIZE)
    control.cap = cap
    out, now, in_flight, arrived = [], 0.0, 0, 0.0
    for what, count, value in steps:
        if what == "send":
            for _ in range(count):
                if control.allowance(in_flight, now) > 0:
                    in_flight += SIZE
                    out.append(Sent(now, SIZE, mark=control.on_sent(SIZE, in_flight, now)))
                now += 0.001
        elif what == "ack" and out:
            newly, out = out[:count], out[count:]
            in_flight -= SIZE * len(newly)
            arrived = max(arrived, newly[-1].time + 0.01 + value / 10)
            now = max(now, arrived + 0.01)
            time = (offset + round(arrived * 1e6)) & 0xFFFFFFFF
            rtt = now - newly[-1].time
            control.on_ack(newly, newly[-1], time, 0.0, rtt, in_flight, now)
        elif what == "lose" and out:
            lost, out = out[:count], out[count:]
            in_flight -= SIZE * len(lost)
            control.on_lost(lost, now)
        elif what == "pause":
            control.on_limited(now)
        elif what == "suspect":
            control.on_suspect(now)
        elif what == "restore":
            control.on_restored(now)
        elif what == "wait":
            now += value * count
        assert math.isfinite(control.window)
        assert control.window >= MINIMUM_WINDOW * SIZE
        assert math.isfinite(control.release)
        assert control.release < now + 5.0
        assert control.queue >= 0.0
        assert control.rate >= 0.0
        assert control.speed > 0.0
        assert control.target > 0.0
