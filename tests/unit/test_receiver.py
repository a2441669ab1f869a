"""One ACK for all paths, in whatever room there is."""

import pytest

from mpbond.core.path import Path, PathOptions
from mpbond.core.receiver import Receiver
from mpbond.core.stats import Drops
from mpbond.core.wire import FIRST_PART, LAST_PART, DataFrame, parse_ack

ROOM = 500  # bytes


def test_an_ack_of_many_ragged_paths_fits_its_room_and_speaks_of_all_of_them() -> None:
    paths = ragged_paths(24)
    frame, reported = built(paths)
    assert len(frame) <= ROOM
    assert reported == {path.id: path.received.largest for path in paths.values()}


def test_when_not_even_one_range_each_fits_news_comes_first_and_the_rest_is_due_next() -> None:
    paths = ragged_paths(60)
    receiver = Receiver(paths, Drops())
    for path in list(paths.values())[:50]:
        path.received.fresh = False
    told: set[int] = set()
    while True:
        built_ack = receiver.build_ack(None, ROOM, 1.0)
        assert built_ack is not None
        frame, reported = built_ack
        assert len(frame) <= ROOM
        told |= reported.keys()
        if receiver.ack_timer.due is None:
            break
    assert told >= set(range(50, 60)), "the paths with news"


def test_a_few_paths_are_reported_with_all_their_ranges() -> None:
    frame, _ = built(ragged_paths(2))
    assert [len(block.ranges) for block in parse_ack(frame[3:]).blocks] == [32, 32]


@pytest.mark.parametrize("repairs", [False, True])
def test_an_ack_says_how_long_to_hold_and_whether_what_is_lost_comes_again(repairs: bool) -> None:
    receiver = Receiver(ragged_paths(2), Drops())
    made = receiver.build_ack(0.25, ROOM, 1.0, repairs=repairs)
    assert made is not None
    ack = parse_ack(made[0][3:])
    assert (ack.hold, ack.repairs) == (0.25, repairs)


def test_a_proof_of_loss_counts_only_while_nothing_is_repaired() -> None:
    paths = {number: Path(number, 0, "x", PathOptions(), 0.0) for number in range(2)}
    receiver = Receiver(paths, Drops())
    receiver.hold = 0.2
    receiver.repaired = True
    for at, path in enumerate(paths.values()):
        path.on_received(1000, 1.0)
        # sequence 0 is missing, and both paths have passed the order it must have had
        receiver.on_data(path, 11 + at, [DataFrame(0, 7, 1 + at, b"%d" % at)], 1.0)
    receiver.release(1.1)
    assert receiver.delivered == []
    receiver.repaired = False
    receiver.release(1.1)
    assert receiver.delivered == [b"0", b"1"]


def test_what_is_called_off_is_waited_for_no_longer() -> None:
    paths = {0: Path(0, 0, "x", PathOptions(), 0.0)}
    receiver = Receiver(paths, Drops())
    receiver.repaired = True
    receiver.on_data(paths[0], 1, [DataFrame(0, 7, 2, b"beyond")], 1.0)
    receiver.on_forward([(7, 0, 1)], 1.01)
    assert receiver.delivered == []
    receiver.on_forward([(7, 1, 1)], 1.02)
    assert receiver.delivered == [b"beyond"]
    assert (receiver.stats.skipped, receiver.next_timeout()) == (0, None)


def test_a_half_whose_other_half_comes_later_is_joined_and_a_copy_of_the_whole_dropped() -> None:
    paths = {0: Path(0, 0, "x", PathOptions(), 0.0)}
    receiver = Receiver(paths, Drops())
    first, last = DataFrame(FIRST_PART, 7, 0, b"ab"), DataFrame(LAST_PART, 7, 0, b"cd")
    receiver.on_data(paths[0], 1, [first], 1.0)
    assert receiver.delivered == []
    receiver.on_data(paths[0], 5, [first, last], 1.1)  # both sent again
    receiver.on_data(paths[0], 6, [last, first], 1.2)
    assert receiver.delivered == [b"abcd"]
    assert receiver.stats.duplicate == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 0, 1), (1, 2, 0)])
def test_a_packet_that_comes_in_parts_and_whole_is_delivered_once(order: tuple[int, ...]) -> None:
    path = Path(0, 0, "x", PathOptions(), 0.0)
    receiver = Receiver({0: path}, Drops())
    first, last = DataFrame(FIRST_PART, 7, 0, b"ab"), DataFrame(LAST_PART, 7, 0, b"cd")
    came = (first, last, DataFrame(0, 7, 0, b"abcd"))
    for at, number in enumerate(order):
        receiver.on_data(path, 1 + at, [came[number]], 1.0)
    receiver.on_data(path, 5, [DataFrame(0, 7, 1, b"next")], 1.0)
    assert receiver.delivered == [b"abcd", b"next"]


def built(paths: dict[int, Path]) -> tuple[bytes, dict[int, int]]:
    ack = Receiver(paths, Drops()).build_ack(None, ROOM, 1.0)
    assert ack is not None
    return ack


def ragged_paths(count: int) -> dict[int, Path]:
    paths = {number: Path(number, 0, "x", PathOptions(), 0.0) for number in range(count)}
    for path in paths.values():
        for at in range(64):
            path.received.add(3 * at, True, 0.0)
    return paths
