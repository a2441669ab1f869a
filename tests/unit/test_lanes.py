"""Order within a lane, and every way out of a gap. Random arrivals are in tests/property/test_lanes.py."""

import pytest

from mpbond.core.lanes import MAXIMUM_JUMP, PACKET_COST, REMEMBERED, Lanes
from mpbond.core.stats import OrderStats
from mpbond.core.wire import SEQUENCE_SPACE

HOLD = 0.1


def test_packets_in_order_go_straight_through():
    lanes = Arrivals()
    lanes.come(0, 1, 2)
    assert lanes.delivered == [0, 1, 2]
    assert not lanes.has_gaps
    assert lanes.stats.held == 0


def test_a_packet_beyond_a_gap_waits_until_the_missing_one_comes():
    lanes = Arrivals()
    lanes.come(0, 2, 3, now=1.0)
    assert lanes.delivered == [0]
    lanes.come(1, now=1.03)
    assert lanes.delivered == [0, 1, 2, 3]
    assert not lanes.has_gaps
    assert (lanes.stats.held, lanes.stats.skipped, lanes.held_bytes) == (2, 0, 0)
    assert lanes.stats.as_dict()["hold_seconds"]["count"][5] == 2  # 20 to 50 ms


def test_a_gap_delays_only_its_own_lane():
    lanes = Arrivals()
    lanes.come(0, 2, lane=7)
    lanes.come(0, 1, lane=8)
    assert lanes.delivered == [0, 0, 1]


def test_the_hold_expires_when_it_is_over_and_not_a_millisecond_before():
    lanes = Arrivals()
    lanes.come(0, 2, now=1.0)
    assert lanes.next_timeout(HOLD) == 1.0 + HOLD
    lanes.release_expired(HOLD, now=1.099)
    assert lanes.delivered == [0]
    lanes.release_expired(HOLD, now=1.100)
    assert lanes.delivered == [0, 2]
    assert lanes.stats.skipped == 1
    assert lanes.next_timeout(HOLD) is None


def test_the_hold_counts_from_the_first_packet_beyond_the_gap_and_is_not_moved_by_later_ones():
    lanes = Arrivals()
    lanes.come(0, 2, now=1.00)
    lanes.come(3, now=1.05)
    lanes.come(4, now=1.09)
    lanes.release_expired(HOLD, now=1.10)
    assert lanes.delivered == [0, 2, 3, 4]


def test_each_gap_has_its_own_hold_so_that_many_do_not_add_up():
    lanes = Arrivals()
    lanes.come(0, 2, now=1.00)
    lanes.come(4, now=1.04)
    lanes.come(6, now=1.08)
    lanes.release_expired(HOLD, now=1.139)
    assert lanes.delivered == [0, 2]
    lanes.release_expired(HOLD, now=1.14)
    assert lanes.delivered == [0, 2, 4]
    assert lanes.next_timeout(HOLD) == 1.08 + HOLD
    lanes.release_expired(HOLD, now=1.18)
    assert lanes.delivered == [0, 2, 4, 6]
    assert lanes.stats.skipped == 3


def test_a_packet_inside_a_gap_neither_closes_it_nor_moves_its_hold():
    lanes = Arrivals()
    lanes.come(0, 4, now=1.00)
    lanes.come(2, now=1.05)
    lanes.release_expired(HOLD, now=1.099)
    assert lanes.delivered == [0]
    lanes.release_expired(HOLD, now=1.1)
    assert lanes.delivered == [0, 2, 4]
    assert lanes.stats.skipped == 2


def test_the_first_packet_of_a_lane_may_be_the_one_that_is_missing():
    lanes = Arrivals()
    lanes.come(1, now=1.0)
    assert lanes.delivered == []
    lanes.come(0, now=1.02)
    assert lanes.delivered == [0, 1]


def test_what_comes_after_its_gap_was_given_up_is_late_and_delivered_at_once():
    lanes = Arrivals()
    lanes.come(0, 2, now=1.0)
    lanes.release_expired(HOLD, now=1.1)
    lanes.come(1, now=1.2)
    assert lanes.delivered == [0, 2, 1]
    assert lanes.stats.late == 1


@pytest.mark.parametrize("arrivals", [(0, 0), (0, 2, 2, 1), (0, 2, 1, 1), (0, 2, 1, 2)])
def test_a_copy_is_dropped_and_counted(arrivals):
    lanes = Arrivals()
    lanes.come(*arrivals)
    assert lanes.delivered == sorted(set(arrivals))
    assert lanes.stats.duplicate == 1


def test_a_late_packet_is_delivered_only_once():
    lanes = Arrivals()
    lanes.come(0, 2, now=1.0)
    lanes.release_expired(HOLD, now=1.1)
    lanes.come(1, 1, now=1.2)
    assert lanes.delivered == [0, 2, 1]
    assert lanes.stats.duplicate == 1


def test_the_oldest_sequence_that_is_remembered_is_told_from_a_copy_and_older_ones_are_not():
    lanes = Arrivals()
    lanes.come(0, 3, *range(4, REMEMBERED + 1), now=1.0)
    lanes.release_expired(HOLD, now=1.1)
    lanes.come(1, now=1.2)
    assert lanes.delivered[-1] == 1
    lanes.come(REMEMBERED + 1, REMEMBERED + 2, now=1.2)
    lanes.come(2, now=1.2)
    assert lanes.delivered[-1] == REMEMBERED + 2
    assert lanes.stats.duplicate == 1


def test_a_gap_is_proven_lost_when_every_path_has_passed_the_packet_beyond_it():
    lanes = Arrivals()
    lanes.come(0, order=10)
    lanes.come(2, order=12)
    lanes.release_proven(frontier=11, now=1.0)
    assert lanes.delivered == [0]
    lanes.release_proven(frontier=12, now=1.0)
    assert lanes.delivered == [0, 2]
    assert lanes.stats.skipped == 1


def test_proof_of_one_gap_is_no_proof_of_a_later_one():
    lanes = Arrivals()
    lanes.come(0, order=10)
    lanes.come(2, order=12)
    lanes.come(4, order=14)
    lanes.release_proven(frontier=13, now=1.0)
    assert lanes.delivered == [0, 2]
    lanes.release_proven(frontier=14, now=1.0)
    assert lanes.delivered == [0, 2, 4]


def test_unordered_packets_are_delivered_at_once_in_any_order_and_once():
    lanes = Arrivals()
    lanes.come(0, 2, 1, 2, 1, 5, ordered=False)
    assert lanes.delivered == [0, 2, 1, 5]
    assert (lanes.stats.held, lanes.stats.late, lanes.stats.duplicate) == (0, 0, 2)


def test_an_unordered_packet_fills_a_gap_for_the_ordered_ones():
    lanes = Arrivals()
    lanes.come(0, 2)
    lanes.come(1, ordered=False)
    assert lanes.delivered == [0, 1, 2]


def test_forward_closes_a_gap_at_once():
    lanes = Arrivals()
    lanes.come(0, 3, now=1.0)
    lanes.forward(5, 1, 2, 1.01)
    assert lanes.delivered == [0, 3]
    assert (lanes.stats.skipped, lanes.has_gaps) == (0, False)


def test_forward_for_a_part_of_a_gap_leaves_the_rest():
    lanes = Arrivals()
    lanes.come(0, 4, now=1.0)
    lanes.forward(5, 2, 2, 1.01)
    assert lanes.delivered == [0]
    lanes.come(1)
    assert lanes.delivered == [0, 1, 4]


def test_a_forward_that_comes_before_the_packet_beyond_is_remembered():
    lanes = Arrivals()
    lanes.come(0, now=1.0)
    lanes.forward(5, 1, 3, 1.01)
    lanes.come(4, now=1.02)
    assert lanes.delivered == [0, 4]
    assert not lanes.has_gaps


def test_a_packet_that_was_called_off_and_comes_after_all_is_delivered_late_and_leaves_no_gap():
    lanes = Arrivals()
    lanes.forward(5, 0, 10, 1.0)
    lanes.come(5, now=1.1)
    assert (lanes.delivered, lanes.stats.late) == ([5], 1)
    assert not lanes.has_gaps
    lanes.release_expired(HOLD, now=1.2)
    lanes.come(10, now=1.2)
    assert lanes.delivered == [5, 10]
    assert lanes.stats.skipped == 0


def test_a_forward_far_beyond_what_a_sane_peer_sends_is_ignored():
    lanes = Arrivals()
    lanes.come(0)
    lanes.forward(5, MAXIMUM_JUMP + 1, 1, 1.0)
    lanes.come(1)
    assert lanes.delivered == [0, 1]


def test_an_old_forward_changes_nothing():
    lanes = Arrivals()
    lanes.come(0, 1, 2)
    lanes.forward(5, 0, 2, 1.0)
    lanes.come(3)
    assert lanes.delivered == [0, 1, 2, 3]


def test_after_the_largest_jump_a_gap_is_waited_for_and_after_a_larger_one_the_lane_starts_again():
    lanes = Arrivals()
    lanes.come(0)
    lanes.come(MAXIMUM_JUMP)
    assert lanes.delivered == [0]
    beyond = 2 * MAXIMUM_JUMP + 1
    lanes.come(beyond, beyond + 1)
    assert lanes.stats.restarted == 1
    assert lanes.delivered == [0, MAXIMUM_JUMP, beyond, beyond + 1]


def test_without_a_hold_nothing_counts_as_skipped():
    lanes = Arrivals()
    lanes.come(0, 2)
    lanes.release_expired(0.0, now=9.0)
    lanes.come(3)
    assert lanes.delivered == [0, 2, 3]
    assert lanes.stats.skipped == 0


def test_sequences_go_on_across_the_end_of_their_22_bits():
    lanes = Arrivals()
    for start in range(MAXIMUM_JUMP - 1, SEQUENCE_SPACE, MAXIMUM_JUMP):
        lanes.come(start)
        lanes.release_expired(0.0, now=9.0)
    lanes.delivered.clear()
    lanes.come(1, 0, 2)
    assert lanes.delivered == [0, 1, 2]


def test_memory_is_bounded_by_giving_up_the_oldest_gap_of_all_lanes():
    cost = 100 + PACKET_COST
    lanes = Arrivals(limit=3 * cost)
    lanes.come(1, lane=1, now=1.0)
    lanes.come(1, lane=2, now=1.1)
    lanes.come(2, lane=2, now=1.2)
    assert (lanes.delivered, lanes.held_bytes) == ([], 3 * cost)
    lanes.come(3, lane=2, now=1.3)
    assert lanes.delivered == [1]
    assert (lanes.stats.overflow, lanes.stats.skipped) == (1, 1)
    assert lanes.held_bytes == 3 * cost


class Arrivals(Lanes):
    """Lanes whose packets are named by their sequences; 100 bytes each."""

    def __init__(self, limit=1 << 20):
        self.stats = OrderStats()
        super().__init__(self.stats, limit)
        self._order = 0

    def come(self, *sequences, lane=5, now=1.0, order=None, ordered=True):
        for sequence in sequences:
            self._order += 1
            self.insert(
                lane,
                sequence % SEQUENCE_SPACE,
                Packet(sequence),
                order=order or self._order,
                ordered=ordered,
                now=now,
            )


class Packet(int):
    """A packet known by its number."""

    def __len__(self):
        return 100
