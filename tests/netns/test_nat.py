"""Modems that change their public face, and mappings that must not be forgotten."""

from __future__ import annotations

import pytest

from bench.lab import LinkSpec
from bench.lab.probe import Probe
from tests.netns.observe import INNER


def remotes(lab):
    return {path["remote"] for path in lab.bond.paths("server").values()}


@pytest.mark.parametrize("port_only", [False, True], ids=["address", "port"])
def test_a_new_mapping_under_traffic(laboratory, port_only):
    lab = laboratory(LinkSpec(), LinkSpec())
    lab.start_server()
    lab.start_client()
    probe = Probe(lab, INNER)
    probe.wait_for(50)
    before = remotes(lab)
    lab.rebind(0, port_only=port_only)
    lab.wait_until(lambda: len(remotes(lab) - before) == 1, what="the server seeing the new one")
    probe.wait_for(50)
    trace = probe.finish()
    assert trace.longest_gap < 1
    assert trace.lost < 60


@pytest.mark.parametrize("port_only", [False, True], ids=["address", "port"])
def test_a_new_mapping_on_the_only_link(laboratory, port_only):
    lab = laboratory(LinkSpec())
    lab.start_server()
    lab.start_client()
    probe = Probe(lab, INNER)
    probe.wait_for(50)
    lab.rebind(0, port_only=port_only)
    probe.wait_for(100)
    assert probe.finish().longest_gap < 1


def test_all_modems_change_at_once(laboratory):
    lab = laboratory(LinkSpec(), LinkSpec(), LinkSpec())
    lab.start_server()
    lab.start_client()
    probe = Probe(lab, INNER)
    probe.wait_for(50)
    for link in range(3):
        lab.rebind(link)
    probe.wait_for(100)
    lab.wait_until(
        lambda: (
            {each.rsplit(":", 1)[0] for each in remotes(lab)}
            == {link.public() for link in lab.links}
        ),
        what="the server knowing all new addresses",
    )
    assert probe.finish().longest_gap < 2


def test_keepalives_keep_an_idle_mapping(laboratory):
    """The modem forgets after 3 s, the keepalive is 1 s: the server can always reach the client."""
    lab = laboratory(LinkSpec(nat_timeout=3, nat_timeout_stream=3))
    lab.start_server()
    lab.start_client(keepalive=1)
    idle_since = lab.bond.session("client")["since"]
    lab.wait_until(
        lambda: lab.bond.session("client")["since"] > idle_since + 7, what="seven idle seconds"
    )
    client = lab.bond.inner("client")[0]
    said = lab.run("server", "ping", "-c", "3", "-i", "0.2", "-W", "1", client).stdout
    assert " 0% packet loss" in said
