"""Two whole sessions over networks that lose, copy and reorder, and processes that restart.

Whatever happens, a packet is delivered at most once. While every path is first in, first out and the
paths stand, packets come in the order of their lanes, and those that the network let through do come.
"""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from bench.links.link import Link
from bench.sim.world import SERVER_ADDRESS
from mpbond.core.link import Link as ClientLink
from mpbond.core.link import Target
from mpbond.core.transmit import PathChanged, Rekeyed
from mpbond.core.wire import FIRST_PART, LAST_PART, parse_frames
from tests.packets import ipv4, number_of, udp_run
from tests.sim.worlds import (
    arrived,
    change_links,
    client_address,
    cut,
    drops_of,
    packets_from,
    session_of,
    stream,
    world_of,
)

FEW = settings.default.max_examples // 3  # each of them is a whole network for some seconds
RECEIVER = {"client": "server", "server": "client"}
WEB = b"\x01\x02\x03\x04"
delays = st.lists(st.integers(1, 80).map(lambda ms: ms / 1000), min_size=1, max_size=6)
schedulers = st.sampled_from(["rr", "weighted", "xor"])
FASTER_THAN_A_CALL = 0.004  # seconds apart: else small packets at a constant pace are real-time
shares = st.sampled_from([0.0, 0.0, 0.02, 0.2])


@settings(max_examples=FEW)
@given(
    delays=delays,
    scheduler=schedulers,
    side=st.sampled_from(["client", "server"]),
    loss=shares,
    copies=shares,
    jitter=st.sampled_from([0.0, 0.0, 0.015]),
    size=st.sampled_from([80, 700, 1400, 2000]),
    seed=st.integers(0, 1 << 32),
)
@pytest.mark.python_core
def test_over_fifo_paths_what_survives_comes_in_order_and_exactly_once(
    delays, scheduler, side, loss, copies, jitter, size, seed
):
    world = world_of(*delays, scheduler=scheduler, seed=seed)
    survivors = watch_survivors(world, side)
    change_links(world, loss=loss, jitter=jitter, duplicate=copies)
    stream(world, side, 1.0, 2.0, FASTER_THAN_A_CALL, size=size)
    world.run(4.0, steps=50_000)
    numbers = arrived(world, RECEIVER[side])
    late = session_of(world, RECEIVER[side]).receiver.stats.late
    assert len(numbers) == len(set(numbers))
    assert set(numbers) == survivors()
    moved = scheduler == "xor" and any(
        isinstance(event, PathChanged) and event.state != "up" and time > 1.0
        for time, event in getattr(world, side).events
    )  # then a flow goes on elsewhere, with nothing said of its order
    assert disorder(numbers) <= late or moved
    assert late == 0 or jitter


@settings(max_examples=FEW)
@given(
    delays=delays,
    scheduler=schedulers,
    reorder=st.sampled_from([0.001, 0.01, 0.04]),
    loss=shares,
    copies=shares,
    seed=st.integers(0, 1 << 32),
)
def test_with_reordering_inside_paths_only_what_is_counted_late_is_out_of_order(
    delays, scheduler, reorder, loss, copies, seed
):
    world = world_of(*delays, scheduler=scheduler, seed=seed)
    shuffle(world, reorder)
    change_links(world, duplicate=copies)
    for up, _ in world.links:
        up.change(loss=loss)
    count = stream(world, "client", 1.0, 2.0, 0.005)
    world.run(4.0, steps=50_000)
    numbers = arrived(world, "server")
    stats = session_of(world, "server").receiver.stats
    assert len(numbers) == len(set(numbers))
    if not loss:
        assert sorted(numbers) == list(range(count))
    if scheduler != "xor":
        assert disorder(numbers) <= stats.late


@settings(max_examples=FEW // 2)
@given(
    loss=st.sampled_from([0.0, 0.05, 0.3]),
    copies=shares,
    seed=st.integers(0, 1 << 32),
    rekey_after=st.sampled_from([0.3, 1.0, 2.5]),
)
@pytest.mark.python_core
def test_rekeys_lose_and_repeat_nothing(loss, copies, seed, rekey_after):
    world = world_of(0.020, 0.050, seed=seed, rekey_after=rekey_after)
    change_links(world, loss=loss, duplicate=copies)
    there, back = watch_survivors(world, "client"), watch_survivors(world, "server")
    stream(world, "client", 1.0, 6.0, 0.020)
    stream(world, "server", 1.0, 6.0, 0.020)
    world.run(8.0, steps=100_000)
    assert any(isinstance(event, Rekeyed) for _, event in world.client.events)
    assert sorted(arrived(world, "server")) == sorted(there())
    assert sorted(arrived(world, "client")) == sorted(back())
    for side in ("client", "server"):
        assert set(drops_of(world, side)) <= {"replayed"}


class Sessions(RuleBasedStateMachine):
    """Anything a road and its modems do to two sessions, in any order.

    Packets are numbered once for all; `sent` are those of either side.
    """

    @initialize(delays=delays, seed=st.integers(0, 1 << 32), scheduler=schedulers)
    def connect(self, delays, seed, scheduler):
        self.world = world_of(*delays, seed=seed, scheduler=scheduler)
        self.count = len(delays)
        self.sent = {"client": 0, "server": 0}
        self.down = set()
        self.gone = set()

    @rule(side=st.sampled_from(["client", "server"]), count=st.integers(1, 30))
    def send(self, side, count):
        if not self.world.client_endpoint.addresses:
            return
        first = self.sent[side]
        self.world.send(side, packets_from(self.world, side, count, first=first, size=900))
        self.sent[side] += count

    @rule(seconds=st.sampled_from([0.001, 0.03, 0.2, 1.5, 6.0, 130.0]))
    def wait(self, seconds):
        self.world.run(self.world.now + seconds, steps=20_000 + round(1000 * seconds))

    @rule(index=st.integers(0, 5), loss=st.sampled_from([0.0, 0.1, 0.5]))
    def lose(self, index, loss):
        for link in self.world.links[index % self.count]:
            link.change(loss=loss)

    @rule(copies=shares)
    def copy(self, copies):
        change_links(self.world, duplicate=copies)

    @rule(index=st.integers(0, 5))
    def silence(self, index):
        index %= self.count
        cut(self.world, index, up=index in self.down)
        self.down ^= {index}

    @rule(index=st.integers(0, 5))
    def rebind(self, index):
        self.world.rebind(index % self.count)

    @rule(index=st.integers(0, 5))
    def plug(self, index):
        index %= self.count
        name = f"wwan{index}"
        if index in self.gone:
            link = ClientLink(name, (Target(index, SERVER_ADDRESS),))
            self.world.client_endpoint.add_link(link, self.world.now)
        else:
            self.world.client_endpoint.remove_link(name, self.world.now)
        self.gone ^= {index}

    @rule(index=st.integers(0, 5), usable=st.booleans())
    def carrier(self, index, usable):
        name = f"wwan{index % self.count}"
        if name in self.world.client_endpoint.links:
            self.world.client_endpoint.set_link_usable(name, usable, self.world.now)

    @rule(name=schedulers, direction=st.sampled_from(["up", "down", "both"]))
    def schedule(self, name, direction):
        self.world.client_endpoint.set_scheduler(name, direction)

    @rule()
    def restart_server(self):
        self.world.restart_server()

    @precondition(lambda self: not self.gone)
    @rule()
    def restart_client(self):
        self.world.restart_client()

    @invariant()
    def nothing_is_delivered_twice_or_made_up(self):
        if not hasattr(self, "world"):
            return
        for side, other in RECEIVER.items():
            numbers = arrived(self.world, other)
            assert len(numbers) == len(set(numbers))
            assert all(0 <= number < self.sent[side] for number in numbers)

    @invariant()
    def nothing_is_dropped_for_a_reason_that_means_a_mistake(self):
        if not hasattr(self, "world"):
            return
        for side in ("client", "server"):
            assert set(drops_of(self.world, side)) <= BLAMELESS

    def teardown(self):
        """When everything works again, one session goes on over all links."""
        if not hasattr(self, "world"):
            return
        world = self.world
        change_links(world, loss=0.0, duplicate=0.0)
        for index in sorted(self.gone):
            self.plug(index)
        for index in range(self.count):
            cut(world, index, up=True)
            world.client_endpoint.set_link_usable(f"wwan{index}", True, world.now)
        world.run(world.now + 30.0, steps=200_000)
        assert session_of(world, "client").id == session_of(world, "server").id
        before = len(world.client.packets), len(world.server.packets)
        for side in ("client", "server"):
            self.send(side, 20)
        world.run(world.now + 10.0, steps=200_000)
        assert len(world.client.packets) == before[0] + 20
        assert len(world.server.packets) == before[1] + 20
        for side in ("client", "server"):
            assert [path.state for path in session_of(world, side).paths.values()] == [
                "up"
            ] * self.count


BLAMELESS = {
    "client_offline",  # the server knows of no session
    "destination_unknown",  # a server just started has given out no address
    "source_not_allowed",
    "handshake_index",  # answers that come after the next question
    "handshake_unexpected",
    "hint_rate",
    "hint_unexpected",
    "index_unknown",  # the other side's old session
    "key_expired",
    "no_session",
    "path_unknown",  # datagrams of a path that has been removed
    "replayed",
}
"""What a network as bad as this one explains."""

TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=FEW, stateful_step_count=30)


@pytest.mark.parametrize("side", ["client", "server"])
def test_every_flow_keeps_its_order_among_many(side):
    world = world_of(0.010, 0.035, 0.060, seed=3)
    change_links(world, loss=0.03)
    own = client_address(world)
    source, destination = (own, WEB) if side == "client" else (WEB, own)
    for turn in range(20):
        batch = [
            udp_run(1, first=turn, port=port, size=500, make=between(source, destination))[0]
            for port in range(1000, 1100)
        ]
        world.at(1.0 + turn * 0.02, lambda batch=batch: world.send(side, batch))
    world.run(3.0)
    flows = {}
    for _, packet in getattr(world, RECEIVER[side]).packets:
        flows.setdefault(packet[20:22], []).append(number_of(packet))
    assert len(flows) == 100
    assert all(numbers == sorted(set(numbers)) for numbers in flows.values())


def between(source, destination):
    return lambda **fields: ipv4(source=source, destination=destination, **fields)


def watch_survivors(world, side):
    """Which of a side's packets the network lets through to the other; call what is returned."""
    session = session_of(world, RECEIVER[side])
    handle, seen, halves = session.handle_opened, set(), {}

    def watch(path_id, number, plain, *rest):
        for part in parse_frames(plain).data:
            kind = part.flags & (FIRST_PART | LAST_PART)
            if kind:
                both = halves.setdefault((part.lane, part.sequence), {})
                both[kind] = part.packet
                if len(both) == 2:
                    seen.add(number_of(both[LAST_PART]))
            else:
                seen.add(number_of(part.packet))
        handle(path_id, number, plain, *rest)

    session.handle_opened = watch
    return lambda: seen


def shuffle(world, spread):
    """Let datagrams overtake each other by up to `spread` seconds on their way to the server."""
    for index, (up, down) in enumerate(world.links):
        delay = up.shape.delay + spread / 2
        shape = replace(up.shape, delay=delay, jitter=spread / 2, reorder=True)
        world.links[index] = Link(shape, seed=index), down


def disorder(numbers):
    """How many packets have a later one before them."""
    highest, count = -1, 0
    for number in numbers:
        count += number < highest
        highest = max(highest, number)
    return count
