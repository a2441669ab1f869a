"""TCP connections of LAN hosts, translated at the client and at the server, through a crash of either."""

from __future__ import annotations

import pytest

from bench.lab import LinkSpec, topology
from bench.lab.iperf import Measurement
from tests.netns.test_restart import crash

WEB = topology.WEB[0]
SECONDS = 13  # TCP waits longer and longer before it tries again: 6 s is not rare


@pytest.mark.parametrize("side", ["server", "client"])
def test_a_lan_hosts_connections_live_through_a_crash(laboratory, side):
    lab = laboratory(LinkSpec(), LinkSpec())
    lab.start_server()
    lab.start_client(default_route=True, masquerade=True)
    transfers = [
        Measurement(lab, WEB, client="lan", direction=direction, seconds=SECONDS)
        for direction in ("down", "up")
    ]
    for count in ("sent", "received"):
        lab.wait_until(
            lambda count=count: lab.bond.session("client")[count]["packets"] > 300,
            what="both transfers",
        )
    crash(lab, side)
    if side == "server":
        lab.start_server()
    else:
        lab.start_client(default_route=True, masquerade=True)

    for transfer in transfers:
        timeline = transfer.result(patience=60).timeline
        assert sum(timeline[-4:]) > 0, f"nothing more came after the crash: {timeline}"
