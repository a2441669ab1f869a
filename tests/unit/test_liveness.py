"""Is a path alive? Every arrow of the picture in core.liveness, and the numbers beside it."""

import pytest

from mpbond.core.liveness import (
    DOWN,
    NEW,
    PROBING,
    SUSPECT,
    UP,
    Liveness,
    silence_limit,
)


def test_a_new_path_waits_without_probing():
    liveness = Liveness(1.0)
    assert (liveness.state, liveness.next_probe) == (NEW, None)


def test_a_started_path_is_probed_at_once_and_goes_up_with_one_answer():
    liveness = Liveness(1.0)
    liveness.start(2.0, "asking")
    assert (liveness.state, liveness.reason, liveness.next_probe) == (PROBING, "asking", 2.0)
    liveness.on_probe_sent(2.0)
    assert liveness.next_probe == 2.1
    liveness.on_answer(2.05)
    assert (liveness.state, liveness.since, liveness.next_probe) == (UP, 2.05, None)


def test_five_unanswered_probes_leave_hope_and_the_sixth_ends_it():
    liveness = probing(5)
    assert liveness.state == PROBING
    liveness.on_probe_sent(0.5)
    assert (liveness.state, liveness.reason) == (DOWN, "5 probes unanswered")
    assert liveness.next_probe == 1.0


def test_silence_makes_a_path_suspect_and_says_for_how_long():
    liveness = up()
    liveness.on_silence(3.0, 0.1834)
    assert (liveness.state, liveness.next_probe) == (SUSPECT, 3.0)
    assert liveness.reason == "silent for 183 ms with data in flight"


def test_a_suspect_path_comes_back_with_two_answers_and_not_with_one():
    liveness = suspect()
    liveness.on_answer(3.1)
    assert (liveness.state, liveness.next_probe) == (SUSPECT, 3.1)
    liveness.on_answer(3.2)
    assert (liveness.state, liveness.next_probe) == (UP, None)


def test_a_suspect_path_is_down_when_the_fifth_probe_stays_unanswered_for_100_ms():
    liveness = suspect()
    for tick in range(5):
        liveness.on_probe_sent(3.0 + tick / 10)
    assert (liveness.state, liveness.next_probe) == (SUSPECT, 3.5)
    liveness.on_probe_sent(3.5)
    assert liveness.state == DOWN


def test_answers_in_between_keep_a_suspect_path_from_going_down():
    liveness = suspect()
    for tick in range(4):
        liveness.on_probe_sent(3.0 + tick / 10)
    liveness.on_answer(3.35)
    for tick in range(4, 9):
        liveness.on_probe_sent(3.0 + tick / 10)
    assert liveness.state == SUSPECT


def test_a_dead_path_is_probed_twice_a_second_for_half_a_minute_and_then_once():
    liveness = down()
    liveness.on_probe_sent(30.4)
    assert liveness.next_probe == 30.9
    liveness.on_probe_sent(30.5)
    assert liveness.next_probe == 31.5


def test_a_dead_path_needs_three_answers_in_a_row():
    liveness = down()
    liveness.on_probe_sent(10.0)
    liveness.on_answer(10.2)
    assert (liveness.state, liveness.next_probe) == (DOWN, 10.2)
    liveness.on_probe_sent(10.2)
    assert liveness.next_probe == pytest.approx(10.3)  # quicker, now that it has answered
    liveness.on_answer(10.3)
    assert liveness.state == DOWN
    liveness.on_answer(10.4)
    assert liveness.state == UP


def test_answers_of_a_dead_path_count_only_in_a_row():
    liveness = down()
    liveness.on_answer(10.0)
    liveness.on_answer(10.1)
    for tick in range(6):
        liveness.on_probe_sent(10.2 + tick / 10)
    liveness.on_answer(11.0)
    assert liveness.state == DOWN
    liveness.on_answer(11.1)
    liveness.on_answer(11.2)
    assert liveness.state == UP


@pytest.mark.parametrize("make", ["probing", "suspect", "down"])
def test_silence_says_nothing_new_of_a_path_that_is_not_up(make):
    liveness = globals()[make]()
    before = liveness.state
    liveness.on_silence(50.0, 1.0)
    assert liveness.state == before


def test_a_refusal_by_the_system_takes_a_path_down_and_keeps_saying_why():
    liveness = up()
    liveness.on_refused(4.0, "network unreachable")
    assert (liveness.state, liveness.next_probe) == (DOWN, 4.5)
    liveness.on_refused(4.3, "no such device")
    assert (liveness.reason, liveness.next_probe, liveness.since) == ("no such device", 4.5, 4.0)


def test_a_path_that_is_refused_no_more_and_does_not_answer_says_that():
    liveness = up()
    liveness.on_refused(4.0, "no such device")
    for tick in range(5):
        liveness.on_probe_sent(4.5 + tick / 2)
    assert liveness.reason == "no such device"
    liveness.on_probe_sent(7.0)
    assert (liveness.state, liveness.reason) == (DOWN, "5 probes unanswered")


def test_answers_before_a_refusal_do_not_count():
    liveness = down()
    liveness.on_answer(10.0)
    liveness.on_answer(10.1)
    liveness.on_refused(10.2, "no such device")
    liveness.on_answer(10.3)
    assert liveness.state == DOWN


def test_a_proven_address_brings_a_path_up_at_once():
    liveness = down()
    liveness.restore(9.0, "its address has answered")
    assert (liveness.state, liveness.reason, liveness.next_probe) == (
        UP,
        "its address has answered",
        None,
    )


def test_being_up_already_a_path_keeps_its_reason_and_date():
    liveness = up()
    before = (liveness.since, liveness.reason, liveness.transitions)
    liveness.restore(9.0, "again")
    assert (liveness.since, liveness.reason, liveness.transitions) == before


def test_news_hurry_a_probe_that_is_due_anyway_and_start_none():
    liveness = down()
    liveness.hurry(7.0)
    assert liveness.next_probe == 7.0
    healthy = up()
    healthy.hurry(7.0)
    assert healthy.next_probe is None


def test_the_limit_of_silence_is_the_rtt_its_spread_and_60_ms():
    assert silence_limit(0.050, 0.010) == pytest.approx(0.150)


def test_the_spread_left_by_a_spike_does_not_keep_a_silent_path_for_seconds():
    assert silence_limit(0.400, 0.500) == pytest.approx(0.760)


def test_probes_are_not_unanswered_before_their_answers_can_have_come():
    liveness = suspect()
    for tick in range(9):
        liveness.on_probe_sent(3.0 + tick / 10, 0.5)
    assert liveness.state == SUSPECT
    liveness.on_probe_sent(3.9, 0.5)  # the fifth left half a second ago
    assert liveness.state == DOWN


def test_the_reader_is_told_of_every_change():
    for change in (
        lambda liveness: liveness.start(9.0, "asking"),
        lambda liveness: liveness.on_answer(9.0),
        lambda liveness: liveness.on_silence(9.0, 0.1),
        lambda liveness: liveness.on_probe_sent(9.0),
        lambda liveness: liveness.on_refused(9.0, "no such device"),
        lambda liveness: liveness.restore(9.0, "its address has answered"),
    ):
        liveness = up()
        liveness.changed = False
        change(liveness)
        assert liveness.changed


def test_the_first_failure_is_forgiven_and_the_second_means_8_seconds_of_probation():
    path = Life()
    path.fails(for_seconds=5.0)
    assert path.state == UP
    path.stays_up(20.0)
    path.fails(for_seconds=5.0)
    assert (path.state, path.liveness.on_probation) == (PROBING, True)
    assert path.liveness.reason == "on probation for 8 s more"
    path.stays_up(7.0)
    assert path.liveness.reason == "on probation for 1 s more"
    path.stays_up(1.5)
    assert (path.state, path.liveness.on_probation) == (UP, False)


def test_probation_doubles_up_to_ten_minutes_for_a_path_that_fails_again_soon():
    path = Life()
    path.fails(for_seconds=2.0)
    lengths = []
    for _ in range(9):
        path.stays_up(5.0)
        path.fails(for_seconds=2.0)
        lengths.append(path.proves_itself())
    assert lengths == pytest.approx([8, 16, 32, 64, 128, 256, 512, 600, 600], abs=1.1)


def test_failing_on_probation_begins_it_anew_and_does_not_double_it():
    path = Life()
    path.fails(for_seconds=3.0)
    path.stays_up(3.0)
    for _ in range(10):  # a flapper: three seconds there, three not
        path.fails(for_seconds=3.0)
        assert path.liveness.on_probation
        path.stays_up(3.0)
        assert path.liveness.on_probation
    assert path.proves_itself() == pytest.approx(8.0 - 3.0, abs=0.6)


def test_a_failure_after_a_good_time_does_not_double_the_probation():
    path = Life()
    path.fails(for_seconds=2.0)
    for _ in range(4):
        path.stays_up(85.0)
        path.fails(for_seconds=30.0)
        assert path.proves_itself() == pytest.approx(8.0, abs=1.1)


def test_ten_minutes_of_being_up_settle_the_account():
    path = Life()
    path.fails(for_seconds=2.0)
    path.stays_up(590.0)
    path.fails(for_seconds=2.0)
    assert path.liveness.on_probation
    path.stays_up(8.6)
    path.stays_up(600.0)
    path.fails(for_seconds=2.0)
    assert path.state == UP


def test_time_spent_down_is_no_good_conduct():
    path = Life()
    path.fails(for_seconds=2.0)
    path.stays_up(10.0)
    path.fails(for_seconds=700.0)
    assert path.liveness.on_probation


def test_a_stall_is_no_failure():
    path = Life()
    for _ in range(5):
        path.stays_up(10.0)
        path.fails(for_seconds=3.0, stalled=True)
        assert path.state == UP


def test_a_stall_on_probation_neither_ends_it_nor_begins_it_anew():
    path = Life()
    path.fails(for_seconds=2.0)
    path.stays_up(5.0)
    path.fails(for_seconds=2.0)
    path.stays_up(1.0)
    path.fails(for_seconds=4.0, stalled=True)
    assert path.liveness.on_probation
    assert path.proves_itself() < 3.5


def test_two_losses_of_carrier_are_forgiven_and_the_third_is_not():
    path = Life()
    for expected in (UP, UP, PROBING):
        path.loses_carrier(for_seconds=5.0)
        path.stays_up(2.0)
        assert path.state == expected


def test_a_link_that_takes_long_to_be_there_again_has_failed_but_once():
    path = Life()
    path.loses_carrier(for_seconds=5.0)
    for _ in range(30):  # it has carrier, and is not registered yet
        path.liveness.on_probe_sent(path.now)
        path.now += 0.5
    assert path.state == DOWN
    path.stays_up(1.0)
    assert path.state == UP
    path.loses_carrier(for_seconds=5.0)
    path.stays_up(1.0)
    assert path.state == UP


def test_an_address_proven_anew_does_not_end_a_probation():
    path = Life()
    path.fails(for_seconds=2.0)
    path.stays_up(5.0)
    path.fails(for_seconds=2.0)
    path.liveness.restore(path.now, "moved to a new address")
    assert path.liveness.on_probation


def test_a_path_that_is_back_from_a_new_address_has_failed_all_the_same():
    path = Life()
    path.fails(for_seconds=2.0)
    path.stays_up(5.0)
    path.dies()
    path.liveness.restore(path.now, "moved to a new address")
    assert path.liveness.on_probation


def test_a_path_on_probation_fails_with_the_third_probe_unanswered_for_half_a_second():
    path = Life()
    path.fails(for_seconds=2.0)
    path.stays_up(5.0)
    path.fails(for_seconds=2.0)
    liveness, now = path.liveness, path.now
    liveness.on_answer(now)
    sent = []
    while path.state == PROBING:
        now = liveness.next_probe
        liveness.on_probe_sent(now)
        sent.append(now)
    assert sent == pytest.approx([sent[0] + tick / 2 for tick in range(4)])
    assert liveness.reason == "3 probes unanswered"


def test_the_worse_a_path_is_off_the_higher_its_rank():
    path = Life()
    ranks = [path.liveness.rank]
    path.fails(for_seconds=2.0)
    path.stays_up(5.0)
    path.fails(for_seconds=2.0)
    ranks += [path.liveness.rank, suspect().rank, probing(1).rank, down().rank, Liveness(0.0).rank]
    assert ranks == sorted(set(ranks))


class Life:
    """A path that is up, with what happens to it; every probe is answered while it is there."""

    def __init__(self):
        self.liveness = up()
        self.now = 1.0

    @property
    def state(self):
        return self.liveness.state

    def dies(self):
        self.liveness.on_silence(self.now, 0.2)
        while self.state != DOWN:
            self.now = self.liveness.next_probe
            self.liveness.on_probe_sent(self.now)

    def fails(self, *, for_seconds, stalled=False):
        """Nothing comes through for a while, from now on; then its answers do."""
        left, back = self.now, self.now + for_seconds
        if self.state == UP:
            self.liveness.on_silence(self.now, 0.2)
        while self.liveness.next_probe < back:
            self.now = self.liveness.next_probe
            self.liveness.on_probe_sent(self.now)
        assert self.state == DOWN
        self.now = back
        if stalled:
            self.liveness.on_answer(self.now, left)
        while self.state == DOWN:
            self.liveness.on_probe_sent(self.now)
            self.now += 0.05
            self.liveness.on_answer(self.now, self.now - 0.05)

    def loses_carrier(self, *, for_seconds):
        self.liveness.on_refused(self.now, "its link is down")
        self.now += for_seconds
        self.liveness.start(self.now, "its link is back")

    def stays_up(self, seconds):
        """Answer what is asked for a while."""
        end = self.now + seconds
        while self.liveness.next_probe is not None and self.liveness.next_probe <= end:
            self.now = max(self.now, self.liveness.next_probe)
            self.liveness.on_probe_sent(self.now)
            self.now += 0.05
            self.liveness.on_answer(self.now, self.now - 0.05)
        self.now = max(self.now, end)

    def proves_itself(self):
        """Answer until it is up; return how long that took."""
        since = self.now
        while self.state != UP:
            self.stays_up(0.1)
        return self.now - since


def probing(probes=0):
    liveness = Liveness(0.0)
    liveness.start(0.0, "asking")
    for tick in range(probes):
        liveness.on_probe_sent(tick / 10)
    return liveness


def up():
    liveness = probing(1)
    liveness.on_answer(0.05)
    return liveness


def suspect():
    liveness = up()
    liveness.on_silence(3.0, 0.2)
    return liveness


def down():
    return probing(6)
