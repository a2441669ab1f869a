"""Reports show the numbers that are in the results, and leave out what does not count."""

import dataclasses
import re
import struct
import zlib

import pytest

from bench.errors import BenchError
from bench.report import benchmarks, page, pictures, plots, tables
from bench.report.figures import METRICS, Cell, best, cell, efficiency, headline
from tests.results import made

SECONDS = 4.0


def carrying(rate, **more):
    """A result with a goodput (Mbit/s) of our choice; equal4 offers 32."""
    base = made(seconds=SECONDS, **more)
    return dataclasses.replace(base, goodput={"down": rate * 1e6, "up": None})


@pytest.fixture(scope="module")
def results():
    rates = {"bare": (7.0, 7.2, 7.6), "single": (6.4,), "rr": (24.0,), "weighted": (28.8, 28.16)}
    found = [
        carrying(rate, system=system, repetition=n, seed=n + 1)
        for system, many in rates.items()
        for n, rate in enumerate(many)
    ]
    found.append(carrying(32.0, system="rr", repetition=1, seed=2, late=True))
    found.append(carrying(27.0, system="weighted", clock="sim"))
    found += [made(workload="voice_tcp", system=name, seconds=SECONDS) for name in ("bare", "rr")]
    found.append(made(workload="pages", seconds=SECONDS))
    return found


def cells(text, start):
    """The cells of the first row that begins with a text."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [part.strip() for part in line.split("|")[2:-1]]


@pytest.fixture(scope="module")
def report(results, tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    file = page.write(results, directory / "new")
    return file.parent, file.read_text()


def test_the_overview_has_medians_with_their_spread_and_the_best_in_bold(report):
    assert cells(report[1], "`equal4`") == [
        *("32.0", "0.23 ±.01", "0.20", "0.75", "**0.89 ±.01**"),
    ]


def test_details_state_goodput_also_by_the_best_link(report):
    text = report[1]
    assert cells(text, "goodput, Mbit/s") == ["7.20 ±.30", "6.40", "24.00", "**28.48 ±.32**"]
    assert cells(text, "of the best link alone")[2:] == ["3.33", "**3.96 ±.04**"]
    assert cells(text, "of mpbond over one link")[2:] == ["3.75", "**4.45 ±.05**"]


def test_what_does_not_count_is_refused_with_its_reason_and_never_averaged_in(report):
    text = report[1]
    assert cells(text, "lab") == [
        "equal4",
        "`rr`",
        "`tcp1_down_cubic`",
        "2",
        "the emulator was late",
    ]
    assert cells(text, "`equal4`")[3] == "0.75"


def test_details_have_calls_pages_cpu_and_lateness(report):
    text = report[1]
    assert cells(text, "call, round trip p95, ms")
    assert cells(text, "call, MOS")
    assert cells(text, "page p50, s") == ["0.60"]
    assert cells(text, "CPU of client, s/GB")
    assert cells(text, "emulator late, p99, ms")[0] == "0.40"


def test_the_report_says_what_was_measured_on_what(report):
    text = report[1]
    assert "12 measurements of 4 s each, of which 11 count" in text
    assert "made 2026-01-02" in text


def test_every_picture_is_there_and_is_a_png(report):
    directory, text = report
    names = re.findall(r"\]\((\S+\.png)\)", text)
    assert len(names) == len(set(names)) >= 9
    assert {file.name for file in directory.glob("*.png")} == set(names)
    for name in names:
        width, height = size_of_png((directory / name).read_bytes())
        assert width == plots_width()
        assert 200 < height < 3000


def plots_width():
    from bench.report import multiples

    return round(multiples.WIDTH * multiples.DPI)


def size_of_png(data):
    """The size in pixels; complains of any chunk that is broken."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    place, chunks, packed = 8, [], b""
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        body = data[place + 8 : place + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack_from(">I", data, place + 8 + length)[0]
        chunks.append((kind, body))
        packed += body if kind == b"IDAT" else b""
        place += 12 + length
    assert chunks[-1][0] == b"IEND"
    assert len(set(zlib.decompress(packed))) > 8  # something is drawn
    return struct.unpack_from(">II", chunks[0][1])


def test_a_report_without_plots_has_tables_only(results, tmp_path):
    text = page.write(results, tmp_path, plots=False).read_text()
    assert ".png" not in text
    assert list(tmp_path.iterdir()) == [tmp_path / "report.md"]


def test_a_report_of_nothing_is_an_error(tmp_path):
    with pytest.raises(BenchError, match="no results to report on"):
        page.write([], tmp_path)


@pytest.mark.parametrize("draw", [plots.throughput, plots.queue_delay])
def test_there_is_no_plot_of_what_does_not_count(draw, tmp_path):
    assert not draw([made(late=True)], tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ("shared_link", "over time, somebody else's download on link 1 included: one TCP flow"),
        ("equal4", "over time: one TCP flow"),
        ("of_long_ago", "over time: one TCP flow"),
    ],
)
def test_a_plot_of_a_shared_link_says_whose_packets_are_in_it(scenario, said):
    assert said in pictures.throughput([], "sim", scenario, "tcp1_down_cubic").caption


def test_efficiency_of_both_directions_is_over_the_capacity_of_both():
    base = made(seconds=SECONDS)
    both = dataclasses.replace(base, goodput={"down": 16e6, "up": 8e6}, workload="tcp1_both_cubic")
    assert efficiency(both) == pytest.approx(24 / 64)


def test_the_best_link_alone_is_the_one_that_carried_most_by_scenario():
    found = [
        carrying(3.0, system="bare:0"),
        carrying(6.0, system="bare:1"),
        carrying(7.0, system="bare:1", repetition=1, seed=2),
        carrying(28.8, system="weighted"),
        carrying(5.0, system="bare:0", scenario="cable_adsl"),
        carrying(4.0, system="bare:1", scenario="cable_adsl"),
    ]
    text = tables.overview(found, METRICS["efficiency"])
    assert cells(text, "`equal4`")[1:] == ["0.20 ±.02", "**0.90**"]
    assert cells(text, "`cable_adsl`")[1:] == ["0.10", ""]
    assert "bare:" not in text


def test_the_best_is_not_marked_when_all_are_alike():
    metric = METRICS["efficiency"]
    alike = [Cell(0.501, 0.5, 0.5, 1), Cell(0.502, 0.5, 0.5, 1), None]
    assert best(alike, metric) == set()
    assert best([*alike, Cell(0.6, 0.6, 0.6, 1)], metric) == {3}
    assert best([Cell(3, 3, 3, 1), Cell(2, 2, 2, 1)], METRICS["voice_p95"]) == {1}


def test_a_cell_of_results_that_do_not_count_is_empty():
    assert cell([made(late=True)], METRICS["efficiency"]) is None


def test_a_headline_is_one_line():
    assert headline(carrying(16.0)) == "16.00 Mbit/s, 0.50 of what was offered"
    assert headline(made(late=True)) == "the emulator was late"


def test_agreement_is_judged_by_a_tenth():
    near = [carrying(20.0, system="rr"), carrying(21.0, system="rr", clock="sim")]
    far = [carrying(20.0, system="xor"), carrying(23.0, system="xor", clock="sim")]
    text = tables.agreement([*near, *far, carrying(1.0, system="bare")])
    lines = text.splitlines()[2:]
    assert lines == [
        "| `equal4` | `rr` | `tcp1_down_cubic` | 0.66 | 0.62 | 1.05 | yes |",
        "| `equal4` | `xor` | `tcp1_down_cubic` | 0.72 | 0.62 | 1.15 | **no** |",
    ]


def test_measurements_of_another_length_are_no_repetitions(tmp_path):
    short, long = carrying(16.0), dataclasses.replace(carrying(32.0), seconds=8.0)
    text = page.write([short, long], tmp_path, plots=False).read_text()
    assert "real clock, 4 s\n" in text
    assert "real clock, 8 s\n" in text
    assert cells(text, "`equal4`") == ["32.0", "0.50"]
    assert tables.alike([short, long, dataclasses.replace(short, seed=2)])[-1].seed == 2
    assert tables.agreement([short, dataclasses.replace(long, clock="sim")]) == ""


PAGE = """\
# Words of a person

<!-- made: overview lab tcp1_down_cubic efficiency -->
old
<!-- end -->
More words.
<!-- made: summary lab tcp1_down_cubic -->
<!-- end -->
<!-- made: overview lab udp efficiency -->
of another day
<!-- end -->
<!-- made: overview lab quic efficiency -->
<!-- end -->
<!-- made: overview sim udp efficiency -->
<!-- end -->
"""


def test_the_page_of_benchmarks_keeps_its_words_and_renews_its_figures(results, tmp_path):
    file = tmp_path / "benchmarks.md"
    file.write_text(PAGE)
    left = benchmarks.write(results, file)
    once = file.read_text()
    assert "# Words of a person" in once
    assert "More words." in once
    assert "old" not in once
    assert cells(once, "`equal4`")[0] == "32.0"
    assert "](benchmarks/lab-tcp1_down_cubic-efficiency-4s.png)" in once
    assert (tmp_path / "benchmarks/lab-tcp1_down_cubic-efficiency-4s.png").exists()
    assert "lab udp efficiency -->\nof another day\n<!-- end -->" in once
    assert "lab quic efficiency -->\n\nNot measured.\n\n<!-- end -->" in once
    assert left.kept == ["overview lab udp efficiency"]
    assert left.empty == ["overview lab quic efficiency", "overview sim udp efficiency"]
    assert benchmarks.write(results, file) == left
    assert file.read_text() == once


def test_what_needs_a_clock_that_was_not_measured_may_stay_empty(tmp_path):
    file = tmp_path / "page.md"
    needing = ("overview lab udp efficiency", "agreement", "checks", "lateness")
    file.write_text("".join(f"<!-- made: {what} -->\n<!-- end -->\n" for what in needing))
    simulated = dataclasses.replace(made(clock="sim", seconds=1.0), lateness=None)
    assert benchmarks.write([simulated], file) == benchmarks.Left()
    assert file.read_text().count("Not measured.") == 4


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<!-- made: overvieuw -->\n<!-- end -->\n", "no block 'overvieuw'; did you mean overview"),
        ("<!-- made: overview lab -->\n<!-- end -->\n", "takes 3 words"),
        ("<!-- made: overview lab udp x -->\n<!-- end -->\n", "no metric 'x'"),
        ("<!-- made: agreement -->\n", "does not end"),
    ],
)
def test_a_page_with_a_wrong_block_is_left_alone(text, complaint, tmp_path):
    file = tmp_path / "page.md"
    file.write_text(text)
    with pytest.raises(BenchError, match=complaint):
        benchmarks.write([], file)
    assert file.read_text() == text
