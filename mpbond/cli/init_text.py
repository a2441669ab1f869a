"""The text of fresh configurations: the settings one has to think about, then the rest commented
out with its default, so that the file is also the reference.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMON = """
# Who may ask for "mpbond status" and "mpbond set" besides root: a group of this machine.
# control_group = "adm"
# control = "/run/mpbond/mpbond0.sock"

# Whether a datagram gets the mark (DSCP) of the packet in it, "copy", or none, "clear". Inner marks
# are kept either way.
# dscp = "clear"

# Let the kernel hand over and take up to 64 kB of a connection at a time, where it can. It saves
# computing time.
# offload = true

# Where changes to this system are noted, so that they are undone even after a crash{state}.
# state_dir = "/var/lib/mpbond"

# debug, info, warning or error
# log_level = "info"
"""

_STATE = """,
# and what links have carried"""

_RULES = """
# Packets that should be treated otherwise than they would be. The first rule that matches wins{whose}.
# [[rule]]
# name = "calls"
# protocol = "udp"
# ports = ["5060-5061", "10000-20000"]      # source or destination; also: dscp, prefixes
# class = "realtime"                        # or "normal" or "bulk"; and, or instead: scheduler
"""

_CLIENT = """\
# mpbond, a client: joins the links of this machine into one tunnel to a server.
# Lines that begin with "# " and hold a setting show its default.
version = 1

[client]
# Made by mpbond init; only its owner may read it. Relative to this file.
private_key_file = {key_file}

# The interfaces to join: names or globs. They may come and go at any time.
links = {links}

# Send everything through the tunnel. The links keep their own routes.
default_route = true

# What becomes of traffic while the server cannot be reached: it goes out "direct", by the links
# themselves, or "block" holds it back.
# when_down = "direct"

# Hide the network behind this machine behind the tunnel's address. Not needed for prefixes that the
# server routes here.
# masquerade = true

# How packets are spread over the links: "adaptive" (where they arrive first; links need no settings),
# "redundant" (on all at once), "weighted" (by the weights below), "xor" (each connection stays on one
# link) or "rr" (each in turn). Up is to the server, down is what this client wishes.
# scheduler = "adaptive"
# downlink_scheduler = "adaptive"

# How long the server keeps a packet for an earlier one that is still under way: "auto" follows the
# links; a number is milliseconds; 0 passes packets on as they come.
# hold = "auto"

# Seconds of silence after which a link says something, so that its NAT remembers it.
# keepalive = 20

# The tunnel's device, and its MTU: "auto" or 1280 to 9000 bytes.
# tun = "mpbond0"
# mtu = "auto"

# Addresses inside the tunnel that this client would like to have, of the server's pools.
# addresses = []
{common}
[concentrator]
# The server: its public key, and where it is reached, best first.
public_key = {server_key}
endpoints = {endpoints}

# A secret that both sides share besides their keys; make it by mpbond keygen --psk -o psk.key
# preshared_key_file = "psk.key"

# Settings for one link, or for all that match a glob. None is needed; rates are learned.
# [link.wwan0]
# tier = "overflow"                 # "always", or only for what others cannot carry, or "last resort"
# cap_up = "500 kbit/s"             # the most it may carry to the server,
# cap_down = "8 Mbit/s"             # and from it
# quota = "20 GB per month"         # or per day, up and down together
# quota_action = "last resort"      # or "off", once that is used up
# weight = 8                        # for "weighted" and "xor"
# gateway = "192.168.8.1"           # only if it cannot be found
{rules}"""

_SERVER = """\
# mpbond, a server: ends the tunnels of clients and lets them out into the internet.
# Lines that begin with "# " and hold a setting show its default.
version = 1

[server]
# Made by mpbond init; only its owner may read it. Relative to this file.
private_key_file = {key_file}

# Where clients reach this machine: one UDP port, which its firewall has to let in.
listen = {listen}

# Addresses inside the tunnel. The first of each prefix is the server's own.
pool = ["10.77.0.0/24", "fd77::/64"]

# Let clients out under this machine's own address.
nat = true

# Let clients reach each other.
# client_to_client = false

# For clients that express no wish: "adaptive", "redundant", "weighted", "xor" or "rr".
# scheduler = "adaptive"

# How long clients keep a packet for an earlier one that is still under way: "auto", or in
# milliseconds.
# hold = "auto"

# The tunnel's device and its MTU, 1280 to 9000 bytes.
# tun = "mpbond0"
# mtu = 1438

# Name servers to tell clients of.
# dns = []
{common}
# One table for each client; mpbond init client prints it, on the client.
# [[client]]
# name = "van"
# public_key = "the client's public key"
# preshared_key_file = "psk.key"
# addresses = ["10.77.0.2", "fd77::2"]      # fixed; otherwise the pool decides
# routes = ["192.0.2.8/29"]                 # prefixes that go to this client without NAT
{rules}"""


def client_text(
    *, key_file: str, links: Sequence[str], server_key: str, endpoints: Sequence[str]
) -> str:
    """Writes a client's configuration."""
    return _CLIENT.format(
        key_file=_toml(key_file),
        links=_toml(list(links)),
        server_key=_toml(server_key),
        endpoints=_toml(list(endpoints)),
        common=_COMMON.format(state=_STATE),
        rules=_RULES.format(whose=", in either direction"),
    )


def server_text(*, key_file: str, port: int) -> str:
    """Writes a server's configuration, without clients."""
    listen = [f"0.0.0.0:{port}", f"[::]:{port}"]
    return _SERVER.format(
        key_file=_toml(key_file),
        listen=_toml(listen),
        common=_COMMON.format(state=""),
        rules=_RULES.format(whose=", for clients that tell none"),
    )


def client_table(name: str, public_key: str) -> str:
    """Writes the table by which a server knows a client."""
    return f"[[client]]\nname = {_toml(name)}\npublic_key = {_toml(public_key)}"


def concentrator_table(public_key: str, endpoint: str) -> str:
    """Writes the table by which a client knows its server."""
    return f"[concentrator]\npublic_key = {_toml(public_key)}\nendpoints = {_toml([endpoint])}"


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)  # strings and lists of them are alike in both
