"""Single steps of the fast path: all can be set up and do what they say, and clocks are read right."""

import pytest

from bench.errors import BenchError
from bench.micro import instructions, items, makes, measure
from bench.micro.items import Item, Running
from bench.micro.loop import PAYLOAD, Loop

ALL = items.items()
SURE = [item for item in ALL if item.name != "core super"]


@pytest.mark.parametrize("item", SURE, ids=[item.key for item in SURE])
def test_every_item_does_what_it_is_timed_for(item):
    running = item.make()
    assert item.prepared == (running.before is not None)
    done = 0
    for _ in range(2):
        if running.before is not None:
            running.before()
        done += running.call()
    if item.name == "core":  # what comes out comes half a round trip later
        assert 0 < done + sum(running.call() for _ in range(100)) <= 102 * 2 * item.batch
    else:
        assert done == 2 * item.batch


def test_super_packets_go_through_the_core_or_it_is_said_that_they_do_not():
    (item,) = items.select(["core super"])
    figure = measure.measure(item, repetitions=1, seconds=0.001)
    assert figure.skipped == "this core takes no super-packets" or figure.nanoseconds > 0


def test_the_whole_core_carries_what_is_handed_in():
    loop = Loop(2)
    packets = loop.packets(30)
    loop.hand_in(packets)
    items.settle(loop)
    assert loop.delivered == 30 * PAYLOAD


@pytest.mark.parametrize(
    ("functions", "core", "name"),
    [
        (False, False, "python"),
        (True, False, "kernel"),
        (True, True, "compiled"),
        (False, True, "core"),
    ],
)
def test_a_make_is_named_by_what_is_compiled(functions, core, name):
    assert makes.make_of(functions=functions, core=core) == name


def test_every_item_says_which_make_it_is_of():
    assert {item.made for item in ALL} == {makes.IN_USE}
    assert items.select(["seal/44"])[0].key == f"seal/44/{makes.IN_USE}"


def test_functions_that_open_nothing_are_not_measured(monkeypatch):
    broken = {**makes.functions(), "unseal": lambda _pair, batch: [None] * len(batch)}
    monkeypatch.setattr(items, "functions", lambda: broken)
    (item,) = items.select(["open/44"])
    figure = measure.measure(item, repetitions=1, seconds=0.001)
    assert figure.skipped == "it does not open what was sealed"
    assert "skipped: it does not open" in figure.text()


def test_an_item_there_is_not_is_answered_with_those_there_are():
    with pytest.raises(BenchError, match="no item 'sael'; did you mean seal"):
        items.select(["sael"])


class Clock:
    """Advances when somebody works."""

    now = 0

    def __call__(self):
        return self.now


def test_a_tight_loop_is_timed_as_a_whole():
    clock = Clock()

    def call():
        clock.now += 3000
        return 10

    assert measure.repetition(Running(call), 5, clock) == 300


def test_what_comes_before_a_call_is_not_timed_and_one_slow_call_does_not_count():
    clock, took = Clock(), iter([1000, 90_000, 1200, 1100, 900])

    def before():
        clock.now += 1_000_000

    def call():
        clock.now += next(took)
        return 10

    assert measure.repetition(Running(call, before), 5, clock) == 110


def test_an_item_that_does_nothing_is_an_error():
    with pytest.raises(BenchError, match="nothing was done"):
        measure.repetition(Running(lambda: 0), 5, Clock())
    with pytest.raises(BenchError, match="nothing was done"):
        measure.repetition(Running(lambda: 0, lambda: None), 5, Clock())


def test_a_figure_is_the_median_of_repetitions():
    clock, calls = Clock(), []

    def call():
        calls.append(1)
        clock.now += 1000 if len(calls) <= 20 * 2 else 2000
        return 1

    item = Item("thing", 1, "python", lambda: Running(call))
    figure = measure.measure(item, repetitions=3, seconds=20e-6, clock=clock)
    assert (figure.nanoseconds, figure.spread) == (2000, 500)
    assert "2,000 ns ±500" in figure.text()


def test_instructions_are_read_where_they_were_counted():
    there = "12345,,instructions:u,1000,100.00,,\n"
    assert instructions.parse_perf(there) == 12345
    assert instructions.parse_perf("<not supported>,,instructions:u,0,100.00,,\n") is None
    assert instructions.parse_callgrind("events: Ir\nsummary: 7\ntotals: 42\n") == 42
    with pytest.raises(BenchError, match="no total"):
        instructions.parse_callgrind("events: Ir\n")


def test_instructions_of_start_and_set_up_are_taken_off(monkeypatch):
    (item,) = items.select(["seal/44"])
    told = {f"{item.key}:0": (1_000_000, 0), f"{item.key}:10": (1_440_000, 440)}
    monkeypatch.setattr(instructions, "_by_callgrind", lambda *_: told)
    others = items.select(["ack"])  # cannot be counted
    assert instructions.count([item, *others], instructions.CALLGRIND) == {item.key: 1000}
