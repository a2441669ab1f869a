"""What the documents say in tables is what the code says."""

import ast
import dataclasses
import importlib
import re
import tomllib
from pathlib import Path

import pytest

from bench.report import benchmarks
from bench.report.figures import METRICS
from bench.scenarios import SCENARIOS
from bench.workloads import WORKLOADS
from mpbond.config import client as client_keys
from mpbond.config import model
from mpbond.config import server as server_keys
from mpbond.core import envelope
from mpbond.io import udp

ROOT = Path(__file__).parents[2]
PROTOCOL = (ROOT / "docs/protocol.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
UNITS = {"": 1, "bytes": 1, "s": 1, "ms": 0.001}


def rows(text, heading, columns):
    """The cells of the first table under a heading, without its two head lines."""
    under = text.split(f"\n{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", under, re.MULTILINE)[0]
    found = [[c.strip() for c in re.split(r"(?<!\\)\|", r)[1:-1]] for r in table.splitlines()[2:]]
    assert all(len(cells) == columns for cells in found), found
    return found


CONSTANTS = rows(PROTOCOL, "## 6. Constants", 3)


@pytest.mark.parametrize(("name", "value"), [cells[:2] for cells in CONSTANTS])
def test_constants_of_the_protocol_are_those_of_the_code(name, value):
    module, _, constant = name.strip("`").partition(".")
    number, _, unit = value.partition(" ")
    said = float(number) * UNITS[unit]
    meant = getattr(importlib.import_module(f"mpbond.core.{module}"), constant)
    assert said == pytest.approx(meant), f"{name} is {meant}"


def test_frame_types_are_those_of_the_code():
    wire = importlib.import_module("mpbond.core.wire")
    named = {cells[1]: cells[0] for cells in rows(PROTOCOL, "## 4. Frames", 4)}
    reserved = named.pop("STREAM, ETHERNET, PARITY")
    assert reserved == f"{wire.STREAM}, {wire.ETHERNET}, {wire.PARITY}"
    assert named.pop("DATA") == f"0x{wire.DATA:X} to 0xFF"
    assert {name: getattr(wire, name) for name in named} == {k: int(v) for k, v in named.items()}


def test_the_example_of_an_ack_is_right():
    wire = importlib.import_module("mpbond.core.wire")
    block = wire.AckBlock(0, 20, 0, 0.0, ((0, 4), (7, 7)))
    body = wire.ack_frame(wire.AckFrame(1, None, (block,)))[3:]
    assert body[-4:] == bytes((0, 4, 2, 0))
    assert wire.parse_ack(body).blocks == (block,)


def reasons_in_the_code():
    """Every word under which the program counts a drop, found in its sources."""
    found = set(envelope.REASONS) | set(udp._REFUSALS.values())
    for file in (ROOT / "mpbond").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Subscript) and "drops" in ast.unparse(node.value):
                found |= texts(node.slice)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "HandshakeError":
                found |= texts(*node.args)
            elif isinstance(node, ast.Constant) and str(node.value).startswith("send_"):
                found.add(node.value)
    return found


def texts(*nodes):
    return {
        part.value
        for node in nodes
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def test_every_drop_reason_is_explained_and_no_other():
    explained = [cells[0].strip("`") for cells in rows(OPERATIONS, "## 9. Drop reasons", 2)]
    assert explained == sorted(explained)
    assert set(explained) == reasons_in_the_code()


TABLES = {
    "### `[client]`": (client_keys._CLIENT, model.ClientConfig),
    "### `[concentrator]`": (client_keys._CONCENTRATOR, model.ConcentratorConfig),
    "### `[link.NAME]`": (client_keys._LINK, model.LinkConfig),
    "### `[server]`": (server_keys._SERVER, model.ServerConfig),
    "### `[[client]]`": (server_keys._CLIENT, model.PeerConfig),
}


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_of_the_configuration_is_described_and_no_other(heading):
    described = {cells[0].strip("`") for cells in rows(OPERATIONS, heading, 4)}
    assert described == set(TABLES[heading][0])


DEFAULTS = [
    (heading, cells[0].strip("`"), cells[2].strip("`"))
    for heading in TABLES
    for cells in rows(OPERATIONS, heading, 4)
    if cells[2].startswith("`") and "<" not in cells[2]
]


@pytest.mark.parametrize(("heading", "key", "said"), DEFAULTS)
def test_defaults_of_the_configuration_are_those_of_the_code(heading, key, said):
    fields = {field.name: field for field in dataclasses.fields(TABLES[heading][1])}
    assert plain(fields[key].default) == tomllib.loads(f"x = {said}")["x"]


MEASURED = pytest.mark.parametrize("name", ["docs/benchmarks.md", "README.md"])


@MEASURED
def test_the_figures_of_the_benchmarks_can_be_made(name, tmp_path):
    """Nothing was measured here, but every block is known and has its words."""
    text = (ROOT / name).read_text()
    page = tmp_path / "page.md"
    page.write_text(text)
    benchmarks.write([], page)
    assert page.read_text().count("<!-- end -->") == text.count("<!-- made: ")


@MEASURED
def test_the_benchmarks_name_what_is_there(name):
    known = {"sim", "lab", *SCENARIOS, *WORKLOADS, *METRICS}
    text = (ROOT / name).read_text()
    blocks = [what.split() for what in re.findall(r"<!-- made: (.*?) -->", text)]
    assert blocks
    assert {word for _, *words in blocks for word in words} <= known


def plain(default):
    """A default as TOML would write it."""
    if default is None:
        return "auto"
    if isinstance(default, tuple):
        return [str(item) for item in default]
    return default if isinstance(default, bool | int | float | str) else str(default)
