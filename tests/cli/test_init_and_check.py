"""`mpbond init` and `mpbond check`: what is written works at once, and is said in words."""

from __future__ import annotations

import re
import stat
import tomllib

import pytest

from mpbond import config
from mpbond.cli import describe
from mpbond.cli import init as init_verb
from mpbond.config import keys

OTHER = keys.encode(keys.public_key_of(bytes([8]) * 32))


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine with five interfaces, two of them modems that have a default route."""
    routes, routes6, tun = tmp_path / "route", tmp_path / "ipv6_route", tmp_path / "tun"
    routes.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "wwan0\t00000000\t0108A8C0\t0003\t0\t0\t700\t00000000\t0\t0\t0\n"
        "wwan1\t00000000\t0108A8C0\t0003\t0\t0\t701\t00000000\t0\t0\t0\n"
        "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "tun0\t00000000\t0100000A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n"
    )
    zeros = "0" * 32
    routes6.write_text(
        f"{zeros} 00 {zeros} 00 {'fe80' + '0' * 28} 00000400 1 0 00000003     eth1\n"
        f"{zeros} 00 {zeros} 00 {zeros} ffffffff 1 0 00200200       lo\n"
        f"{'fe80' + '0' * 28} 40 {zeros} 00 {zeros} 00000100 1 0 00000001     eth0\n"
    )
    tun.touch()
    monkeypatch.setattr(init_verb, "ROUTES", routes)
    monkeypatch.setattr(init_verb, "ROUTES6", routes6)
    monkeypatch.setattr(describe, "TUN_DEVICE", tun)
    names = ["lo", "eth0", "eth1", "wwan1", "wwan0"]
    monkeypatch.setattr(describe.socket, "if_nameindex", lambda: list(enumerate(names, 1)))
    monkeypatch.setattr(init_verb.socket, "gethostname", lambda: "van.example.org")


def init_client(mpbond, directory, *more):
    return mpbond(
        *["init", "client", "--dir", directory, "--server-key", OTHER],
        *["--endpoint", "vps.example.org:4510", *more],
    )


def test_both_sides_come_up_by_doing_what_init_prints(mpbond, tmp_path):
    server_dir, client_dir = tmp_path / "server", tmp_path / "client"
    said = mpbond("init", "server", "--dir", server_dir, "--endpoint", "vps.example.org:4600")
    assert said.exit_code == 0
    command = re.search(r"^ +mpbond (init client .*)$", said.output, re.MULTILINE)[1]
    answered = mpbond(*command.split(), "--dir", client_dir)
    assert answered.exit_code == 0
    table = answered.output[answered.output.index("[[client]]") : answered.output.index("\n\nThen")]
    path = server_dir / "server.toml"
    path.write_text(path.read_text() + "\n" + table + "\n")

    server = config.load_server(server_dir / "server.toml")
    client = config.load_client(client_dir / "client.toml")
    assert server.public_key == client.concentrator.public_key
    assert server.clients[0].public_key == client.public_key
    assert server.clients[0].name == "van"
    assert server.port == 4600
    assert str(client.concentrator.endpoints[0]) == "vps.example.org:4600"
    assert f"mpbond server --config {server_dir}/server.toml" in said.output
    assert f"mpbond client --config {client_dir}/client.toml" in answered.output
    assert mpbond("check", server_dir / "server.toml").exit_code == 0
    assert mpbond("check", client_dir / "client.toml").exit_code == 0


def test_the_printed_concentrator_table_is_the_one_a_client_needs(mpbond, tmp_path):
    said = mpbond("init", "server", "--dir", tmp_path, "--endpoint", "192.0.2.1:4510").output
    table = tomllib.loads(said[said.index("[concentrator]") :])["concentrator"]
    own = config.load_server(tmp_path / "server.toml").public_key
    assert table == {"public_key": keys.encode(own), "endpoints": ["192.0.2.1:4510"]}


def test_without_an_endpoint_the_reader_is_told_to_fill_it_in(mpbond, tmp_path):
    said = mpbond("init", "server", "--dir", tmp_path).output
    assert "--endpoint SERVER:4510" in said
    assert "with this server's name or public address for SERVER." in said


@pytest.mark.parametrize("role", ["server", "client"])
def test_every_commented_setting_is_the_default(mpbond, tmp_path, role):
    mpbond("init", "server", "--dir", tmp_path)
    init_client(mpbond, tmp_path)
    path = tmp_path / f"{role}.toml"
    as_written = config.load(path)
    head, mark, tail = path.read_text().partition("\n[concentrator]")
    head = head.partition("# One table for each client")[0]
    switched_on = re.sub(r"^# (?=[a-z_]+ = )", "", head, flags=re.MULTILINE)
    assert switched_on.count(" = ") > 8
    switched_on = re.sub(r"^control_group = .*$", "", switched_on, flags=re.MULTILINE)
    path.write_text(switched_on + mark + tail)
    assert config.load(path) == as_written


def test_the_commented_client_table_is_right(mpbond, tmp_path):
    mpbond("init", "server", "--dir", tmp_path)
    keys.write_secret_file(tmp_path / "psk.key", bytes([3]) * 32, replace=False)
    path = tmp_path / "server.toml"
    head, mark, tail = path.read_text().partition("# [[client]]")
    tail = re.sub(r"^# (?=[a-z_\[].*( = |\]$))", "", mark + tail, flags=re.MULTILINE)
    path.write_text(head + tail.replace("the client's public key", OTHER))
    found = config.load_server(path)
    assert found.clients[0].name == "van"
    assert found.rules[0].name == "calls"


def test_the_commented_link_and_psk_are_right(mpbond, tmp_path):
    init_client(mpbond, tmp_path)
    keys.write_secret_file(tmp_path / "psk.key", bytes([3]) * 32, replace=False)
    path = tmp_path / "client.toml"
    head, mark, tail = path.read_text().partition("[concentrator]")
    tail = re.sub(r"^# (?=[a-z_\[].*( = |\]$))", "", tail, flags=re.MULTILINE)
    path.write_text(head + mark + tail)
    found = config.load_client(path)
    link = found.settings_of("wwan0")
    assert (link.weight, link.tier, link.cap_up, link.cap_down) == (8, 1, 5e5, 8e6)
    assert link.quota == config.Quota(volume=20 * 10**9, period="month")
    assert found.rules[0].name == "calls"
    assert found.concentrator.preshared_key == bytes([3]) * 32


def test_the_key_is_private_and_never_printed(mpbond, tmp_path):
    said = init_client(mpbond, tmp_path).output
    path = tmp_path / "client.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().strip() not in said + (tmp_path / "client.toml").read_text()


@pytest.mark.parametrize("existing", ["client.toml", "client.key"])
def test_nothing_is_overwritten_unasked(mpbond, tmp_path, existing):
    (tmp_path / existing).write_text("mine")
    result = init_client(mpbond, tmp_path)
    assert (result.exit_code, result.stderr) == (
        1,
        f"mpbond: {tmp_path / existing} exists already; keep it, or replace it by --force.\n",
    )
    assert (tmp_path / existing).read_text() == "mine"
    other = {"client.toml": "client.key", "client.key": "client.toml"}[existing]
    assert not (tmp_path / other).exists()
    assert init_client(mpbond, tmp_path, "--force").exit_code == 0
    assert mpbond("check", tmp_path / "client.toml").exit_code == 0


def test_links_are_those_with_a_default_route_and_modems_become_a_glob(mpbond, tmp_path):
    result = init_client(mpbond, tmp_path)
    assert config.load_client(tmp_path / "client.toml").links == ("eth1", "wwan*")
    assert f"It joins eth1, wwan*; see links in {tmp_path}/client.toml." in result.output


def test_links_can_be_named(mpbond, tmp_path):
    init_client(mpbond, tmp_path, "--link", "usb[0-3]", "--link", "eth0")
    assert config.load_client(tmp_path / "client.toml").links == ("usb[0-3]", "eth0")


def test_on_a_machine_without_routes_modems_are_assumed(mpbond, tmp_path, monkeypatch):
    monkeypatch.setattr(init_verb, "ROUTES", tmp_path / "none")
    monkeypatch.setattr(init_verb, "ROUTES6", tmp_path / "none")
    init_client(mpbond, tmp_path)
    assert config.load_client(tmp_path / "client.toml").links == ("wwan*",)


def test_several_endpoints_keep_their_order(mpbond, tmp_path):
    init_client(mpbond, tmp_path, "--endpoint", "[2001:db8::1]:99")
    endpoints = config.load_client(tmp_path / "client.toml").concentrator.endpoints
    assert [str(e) for e in endpoints] == ["vps.example.org:4510", "[2001:db8::1]:99"]


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--endpoint", "vps", '"vps" names no port; write "vps:4510"'),
        ("--server-key", "AAAA", '"AAAA" holds 3 bytes instead of 32'),
        ("--link", "a[b", 'has a "[" without its "]"'),
    ],
)
def test_a_bad_option_is_a_wrong_use(mpbond, tmp_path, option, value, complaint):
    result = init_client(mpbond, tmp_path, option, value)
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())
    assert not list(tmp_path.glob("client.*"))


def test_a_directory_that_cannot_be_made(mpbond, tmp_path):
    (tmp_path / "file").touch()
    result = init_client(mpbond, tmp_path / "file" / "below")
    assert (result.exit_code, result.stderr) == (
        1,
        f"mpbond: {tmp_path}/file/below cannot be written (Not a directory); "
        "run as root or name another place.\n",
    )


def test_check_says_what_a_client_would_do(mpbond, tmp_path):
    init_client(mpbond, tmp_path, "--link", "wwan*", "--link", "usb*")
    path = tmp_path / "client.toml"
    path.write_text(path.read_text() + "[link.wwan0]\nweight = 8\n[link.eth7]\nweight = 2\n")
    own = keys.encode(config.load_client(path).public_key)
    result = mpbond("check", path)
    assert result.exit_code == 0
    facts = dict(re.findall(r"^  (\S.*?)  +(\S.*)$", result.output, re.MULTILINE))
    assert result.output.splitlines()[0] == f"{path} is usable."
    assert facts["role"] == "client"
    assert facts["own public key"] == own
    assert facts["server"] == "vps.example.org:4510"
    assert facts["links"] == "wwan*, usb*; now wwan0, wwan1"
    assert facts["link wwan0"] == "weight 8"
    assert facts["device"] == "mpbond0, MTU by what the links allow"
    assert facts["default route"] == (
        "through the tunnel; while the server cannot be reached, directly by the links"
    )
    assert facts["control socket"] == "/run/mpbond/mpbond0.sock, for root only"
    assert facts["commands"] == f"shown by mpbond client --config {path} --dry-run"
    assert [line for line in result.output.splitlines() if line.startswith("#")] == [
        "# no link matches usb* now; the client would wait for one.",
        "# [link.eth7] has no effect: links names no such interface.",
    ]


def test_check_says_what_is_special_about_links_and_packets(mpbond, tmp_path):
    init_client(mpbond, tmp_path)
    path = tmp_path / "client.toml"
    path.write_text(
        path.read_text()
        .replace('# dscp = "clear"', 'dscp = "copy"')
        .replace("# offload = true", "offload = false")
        + '[link.wwan0]\ntier = "overflow"\ncap_up = "500 kbit/s"\nquota = "20 GB per month"\n'
        '[link.wwan1]\ncap_down = "8 Mbit/s"\nquota = "1 GB per day"\nquota_action = "off"\n'
        '[[rule]]\nname = "calls"\nprotocol = "udp"\nports = [5060, "10000-20000"]\n'
        'dscp = ["EF", "CS5", 44]\nclass = "realtime"\n'
        '[[rule]]\nprefixes = "192.0.2.0/24"\nprotocol = 132\nscheduler = "redundant"\n'
        '[[rule]]\nprotocol = 200\nclass = "bulk"\nscheduler = "xor"\n'
    )
    result = mpbond("check", path)
    facts = dict(re.findall(r"^  (\S.*?)  +(\S.*)$", result.output, re.MULTILINE))
    assert facts["link wwan0"] == (
        "overflow, at most 500 kbit/s up, 20 GB per month, then a last resort"
    )
    assert facts["link wwan1"] == "at most 8.00 Mbit/s down, 1 GB per day, then off"
    assert facts["rule 1"] == (
        "calls: DSCP 40, 44 or 46 and protocol udp and port 5060 or 10000-20000: realtime"
    )
    assert facts["rule 2"] == (
        "rule 2: protocol sctp and from or to 192.0.2.0/24: scheduler redundant"
    )
    assert facts["rule 3"] == "rule 3: protocol 200: bulk, scheduler xor"
    assert facts["DSCP marks"] == "copied to datagrams"
    assert facts["offloads"] == "none: packet by packet"


@pytest.mark.parametrize(("directory", "warned"), [("/run/x", True), ("/var/lib/x", False)])
def test_check_warns_of_quotas_that_a_restart_forgets(mpbond, tmp_path, directory, warned):
    init_client(mpbond, tmp_path)
    path = tmp_path / "client.toml"
    text = re.sub(r"^# state_dir = .*$", f'state_dir = "{directory}"', path.read_text(), flags=re.M)
    path.write_text(text)
    told = f"# what links carried is kept in {directory}, which is empty after each start"
    assert told not in mpbond("check", path).output
    path.write_text(text + '[link.wwan0]\nquota = "1 GB per day"\n')
    assert (told in mpbond("check", path).output) == warned


def test_check_says_what_a_server_would_do(mpbond, tmp_path, monkeypatch):
    mpbond("init", "server", "--dir", tmp_path)
    path = tmp_path / "server.toml"
    result = mpbond("check", path)
    assert result.output.splitlines()[-1] == (
        "# there is no [[client]] table: nobody may connect; mpbond init client prints one."
    )
    table = f'[[client]]\nname = "van"\npublic_key = "{OTHER}"\nroutes = ["192.0.2.8/29"]\n'
    path.write_text(path.read_text() + table)
    monkeypatch.setattr(describe, "TUN_DEVICE", tmp_path / "none")
    result = mpbond("check", path)
    facts = dict(re.findall(r"^  (\S.*?)  +(\S.*)$", result.output, re.MULTILINE))
    assert facts["listens on"] == "UDP 0.0.0.0:4510, UDP [::]:4510"
    assert facts["addresses"] == "10.77.0.0/24 (itself 10.77.0.1), fd77::/64 (itself fd77::1)"
    assert facts["client van"] == (
        f"{OTHER}, addresses from the pool, routed without NAT: 192.0.2.8/29"
    )
    assert facts["NAT"] == "hides the pool, but not the clients' routes"
    assert facts["between clients"] == "passes nothing"
    assert result.output.splitlines()[-1] == (
        f"# there is no {tmp_path}/none here; load it by modprobe tun."
    )


def test_whether_a_file_can_be_read_is_found_by_reading_it(mpbond, tmp_path, monkeypatch):
    """Otherwise click would complain first, in its own words and as a wrong use."""
    init_client(mpbond, tmp_path)
    monkeypatch.setattr("os.access", lambda *_args, **_kwargs: False)
    assert mpbond("check", tmp_path / "client.toml").exit_code == 0
    assert mpbond("pubkey", tmp_path / "client.key").exit_code == 0
    assert mpbond("status", "--control", tmp_path).exit_code == 1


def test_check_of_a_bad_file_is_one_sentence(mpbond, tmp_path):
    path = tmp_path / "x.toml"
    path.write_text("version = 1\n[client]\nlink = 1\n")
    result = mpbond("check", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"mpbond: {path}: client.link: is not a key that mpbond knows; did you mean links?\n"
    )
