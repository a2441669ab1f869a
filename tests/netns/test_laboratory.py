"""The laboratory itself: links as described, and nothing left behind, however a run ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.lab import LabError, LinkSpec, topology
from bench.lab.iperf import Measurement, iperf
from bench.lab.probe import Probe
from bench.lab.processes import cpu_seconds
from bench.lab.selfcheck import selfcheck
from bench.links.shape import Profile, Shape, Step

WEB, WEB6 = topology.WEB

HOLDS_A_LAB = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
from bench.lab import Lab, LinkSpec
with Lab(links=[LinkSpec()]) as lab:
    print(lab.spaces.run_id, lab.directory, flush=True)
    lab.run("client", "sleep", "60", timeout=70)
"""


def round_trip(lab, device, target=WEB):
    said = lab.run("client", "ping", "-c", "5", "-i", "0.2", "-I", device, target).stdout
    return float(re.search(r"= ([\d.]+)/", said)[1]) / 1000


def test_every_link_has_its_own_delay(laboratory):
    lab = laboratory(LinkSpec.plain(delay=0.010), LinkSpec.plain(delay=0.045), LinkSpec(ipv6=True))
    assert round_trip(lab, "wwan0") == pytest.approx(0.020, abs=0.005)
    assert round_trip(lab, "wwan1") == pytest.approx(0.090, abs=0.005)
    assert round_trip(lab, "wwan2", WEB6) == pytest.approx(0.020, abs=0.005)
    lab.shape(0, "up", delay=0.050)
    assert round_trip(lab, "wwan0") == pytest.approx(0.060, abs=0.005)


@pytest.mark.parametrize(("direction", "rate"), [("down", 6e6), ("up", 2e6)])
def test_a_link_carries_its_rate_and_no_more(laboratory, direction, rate):
    lab = laboratory(LinkSpec.plain(rate_down=6e6, rate_up=2e6))
    seen = iperf(
        lab, WEB, device="wwan0", direction=direction, udp_rate=1.5 * rate, seconds=2, omit=1
    )
    assert seen.rate == pytest.approx(rate * 1200 / 1228, rel=0.02)
    lab.rate(0, **{direction: rate / 2})
    seen = iperf(lab, WEB, device="wwan0", direction=direction, udp_rate=rate, seconds=2, omit=1)
    assert seen.rate == pytest.approx(rate / 2 * 1200 / 1228, rel=0.02)


def test_loss_is_as_asked(laboratory):
    lab = laboratory(LinkSpec.plain(loss=0.1))
    said = lab.run("client", "ping", "-c", "500", "-i", "0.002", "-W", "1", WEB, check=False).stdout
    assert len(re.findall("icmp_seq", said)) / 500 == pytest.approx(0.9**2, abs=0.08)


def test_after_a_restart_the_links_do_the_same_again(laboratory):
    lab = laboratory(LinkSpec.plain(loss=0.2))
    ping = ("ping", "-n", "-c", "200", "-i", "0.002", "-W", "1", WEB)
    heard, moments = [], []
    for seed in (5, 5, 6):
        lab.silence(0)
        lab.shape(0, loss=1.0)
        moments.append((time.monotonic(), lab.restart_links(seed), time.monotonic()))
        assert lab.ledgers()[0]["up"].packets == 0
        said = lab.run("client", *ping, check=False).stdout
        heard.append(re.findall(r"icmp_seq=(\d+)", said))
    assert heard[0] == heard[1] != heard[2]
    assert all(before < zero < after for before, zero, after in moments)


def test_the_books_tell_what_every_link_carried_and_when(laboratory):
    lab = laboratory(LinkSpec.plain(rate_down=4e6), LinkSpec())
    lab.restart_links()
    iperf(lab, WEB, device="wwan0", udp_rate=8e6, seconds=2)
    first, second = lab.ledgers()
    down = first["down"]
    assert second["down"].packets == second["up"].packets == 0
    assert down.packets > 1500
    assert down.full == pytest.approx(down.packets / 2, rel=0.1)
    assert sum(down.used) == down.carried
    assert max(down.used) <= 4e6 / 8 / 10 + 1500
    assert down.wait_quantile(0.9) == pytest.approx(0.2, abs=0.01)
    lateness, delivered = lab.lateness(), lab.report()
    assert 0 < lateness.count <= delivered["0 up"]["carried"] + delivered["0 down"]["carried"]
    assert lateness.p50 <= lateness.p99 <= lateness.longest
    assert (lateness.unread, lateness.overrun) == (0, 0)


def test_a_link_can_double_and_lose_packets_from_now_on(laboratory):
    lab = laboratory(LinkSpec())
    ping = ("ping", "-c", "5", "-i", "0.05", "-W", "1", WEB)
    lab.shape(0, "down", duplicate=1.0)
    assert lab.run("client", *ping).stdout.count("DUP!") == 4  # ping does not wait for the last
    lab.shape(0, "down", duplicate=0.0)
    lab.lose(0, 1.0)
    assert "100% packet loss" in lab.run("client", *ping, check=False).stdout
    lab.lose(0, None)
    assert " 0% packet loss" in lab.run("client", *ping).stdout


def test_only_a_constant_rate_can_be_changed(laboratory):
    varying = Shape(rate=Profile((Step(0, 8e6), Step(1, 4e6)), period=2))
    lab = laboratory(LinkSpec(down=varying))
    lab.rate(0, up=1e6)
    with pytest.raises(LabError, match="link 0 has no constant rate down"):
        lab.rate(0, down=1e6)


def test_modems_can_have_subnets_of_their_own_and_be_shared_with_a_stranger(laboratory):
    lab = laboratory(LinkSpec(), LinkSpec(), distinct=True, rival=1)
    routes = lab.run("client", "ip", "route").stdout
    assert "192.168.8.0/24 dev wwan0 scope link src 192.168.8.100" in routes
    assert "192.168.9.0/24 dev wwan1 scope link src 192.168.9.100" in routes
    lab.restart_links()
    for box in ("client", "rival1"):
        assert " 0% packet loss" in lab.run(box, "ping", "-c", "3", "-i", "0.05", WEB).stdout
    assert [each["up"].packets for each in lab.ledgers()] == [3, 3]


def test_a_new_address_or_port_replaces_the_mapping(laboratory):
    lab = laboratory(LinkSpec())
    probe = Probe(lab, WEB, server="web")
    for port_only in (False, True):
        lab.rebind(0, port_only=port_only)
        probe.wait_for(10)
    trace = probe.finish()
    assert trace.longest_gap < 1
    assert trace.duplicates == 0


def test_a_silent_link_says_nothing_and_a_pulled_one_comes_back(laboratory):
    lab = laboratory(LinkSpec(), LinkSpec())
    ping = ("ping", "-c", "1", "-W", "1", "-I", "wwan1", WEB)
    for cut, mend in (
        (lab.silence, lab.unsilence),
        (lab.pull, lab.restore),
        (lab.unplug, lab.plug),
    ):
        assert lab.run("client", *ping).returncode == 0
        cut(1)
        assert lab.run("client", *ping, check=False).returncode != 0
        mend(1)
        assert lab.run("client", *ping).returncode == 0


def test_a_condition_that_never_comes_is_an_error_that_names_it(laboratory):
    lab = laboratory(LinkSpec())
    with pytest.raises(LabError, match=r"rain did not come about within 0\.1 s"):
        lab.wait_until(lambda: False, timeout=0.1, what="rain")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind_by_a_run_that_is_ended(laboratory, number):
    holder = subprocess.Popen([sys.executable, "-c", HOLDS_A_LAB], stdout=-1, stderr=-3, text=True)
    run_id, directory = holder.stdout.readline().split()
    assert namespaces(run_id)
    holder.send_signal(number)
    holder.wait(20)
    holder.stdout.close()
    laboratory(LinkSpec())  # after SIGKILL, the next laboratory clears up
    assert not namespaces(run_id)
    assert not Path(directory).exists()


def test_a_living_run_is_left_alone(laboratory):
    first = laboratory(LinkSpec())
    second = laboratory(LinkSpec())
    assert namespaces(first.spaces.run_id)
    assert round_trip(first, "wwan0") == pytest.approx(round_trip(second, "wwan0"), abs=0.01)


def namespaces(run_id):
    return [each for each in os.listdir("/run/netns") if each.startswith(f"mpb{run_id}-")]


def test_the_emulator_is_measured_and_judged():
    found = selfcheck(seconds=0.5)
    assert list(found["loads"]) == ["low", "500 Mbit/s"]
    for name, load in found["loads"].items():
        assert name in found["text"]
        assert all(abs(error) < 0.05 for error in load["rate_errors"])
        assert 0 <= load["delay_p50"] <= load["delay_p99"]
    assert ("keeps rates" in found["text"]) == found["ok"]


def test_the_emulator_carries_six_full_links_in_a_fifth_of_a_core(laboratory):
    lab = laboratory(*[LinkSpec.plain(delay=0.01)] * 6)
    before, began = cpu_seconds(lab.emulator_pid), time.monotonic()
    runs = [
        Measurement(lab, WEB, device=link.name, udp_rate=8.5e6, seconds=2, omit=1)
        for link in lab.links
    ]
    for run in runs:
        assert run.result().rate == pytest.approx(8e6 * 1200 / 1228, rel=0.03)
    assert (cpu_seconds(lab.emulator_pid) - before) / (time.monotonic() - began) < 0.2
