"""The core reads no clock, opens nothing and throws no dice of its own: all of that is handed in."""

import ast
from pathlib import Path

import pytest

import mpbond.core
import mpbond.runtime

IMPURE = {
    "asyncio",
    "datetime",
    "logging",
    "os",
    "random",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "time",
}
CORE = Path(mpbond.core.__file__).parent
PRODUCT = CORE.parent
BENCH = PRODUCT.parent / "bench"


def test_there_is_a_core_to_look_at():
    assert len(list(CORE.glob("*.py"))) > 20


@pytest.mark.parametrize("module", sorted(CORE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_of_the_core_imports_anything_impure(module):
    assert imported(module) & IMPURE == set()


def test_the_core_asks_nobody_for_the_time_or_for_a_file():
    for module in CORE.rglob("*.py"):
        called = {
            node.func.id
            for node in ast.walk(ast.parse(module.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert called & {"open", "print", "input", "__import__", "exec", "eval"} == set(), module


def test_what_counts_as_imported_leaves_out_what_is_for_types_alone(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        "import os.path\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from random import Random\n"
        "else:\n    import socket\n"
        "def later():\n    from time import monotonic\n"
    )
    assert imported(module) == {"os", "typing", "socket", "time"}


@pytest.mark.parametrize(
    ("program", "endpoint"), [("client.py", "ClientEndpoint"), ("server.py", "ServerEndpoint")]
)
def test_the_programs_hand_the_systems_randomness_to_the_core(program, endpoint):
    calls = calls_of(PRODUCT / "runtime" / program, endpoint)
    assert [ast.unparse(call.args[-1]) for call in calls] == ["SystemRandom()"]


def test_nothing_in_the_product_makes_a_seeded_generator():
    for module in PRODUCT.rglob("*.py"):
        assert calls_of(module, "Random") == [], module


def test_only_what_has_a_virtual_clock_drives_the_core_with_one():
    users = [
        module.relative_to(BENCH).parts[0]
        for module in BENCH.rglob("*.py")
        for endpoint in ("ClientEndpoint", "ServerEndpoint")
        for call in calls_of(module, endpoint)
        if ast.unparse(call.args[-1]) != "SystemRandom()"
    ]
    assert set(users) == {"sim", "micro"}


def imported(module):
    """The first names of what a module imports when it runs."""
    names = set()
    waiting = list(ast.parse(module.read_text()).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in (
            "TYPE_CHECKING",
            "typing.TYPE_CHECKING",
        ):
            waiting += node.orelse
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
        else:
            waiting += list(ast.iter_child_nodes(node))
    return names


def calls_of(module, name):
    """Where a module calls a name, as `name(...)` or as `something.name(...)`."""
    return [
        node
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name
    ]
