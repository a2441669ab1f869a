"""What a laboratory makes of a tunnel's counters, and of trouble that was cut short; without a network."""

from types import SimpleNamespace

import pytest

from bench import scenarios, workloads
from bench.lab import run
from bench.lab.run import Laboratory
from bench.lab.systems import Carrier, Counts


def sides(server, client):
    return {"client": Counts(*client), "server": Counts(*server)}


def test_what_a_tunnel_did_in_between_is_told_by_direction():
    before = sides(server=(100, 50, 1), client=(60, 90, 0))
    after = sides(server=(300, 80, 5), client=(95, 288, 0))
    tunnel = run.tunnel(before, after)
    assert tunnel.sent == {"down": 204, "up": 35}
    assert tunnel.received == {"down": 198, "up": 30}
    assert tunnel.dropped == {"down": 4, "up": 0}
    assert tunnel.lost == 2 + 5


def test_a_tunnel_is_asked_until_nothing_is_under_way(monkeypatch):
    monkeypatch.setattr(run.time, "sleep", lambda _: None)
    seen = [sides((n, 0, 0), (0, n, 0)) for n in (5, 7, 9, 9, 12)]
    asked = iter(seen)
    assert run.settled(lambda: next(asked)) == seen[3]
    endless = (sides((n, 0, 0), (0, n, 0)) for n in range(100))
    assert run.settled(lambda: next(endless))["server"].sent == run.REST_LOOKS


@pytest.fixture
def laboratory():
    """A laboratory whose network only notes what is done to it, and what it has noted."""
    built = Laboratory(scenarios.get("cable_adsl"))
    noted = []

    def note(name):
        return lambda *what: noted.append((name, *what))

    names = ("pull", "restore", "silence", "unsilence", "lose")
    built.lab = SimpleNamespace(**{name: note(name) for name in names})
    return built, noted


@pytest.mark.parametrize(
    ("workload", "done"),
    [
        ("pull", [("pull", 0), ("restore", 0)]),
        ("pull_other", [("pull", 1), ("restore", 1)]),
        ("silent", [("silence", 0), ("unsilence", 0)]),
        ("bad", [("lose", 0, 0.5), ("lose", 0, None)]),
    ],
)
def test_trouble_befalls_the_links_in_its_order(laboratory, workload, done):
    built, noted = laboratory
    for _, act in built._acts(workloads.get(workload), 30.0, Carrier()):
        act()
    assert noted == done
    built._put_back()
    assert noted == done


@pytest.mark.parametrize(
    ("workload", "undone"), [("pull_other", ("restore", 1)), ("silent", ("unsilence", 0))]
)
def test_trouble_that_was_cut_short_is_taken_back(laboratory, workload, undone):
    built, noted = laboratory
    _, act = next(built._acts(workloads.get(workload), 30.0, Carrier()))
    act()
    built._put_back()
    built._put_back()
    assert noted[1:] == [undone]
