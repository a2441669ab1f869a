"""Firewall rules: rendered (pure), and in force in network namespaces."""

import json
import socket
import struct
from ipaddress import ip_address, ip_interface, ip_network

import pytest
import pytun

from mpbond.errors import PlatformError
from mpbond.io import firewall
from mpbond.io.firewall import ClientRules, ServerRules, as_text, render, render_removal
from mpbond.io.system import SystemState
from tests.io.test_system import drain, is_readable, open_tun, read_packet
from tests.io.world import LAN_HOST, PORT, SERVER, ask, picture, until

POOL = (ip_network("10.77.0.0/24"), ip_network("fd77::/64"))
ROUTED = (ip_network("192.0.2.8/29"), ip_network("2001:db8:77::/56"))
CLIENTS_OWN = (ip_address("10.77.0.2"), ip_address("fd77::2"))

SERVER_RULES = ServerRules(tun="mpbond0", mtu=1438, pool=POOL, no_nat=ROUTED)
CLIENT_RULES = ClientRules(
    tun="mpbond0", mtu=1400, addresses=CLIENTS_OWN, links=("m1", "m2", "m3"), routed=ROUTED
)


def lines(rules) -> list[str]:
    prefix = f"add rule inet {firewall.table_name(rules.tun)} "
    text = as_text(render(rules)).splitlines()
    return [line.removeprefix(prefix) for line in text if line.startswith(prefix)]


class TestRendering:
    def test_the_table_is_replaced_in_one_transaction(self):
        commands = render(SERVER_RULES)["nftables"]
        table = {"table": {"family": "inet", "name": "mpbond_mpbond0"}}
        assert commands[:3] == [{"add": table}, {"delete": table}, {"add": table}]
        assert render_removal("mpbond0")["nftables"] == [{"add": table}, {"delete": table}]

    def test_it_is_json_all_through(self):
        for rules in (SERVER_RULES, CLIENT_RULES):
            assert json.loads(json.dumps(render(rules))) == render(rules)

    def test_only_the_pool_is_masqueraded_and_prefixes_without_nat_are_not(self):
        assert [line for line in lines(SERVER_RULES) if line.startswith("postrouting")] == [
            'postrouting meta oifname != "mpbond0" ip saddr 192.0.2.8/29 return',
            'postrouting meta oifname != "mpbond0" ip saddr 10.77.0.0/24 masquerade',
            'postrouting meta oifname != "mpbond0" ip6 saddr 2001:db8:77::/56 return',
            'postrouting meta oifname != "mpbond0" ip6 saddr fd77::/64 masquerade',
        ]

    def test_without_nat_nothing_is_translated_or_hidden(self):
        rules = ServerRules(tun="mpbond0", mtu=1438, pool=POOL, nat=False)
        assert not any("masquerade" in line or "daddr" in line for line in lines(rules))

    def test_segments_are_clamped_both_ways_for_both_versions(self):
        clamps = [line for line in lines(CLIENT_RULES) if line.startswith("clamp")]
        assert len(clamps) == 4
        for side in ("iifname", "oifname"):
            for version, size in (("ipv4", 1360), ("ipv6", 1340)):
                assert (
                    f'clamp meta {side} "mpbond0" meta nfproto {version} tcp flags & (syn | rst) =='
                    f" syn tcp option maxseg size > {size} tcp option maxseg size set {size}"
                ) in clamps

    def test_one_version_alone_makes_no_rules_for_the_other(self):
        rules = ServerRules(tun="t", mtu=1400, pool=POOL[:1])
        assert not any("ip6" in line for line in lines(rules))
        rules = ClientRules(tun="t", mtu=1400, addresses=CLIENTS_OWN[:1])
        assert not any("ip6" in line for line in lines(rules))

    def test_nothing_with_an_inner_address_leaves_by_a_link(self):
        content = lines(CLIENT_RULES)
        leaving = 'astray meta oifname { "m1", "m2", "m3" }'
        assert f"{leaving} ip saddr 10.77.0.2 drop" in content
        assert f"{leaving} ip6 saddr fd77::2 drop" in content
        rules = ClientRules(tun="t", mtu=1400, addresses=CLIENTS_OWN)
        assert not any("astray" in line for line in lines(rules))

    def test_nothing_enters_the_tunnel_that_could_not_be_translated_yet(self):
        rules = ClientRules(tun="t", mtu=1400, addresses=())
        for version in ("ipv4", "ipv6"):
            assert f'forward meta oifname "t" meta nfproto {version} drop' in lines(rules)
        content = lines(CLIENT_RULES)
        assert not any('oifname "mpbond0"' in line and "drop" in line for line in content)

    def test_the_lan_is_translated_to_a_fixed_address_that_survives_the_device(self):
        translated = [line for line in lines(CLIENT_RULES) if "snat" in line]
        assert [line.rpartition("snat ")[2] for line in translated] == [
            "ip to 10.77.0.2",
            "ip6 to fd77::2",
        ]

    def test_overlapping_prefixes_are_merged(self):
        overlapping = (ip_network("192.0.2.0/24"), ip_network("192.0.2.8/29"))
        rules = ServerRules(tun="t", mtu=1400, pool=POOL, no_nat=overlapping)
        assert 'postrouting meta oifname != "t" ip saddr 192.0.2.0/24 return' in lines(rules)

    def test_any_name_of_a_device_makes_a_valid_table_name(self):
        assert firewall.table_name("mpbond0.7-a_b") == "mpbond_mpbond0.7-a_b"
        assert firewall.table_name("böse;") == "mpbond_b_f6se_3b"


EVERY_RULE = [
    SERVER_RULES,
    CLIENT_RULES,
    ServerRules(tun="böse;", mtu=1280, pool=POOL, client_to_client=True, guard=frozenset({4, 6})),
    ServerRules(tun="mpbond0", mtu=9000, pool=POOL, nat=False),
    ClientRules(tun="mpbond0", mtu=1400, addresses=CLIENTS_OWN, masquerade=False, direct=False),
    ClientRules(
        tun="mpbond0", mtu=1400, addresses=CLIENTS_OWN, links=("m1",), guard=frozenset({4, 6})
    ),
]


@pytest.mark.netns
class TestInForce:
    @pytest.fixture
    def router(self, world):
        """Runs functions in the client, which is the router between LAN, TUN and modems."""
        before = picture(world.spaces, "client")["nft list ruleset"]
        inside = world.inside("client")
        yield inside
        assert picture(world.spaces, "client")["nft list ruleset"] == before

    @pytest.fixture
    def tun(self, router):
        device = router(open_tun, "mpbond0")
        yield device
        device.close()

    @pytest.fixture
    def state(self, router, tun, tmp_path):
        made = router(SystemState, tmp_path, "mpbond0")
        yield made
        router(made.undo_all)

    @pytest.fixture
    def lan(self, world):
        return world.inside("lan")

    @pytest.fixture
    def server(self, router, state, tun):
        """The router as a concentrator, whose outside is the LAN."""
        own = [ip_interface("10.77.0.1/24"), ip_interface("fd77::1/64")]
        router(state.tun_up, own, SERVER_RULES.mtu)
        router(state.enable_forwarding)
        for prefix in ROUTED:
            router(state.route, prefix)
        router(state.apply_firewall, SERVER_RULES)
        drain(tun)
        return state

    @pytest.fixture
    def client(self, router, state, tun):
        """The router as a client, whose default route is the tunnel."""
        own = [ip_interface("10.77.0.2/24"), ip_interface("fd77::2/64")]
        router(state.tun_up, own, CLIENT_RULES.mtu)
        router(state.enable_forwarding)
        router(state.default_route, True)
        router(state.apply_firewall, CLIENT_RULES)
        drain(tun)
        return state

    @pytest.mark.parametrize("rules", EVERY_RULE)
    def test_the_text_shown_does_the_same_as_the_json_applied(self, world, router, rules):
        router(firewall.apply, rules)
        router(firewall.apply, rules)
        applied = picture(world.spaces, "client")["nft list ruleset"]
        assert firewall.table_name(rules.tun) in applied
        router(firewall.remove, rules.tun)
        world.spaces.run("client", "sh", "-e", "-c", as_text(render(rules)))
        assert picture(world.spaces, "client")["nft list ruleset"] == applied
        router(firewall.remove, rules.tun)
        router(firewall.remove, rules.tun)

    def test_tables_of_others_are_left_alone(self, world, router):
        world.spaces.nft("client", "add table inet somebody; add table inet mpbond_other")
        router(firewall.apply, SERVER_RULES)
        router(firewall.remove, "mpbond0")
        assert world.spaces.run("client", "nft", "list", "tables").stdout.splitlines() == [
            "table inet somebody",
            "table inet mpbond_other",
        ]
        world.spaces.nft("client", "delete table inet somebody; delete table inet mpbond_other")

    def test_a_missing_nft_is_named_with_its_remedy(self, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(PlatformError, match=r"^nft is not installed; apt install nftables$"):
            firewall.apply(SERVER_RULES)

    def test_a_refusal_says_what_nft_said(self, router):
        broken = ServerRules(tun="t" * 300, mtu=1400, pool=POOL)
        with pytest.raises(PlatformError, match=r"nft refused the table inet mpbond_ttt.*: .+;"):
            router(firewall.apply, broken)

    def test_the_pool_leaves_under_the_servers_address(self, server, tun):
        assert echo_through(tun, "10.77.0.2", LAN_HOST) == "192.168.1.1"

    def test_a_routed_prefix_keeps_its_address(self, server, tun):
        assert echo_through(tun, "192.0.2.9", LAN_HOST) == "192.0.2.9"

    def test_the_outside_cannot_reach_the_pool_but_a_routed_prefix(self, server, lan, tun):
        assert lan(ask, "10.77.0.2", timeout=0.05) is None
        assert lan(ask, "192.0.2.9", timeout=0.05) is None
        first = read_packet(tun)
        assert socket.inet_ntoa(first[16:20]) == "192.0.2.9"
        assert not is_readable(tun)

    def test_packets_do_not_come_back_into_the_tun_unless_allowed(self, router, server, tun):
        tun.write(udp_packet("10.77.0.2", "10.77.0.3", b"?"))
        assert echo_through(tun, "10.77.0.2", LAN_HOST) == "192.168.1.1"
        allowed = ServerRules(tun="mpbond0", mtu=1438, pool=POOL, client_to_client=True)
        router(server.apply_firewall, allowed)
        tun.write(udp_packet("10.77.0.2", "10.77.0.3", b"?"))
        assert socket.inet_ntoa(read_packet(tun)[16:20]) == "10.77.0.3"

    def test_what_was_not_forwarded_before_us_is_still_not(self, router, server, lan, tun):
        router(server.apply_firewall, CLIENT_RULES)
        assert lan(ask, SERVER) == "100.64.1.2"
        guarded = ServerRules(tun="mpbond0", mtu=1438, pool=POOL, guard=frozenset({4, 6}))
        router(server.apply_firewall, guarded)
        assert lan(ask, SERVER, timeout=0.1) is None
        assert echo_through(tun, "10.77.0.2", LAN_HOST) == "192.168.1.1"

    def test_the_lan_enters_the_tunnel_under_its_address(self, client, lan, tun):
        assert lan(ask, SERVER, timeout=0.05) is None
        packet = read_packet(tun)
        assert socket.inet_ntoa(packet[12:16]) == "10.77.0.2"
        assert socket.inet_ntoa(packet[16:20]) == SERVER

    def test_while_the_tunnel_is_down_the_lan_leaves_by_a_link(self, router, client, lan):
        router(client.default_route, False)
        assert lan(ask, SERVER) == "100.64.1.2"

    def test_nobody_beyond_the_tunnel_opens_connections_into_the_lan(self, client, tun):
        tun.write(udp_packet("203.0.113.99", LAN_HOST, b"?"))
        # a packet that is let in afterwards proves that the first would have come by now
        tun.write(udp_packet("203.0.113.99", "10.77.0.2", b"?"))
        answer = read_packet(tun)
        assert answer[9] == socket.IPPROTO_ICMP, "port unreachable from ourselves"
        assert not is_readable(tun)

    def test_segments_of_the_lan_are_clamped_but_never_raised(self, client, lan, tun):
        for offered, expected in ((None, 1360), (1200, 1200)):
            with lan(connecting, SERVER, offered):
                assert segment_size(until(lambda: tcp_packet(tun), "a SYN")) == expected


def echo_through(tun: pytun.TunTapDevice, source: str, destination: str) -> str:
    """Asks an echo server from behind the TUN; returns the source it has seen."""
    tun.write(udp_packet(source, destination, b"?"))
    packet = read_packet(tun)
    assert socket.inet_ntoa(packet[12:16]) == destination
    assert socket.inet_ntoa(packet[16:20]) == source
    return packet[28:].decode()


def udp_packet(source: str, destination: str, payload: bytes) -> bytes:
    """An IPv4 packet; UDP needs no checksum there."""
    length = 28 + len(payload)
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        length,
        1,
        0,
        64,
        socket.IPPROTO_UDP,
        0,
        socket.inet_aton(source),
        socket.inet_aton(destination),
    )
    words = sum(struct.unpack("!10H", head))
    words = (words & 0xFFFF) + (words >> 16)
    checksum = ~((words & 0xFFFF) + (words >> 16)) & 0xFFFF
    head = head[:10] + struct.pack("!H", checksum) + head[12:]
    return head + struct.pack("!HHHH", 5555, PORT, length - 20, 0) + payload


def connecting(address: str, segment: int | None) -> socket.socket:
    """A TCP socket that has sent its SYN."""
    endpoint = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if segment is not None:
        endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
    endpoint.setblocking(False)
    endpoint.connect_ex((address, 80))
    return endpoint


def tcp_packet(tun: pytun.TunTapDevice) -> bytes | None:
    packet = read_packet(tun)
    return packet if packet[9] == socket.IPPROTO_TCP else None


def segment_size(packet: bytes) -> int:
    """The MSS option of an IPv4 SYN, which stands first."""
    kind, length, size = struct.unpack_from("!BBH", packet, 40)
    assert (kind, length) == (2, 4)
    return size
