"""Each way to get a configuration wrong is a row here, with the exact sentence a person reads."""

from __future__ import annotations

import copy
import ipaddress
import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpbond import config
from mpbond.config import keys
from mpbond.errors import ConfigError

OWN_PRIVATE = bytes([7]) * 32
OWN = keys.encode(keys.public_key_of(OWN_PRIVATE))
OTHER = keys.encode(keys.public_key_of(bytes([8]) * 32))
THIRD = keys.encode(keys.public_key_of(bytes([9]) * 32))
ZEROS = keys.encode(bytes(32))
LOW_ORDER = keys.encode(b"\x01" + bytes(31))

CLIENT = f"""
version = 1
[client]
private_key_file = "own.key"
links = ["wwan*", "eth1"]
[concentrator]
public_key = "{OTHER}"
endpoints = ["vps.example.org:4510", "[2001:db8::1]:4510"]
"""
SERVER = f"""
version = 1
[server]
private_key_file = "own.key"
pool = ["10.77.0.0/24", "fd77::/64"]
[[client]]
name = "van"
public_key = "{OTHER}"
addresses = ["10.77.0.2"]
routes = ["192.0.2.8/29"]
[[client]]
name = "office"
public_key = "{THIRD}"
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A directory with a good key file, which is also the current one."""
    monkeypatch.chdir(tmp_path)
    keys.write_secret_file(Path("own.key"), OWN_PRIVATE, replace=False)
    return tmp_path


def load_text(text, name="mpbond.toml"):
    path = Path(name)
    path.write_text(text)
    path.chmod(0o600)
    return config.load(path)


def sentence_of(text):
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    return str(caught.value)


def changed(base, old, new):
    assert old in base
    return base.replace(old, new)


def in_client(line):
    return changed(CLIENT, "[client]\n", f"[client]\n{line}\n")


def in_server(line):
    return changed(SERVER, "[server]\n", f"[server]\n{line}\n")


def in_office(line):
    return SERVER + line + "\n"


def test_a_small_client_file_gets_every_default(home):
    found = load_text(CLIENT)
    assert isinstance(found, config.ClientConfig)
    assert found.private_key == OWN_PRIVATE
    assert keys.encode(found.public_key) == OWN
    assert found.links == ("wwan*", "eth1")
    assert [str(e) for e in found.concentrator.endpoints] == [
        "vps.example.org:4510",
        "[2001:db8::1]:4510",
    ]
    assert found.concentrator.preshared_key == bytes(32)
    assert (found.mtu, found.hold, found.when_down) == (None, None, "direct")
    assert (found.scheduler, found.downlink_scheduler) == ("adaptive", "adaptive")
    assert (found.masquerade, found.default_route, found.keepalive) == (True, False, 20.0)
    assert (found.rules, found.dscp, found.offload) == ((), "clear", True)
    assert found.control == Path("/run/mpbond/mpbond0.sock")


def test_a_full_client_file_is_read_as_written(home):
    keys.write_secret_file(home / "psk.key", bytes([5]) * 32, replace=False)
    lines = """
tun = "bond1"
mtu = 1400
scheduler = "rr"
hold = 40
default_route = true
when_down = "block"
masquerade = false
keepalive = 5.5
addresses = ["10.77.0.9", "fd77::9"]
state_dir = "state"
log_level = "debug"
dscp = "copy"
offload = false
"""
    text = in_client(lines) + 'preshared_key_file = "psk.key"\n'
    text += '[link.wwan0]\nweight = 8\ngateway = "192.168.8.1"\n[link."wwan*"]\nweight = 2\n'
    text += '[[rule]]\nname = "calls"\nports = 5060\nclass = "realtime"\n'
    found = load_text(text)
    assert isinstance(found, config.ClientConfig)
    assert found.control == Path("/run/mpbond/bond1.sock")
    assert found.downlink_scheduler == "rr"
    assert found.hold == 0.04
    assert found.offload is False
    assert found.state_dir == home / "state"
    assert found.addresses == (
        ipaddress.IPv4Address("10.77.0.9"),
        ipaddress.IPv6Address("fd77::9"),
    )
    assert found.concentrator.preshared_key == bytes([5]) * 32
    assert found.settings_of("wwan0").weight == 8
    assert found.settings_of("wwan0").gateway == ipaddress.IPv4Address("192.168.8.1")
    assert found.settings_of("wwan1").weight == 2
    assert found.settings_of("eth1").weight == 1
    assert found.dscp == "copy"
    assert [rule.name for rule in found.rules] == ["calls"]


def test_links_are_matched_by_name_and_glob_but_never_the_tunnel(home):
    found = load_text(changed(CLIENT, '["wwan*", "eth1"]', '["wwan*", "eth1", "m*"]'))
    assert isinstance(found, config.ClientConfig)
    wanted = ("wwan0", "wwan17", "eth1", "modem3")
    unwanted = ("eth10", "lo", "mpbond0", "Wwan0")
    assert [name for name in wanted + unwanted if found.wants_link(name)] == list(wanted)


def test_a_server_file_is_read_as_written(home):
    routes = 'routes = ["198.51.100.0/28", "2001:db8:1::/56"]\n'
    rule = '[[rule]]\ndscp = "CS1"\nclass = "bulk"\n'
    found = load_text(in_server('dscp = "copy"') + routes + rule)
    assert isinstance(found, config.ServerConfig)
    assert found.port == 4510
    assert [str(e) for e in found.listen] == ["0.0.0.0:4510", "[::]:4510"]
    assert found.own_addresses == (
        ipaddress.IPv4Address("10.77.0.1"),
        ipaddress.IPv6Address("fd77::1"),
    )
    van, office = found.clients
    assert (van.name, keys.encode(van.public_key)) == ("van", OTHER)
    assert van.addresses == (ipaddress.IPv4Address("10.77.0.2"),)
    assert office.routes[1] == ipaddress.IPv6Network("2001:db8:1::/56")
    assert found.dscp == "copy"
    assert [rule.name for rule in found.rules] == ["rule 1"]


def test_a_client_without_a_name_goes_by_its_key(home):
    found = load_text(changed(SERVER, 'name = "office"\n', ""))
    assert isinstance(found, config.ServerConfig)
    assert found.clients[1].name == THIRD


def test_a_private_key_may_stand_in_a_private_file(home):
    text = changed(CLIENT, 'private_key_file = "own.key"', f'private_key = "{ZEROS[:-2]}E="')
    assert isinstance(load_text(text), config.ClientConfig)


def test_no_secret_shows_in_the_repr(home):
    shown = repr(load_text(CLIENT)) + repr(load_text(SERVER))
    assert repr(OWN_PRIVATE) not in shown
    assert "private_key" not in shown
    assert "preshared_key" not in shown


SENTENCES = {
    # the file as a whole
    "version missing": (
        changed(CLIENT, "version = 1", ""),
        "mpbond.toml: version: is missing; write version = 1 above the first table.",
    ),
    "version unsupported": (
        changed(CLIENT, "version = 1", "version = 2"),
        "mpbond.toml: version: 2 is a format that this mpbond does not know; write version = 1.",
    ),
    "version of a wrong type": (
        changed(CLIENT, "version = 1", 'version = "1"'),
        'mpbond.toml: version: "1" is text; write version = 1.',
    ),
    "no table": (
        "version = 1\n",
        "mpbond.toml: has neither a [client] nor a [server] table; "
        "add one; mpbond init client and mpbond init server write an example.",
    ),
    "both roles": (
        CLIENT + "[server]\n",
        "mpbond.toml: has both a [server] and a [client] table; "
        "keep one, and write [[client]] for the clients of a server.",
    ),
    "clients without a server": (
        changed(CLIENT, "[client]", "[[client]]"),
        "mpbond.toml: has [[client]] but no [server] table; "
        "add it, or write [client] with single brackets for a client's own settings.",
    ),
    "syntax": (
        CLIENT + "this is wrong\n",
        "mpbond.toml: line 9 is not TOML (Expected '=' after a key in a key/value pair); "
        "correct it there or on the line before.",
    ),
    "syntax at the end": (
        CLIENT + 'x = "',
        "mpbond.toml: ends too early (Unterminated string); complete its last line.",
    ),
    "key twice": (
        in_client('tun = "a"\ntun = "b"'),
        "mpbond.toml: line 5 is not TOML (Cannot overwrite a value); "
        "correct it there or on the line before.",
    ),
    "deep nesting": (
        "version = " + "[" * 5000 + "]" * 5000,
        "mpbond.toml: holds a number too long or lists too deep to be read; "
        "start from a file that mpbond init writes.",
    ),
    "long number": (
        "version = " + "9" * 5000,
        "mpbond.toml: holds a number too long or lists too deep to be read; "
        "start from a file that mpbond init writes.",
    ),
    # unknown and missing keys
    "unknown key with a near one": (
        in_client('sheduler = "rr"'),
        "mpbond.toml: client.sheduler: is not a key that mpbond knows; did you mean scheduler?",
    ),
    "unknown key with no near one": (
        CLIENT + "[link.wwan0]\nxyz = 1\n",
        "mpbond.toml: link.wwan0.xyz: is not a key that mpbond knows; "
        "known here are weight, gateway, tier, cap_up, cap_down, quota, quota_action.",
    ),
    "unknown table": (
        SERVER + "[link.wwan0]\n",
        "mpbond.toml: link: is not a key that mpbond knows; "
        "known here are version, server, client, rule.",
    ),
    "unknown key before a missing one": (
        changed(CLIENT, "links =", "link ="),
        "mpbond.toml: client.link: is not a key that mpbond knows; did you mean links?",
    ),
    "no concentrator": (
        CLIENT[: CLIENT.index("[concentrator]")],
        "mpbond.toml: names no server; "
        "add a [concentrator] table with public_key and endpoints, as mpbond init server prints.",
    ),
    "no links": (
        changed(CLIENT, 'links = ["wwan*", "eth1"]', ""),
        "mpbond.toml: client.links: is missing; "
        'add the interfaces to join, such as links = ["wwan*", "eth1"].',
    ),
    "no endpoints": (
        changed(CLIENT, 'endpoints = ["vps.example.org:4510", "[2001:db8::1]:4510"]', ""),
        "mpbond.toml: concentrator.endpoints: is missing; "
        'add where the server is reached, such as endpoints = ["vps.example.org:4510"].',
    ),
    "empty links": (
        changed(CLIENT, '["wwan*", "eth1"]', "[]"),
        "mpbond.toml: client.links: is empty; "
        'name at least one interface or glob, such as "wwan*".',
    ),
    "a table that is none": (
        "version = 1\nclient = 3\n",
        "mpbond.toml: client: 3 is a whole number; write it as a table, [client].",
    ),
    "a server's client in single brackets": (
        "version = 1\n[server]\n[client]\n",
        "mpbond.toml: has both a [server] and a [client] table; "
        "keep one, and write [[client]] for the clients of a server.",
    ),
    # types and ranges
    "text for a boolean": (
        in_client('default_route = "yes"'),
        'mpbond.toml: client.default_route: "yes" is text; use true or false, without quotes.',
    ),
    "text for a number": (
        in_server('mtu = "1400"'),
        'mpbond.toml: server.mtu: "1400" is text; use a whole number from 1280 to 9000 (bytes).',
    ),
    "mtu too small": (
        in_client("mtu = 900"),
        "mpbond.toml: client.mtu: 900 is out of range; "
        'use a whole number from 1280 to 9000 (bytes) or "auto".',
    ),
    "mtu with a fraction": (
        in_client("mtu = 1400.5"),
        "mpbond.toml: client.mtu: 1400.5 is a number with a fraction; "
        'use a whole number from 1280 to 9000 (bytes) or "auto".',
    ),
    "a boolean for a number": (
        in_client("mtu = true"),
        "mpbond.toml: client.mtu: true is a boolean; "
        'use a whole number from 1280 to 9000 (bytes) or "auto".',
    ),
    "a huge number": (
        in_server(f"mtu = 0x{'f' * 9000}"),
        "mpbond.toml: server.mtu: a number of 36000 bits is out of range; "
        "use a whole number from 1280 to 9000 (bytes).",
    ),
    "unknown scheduler": (
        in_client('scheduler = "fastest"'),
        'mpbond.toml: client.scheduler: "fastest" is not a choice here; '
        'use "adaptive", "redundant", "weighted", "xor" or "rr".',
    ),
    "hold too long": (
        in_client("hold = 501"),
        "mpbond.toml: client.hold: 501 is out of range; "
        'use 0 to 500 (milliseconds; 0 switches reordering off) or "auto".',
    ),
    "hold that is no number": (
        in_server("hold = nan"),
        "mpbond.toml: server.hold: NaN is out of range; "
        'use 0 to 500 (milliseconds; 0 switches reordering off) or "auto".',
    ),
    "keepalive": (
        in_client("keepalive = 0"),
        "mpbond.toml: client.keepalive: 0 is out of range; use a number from 1 to 120 (seconds).",
    ),
    "when_down": (
        in_client('when_down = "drop"'),
        'mpbond.toml: client.when_down: "drop" is not a choice here; use "direct" or "block".',
    ),
    "log level": (
        in_client('log_level = "loud"'),
        'mpbond.toml: client.log_level: "loud" is not a choice here; '
        'use "debug", "info", "warning" or "error".',
    ),
    "weight": (
        CLIENT + "[link.wwan0]\nweight = 0\n",
        "mpbond.toml: link.wwan0.weight: 0 is out of range; use a number from 0.001 to 1000000.",
    ),
    "a date": (
        in_client("tun = 2024-01-01"),
        "mpbond.toml: client.tun: 2024-01-01 is a date or time; write text in quotes.",
    ),
    "a list is expected": (
        changed(CLIENT, '["wwan*", "eth1"]', '"wwan*"'),
        'mpbond.toml: client.links: "wwan*" is text; write a list of interface names and globs.',
    ),
    # names
    "tun too long": (
        in_client('tun = "a-very-long-name"'),
        'mpbond.toml: client.tun: "a-very-long-name" is too long for an interface; '
        "use at most 15 characters.",
    ),
    "tun with a slash": (
        in_server('tun = "a/b"'),
        'mpbond.toml: server.tun: "a/b" is no name of an interface; '
        'use letters, digits, "-", "_" and ".".',
    ),
    "tun empty": (
        in_client('tun = ""'),
        'mpbond.toml: client.tun: "" is no usable text; write printable text.',
    ),
    "bad glob": (
        changed(CLIENT, '"eth1"', '"eth[01"'),
        'mpbond.toml: client.links[1]: "eth[01" has a "[" without its "]"; '
        'write it as "wwan[0-3]".',
    ),
    "glob with a space": (
        changed(CLIENT, '"eth1"', '"eth *"'),
        'mpbond.toml: client.links[1]: "eth *" can match no interface; use a glob such as "wwan*".',
    ),
    "link twice": (
        changed(CLIENT, '"eth1"', '"wwan*"'),
        'mpbond.toml: client.links[1]: "wwan*" stands here twice; remove one.',
    ),
    "the tunnel as a link": (
        changed(CLIENT, '"eth1"', '"mpbond0"'),
        "mpbond.toml: client.links[1]: mpbond0 is the tunnel itself; name a modem's interface.",
    ),
    "bad glob as a link's table": (
        CLIENT + '[link."a b"]\nweight = 1\n',
        'mpbond.toml: link."a b": "a b" is no name of an interface; '
        'use letters, digits, "-", "_" and ".".',
    ),
    "unknown group": (
        in_client('control_group = "no-such-group"'),
        'mpbond.toml: client.control_group: there is no group "no-such-group" on this machine; '
        "name an existing one or run groupadd --system no-such-group.",
    ),
    "control path too long": (
        in_client(f'control = "/{"x" * 107}"'),
        "mpbond.toml: client.control: is too long for a Unix socket; "
        "use a path of at most 107 characters.",
    ),
    # addresses and endpoints
    "bad address": (
        in_client('addresses = ["10.77.0.256"]'),
        'mpbond.toml: client.addresses[0]: "10.77.0.256" is not an IP address; '
        'write an address such as "10.77.0.2" or "fd77::2".',
    ),
    "multicast address": (
        in_client('addresses = ["224.0.0.1"]'),
        "mpbond.toml: client.addresses[0]: 224.0.0.1 is not the address of a host; "
        'write an address such as "10.77.0.2" or "fd77::2".',
    ),
    "bad gateway": (
        CLIENT + '[link.wwan0]\ngateway = "192.168.8.1/24"\n',
        'mpbond.toml: link.wwan0.gateway: "192.168.8.1/24" is not an IP address; '
        'write an address such as "10.77.0.2" or "fd77::2".',
    ),
    "port out of range": (
        changed(CLIENT, "org:4510", "org:70000"),
        'mpbond.toml: concentrator.endpoints[0]: port "70000" is out of range; use 1 to 65535.',
    ),
    "port zero": (
        in_server('listen = ["0.0.0.0:0"]'),
        'mpbond.toml: server.listen[0]: port "0" is out of range; use 1 to 65535.',
    ),
    "no port": (
        changed(CLIENT, "org:4510", "org"),
        'mpbond.toml: concentrator.endpoints[0]: "vps.example.org" names no port; '
        'write "vps.example.org:4510".',
    ),
    "no port after an IPv6 address": (
        changed(CLIENT, "[2001:db8::1]:4510", "2001:db8::1"),
        'mpbond.toml: concentrator.endpoints[1]: "2001:db8::1" names no port; '
        'write "[2001:db8::1]:4510".',
    ),
    "IPv6 without brackets": (
        changed(CLIENT, "[2001:db8::1]:4510", "2001:db8:0:0:0:0:0:1:4510"),
        'mpbond.toml: concentrator.endpoints[1]: "2001:db8:0:0:0:0:0:1:4510" '
        "has an IPv6 address without brackets; "
        'write it as "vps.example.org:4510" or "[2001:db8::1]:4510".',
    ),
    "a port of thousands of digits": (
        changed(CLIENT, "org:4510", f"org:{'1' * 5000}"),
        f'mpbond.toml: concentrator.endpoints[0]: port "{"1" * 59}… is out of range; '
        "use 1 to 65535.",
    ),
    "a line break in a host": (
        changed(CLIENT, "vps.example.org:4510", "vps\\norg"),
        r'mpbond.toml: concentrator.endpoints[0]: "vps\norg" is neither an address nor a host '
        'name; write it as "vps.example.org:4510" or "[2001:db8::1]:4510".',
    ),
    "bad host": (
        changed(CLIENT, "vps.example.org", "vps example"),
        'mpbond.toml: concentrator.endpoints[0]: "vps example" is neither an address nor a host '
        'name; write it as "vps.example.org:4510" or "[2001:db8::1]:4510".',
    ),
    "an address with a wrong number": (
        changed(CLIENT, "vps.example.org", "192.0.2.300"),
        'mpbond.toml: concentrator.endpoints[0]: "192.0.2.300" is neither an address nor a host '
        'name; write it as "vps.example.org:4510" or "[2001:db8::1]:4510".',
    ),
    "a wildcard as a destination": (
        changed(CLIENT, "vps.example.org", "0.0.0.0"),
        "mpbond.toml: concentrator.endpoints[0]: nobody can be reached at 0.0.0.0; "
        'write it as "vps.example.org:4510" or "[2001:db8::1]:4510".',
    ),
    "no endpoint": (
        changed(CLIENT, '["vps.example.org:4510", "[2001:db8::1]:4510"]', "[]"),
        "mpbond.toml: concentrator.endpoints: is empty; "
        'name at least one, such as "vps.example.org:4510".',
    ),
    "listen on a name": (
        in_server('listen = ["localhost:4510"]'),
        'mpbond.toml: server.listen[0]: "localhost" is a name; write an address of this machine.',
    ),
    "two ports": (
        in_server('listen = ["0.0.0.0:4510", "[::]:4511"]'),
        "mpbond.toml: server.listen[1]: port 4511 differs from 4510 in the item before; "
        "use one port for all addresses.",
    ),
    # keys
    "no private key": (
        changed(CLIENT, 'private_key_file = "own.key"\n', ""),
        "mpbond.toml: client.private_key_file: is missing; "
        "make a key by mpbond keygen -o FILE and name that file here.",
    ),
    "two private keys": (
        in_client(f'private_key = "{OTHER}"'),
        "mpbond.toml: client: has both private_key_file and private_key; "
        "keep one of them, better private_key_file.",
    ),
    "key file missing": (
        changed(CLIENT, "own.key", "no.key"),
        "mpbond.toml: client.private_key_file: there is no file no.key; "
        "make it by mpbond keygen -o no.key, with --psk for a preshared key.",
    ),
    "key file is a directory": (
        changed(CLIENT, "own.key", "."),
        "mpbond.toml: client.private_key_file: . is not a regular file; "
        "name a file that holds the key.",
    ),
    "private key all zeros": (
        changed(CLIENT, 'private_key_file = "own.key"', f'private_key = "{ZEROS}"'),
        "mpbond.toml: client.private_key: the key is all zeros; use a key made by mpbond keygen.",
    ),
    "private key that is no text": (
        changed(CLIENT, 'private_key_file = "own.key"', "private_key = 5"),
        "mpbond.toml: client.private_key: this is a whole number; write the key in quotes.",
    ),
    "public key not base64": (
        changed(CLIENT, OTHER, "not a key"),
        'mpbond.toml: concentrator.public_key: "not a key" is not base64; '
        "use the public key that mpbond pubkey prints.",
    ),
    "public key too short": (
        changed(CLIENT, OTHER, "AAAA"),
        'mpbond.toml: concentrator.public_key: "AAAA" holds 3 bytes instead of 32; '
        "use the public key that mpbond pubkey prints.",
    ),
    "public key all zeros": (
        changed(CLIENT, OTHER, ZEROS),
        f'mpbond.toml: concentrator.public_key: "{ZEROS}" is a point of low order, with which '
        "every secret would be zero; use the public key that mpbond pubkey prints.",
    ),
    "public key of low order": (
        changed(SERVER, THIRD, LOW_ORDER),
        f'mpbond.toml: client[1].public_key: "{LOW_ORDER}" is a point of low order, with which '
        "every secret would be zero; use the public key that mpbond pubkey prints.",
    ),
    "own public key": (
        changed(CLIENT, OTHER, OWN),
        "mpbond.toml: concentrator.public_key: is this box's own public key; use the server's.",
    ),
    "own private key as the public one": (
        changed(SERVER, THIRD, keys.encode(OWN_PRIVATE)),
        "mpbond.toml: client[1].public_key: is this box's private key; "
        "use the client's public key, and make a new private key if this file was shown.",
    ),
    "duplicate public key": (
        changed(SERVER, THIRD, OTHER),
        "mpbond.toml: client[1].public_key: is that of client[0] too; "
        "give every client its own public_key.",
    ),
    "duplicate name": (
        changed(SERVER, "office", "van"),
        "mpbond.toml: client[1].name: is that of client[0] too; give every client its own name.",
    ),
    "no public key": (
        changed(SERVER, f'public_key = "{THIRD}"', ""),
        "mpbond.toml: client[1].public_key: is missing; "
        "add the client's, as mpbond init client prints it.",
    ),
    # pools, addresses and routes
    "overlapping pools": (
        changed(SERVER, '"fd77::/64"', '"10.77.0.128/25"'),
        "mpbond.toml: server.pool[1]: 10.77.0.128/25 overlaps 10.77.0.0/24 in server.pool[0]; "
        "use prefixes that share no address.",
    ),
    "pool with host bits": (
        changed(SERVER, "10.77.0.0/24", "10.77.0.1/24"),
        'mpbond.toml: server.pool[0]: "10.77.0.1/24" has host bits set; write 10.77.0.0/24.',
    ),
    "pool too small": (
        changed(SERVER, "10.77.0.0/24", "10.77.0.0/31"),
        "mpbond.toml: server.pool[0]: 10.77.0.0/31 is too small; use a prefix length from 8 to 30.",
    ),
    "pool too big": (
        changed(SERVER, "fd77::/64", "::/0"),
        "mpbond.toml: server.pool[1]: ::/0 is too big; use a prefix length from 32 to 126.",
    ),
    "pool of loopback": (
        changed(SERVER, "10.77.0.0/24", "127.0.0.0/24"),
        "mpbond.toml: server.pool[0]: 127.0.0.0/24 holds no addresses for hosts; "
        'use a private prefix such as "10.77.0.0/24" or "fd77::/64".',
    ),
    "pool that is no prefix": (
        changed(SERVER, "fd77::/64", "fd77::/640"),
        'mpbond.toml: server.pool[1]: "fd77::/640" is not an IP prefix; '
        'write a prefix such as "192.0.2.8/29" or "2001:db8:1::/56".',
    ),
    "empty pool": (
        changed(SERVER, '["10.77.0.0/24", "fd77::/64"]', "[]"),
        'mpbond.toml: server.pool: is empty; write a private prefix such as "10.77.0.0/24".',
    ),
    "address in no pool": (
        in_office('addresses = ["10.88.0.2"]'),
        "mpbond.toml: client[1].addresses[0]: 10.88.0.2 lies in no pool; "
        "use an address inside 10.77.0.0/24 or fd77::/64.",
    ),
    "duplicate address": (
        in_office('addresses = ["10.77.0.2"]'),
        "mpbond.toml: client[1].addresses[0]: 10.77.0.2 is that of client[0].addresses[0] too; "
        "give every client its own address.",
    ),
    "the server's own address": (
        in_office('addresses = ["fd77::1"]'),
        "mpbond.toml: client[1].addresses[0]: fd77::1 is the server's own address; "
        "use another address inside fd77::/64.",
    ),
    "broadcast address": (
        in_office('addresses = ["10.77.0.255"]'),
        "mpbond.toml: client[1].addresses[0]: 10.77.0.255 is the network's or its broadcast "
        "address; use another address inside 10.77.0.0/24.",
    ),
    "two addresses from one pool": (
        in_office('addresses = ["10.77.0.7", "10.77.0.8"]'),
        "mpbond.toml: client[1].addresses[1]: 10.77.0.8 is a second address from 10.77.0.0/24; "
        "keep one, and put others into routes.",
    ),
    "route with host bits": (
        in_office('routes = ["198.51.100.9/29"]'),
        'mpbond.toml: client[1].routes[0]: "198.51.100.9/29" has host bits set; '
        "write 198.51.100.8/29.",
    ),
    "overlapping routes": (
        in_office('routes = ["192.0.2.0/24"]'),
        "mpbond.toml: client[1].routes[0]: 192.0.2.0/24 overlaps 192.0.2.8/29 in "
        "client[0].routes[0]; route every address to one client only.",
    ),
    "a route that overlaps a pool": (
        in_office('routes = ["10.0.0.0/8"]'),
        "mpbond.toml: client[1].routes[0]: 10.0.0.0/8 overlaps the pool 10.77.0.0/24; "
        "route every address to one client only.",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_the_sentence_names_place_fault_and_remedy(home, text, sentence):
    assert sentence_of(text) == sentence


def test_a_key_file_open_to_others_is_refused(home):
    (home / "own.key").chmod(0o640)
    assert sentence_of(CLIENT) == (
        "mpbond.toml: client.private_key_file: own.key is open to group or others (mode 0640); "
        "run chmod 600 own.key."
    )


@pytest.mark.parametrize("mode", [0o601, 0o604, 0o610, 0o620, 0o640])
def test_any_bit_for_others_is_too_much(home, mode):
    (home / "own.key").chmod(mode)
    assert f"(mode {mode:04o})" in sentence_of(CLIENT)


def test_a_config_with_an_inline_key_must_be_private(home):
    path = Path("open.toml")
    path.write_text(changed(CLIENT, 'private_key_file = "own.key"', f'private_key = "{THIRD}"'))
    path.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert str(caught.value) == (
        "open.toml: client.private_key: holds a secret while open.toml is open to group or others "
        "(mode 0644); run chmod 600 open.toml."
    )


def test_an_empty_key_file_is_named(home):
    (home / "own.key").write_text("\n")
    assert sentence_of(CLIENT) == (
        "mpbond.toml: client.private_key_file: own.key is empty; "
        "make a key by mpbond keygen --force -o own.key."
    )


def test_a_spoilt_key_file_is_named_but_its_contents_never_shown(home):
    (home / "own.key").write_text("top secret rubbish\n")
    assert sentence_of(CLIENT) == (
        "mpbond.toml: client.private_key_file: the key in own.key is not base64; "
        "use a key made by mpbond keygen."
    )


def test_a_file_that_is_not_there(home):
    with pytest.raises(ConfigError) as caught:
        config.load(Path("none.toml"))
    assert str(caught.value) == (
        "none.toml: does not exist; mpbond init client or mpbond init server writes one."
    )


def test_a_directory_is_no_file(home):
    with pytest.raises(ConfigError) as caught:
        config.load(home)
    assert str(caught.value) == f"{home}: is not a regular file; name a TOML file."


def test_a_fifo_does_not_hang_the_reader(home):
    os.mkfifo("pipe.toml")
    with pytest.raises(ConfigError) as caught:
        config.load(Path("pipe.toml"))
    assert str(caught.value) == "pipe.toml: is not a regular file; name a TOML file."


def test_an_unreadable_file(home, monkeypatch):
    def refuse(*_args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    Path("closed.toml").touch()
    with pytest.raises(ConfigError) as caught:
        config.load(Path("closed.toml"))
    assert str(caught.value) == (
        "closed.toml: cannot be read (Permission denied); let the user mpbond runs as read it."
    )


def test_an_unreadable_key_file(home, monkeypatch):
    def refuse(*_args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mpbond.config.keys.os.open", refuse)
    with pytest.raises(ConfigError) as caught:
        config.parse(tomllib.loads(CLIENT), Path("mpbond.toml"))
    assert str(caught.value) == (
        "mpbond.toml: client.private_key_file: own.key cannot be read (Permission denied); "
        "name a file that the user mpbond runs as can read."
    )


def test_a_file_that_is_not_utf8(home):
    Path("latin.toml").write_bytes(b"version = 1\n# caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        config.load(Path("latin.toml"))
    assert str(caught.value) == "latin.toml: line 2 is not UTF-8 text; save the file as UTF-8."


def test_a_huge_file_is_not_read(home):
    Path("big.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(ConfigError) as caught:
        config.load(Path("big.toml"))
    assert str(caught.value) == "big.toml: is larger than 1 MiB; name a TOML file."


def test_the_roles_are_not_mixed_up(home):
    client, server = Path("client.toml"), Path("server.toml")
    client.write_text(CLIENT)
    server.write_text(SERVER)
    assert isinstance(config.load_client(client), config.ClientConfig)
    assert isinstance(config.load_server(server), config.ServerConfig)
    with pytest.raises(ConfigError) as caught:
        config.load_server(client)
    assert str(caught.value) == (
        "client.toml: is a client's configuration; run mpbond client --config client.toml."
    )
    with pytest.raises(ConfigError) as caught:
        config.load_client(server)
    assert str(caught.value) == (
        "server.toml: is a server's configuration; run mpbond server --config server.toml."
    )


ANYTHING = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.dates(),
        st.times(),
        st.sampled_from(
            [
                "auto",
                "10.0.0.0/8",
                "::/0",
                "a:1",
                "[::1]:5",
                "a\nb",
                "\n:1",
                "\n",
                OWN,
                OTHER,
                ZEROS,
                "*",
            ]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def check_sentence(sentence, path):
    assert sentence.startswith(f"{path}: ")
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence


def places(value, path=()):
    """Lists the path of every value inside nested tables and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


RICH_CLIENT = tomllib.loads(
    in_client('mtu = 1400\nhold = 3\ntun = "m1"\naddresses = ["10.0.0.1"]\nscheduler = "rr"')
    + '[link.wwan0]\nweight = 2\ngateway = "10.0.0.1"\ntier = "overflow"\ncap_up = "1 Mbit/s"\n'
    'cap_down = 8e6\nquota = "1 GB per day"\nquota_action = "off"\n'
    '[[rule]]\nname = "x"\nprotocol = "tcp"\nports = [22, "80-90"]\nclass = "bulk"\n'
    '[[rule]]\ndscp = ["EF"]\nprefixes = ["10.0.0.0/8"]\nscheduler = "xor"\n'
)
RICH_SERVER = tomllib.loads(in_server('mtu = 1400\nlisten = ["0.0.0.0:1"]\ndns = ["10.77.0.1"]'))


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_whatever_stands_in_the_file_is_accepted_or_one_sentence(home, data):
    document = copy.deepcopy(data.draw(st.sampled_from([RICH_CLIENT, RICH_SERVER])))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(sorted(places(document), key=repr)))
        holder = document
        for key in path[:-1]:
            holder = holder[key]
        if data.draw(st.booleans()):
            holder[path[-1]] = data.draw(ANYTHING)
        elif isinstance(holder, dict):
            holder[data.draw(st.text(max_size=8))] = holder.pop(path[-1])
        else:
            holder.insert(0, data.draw(ANYTHING))
    try:
        found = config.parse(document, Path("mpbond.toml"))
    except ConfigError as error:
        check_sentence(str(error), Path("mpbond.toml"))
    else:
        assert isinstance(found, config.ClientConfig | config.ServerConfig)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=60), at=st.integers(0, len(CLIENT)))
def test_any_bytes_are_accepted_or_one_sentence(home, noise, at):
    path = Path("noise.toml")
    path.write_bytes(CLIENT[:at].encode() + noise + CLIENT[at:].encode())
    try:
        config.load(path)
    except ConfigError as error:
        check_sentence(str(error), path)
