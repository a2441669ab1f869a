"""Results are put together rightly, and survive being written and read."""

import dataclasses
import json
from pathlib import Path

import pytest

from bench import results
from bench.errors import BenchError
from bench.links.ledger import Ledger
from bench.links.shape import Background, Constant, LinkSpec, Shape
from bench.report import markdown
from bench.results import AppFigures, Result, VoiceFigures, measured
from bench.results.measured import Offer
from bench.results.provenance import tree
from bench.workloads import WORKLOADS
from tests.results import made

SPEC = LinkSpec.plain(rate_down=8e6, rate_up=4e6)


def build(**more):
    given = {
        "clock": "sim",
        "scenario": "equal4",
        "system": "weighted",
        "workload": WORKLOADS["tcp1_down_cubic"],
        "seed": 1,
        "seconds": 10.0,
        "window": (1.0, 11.0),
        "specs": [SPEC, SPEC],
        "ledgers": [{"down": Ledger(), "up": Ledger()} for _ in range(2)],
        "app": AppFigures(received={"down": 15_000_000, "up": None}),
    }
    return measured(**given | more)


def test_efficiency_is_goodput_over_the_capacity_of_all_links():
    result = build()
    assert result.capacity == {"down": 20_000_000, "up": 10_000_000}
    assert result.capacity_by_link == {"down": [10_000_000] * 2, "up": [5_000_000] * 2}
    assert result.goodput == {"down": 12e6, "up": None}
    assert result.efficiency == {"down": 0.75, "up": None}
    assert result.efficiency_of_link is None


def test_a_system_over_one_link_also_has_the_efficiency_of_that_link():
    app = AppFigures(received={"down": 9_000_000, "up": None})
    assert build(link=1, app=app).efficiency_of_link == {"down": 0.9, "up": None}


def test_a_pulled_link_offers_nothing_meanwhile():
    result = build(absences=[(1, 3.0, 5.55)])
    assert result.capacity_by_link["down"] == [10_000_000, 7_450_000]
    offered = result.timeline.capacity_down[1]
    assert offered[19:21] == [100_000, 0]
    assert offered[44:47] == [0, 50_000, 100_000]
    assert sum(offered) == 7_450_000


def test_the_timeline_begins_with_the_window_and_is_as_long():
    books = Ledger()
    books.book(500_000_000, 1_000_000, 700)  # before the window
    books.book(1_250_000_000, 7_000_000, 1500)
    ledgers = [{"down": books, "up": Ledger()}, {"down": Ledger(), "up": Ledger()}]
    timeline = build(ledgers=ledgers).timeline
    assert timeline.start == 1.0
    assert timeline.step == 0.1
    assert all(len(series) == 100 for series in timeline.down + timeline.capacity_up)
    assert timeline.down[0][:4] == [0, 0, 1500, 0]
    assert timeline.wait_down[0][:4] == [0, 0, 0.007, 0]


def test_capacity_by_bin_adds_up_to_the_whole_with_other_peoples_traffic():
    shape = Shape(rate=Constant(8e6), background=Background(rate=2e6))
    books = Ledger(foreign=[25_000] * 40)
    offer = Offer(shape, books)
    assert sum(offer.bins(10**9, 3 * 10**9)) == offer.bytes(10**9, 3 * 10**9) == 1_500_000


def test_cpu_is_also_told_by_what_was_carried():
    result = build(cpu={"client": 3.0})
    assert result.cpu_per_gb == {"client": pytest.approx(200.0)}
    nothing = build(cpu={"client": 3.0}, app=AppFigures(received={"down": 0, "up": None}))
    assert nothing.cpu_per_gb == {}


def test_a_call_is_told_by_shares_of_the_packets_sent():
    delays = [0.1] * 90 + [0.2] * 5 + [0.4] * 3 + [None] * 2
    call = VoiceFigures(sent=100, up=delays, down=[0.1] * 100, round_trips=delays)
    voice = build(app=AppFigures(received={"down": None, "up": None}, voice=call)).voice
    assert (voice.lost_up, voice.lost_down, voice.lost_round_trip) == (0.02, 0, 0.02)
    assert voice.later_than_150 == pytest.approx(0.10)
    assert voice.later_than_300 == pytest.approx(0.05)
    assert (voice.delay_up.p50, voice.delay_up.p95, voice.delay_up.max) == (0.1, 0.2, 0.4)
    assert voice.delay_up.p99 is None
    assert len(voice.cdf["round_trip"]) == 101
    assert voice.mos == voice.mos_up < voice.mos_down


def test_the_longest_gap_of_a_call_counts_what_was_not_there():
    delays = [0.05] * 50 + [None] * 100 + [0.05] * 50
    call = VoiceFigures(sent=200, up=delays, down=[0.05] * 200, round_trips=delays)
    voice = build(app=AppFigures(received={"down": None, "up": None}, voice=call)).voice
    assert voice.longest_gap == pytest.approx(101 * 0.02)


def test_a_call_that_was_never_answered_has_no_times():
    none = [None] * 10
    call = VoiceFigures(sent=10, up=none, down=none, round_trips=none)
    voice = build(app=AppFigures(received={"down": None, "up": None}, voice=call)).voice
    assert voice.round_trip.p50 is None
    assert voice.cdf == {"round_trip": []}
    assert voice.longest_gap == pytest.approx(0.2)


WORTH_KEEPING = [
    made(),
    made(workload="voice_tcp", system="bare:1"),
    made(workload="pages", late=True),
    build(
        app=AppFigures(received={"down": 1, "up": 2}, udp={"sent": 3, "lost": 2, "reordered": 1})
    ),
    results.failed(
        clock="lab",
        scenario="equal4",
        system="mptcp",
        workload="pull",
        seed=1,
        repetition=2,
        seconds=30,
        reason="it fell over",
    ),
]


@pytest.mark.parametrize("result", WORTH_KEEPING, ids=lambda result: result.workload)
def test_a_result_is_the_same_after_writing_and_reading(result):
    line = result.to_json()
    assert "\n" not in line
    assert Result.from_json(line) == result


def test_keys_of_a_newer_version_are_passed_over():
    result = made(workload="voice_tcp")
    document = json.loads(result.to_json())
    document["mood"] = "good"
    document["voice"]["colour"] = ["blue"]
    assert Result.from_json(json.dumps(document)) == result


def without(*path):
    document = json.loads(made(workload="voice_tcp").to_json())
    place = document
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return document


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("{", "no JSON"),
        ("[]", "a result is a JSON object"),
        ('{"format": 2}', "its format is 2; this version reads 1"),
        (without("scenario"), "scenario is missing"),
        (without("voice", "round_trip", "p95"), r"voice\.round_trip\.p95 is missing"),
        ("{}", "its format is None"),
    ],
)
def test_what_is_no_result_is_told_with_file_and_line(tmp_path, document, complaint):
    file = tmp_path / "results.jsonl"
    text = document if isinstance(document, str) else json.dumps(document)
    file.write_text(made().to_json() + "\n\n" + text + "\n")
    with pytest.raises(BenchError, match=rf"results\.jsonl:3: .*{complaint}"):
        results.read(file)


def test_a_value_of_the_wrong_kind_is_named(tmp_path):
    document = json.loads(made().to_json()) | {"seed": "one"}
    with pytest.raises(BenchError, match="seed is not as it should be: 'one'"):
        Result.from_json(json.dumps(document))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BenchError, match=r"cannot read results from .*nowhere"):
        results.read(tmp_path / "nowhere")


def test_the_later_result_of_a_key_replaces_the_earlier(tmp_path):
    first, other, again = made(share=0.5), made(system="bare"), made(share=0.8)
    file = tmp_path / "results.jsonl"
    results.append(file, [first, other])
    results.append(file, [again])
    assert results.read(file) == [again, other]


def test_a_line_that_was_broken_off_does_not_spoil_the_next(tmp_path):
    file = tmp_path / "results.jsonl"
    results.append(file, [made()])
    with file.open("a") as stream:
        stream.write('{"format":1,"clo')
    results.append(file, [made(system="bare")])
    assert [one.system for one in results.read(file)] == ["weighted", "bare"]


def test_a_last_line_that_was_broken_off_is_passed_over_with_a_note(tmp_path, capsys):
    file = tmp_path / "results.jsonl"
    results.append(file, [made(), made(system="bare")])
    file.write_text(file.read_text()[:-20])
    assert [one.system for one in results.read(file)] == ["weighted"]
    assert capsys.readouterr().err == f"{file}:2 was broken off and is passed over\n"


def test_a_last_line_that_lacks_nothing_but_its_newline_is_a_result(tmp_path, capsys):
    file = tmp_path / "results.jsonl"
    file.write_text(made().to_json())
    assert len(results.read(file)) == 1
    results.append(file, [made(system="bare")])
    assert len(results.read(file)) == 2
    assert capsys.readouterr().err == ""


def test_a_broken_line_in_the_middle_is_an_error(tmp_path):
    file = tmp_path / "results.jsonl"
    file.write_text('{"format":1,"clo\n' + made().to_json() + "\n")
    with pytest.raises(BenchError, match=r"results\.jsonl:1: this is no JSON"):
        results.read(file)


def test_a_full_disk_is_told_with_the_file():
    with pytest.raises(BenchError, match="cannot write results to /dev/full: No space left"):
        results.append(Path("/dev/full"), [made()])


def test_repetitions_seeds_and_trees_make_different_keys():
    base = made()
    others = [
        dataclasses.replace(base, repetition=1),
        dataclasses.replace(base, seed=2),
        dataclasses.replace(base, clock="sim"),
        dataclasses.replace(base, versions={"tree": "another"}),
    ]
    assert len({one.key for one in [base, *others]}) == 5


def test_a_commit_of_the_same_tree_makes_no_other_key():
    base = made()
    later = dataclasses.replace(base, versions=base.versions | {"commit": "another"})
    assert later.key == base.key


def test_results_from_before_there_were_trees_are_told_apart_by_commits():
    old = [dataclasses.replace(made(), versions={"commit": name}) for name in ("one", "two")]
    assert len({one.key for one in old}) == 2


def test_results_from_before_dropped_packets_were_told_do_not_tell_of_them():
    document = json.loads(made().to_json())
    del document["lateness"]["unread"], document["lateness"]["overrun"]
    lateness = Result.from_json(json.dumps(document)).lateness
    assert (lateness.unread, lateness.overrun) == (None, None)


def started(minute, *, share=0.5, late=False, tree="some"):
    base = made(share=share, seconds=1.0, late=late)
    when = f"2026-01-02T03:{minute:02}:00+00:00"
    return dataclasses.replace(base, started=when, versions={"tree": tree})


def test_reports_take_the_newest_of_what_several_trees_measured():
    old, other = started(1), made(system="bare")
    new = started(2, tree="another")
    assert results.newest([old, other, new]) == [new, other]
    assert results.newest([new, other, old]) == [new, other]


def test_a_refused_rerun_does_not_hide_what_is_valid(tmp_path):
    good, refused = started(1), started(2, late=True)
    assert results.newest([good, dataclasses.replace(refused, versions={})]) == [good]
    file = tmp_path / "results.jsonl"
    results.append(file, [good, refused])
    assert results.read(file) == [good]


def test_what_was_refused_is_told_until_it_is_made_good():
    first, second, good = started(1, late=True), started(2, late=True), started(0)
    assert results.newest([first, second]) == [second]
    assert markdown.refused(results.newest([first, second, good])) == ""


def project(root):
    """The files of a project, some of them measured."""
    for name in ("mpbond/core/a.py", "bench/b.c", "docs/c.md", "tests/d.py"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("something")
    return root


@pytest.mark.parametrize("name", ["docs/c.md", "tests/d.py", "bench/__pycache__/b.pyc", "bench/.x"])
def test_documents_tests_and_leavings_do_not_change_the_tree(tmp_path, name):
    before = tree(project(tmp_path))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("something else")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["mpbond/core/a.py", "bench/b.c", "bench/new.py"])
def test_what_is_measured_changes_the_tree_committed_or_not(tmp_path, name):
    before = tree(project(tmp_path))
    (tmp_path / name).write_text("something else")
    assert tree(tmp_path) != before


def test_a_file_that_moves_changes_the_tree(tmp_path):
    before = tree(project(tmp_path))
    (tmp_path / "bench/b.c").rename(tmp_path / "bench/c.c")
    assert tree(tmp_path) != before


def test_a_result_names_the_tree_it_measured():
    assert made().versions["tree"] == results.versions()["tree"]
