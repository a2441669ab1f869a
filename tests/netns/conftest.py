"""Laboratories for the tests, and what every one of them must show at its end.

A test asks for `laboratory`, and builds the network it needs:

    lab = laboratory(LinkSpec(), LinkSpec())          # wwan0, wwan1
    lab.start_server()
    lab.start_client()

At the end every program still running is asked to stop by SIGTERM; each must leave with status 0
and must not have logged an error or a traceback. When a test fails, what the programs said and
their last status is added to the report.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from bench.lab import Lab, LinkSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Laboratory = Callable[..., Lab]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/netns/" in str(item.path):
            item.add_marker(pytest.mark.netns)


@pytest.fixture
def laboratory(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    """Returns a function that builds a laboratory of the given links."""
    with contextlib.ExitStack() as running:
        yield _builder(request.node, running)


@pytest.fixture(scope="module")
def module_laboratory(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    """As `laboratory`, for a network that the tests of a module share."""
    with contextlib.ExitStack() as running:
        yield _builder(request.node, running)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for node in item.listchain():
            for lab in node.stash.get(LABS, ()):
                report.sections += _sections(lab)


LABS = pytest.StashKey[list[Lab]]()


def _builder(node: pytest.Item | pytest.Collector, running: contextlib.ExitStack) -> Laboratory:
    node.stash[LABS] = []

    def build(*links: LinkSpec, **options: int) -> Lab:
        lab = running.enter_context(Lab(links=links, **options))
        running.callback(_end_well, lab)
        node.stash[LABS].append(lab)
        return lab

    return build


def _end_well(lab: Lab) -> None:
    for side, child in lab.bond.running.items():
        if child.poll() is None:
            lab.stop(child)
            assert child.returncode == 0, f"{side} ended with status {child.returncode}"
        said = lab.bond.log(side)
        assert "Traceback" not in said, said
        assert "ERROR" not in said, said


def _sections(lab: Lab) -> Iterator[tuple[str, str]]:
    for side in lab.bond.running:
        yield f"mpbond {side} said", lab.bond.log(side)[-4000:]
        with contextlib.suppress(OSError):
            yield f"mpbond {side} status", json.dumps(lab.status(side), indent=1)[:8000]
