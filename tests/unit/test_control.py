"""CONTROL messages arrive as they were posted: whole, in order and once."""

import msgpack
import pytest

from mpbond.core.control import MAXIMUM_EARLY, MAXIMUM_SIZE, ControlChannel
from mpbond.core.wire import CONTROL, WireError, parse_control, parse_frames


@pytest.fixture
def posted():
    return []


@pytest.fixture
def sender(posted):
    return ControlChannel(posted.append)


@pytest.fixture
def receiver():
    return ControlChannel([].append)


def give(receiver, frame):
    ((kind, body),) = parse_frames(frame).others
    assert kind == CONTROL
    receiver.on_message(*parse_control(body))


MESSAGES = [{"scheduler": "rr"}, {"routes": ["192.0.2.8/29"]}, {"dns": [], "more": {"deep": 1}}]


def test_messages_arrive_as_posted(sender, receiver, posted):
    for message in MESSAGES:
        sender.post(message)
    for frame in posted:
        give(receiver, frame)
    assert receiver.inbox == MESSAGES


def test_messages_that_overtook_others_wait_and_copies_are_dropped(sender, receiver, posted):
    for message in MESSAGES:
        sender.post(message)
    for at in (2, 2, 1, 1):
        give(receiver, posted[at])
    assert receiver.inbox == []
    for at in (0, 1, 2, 0):
        give(receiver, posted[at])
    assert receiver.inbox == MESSAGES


def test_a_message_too_far_ahead_is_not_kept(receiver):
    receiver.on_message(MAXIMUM_EARLY, msgpack.packb({}))
    for number in range(MAXIMUM_EARLY):
        receiver.on_message(number, msgpack.packb({}))
    assert len(receiver.inbox) == MAXIMUM_EARLY


def test_a_message_that_fits_no_datagram_is_refused(sender, posted):
    with pytest.raises(ValueError, match=str(MAXIMUM_SIZE)):
        sender.post({"routes": ["x" * MAXIMUM_SIZE]})
    assert posted == []


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x81", b"\x91" * 2000, msgpack.packb([]), msgpack.packb({1: 2})]
)
def test_what_is_not_a_map_of_words_is_malformed(receiver, body):
    with pytest.raises(WireError):
        receiver.on_message(0, body)
