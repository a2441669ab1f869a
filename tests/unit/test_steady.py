"""Which UDP flows are calls and games, by their pace. Times are made up; nothing waits."""

from random import Random

import pytest

from mpbond.core.classes import Classes
from mpbond.core.packet import REALTIME
from mpbond.core.steady import FORGOTTEN, LIMIT, NEEDED, SMALL, SteadyFlows
from tests.packets import UDP, ipv4, ipv6

RTP = b"\x80"
HEAD = 28  # bytes of IPv4 and UDP header
VOICE = 200


def datagram(size=VOICE, *, first=RTP, ports=(4000, 4002), make=ipv4):
    """A UDP packet of `size` bytes (of IPv4) whose content begins with `first`."""
    return make(ports=ports, payload=bytes(4) + first + bytes(size - HEAD - len(first)))


def play(schedule, classes=None, flow=1):
    """Feed (time, packet) pairs; return which were real-time."""
    classes = classes or Classes()
    return [classes.classify(packet, flow, now)[0] == REALTIME for now, packet in schedule]


def every(interval, count, start=0.0, **fields):
    packet = datagram(**fields)
    return [(start + number * interval, packet) for number in range(count)]


@pytest.mark.parametrize("make", [ipv4, ipv6])
@pytest.mark.parametrize("interval", [0.006, 0.010, 0.020, 0.030, 0.060, 0.099])
def test_a_call_is_found_after_some_packets_and_kept(make, interval):
    seen = play(every(interval, 3000, size=100, make=make))
    assert seen == [False] * NEEDED + [True] * (3000 - NEEDED)


@pytest.mark.parametrize(
    ("interval", "size"),
    [
        (0.003, 60),  # too fast
        (0.120, VOICE),  # too slow
        (0.010, SMALL),  # 320 kbit/s
        (0.020, SMALL + 1),  # too large
    ],
)
def test_what_is_not_the_pace_of_a_call_is_not_found(interval, size):
    assert not any(play(every(interval, 2000, size=size)))


def test_a_game_with_packets_of_changing_size_is_found():
    random = Random(5)
    schedule = [(n * 0.033, datagram(random.randint(60, 250))) for n in range(2000)]
    assert all(play(schedule)[NEEDED:])


@pytest.mark.parametrize("seed", range(5))
def test_jitter_and_loss_on_the_way_here_do_not_hide_a_call(seed):
    random = Random(seed)
    schedule, last = [], 0.0
    for number in range(5000):
        if random.random() < 0.01:
            continue
        last = max(last, number * 0.02 + abs(random.gauss(0, 0.010)))
        schedule.append((last, datagram()))
    seen = play(schedule)
    assert sum(seen) > 0.98 * len(seen), f"seed {seed}: {sum(seen)} of {len(seen)}"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("interval", [0.010, 0.030])
def test_packets_at_random_are_no_call(seed, interval):
    random, now, schedule = Random(seed), 0.0, []
    for _ in range(5000):
        now += random.expovariate(1 / interval)
        schedule.append((now, datagram(80)))
    share = sum(play(schedule)) / 5000
    assert share < 0.01, f"seed {seed}: {share}"


@pytest.mark.parametrize("clump", [2, 3, 8])
def test_acknowledgements_in_clumps_are_no_call(clump):
    schedule = [(n // clump * 0.020 * clump, datagram(70)) for n in range(2000)]
    assert not any(play(schedule))


def test_silence_in_a_call_does_not_end_it():
    seen, start = [], 0.0
    classes = Classes()
    for _ in range(20):
        seen += play(every(0.020, 60, start), classes)  # speech
        start += 60 * 0.020
        seen += play(every(0.400, 8, start + 0.4, size=48), classes)  # comfort noise
        start += 9 * 0.400
    assert seen == [False] * NEEDED + [True] * (len(seen) - NEEDED)


def test_after_a_long_silence_a_flow_begins_anew():
    classes = Classes()
    assert play(every(0.020, 100), classes)[-1]
    again = play(every(0.020, 100, 2.0 + FORGOTTEN + 0.1), classes)
    assert not again[0]
    assert again[NEEDED:] == [True] * (100 - NEEDED)


def test_old_sins_are_forgotten_after_a_long_silence():
    classes = Classes()
    for start in (0.0, 2.0):
        assert play(every(0.020, 90, start), classes)[-1]
        play([(start + 1.9, datagram(1200))], classes)
    again = play(every(0.020, 2 * NEEDED, 4.0 + FORGOTTEN), classes)
    assert again.index(True) == NEEDED


def test_a_call_that_turns_into_something_else_loses_its_place_soon():
    classes = Classes()
    assert play(every(0.020, 100), classes)[-1]
    burst = play(every(0.0, 40, 2.0), classes)
    assert burst.index(False) <= 24
    assert not any(burst[burst.index(False) :])
    assert play(every(0.020, 100, 2.02), classes)[-1]


def test_each_large_packet_costs_a_flow_its_place_for_longer():
    classes = Classes()
    waits, start = [], 0.0
    for _ in range(4):
        seen = play(every(0.020, 400, start), classes)
        waits.append(seen.index(True))
        start += 400 * 0.020
        assert play([(start, datagram(1200))], classes) == [False]
    after = [2 * NEEDED - 1, 4 * NEEDED - 1, 8 * NEEDED - 1]  # the time since the large one counts
    assert waits == [NEEDED, *after]


def test_sound_among_pictures_in_one_flow_is_left_alone():
    classes, schedule = Classes(), []
    for frame in range(900):  # 30 s
        schedule += [(frame / 30, datagram(1200))] * 3
        schedule += [(frame / 30 + 0.01, datagram(120))]
    assert not any(play(schedule, classes))


@pytest.mark.parametrize("ports", [(50000, 443), (443, 50000)])
@pytest.mark.parametrize("first", [b"\x40", b"\x5c", b"\x7f", b"\xc0\0\0\0\x01", b"\xd0\0\0\0\x09"])
@pytest.mark.parametrize("make", [ipv4, ipv6])
def test_paced_acknowledgements_of_quic_are_no_call(make, ports, first):
    assert not any(play(every(0.020, 500, size=70, first=first, ports=ports, make=make)))


@pytest.mark.parametrize("version", [b"\0\0\0\x01", b"\x6b\x33\x43\xcf"])
@pytest.mark.parametrize("size", [70, 1250])
def test_quic_on_another_port_is_known_by_how_it_began(version, size):
    classes = Classes()
    opening = datagram(size, first=b"\xc0" + version, ports=(4000, 8443))
    assert play([(0.0, opening)], classes) == [False]
    later = every(0.020, 500, 0.02, size=70, first=b"\x41", ports=(4000, 8443))
    assert not any(play(later, classes))
    assert play(later, classes, flow=2)[-1]


def test_quic_that_begins_on_a_flow_that_was_a_call_ends_it():
    classes = Classes()
    assert play(every(0.020, 100), classes)[-1]
    assert play([(2.0, datagram(first=b"\xc0\0\0\0\x01"))], classes) == [False]
    assert not any(play(every(0.020, 100, 2.02), classes))


def test_a_call_over_turn_on_port_443_is_found():
    size = 172
    channel = b"\x40\x01" + (size - HEAD - 4).to_bytes(2, "big")
    seen = play(every(0.020, 100, size=size, first=channel, ports=(50000, 443)))
    assert seen[NEEDED:] == [True] * (100 - NEEDED)


@pytest.mark.parametrize("first", [RTP, b"\x16\xfe\xfd", b"\0\x01"])  # RTP, DTLS, STUN
def test_calls_over_port_443_without_quic_are_found(first):
    assert play(every(0.020, 100, first=first, ports=(50000, 443)))[-1]


def test_tcp_and_fragments_are_not_watched():
    packet = ipv4(fragment=0x2000, payload=bytes(100))
    assert not any(play([(n * 0.02, packet) for n in range(100)]))
    packet = ipv4(protocol=6, payload=bytes(8) + b"\x60\x10" + bytes(90))
    assert not any(play([(n * 0.02, packet) for n in range(100)]))


def test_memory_is_bounded_and_calls_are_kept_whatever_else_comes():
    classes = SteadyFlows()
    packet = datagram()
    calls = range(50)
    for number in range(20):
        for call in calls:
            classes.observe(packet, HEAD, call, number * 0.02)
    for flow in range(1000, 1000 + 5 * LIMIT):
        classes.observe(packet, HEAD, flow, 0.4)
        assert len(classes) <= LIMIT
    assert all(classes.observe(packet, HEAD, call, 0.42) for call in calls)


def test_more_calls_than_can_be_watched_are_no_trouble():
    classes = SteadyFlows()
    packet = datagram()
    for number in range(NEEDED + 2):
        for call in range(LIMIT + 100):
            classes.observe(packet, HEAD, call, number * 0.02)
    assert len(classes) <= LIMIT


def test_quic_flows_remembered_are_bounded():
    classes = SteadyFlows()
    packet = datagram(first=b"\xc0\0\0\0\x01", ports=(4000, 8443))
    for flow in range(3 * LIMIT):
        classes.observe(packet, HEAD, flow, 0.0)
        assert len(classes) <= LIMIT


def test_many_small_packets_of_other_flows_do_not_slow_down_what_counts():
    """Watching more flows than there is room for throws half away at a time, not one each time."""
    classes, packet, thrown = SteadyFlows(), datagram(), 0
    before = 0
    for flow in range(4 * LIMIT):
        classes.observe(packet, HEAD, flow, 0.0)
        thrown += len(classes) < before
        before = len(classes)
    assert 0 < thrown <= 8


def test_short_content_is_no_trouble():
    assert play([(0.0, ipv4(ports=(1, 443), protocol=UDP, payload=bytes(4)))]) == [False]
