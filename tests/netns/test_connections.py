"""TCP connections of LAN hosts, translated at the client and at the server, through a crash of either."""

from __future__ import annotations

import pytest

from bench.lab import LinkSpec, topology
from bench.lab.iperf import Measurement
from tests.netns.test_restart import crash

WEB = topology.WEB[0]
SECONDS = 14


@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize("side", ["server", "client"])
def test_a_lan_hosts_connection_lives_through_a_crash(laboratory, side, direction):
    lab = laboratory(LinkSpec(), LinkSpec())
    lab.start_server()
    lab.start_client(default_route=True, masquerade=True)
    transfer = Measurement(lab, WEB, client="lan", direction=direction, seconds=SECONDS)
    lab.wait_until(
        lambda: lab.status("client")["sessions"][0]["sent"]["packets"] > 200, what="the transfer"
    )
    crash(lab, side)
    if side == "server":
        lab.start_server()
    else:
        lab.start_client(default_route=True, masquerade=True)

    timeline = transfer.result(patience=60).timeline

    assert sum(timeline[-4:]) > 0, f"nothing more came after the crash: {timeline}"
