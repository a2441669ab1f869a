"""Names of tunnels on the wires, and how the programs that are not ours are told what to do."""

import re

import pytest

from bench.errors import BenchError
from bench.fast import tunnels, wires
from bench.fast.tunnels import CLIENT, METHODS, SERVER, SYSTEMS, Tunnel


@pytest.mark.parametrize("name", [*SYSTEMS, "mpbond:3", f"fastd:{METHODS[1]}"])
def test_a_tunnel_is_known_by_its_own_name(name):
    assert Tunnel.parse(name).name == name


def test_mpbond_alone_is_that_over_one_path():
    assert Tunnel.parse("mpbond") == Tunnel.parse("mpbond:1")


@pytest.mark.parametrize(
    "name",
    ["mpbond:0", "mpbond:7", "mpbond:", "mpbond:²", "wireguard:1", "veth:1", "fastd:null", "ipsec"],
)
def test_what_there_is_not_is_answered_with_what_there_is(name):
    with pytest.raises(BenchError, match=re.escape(name)):
        Tunnel.parse(name)


def test_a_program_that_is_missing_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(tunnels.shutil, "which", lambda _program: None)
    with pytest.raises(BenchError, match="apt-get install wireguard-go"):
        Tunnel.parse("wireguard").require()
    Tunnel.parse("mpbond:2").require()


def test_openvpn_encrypts_in_its_own_program_and_knows_its_peer_by_fingerprint(tmp_path):
    fingerprint = tunnels._certificate(tmp_path, CLIENT)
    assert re.fullmatch("([0-9a-f]{2}:){31}[0-9a-f]{2}", fingerprint)
    assert (tmp_path / "client.pem").stat().st_mode & 0o777 == 0o600
    words = " ".join(tunnels.openvpn(tmp_path, SERVER, ("10.79.0.1", "10.79.0.2"), fingerprint))
    for part in (
        "--data-ciphers AES-256-GCM",
        "--disable-dco",
        "--fast-io",
        "--ifconfig 10.79.0.1 10.79.0.2",
        f"--peer-fingerprint {fingerprint}",
        f"--key {tmp_path}/server.pem",
        "--tls-server",
        f"--local {tunnels.OUTSIDE}",
    ):
        assert part in words
    other = " ".join(tunnels.openvpn(tmp_path, CLIENT, ("10.79.0.2", "10.79.0.1"), fingerprint))
    assert f"--tls-client --nobind --remote {tunnels.OUTSIDE} 1194" in other


def test_fastd_is_told_where_its_peer_is_on_one_side_only():
    server = tunnels.fastd(SERVER, "aes128-gcm", "secret", "public")
    client = tunnels.fastd(CLIENT, "aes128-gcm", "secret", "public")
    assert 'method "aes128-gcm";' in server
    assert "remote" not in server
    assert f"bind {tunnels.OUTSIDE}:10000;" in server
    assert f'peer "other" {{ key "public"; remote {tunnels.OUTSIDE}:10000; }}' in client


def test_packets_of_other_tunnels_fill_those_of_a_wire_and_fit():
    most_overhead = 28 + 24  # IPv4, UDP; what OpenVPN and fastd add at most with these ciphers
    assert 0 <= tunnels.WIRE_MTU - most_overhead - tunnels.MTU < 16


def test_a_bucket_has_a_rate_and_50_ms_of_queue():
    words = " ".join(wires.bucket("wwan0", 300e6))
    assert words == (
        "tc qdisc replace dev wwan0 root tbf rate 300000000bit burst 65536"
        f" limit {65536 + 1_875_000}"
    )
