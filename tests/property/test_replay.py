"""The replay window agrees with one that remembers everything, whatever arrives."""

from hypothesis import given
from hypothesis import strategies as st

from mpbond.core.replay import ReplayWindow
from tests.oracles import NaiveReplayWindow

steps = st.one_of(st.integers(-40, 40), st.integers(-3000, 3000), st.integers(-(1 << 34), 1 << 34))


@given(st.integers(1, 300), st.lists(steps, max_size=200), st.integers(0, 1 << 40))
def test_it_answers_as_the_naive_window_does(width, walk, start):
    fast, naive = ReplayWindow(width), NaiveReplayWindow(width)
    number = start
    for step in walk:
        number = max(0, number + step)
        assert fast.would_accept(number) == naive.would_accept(number)
        assert fast.accept(number) == naive.accept(number)
        assert fast.top == max(naive.seen)


@given(st.integers(1, 300), st.permutations(range(120)))
def test_no_number_is_ever_accepted_twice(width, order):
    window = ReplayWindow(width)
    accepted = [number for number in [*order, *order] if window.accept(number)]
    assert len(accepted) == len(set(accepted))


@given(
    st.integers(1, 300),
    st.lists(st.tuples(steps, st.integers(0, 400)), max_size=60),
    st.integers(0, 1 << 40),
)
def test_a_run_is_what_its_numbers_are_one_by_one(width, walk, start):
    fast, naive = ReplayWindow(width), NaiveReplayWindow(width)
    number = start
    for step, more in walk:
        number = max(0, number + step)
        above = number > fast.top and more < width
        assert fast.accept_run(number, number + more) == above
        if above:
            for each in range(number, number + more + 1):
                assert naive.accept(each)
        else:
            assert fast.accept(number) == naive.accept(number)
        for each in range(max(0, fast.top - width - 9), fast.top + 1, 5):
            assert fast.would_accept(each) == naive.would_accept(each)
