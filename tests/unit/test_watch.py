"""The paths' timers: who is silent, whom a failing way back excuses, and that no timer is overlooked."""

import random

import pytest

from mpbond.core.acks import ack_interval
from mpbond.core.liveness import PROBING, SUSPECT, UP, silence_limit
from mpbond.core.packet import NORMAL, Packet
from mpbond.core.path import Path, PathOptions
from mpbond.core.recovery import Sent
from mpbond.core.watch import PROGRESS, REROUTING, Watch

RTT = 0.060
PACKET = Packet(b"", 0, NORMAL, 0.0)


class Sender:
    """Notes what it is told to requeue and to rescue."""

    def __init__(self):
        self.rescued = []

    def requeue(self, path, lost, now):
        pass

    def rescue(self, path, now):
        self.rescued.append(path.id)


class Bond:
    """Paths that are up, with an RTT of 60 ms, and their watch."""

    def __init__(self, count, *, is_client=False):
        self.sender = Sender()
        self.paths = {number: self.make(number) for number in range(count)}
        self.watch = Watch(self.paths, self.sender, is_client=is_client, keepalive=20.0, now=0.0)

    def make(self, number):
        path = Path(number, number, "there", PathOptions(), 0.0)
        path.liveness.start(0.0, "asking")
        for _ in range(40):
            path.rtt.update(RTT, 0.0)
        path.on_answer(0.0)
        assert path.state == UP
        return path

    def send(self, number, now, packets=(PACKET,)):
        path = self.paths[number]
        path.on_sent(path.sent.next_number, Sent(now, 1000, packets), 1000, path.remote, now)
        path.sent.next_number += 1

    def acknowledge(self, number, largest, now, *, rtt=None, only=False):
        """An ACK comes that says that a path delivered everything up to a number, or `only` that."""
        path = self.paths[number]
        self.watch.last_ack = now
        newly, _ = path.sent.acknowledge(largest, ((0, 0 if only else largest),))
        if newly:
            if rtt is not None:
                path.rtt.update(rtt, now)
            path.on_answer(now, min(sent.time for sent in newly))

    def states(self):
        return [path.state for path in self.paths.values()]

    def run_to(self, end):
        """Do what is due until a time; return when a path first left the state up."""
        left = None
        while (due := self.watch.next_timeout()) <= end:
            self.watch.run(due)
            for path in self.paths.values():
                if path.pending:
                    path.pending.clear()
                    self.send(path.id, due, packets=())
            if left is None and set(self.states()) != {UP}:
                left = due
        return left


def test_a_path_with_data_in_flight_is_left_after_its_limit_of_silence():
    bond = Bond(2)
    for tick in range(20):
        bond.send(0, 1.0 + tick * 0.010)
        bond.send(1, 1.0 + tick * 0.010)
        bond.acknowledge(1, tick, 1.0 + tick * 0.010 + RTT)
        left = bond.run_to(1.0 + tick * 0.010 + RTT)
        if left:
            break
    variation = bond.paths[0].rtt.variation
    assert left == pytest.approx(1.0 + silence_limit(RTT, variation), abs=0.001)
    assert left < 1.0 + RTT + 0.061
    assert bond.states() == [SUSPECT, UP]
    assert bond.sender.rescued == [0]


def test_one_datagram_lost_with_nothing_behind_it_makes_no_suspect():
    bond = Bond(2)
    bond.send(0, 1.0)
    bond.send(1, 1.0)
    bond.run_to(1.0 + RTT + 0.010)
    bond.acknowledge(1, 0, 1.0 + RTT + 0.010)
    path = bond.paths[0]
    assert path.sent.next_number == 3  # a PING has followed after a quarter of the RTT, and another
    answer = 1.0 + path.tail_wait + RTT + ack_interval(RTT)
    assert bond.run_to(answer) is None
    bond.acknowledge(0, 1, answer, only=True)
    for number in (0, 1):  # the rest
        newest = bond.paths[number].sent.next_number - 1
        bond.acknowledge(number, newest, answer + path.tail_wait, only=number == 0)
    assert bond.run_to(answer + 1.0) is None


def test_a_path_that_still_has_something_acknowledged_is_slow_and_not_silent():
    bond = Bond(2)
    for number in range(200):
        bond.send(0, 1.0 + number * 0.001)
    for number in range(10):  # one every 40 ms from now on: more than its limit in the end
        now = 1.1 + number * 0.040
        assert bond.run_to(now) is None
        bond.acknowledge(0, number, now)
    oldest = bond.paths[0].sent.oldest
    assert now - oldest.time > silence_limit(RTT, 0.0) + 0.2
    assert bond.run_to(now + 0.2) == pytest.approx(now + ack_interval(RTT) + PROGRESS)


def test_a_single_datagram_unanswered_is_asked_after_and_suspected_only_if_that_is_not_answered():
    bond = Bond(2)
    path = bond.paths[0]
    path.tail_probes = 2  # none is left that would follow
    bond.send(0, 1.0, packets=())
    limit = path.silence_limit
    assert bond.run_to(1.0 + limit + 0.001) is None
    assert path.sent.next_number == 2
    assert bond.run_to(3.0) == pytest.approx(1.0 + 2 * limit, abs=0.001)


def test_on_a_long_path_with_losses_acks_that_are_put_off_make_no_suspect():
    bond = Bond(2)
    path = bond.paths[0]
    for _ in range(60):
        path.rtt.update(0.300, 0.0)
    for tick in range(5):  # the first is lost; ACKs come every 50 ms
        bond.send(0, 1.0 + tick * 0.1)
    assert bond.run_to(1.1 + 0.300 + 0.055) is None
    bond.acknowledge(0, 1, 1.455, only=True)
    assert bond.run_to(1.455) is None


def test_no_ack_for_any_path_excuses_all_of_them_for_a_while():
    bond = Bond(3)
    bond.watch.last_ack = 1.0
    for number in range(3):
        bond.send(number, 1.0)
        bond.send(number, 1.001)
    limit = silence_limit(RTT, bond.paths[0].rtt.variation)
    left = bond.run_to(2.0)
    assert left == pytest.approx(1.0 + 2 * limit + REROUTING, abs=0.001)


def test_the_first_ack_ends_the_respite_for_those_it_says_nothing_of():
    bond = Bond(3)
    bond.watch.last_ack = 1.0
    for number in range(3):
        bond.send(number, 1.0)
        bond.send(number, 1.001)
    assert bond.run_to(1.150) is None
    bond.acknowledge(1, 3, 1.160)  # the PINGs too that followed
    bond.acknowledge(2, 3, 1.160)
    left = bond.run_to(1.250)
    assert 1.160 <= left < 1.190
    assert bond.states() == [SUSPECT, UP, UP]


def test_the_only_path_is_excused_too_as_there_is_no_other():
    bond = Bond(1)
    bond.watch.last_ack = 1.0
    bond.send(0, 1.0)
    bond.send(0, 1.001)
    limit = silence_limit(RTT, bond.paths[0].rtt.variation)
    assert bond.run_to(2.0) == pytest.approx(1.0 + 2 * limit + REROUTING, abs=0.001)


def test_the_only_busy_path_is_left_at_once_where_an_idle_one_is_up():
    bond = Bond(2)
    bond.watch.last_ack = 1.0
    bond.send(0, 1.0)
    bond.send(0, 1.001)
    limit = silence_limit(RTT, bond.paths[0].rtt.variation)
    assert bond.run_to(2.0) == pytest.approx(1.0 + limit, abs=0.001)


def test_idle_paths_of_a_server_have_no_timers():
    assert Bond(3).watch.next_timeout() == float("inf")


def test_an_idle_client_keeps_its_mappings_alive_and_no_more():
    bond = Bond(2, is_client=True)
    assert bond.watch.next_timeout() == 20.0
    bond.watch.run(20.0)
    assert [len(path.pending) for path in bond.paths.values()] == [1, 1]


def test_a_path_without_its_link_is_not_probed_until_it_is_back():
    bond = Bond(2)
    path = bond.paths[0]
    path.usable = False
    path.liveness.on_refused(1.0, "its link is down")
    assert bond.watch.next_timeout() == float("inf")
    path.usable = True
    path.liveness.start(5.0, "its link is back")
    assert bond.watch.next_timeout() == 5.0


def test_news_bring_a_probe_forward():
    bond = Bond(1)
    path = bond.paths[0]
    path.liveness.on_refused(1.0, "no such device")
    assert bond.watch.next_timeout() == 1.5
    path.liveness.hurry(1.1)
    assert bond.watch.next_timeout() == 1.1


def test_answers_that_take_long_are_waited_for_before_a_probed_path_is_given_up():
    bond = Bond(1)
    path = bond.paths[0]
    for _ in range(60):
        path.rtt.update(0.700, 1.0)
    path.liveness.on_silence(2.0, 1.0)
    bond.run_to(2.0 + 0.5 + 0.5)
    assert path.state == SUSPECT
    bond.run_to(2.0 + 0.4 + path.rtt.longest + 0.11)
    assert path.state == "down"


@pytest.mark.parametrize("seed", range(20))
def test_kept_timers_are_never_later_than_what_they_would_be_if_looked_at_anew(seed):
    """What happens to paths in any order: `next_timeout` is right whether or not all are looked at."""
    rng = random.Random(seed)
    bond = Bond(4, is_client=rng.random() < 0.5)
    now = 1.0
    for step in range(400):
        now += rng.choice((0.0, 0.001, 0.02, 0.3))
        path = bond.paths[rng.randrange(4)]
        rng.choice(EVENTS)(bond, path, rng, now)
        kept = bond.watch.next_timeout()
        for other in bond.paths.values():
            other.changed = True
        anew = bond.watch.next_timeout()
        assert kept <= anew, f"seed {seed}, step {step}"
        for _ in range(3):  # a path that falls silent is then probed, at the same time
            if bond.watch.next_timeout() > now:
                break
            event_run(bond, path, rng, now)
        else:
            pytest.fail(f"seed {seed}, step {step}: what is due stays due")


def event_send(bond, path, rng, now):
    bond.send(path.id, now)


def event_acknowledge(bond, path, rng, now):
    if path.sent.next_number:
        number = rng.randrange(path.sent.next_number)
        only = rng.random() < 0.3
        bond.acknowledge(path.id, number, now, rtt=rng.uniform(0.02, 0.4), only=only)


def event_receive(bond, path, rng, now):
    path.on_received(100, now)
    path.silence_probed = False


def event_carrier(bond, path, rng, now):
    path.usable = not path.usable
    if path.usable:
        path.liveness.start(now, "its link is back")
    else:
        path.liveness.on_refused(now, "its link is down")


def event_hurry(bond, path, rng, now):
    path.liveness.hurry(now)


def event_run(bond, path, rng, now):
    bond.watch.run(now)
    for other in bond.paths.values():
        if other.pending and rng.random() < 0.8:
            event_send(bond, other, rng, now)
        other.pending.clear()


EVENTS = [
    *[event_send] * 4,
    *[event_acknowledge] * 3,
    event_receive,
    event_carrier,
    event_hurry,
    *[event_run] * 4,
]


def test_a_path_on_probation_is_the_first_to_be_used_when_none_is_up():
    bond = Bond(2)
    path = bond.paths[0]
    for _ in range(3):
        path.liveness.on_refused(1.0, "no such device")
        path.liveness.start(2.0, "its link is back")
        path.on_answer(2.0)
    assert (path.state, path.on_probation) == (PROBING, True)
    bond.paths[1].liveness.on_silence(2.0, 0.2)
    assert path.badness < bond.paths[1].badness
    path.usable = False
    assert not path.on_probation
    assert path.badness > bond.paths[1].badness
