"""Reading, writing and describing traces."""

import pytest

from bench.errors import BenchError
from bench.links import traces


def test_a_trace_is_read_as_it_was_written(tmp_path):
    file = tmp_path / "drive.down"
    traces.write(file, (0, 0, 3, 1000))
    assert file.read_text() == "0\n0\n3\n1000\n"
    trace = traces.read(file, offset=0.5, scale=2.0)
    assert trace.times == (0, 0, 3, 1000)
    assert (trace.name, trace.offset, trace.scale) == ("drive.down", 0.5, 2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": a trace has a line"),
        ("1\n2\nthree\n", r":3: expected a time in whole milliseconds, not 'three'"),
        ("1\n\n2\n", r":2: expected .* not ''"),
        ("1\n2.5\n", r":2: expected .* not '2.5'"),
        ("-1\n2\n", r":1: expected .* not '-1'"),
        ("1_0\n", r":1: expected .* not '1_0'"),
        ("1\n" + 5000 * "9", r":2: expected .* not '9{40}'"),
        ("5\n7\n6\n", r":3: times never fall, but 6 comes after 7"),
        ("0\n0\n", r":2: the last opportunity of a trace comes after 0 ms"),
        ("١\n", r":1: expected"),
    ],
)
def test_a_bad_trace_is_refused_with_file_and_line(tmp_path, text, message):
    file = tmp_path / "bad.up"
    file.write_text(text, "utf-8")
    with pytest.raises(BenchError, match=r"bad\.up" + message):
        traces.read(file)


def test_files_that_cannot_be_read_or_written_are_named(tmp_path):
    missing = tmp_path / "no" / "such.down"
    with pytest.raises(BenchError, match=r"cannot read the trace .*such\.down: No such file"):
        traces.read(missing)
    with pytest.raises(BenchError, match=r"cannot write the trace .*such\.down: No such file"):
        traces.write(missing, (1,))


def test_a_trace_is_described_by_its_whole_seconds_and_its_longest_gap():
    # 20 whole seconds: second n has n opportunities; then half a second that counts for the mean only.
    times = [1000 * second + number for second in range(20) for number in range(second)]
    what = traces.statistics([*times, 20_500])
    unit = traces.OPPORTUNITY * 8
    assert what.length == 20.5
    assert what.mean == pytest.approx(191 * unit / 20.5)
    assert (what.p5, what.p50, what.p95) == (1 * unit, 10 * unit, 19 * unit)
    assert what.longest_gap == 1.482


def test_a_gap_before_the_first_opportunity_counts():
    assert traces.statistics((3000, 3001)).longest_gap == 3.0


def test_a_recording_shorter_than_a_second_is_described_too():
    what = traces.statistics((100, 500))
    assert what.p5 == what.p95 == 2 * traces.OPPORTUNITY * 8


def test_the_directory_of_recordings_can_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv(traces.VARIABLE, str(tmp_path))
    assert traces.directory() == tmp_path
    monkeypatch.delenv(traces.VARIABLE)
    assert traces.directory() == traces.BESIDE
