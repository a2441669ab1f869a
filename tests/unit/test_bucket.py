"""How often something may happen."""

from mpbond.core.bucket import TokenBucket


def test_a_bucket_starts_full_and_gives_its_burst_at_once():
    bucket = TokenBucket(rate=2.0, burst=3.0)
    assert [bucket.take(5.0) for _ in range(4)] == [True, True, True, False]


def test_a_token_is_back_after_its_time_and_not_a_millisecond_before():
    bucket = TokenBucket(rate=2.0, burst=1.0)
    assert bucket.take(10.0)
    assert not bucket.take(10.499)
    assert bucket.take(10.500)
    assert not bucket.take(10.500)


def test_no_more_than_the_burst_is_saved_up():
    bucket = TokenBucket(rate=100.0, burst=2.0)
    bucket.take(0.0)
    assert [bucket.take(1000.0) for _ in range(3)] == [True, True, False]


def test_its_share_says_how_full_it_is():
    bucket = TokenBucket(rate=1.0, burst=4.0)
    assert bucket.share(0.0) == 1.0
    bucket.take(0.0)
    bucket.take(0.0)
    assert bucket.share(0.0) == 0.5
    assert bucket.share(1.0) == 0.75
    assert bucket.share(9.0) == 1.0


def test_many_tokens_are_taken_at_once_or_none_of_them():
    bucket = TokenBucket(rate=100.0, burst=1000.0)
    assert bucket.take(0.0, 700.0)
    assert not bucket.take(0.0, 301.0)
    assert bucket.take(0.0, 300.0)
    assert not bucket.take(0.5, 51.0)
    assert bucket.take(0.5, 50.0)


def test_more_than_the_burst_is_never_given():
    bucket = TokenBucket(rate=1e6, burst=1000.0)
    assert not bucket.take(0.0, 1001.0)
    assert not bucket.take(100.0, 1001.0)
    assert bucket.take(100.0, 1000.0)


def test_a_rate_that_changes_counts_from_the_last_look():
    bucket = TokenBucket(rate=0.0, burst=10.0)
    assert bucket.take(0.0, 10.0)
    assert not bucket.take(5.0)
    bucket.rate = 2.0
    assert not bucket.take(5.0)
    assert bucket.take(7.0, 4.0)
