"""New keys under load: nothing may be lost."""

from __future__ import annotations

from bench.lab import LinkSpec
from bench.lab.iperf import Measurement
from bench.lab.probe import Probe
from tests.netns.observe import INNER

OFTEN = {"MPBOND_TEST_REKEY_AFTER": "1"}  # s, instead of two minutes


def test_keys_change_under_load_without_a_lost_packet(laboratory):
    lab = laboratory(LinkSpec(), LinkSpec(), LinkSpec())
    lab.start_server(env=OFTEN)
    lab.start_client(env=OFTEN)
    probe = Probe(lab, INNER, interval=0.002)
    load = Measurement(lab, INNER, server="server", udp_rate=10e6, seconds=6)
    before = lab.bond.session("client")["handshakes"]
    lab.wait_until(
        lambda: lab.bond.session("client")["handshakes"] >= before + 4, what="four new handshakes"
    )
    assert load.result().loss == 0
    trace = probe.finish()
    assert trace.lost == trace.duplicates == 0
    assert lab.bond.session("client")["key_age"] < 5
    assert len(lab.status("server")["sessions"]) == 1
