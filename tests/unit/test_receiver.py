"""One ACK for all paths, in whatever room there is."""

from mpbond.core.path import Path, PathOptions
from mpbond.core.receiver import Receiver
from mpbond.core.stats import Drops
from mpbond.core.wire import parse_ack

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
