"""The client's links between the watcher's pictures, their policy and the core."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from pathlib import Path
from random import Random
from socket import AF_INET

import pytest

from mpbond.config import ClientConfig, LinkConfig, Quota
from mpbond.core.client import ClientEndpoint, ClientSettings
from mpbond.core.noise import public_key
from mpbond.io.netlink import LinkState
from mpbond.runtime import links
from mpbond.runtime.books import Books
from mpbond.runtime.links import Links
from mpbond.runtime.policy import LAST_RESORT, LinkPolicy
from tests.unit.test_policy import MAY, carried

METERED = LinkConfig(
    pattern="wwan0",
    weight=3.0,
    cap_up=5e5,
    cap_down=8e6,
    quota=Quota(volume=100_000, period="month"),
    quota_action="off",
)


class Driver:
    """Gives out numbers for sockets that nobody opens."""

    def __init__(self):
        self.sockets = 0

    def now(self):
        return 100.0

    def turn(self):
        pass

    def add_socket(self, port):
        self.sockets += 1
        return self.sockets

    def remove_socket(self, number):
        pass


class Bench:
    """Links over a real endpoint."""

    def __init__(self, directory, *settings):
        config = ClientConfig(
            path=Path("client.toml"),
            private_key=bytes(32),
            public_key=bytes(32),
            concentrator=None,
            links=("wwan*",),
            link_settings=settings,
        )
        keys = ClientSettings(private_key=bytes([1]) * 32, server_key=public_key(bytes([2]) * 32))
        self.endpoint = ClientEndpoint(keys, Random(1))
        self.policy = LinkPolicy(config, Books(directory, "mpbond0"))
        self.links = Links(Driver(), self.endpoint, self.policy)
        self.links.concentrator = [(AF_INET, ("192.0.2.1", 4510))]

    @property
    def link(self):
        return self.endpoint.links["wwan0"]

    def use_up(self, wall=MAY):
        self.policy.count([carried("wwan0", 200_000)], ["wwan0"], wall)
        self.links.obey("wwan0")


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(links, "UdpSocket", lambda *_args, **_keys: None)
    return lambda *settings: Bench(tmp_path, *settings)


def picture(*, gateway="10.0.0.1", up=True):
    return LinkState(
        name="wwan0",
        index=3,
        up=up,
        mtu=1500,
        addresses=(ip_interface("10.0.0.2/24"),),
        gateways=(ip_address(gateway),),
        point_to_point=False,
    )


def test_a_link_comes_with_its_settings_and_what_it_did_the_last_time(bench):
    with_books = bench(METERED)
    with_books.policy.books.learn("wwan0", 1e6, 7e6)
    with_books.links.update(picture(), usable=True)
    link = with_books.link
    assert (link.weight, link.tier, link.cap_up, link.cap_down) == (3.0, 0, 5e5, 8e6)
    assert (link.remembered_up, link.remembered_down) == (1e6, 7e6)
    assert link.usable


def test_what_is_set_reaches_the_core(bench):
    running = bench()
    running.links.update(picture(), usable=True)
    running.links.obey(running.policy.change("tier", "overflow", {"link": "wwan0"}))
    running.links.obey(running.policy.change("cap", 8e6, {"link": "wwan0", "direction": "down"}))
    assert (running.link.tier, running.link.cap_up, running.link.cap_down) == (1, 0.0, 8e6)


def test_only_changes_are_told(bench, monkeypatch):
    running = bench(METERED)
    running.links.update(picture(), usable=True)
    told = []
    monkeypatch.setattr(running.endpoint, "set_link", lambda *args, **_keys: told.append(args))
    running.links.obey("wwan0")
    running.links.update(picture(), usable=True)
    assert told == []


def test_a_link_without_quota_is_out_of_use_until_it_has_some(bench):
    running = bench(METERED)
    running.links.update(picture(), usable=True)
    running.use_up()
    assert not running.link.usable
    running.links.update(picture(gateway="10.0.0.9"), usable=True)  # its carrier changes nothing
    assert not running.link.usable
    running.policy.count([], ["wwan0"], MAY + 40 * 86400)
    running.links.obey("wwan0")
    assert running.link.usable


def test_quota_does_not_raise_a_link_without_a_carrier(bench):
    running = bench(METERED)
    running.links.update(picture(), usable=True)
    running.use_up()
    running.links.update(picture(up=False), usable=False)
    running.policy.count([], ["wwan0"], MAY + 40 * 86400)
    running.links.obey("wwan0")
    assert not running.link.usable
    running.links.update(picture(), usable=True)
    assert running.link.usable


def test_a_link_that_comes_with_its_quota_used_up_is_never_used(bench):
    running = bench(METERED)
    running.use_up()
    running.links.update(picture(), usable=True)
    assert not running.link.usable
    assert running.endpoint.poll_transmit(100.0) is None  # not even a handshake


def test_a_used_up_link_may_be_a_last_resort(bench):
    running = bench(LinkConfig(pattern="wwan0", quota=METERED.quota))
    running.links.update(picture(), usable=True)
    running.use_up()
    assert (running.link.tier, running.link.usable) == (LAST_RESORT, True)


def test_a_link_that_is_not_there_is_passed_over(bench):
    running = bench()
    running.links.obey("wwan0")
    assert "wwan0" not in running.links
