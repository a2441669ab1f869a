"""A set of ranges agrees with a set of numbers, whatever is done to it."""

from hypothesis import given
from hypothesis import strategies as st

from mpbond.core.ranges import RangeSet
from tests.oracles import NaiveRangeSet

additions = st.tuples(st.just("add"), st.integers(0, 60), st.integers(0, 12))
operations = st.lists(
    st.one_of(
        additions,
        additions,
        st.tuples(st.just("take"), st.integers(0, 60), st.integers(0, 4)),
        st.tuples(st.just("drop_below"), st.integers(0, 80)),
        st.tuples(st.just("keep_newest"), st.integers(1, 6)),
    ),
    max_size=60,
)


@given(operations)
def test_it_answers_as_a_set_of_numbers_does(operations):
    fast, naive = RangeSet(), NaiveRangeSet()
    for name, *numbers in operations:
        if name == "add":
            first, more = numbers
            assert fast.add(first, first + more) == naive.add(first, first + more)
        elif name == "take":
            first, more = numbers
            taken = set(range(first, first + more + 1))
            free = not taken & naive.numbers
            assert fast.take(first, first + more) == free
            if free:
                naive.add(first, first + more)
        else:
            getattr(fast, name)(*numbers)
            getattr(naive, name)(*numbers)
        assert list(fast) == naive.ranges()
        assert len(fast) == len(naive.ranges())
        assert fast.newest(3) == naive.ranges()[::-1][:3]
        if naive.numbers:
            assert fast.largest == max(naive.numbers)
            assert fast.smallest == min(naive.numbers)
    assert [number in fast for number in range(-1, 100)] == [
        number in naive.numbers for number in range(-1, 100)
    ]
