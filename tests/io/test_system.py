"""SystemState on real kernels' tables: three modems with equal subnets, in network namespaces."""

import os
import select
import signal
import socket
import subprocess
import sys
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
import pytun

from mpbond.errors import PlatformError
from mpbond.io import journal
from mpbond.io.firewall import ClientRules
from mpbond.io.netlink import LinkState, read_links
from mpbond.io.routes import ROUTE_PROTOCOL, SLOTS
from mpbond.io.slots import hold_slot, preferred_slot
from mpbond.io.system import SystemState
from tests.io.world import (
    LAN_HOST,
    MODEMS,
    SERVER,
    SERVER6,
    World,
    ask,
    open_descriptors_unchanged,
    picture,
    until,
)

pytestmark = pytest.mark.netns


@pytest.fixture
def client(world: World):
    """Runs functions inside the client."""
    inside = world.inside("client")
    settle(world, inside)
    return inside


@pytest.fixture
def unchanged(world: World, client):
    """What a test has changed must be undone at its end."""
    before = picture(world.spaces, "client")
    yield before
    assert by_line(picture(world.spaces, "client")) == by_line(before)


@pytest.fixture
def make(client, unchanged, tmp_path: Path):
    """Makes SystemStates inside the client; all they change must be undone at the end."""
    yield from state_maker(client, tmp_path)


@pytest.fixture
def make_while_replugging(client, tmp_path: Path):
    """The same for tests that change the links themselves."""
    yield from state_maker(client, tmp_path)


def state_maker(client, tmp_path: Path):
    made = []

    def build(name: str = "mpbond0", **keys) -> SystemState:
        made.append(client(SystemState, keys.pop("state_dir", tmp_path), name, **keys))
        return made[-1]

    yield build
    for state in made:
        client(state.undo_all)


@pytest.fixture
def tun(client):
    """A TUN device mpbond0 in the client."""
    device = client(open_tun, "mpbond0")
    yield device
    device.close()


def open_tun(name: str) -> pytun.TunTapDevice:
    return pytun.TunTapDevice(name=name, flags=pytun.IFF_TUN | pytun.IFF_NO_PI)


def set_up_links(state: SystemState, gateways=()) -> dict[str, int | None]:
    links = read_links(["m*"], exclude=["mpbond0"])
    return {name: state.link_table(link, gateways) for name, link in links.items()}


def settle(world: World, client) -> None:
    """Waits until the client has learned all addresses and gateways, asking where it has not."""

    def settled() -> bool:
        links = client(read_links, ["m*"])
        missing = [n for n in MODEMS if not is_complete(links.get(f"m{n}"))]
        for number in missing:
            world.advertise(number)
        return not missing

    until(settled, "gateways and addresses from router advertisements")


def is_complete(link: LinkState | None) -> bool:
    return link is not None and link.up and len(link.gateways) == 2 and len(link.addresses) == 3


def test_without_help_strict_reverse_path_checks_silence_all_but_one_modem(world, client):
    assert client(ask, SERVER, device="m1") == "100.64.1.2"
    assert client(ask, SERVER, device="m2", timeout=0.3) is None


@pytest.mark.parametrize("connected", [False, True])
def test_bound_sockets_leave_by_their_own_modem_though_all_subnets_are_equal(
    client, make, connected
):
    tables = client(set_up_links, make())
    assert len(set(tables.values())) == 3
    for number in MODEMS:
        seen = client(ask, SERVER, device=f"m{number}", connected=connected)
        assert seen == f"100.64.{number}.2"


def test_bound_sockets_leave_by_their_own_modem_over_ipv6_too(world, client, make):
    client(set_up_links, make())
    for number in MODEMS:
        assert client(ask, SERVER6, device=f"m{number}") == f"2001:db8:f0{number}::2"


def test_links_work_when_main_has_no_default_route_at_all(world, client, make):
    drop = [f"route del default via 192.168.8.1 dev m{n} metric {100 + n}" for n in MODEMS]
    world.spaces.ip("client", *drop)
    try:
        state = make()
        client(set_up_links, state, [ip_address("192.168.8.1")])
        for number in MODEMS:
            assert client(ask, SERVER, device=f"m{number}") == f"100.64.{number}.2"
        assert client(ask, SERVER, timeout=0.3) is None, "unbound traffic got a default route"
        client(state.undo_all)
    finally:
        for number in MODEMS:
            world.lease(number)


def test_a_gateway_outside_of_the_links_subnets_is_taken_at_its_word(world, client, make):
    link = client(read_links, ["m2"])["m2"]
    client(make().link_table, link, [ip_address("10.64.64.64")])
    shown = world.spaces.run("client", "ip", "route", "show", "table", "all").stdout
    assert "default via 10.64.64.64 dev m2 table" in shown
    assert "onlink" in shown


def test_doing_it_again_changes_nothing_and_says_nothing(client, make):
    said = []
    state = make(echo=said.append)
    client(set_up_links, state)
    assert said
    said.clear()
    client(set_up_links, state)
    assert said == []


def test_a_new_gateway_and_a_new_address_replace_the_old_ones(world, client, make_while_replugging):
    state = make_while_replugging()
    client(set_up_links, state)
    world.spaces.ip("client", "addr del 192.168.8.100/24 dev m3", "addr add 192.168.8.77/24 dev m3")
    try:
        client(set_up_links, state, [ip_address("192.168.8.1")])
        assert client(ask, SERVER, device="m3") == "100.64.3.2"
        rules = world.spaces.run("client", "ip", "rule").stdout
        assert "from 192.168.8.77 " in rules
        assert rules.count("from 192.168.8.100 ") == 2
        client(state.undo_all)
    finally:
        world.spaces.ip("client", "addr del 192.168.8.77/24 dev m3")
        world.lease(3)


def test_a_removed_link_leaves_nothing_of_itself(world, client, make):
    before = picture(world.spaces, "client")
    state = make()
    for name in client(set_up_links, state):
        client(state.remove_link, name)
    assert picture(world.spaces, "client") == before


def test_a_pulled_modem_comes_back_as_a_new_interface_and_works(
    world, client, make_while_replugging
):
    state = make_while_replugging()
    client(set_up_links, state)
    link = client(read_links, ["m2"])["m2"]
    world.spaces.ip("client", "link del m2")
    assert client(state.link_table, link) is None
    client(state.remove_link, "m2")
    world.connect_modem(2)
    client(set_up_links, state)
    assert client(ask, SERVER, device="m2") == "100.64.2.2"


def test_a_link_that_is_down_keeps_its_rules_and_gets_its_routes_back(
    world, client, make_while_replugging
):
    state = make_while_replugging()
    client(set_up_links, state)
    world.spaces.ip("client", "link set m2 down")
    assert client(set_up_links, state)["m2"] is None
    world.spaces.ip("client", "link set m2 up")
    world.lease(2)
    until(lambda: client(read_links, ["m2"])["m2"].up, "carrier")
    assert client(set_up_links, state)["m2"] is not None
    assert client(ask, SERVER, device="m2") == "100.64.2.2"
    assert client(ask, SERVER, device="m1") == "100.64.1.2"


class TestDefaultRoute:
    @pytest.fixture
    def state(self, world, client, make, tun):
        state = make()
        addresses = [ip_interface("10.77.0.2/24"), ip_interface("fd77::2/64")]
        client(state.tun_up, addresses, 1400)
        client(set_up_links, state)
        client(state.default_route, True)
        drain(tun)
        yield state
        client(state.undo_all)

    def test_unbound_traffic_goes_into_the_tun(self, client, state, tun):
        assert client(ask, SERVER, timeout=0.01) is None
        packet = read_packet(tun)
        assert packet[0] >> 4 == 4
        assert socket.inet_ntop(socket.AF_INET, packet[12:16]) == "10.77.0.2"
        assert socket.inet_ntop(socket.AF_INET, packet[16:20]) == SERVER
        assert client(ask, SERVER6, timeout=0.01) is None
        packet = read_packet(tun)
        assert packet[0] >> 4 == 6
        assert socket.inet_ntop(socket.AF_INET6, packet[8:24]) == "fd77::2"
        assert socket.inet_ntop(socket.AF_INET6, packet[24:40]) == SERVER6

    def test_bound_sockets_still_leave_by_their_link(self, client, state, tun):
        for number in MODEMS:
            assert client(ask, SERVER, device=f"m{number}") == f"100.64.{number}.2"
            assert client(ask, SERVER6, device=f"m{number}") == f"2001:db8:f0{number}::2"
        assert not is_readable(tun)

    def test_connected_subnets_still_go_direct(self, client, state, tun):
        assert client(ask, LAN_HOST) == "192.168.1.1"
        assert not is_readable(tun)

    def test_what_has_a_links_address_leaves_by_a_link(self, client, state, tun):
        assert client(ask, SERVER, source="192.168.8.100") == "100.64.1.2"
        assert not is_readable(tun)

    def test_links_changed_meanwhile_keep_their_way(self, world, client, state, tun):
        world.spaces.ip("client", "link set m1 down", "link set m1 up")
        world.lease(1)
        until(lambda: client(read_links, ["m1"])["m1"].up, "carrier")
        client(set_up_links, state)
        assert client(ask, SERVER, device="m1") == "100.64.1.2"
        settle(world, client)

    def test_switched_off_unbound_traffic_goes_direct_again(self, client, state, tun):
        client(state.default_route, False)
        assert client(ask, SERVER) == "100.64.1.2"
        assert not is_readable(tun)

    def test_only_the_versions_the_tunnel_carries_enter_it(self, client, state, tun):
        client(state.default_route, True, versions=[4])
        seen = client(ask, SERVER6)
        assert seen is not None
        assert ip_address(seen) in ip_network("2001:db8:f00::/40")
        assert client(ask, SERVER, timeout=0.01) is None
        assert read_packet(tun)[0] >> 4 == 4


def test_a_default_route_needs_a_device_that_is_up(client, make, tun):
    with pytest.raises(PlatformError, match="the network interface is down"):
        client(make().default_route, True)


def test_the_tun_gets_exactly_the_addresses_told(world, client, make, tun):
    state = make()
    client(state.tun_up, [ip_interface("10.77.0.2/24"), ip_interface("fd77::2/64")], 1400)
    client(state.tun_up, [ip_interface("10.77.0.9/24"), ip_interface("fd77::2/64")], 1438)
    shown = world.spaces.run("client", "ip", "addr", "show", "dev", "mpbond0").stdout
    assert "mtu 1438" in shown
    assert "qlen 1000" in shown
    assert "10.77.0.9/24" in shown
    assert "fd77::2/64" in shown
    assert "10.77.0.2" not in shown
    assert "fe80:" not in shown, "the kernel would talk into the tunnel of its own accord"
    client(state.set_mtu, 1300)
    assert "mtu 1300" in world.spaces.run("client", "ip", "link", "show", "dev", "mpbond0").stdout


def test_a_tun_that_is_not_there_is_named(client, make):
    with pytest.raises(PlatformError, match=r"mpbond0.*no such network interface"):
        client(make().tun_up, [ip_interface("10.77.0.2/24")], 1400)


def test_an_mtu_too_small_for_ipv6_is_refused(client, make, tun):
    with pytest.raises(PlatformError, match="1280"):
        client(make().tun_up, [ip_interface("fd77::2/64")], 1279)


def test_prefixes_are_routed_and_taken_back(world, client, make, tun):
    state = make()
    client(state.tun_up, [ip_interface("10.77.0.1/24"), ip_interface("fd77::1/64")], 1400)
    for text in ("192.0.2.8/29", "2001:db8:77::/56"):
        client(state.route, ip_network(text))
        client(state.route, ip_network(text))
    assert client(ask, "192.0.2.9", timeout=0.01) is None
    assert socket.inet_ntop(socket.AF_INET, read_packet(tun)[16:20]) == "192.0.2.9"
    client(state.remove_route, ip_network("192.0.2.8/29"))
    shown = world.spaces.run("client", "ip", "route").stdout
    assert "192.0.2.8" not in shown
    assert "2001:db8:77::/56" in world.spaces.run("client", "ip", "-6", "route").stdout


def test_a_prefix_somebody_else_routes_is_not_taken_from_them(world, client, make, tun):
    state = make()
    client(state.tun_up, [ip_interface("10.77.0.1/24")], 1400)
    with pytest.raises(PlatformError, match=r"192\.168\.1\.0/24.*something else"):
        client(state.route, ip_network("192.168.1.0/24"))


def test_forwarding_keeps_advertised_gateways_and_is_restored_with_all_it_touched(
    world, client, make
):
    before = picture(world.spaces, "client")
    state = make()
    assert client(state.not_forwarding) == {4, 6}
    client(state.enable_forwarding)
    assert client(state.not_forwarding) == {4, 6}, "it tells of the time before mpbond"
    links = client(read_links, ["m*"])
    assert all(len(link.gateways) == 2 for link in links.values())
    values = picture(world.spaces, "client")["sysctls"]
    assert "ipv4/ip_forward:1" in values
    assert "ipv6/conf/m1/accept_ra:2" in values
    client(state.undo_all)
    assert picture(world.spaces, "client") == before


def everything(state_dir: Path, name: str) -> SystemState:
    """Makes every kind of change there is, in the namespace of the caller."""
    state = SystemState(state_dir, name)
    state.tun_up([ip_interface("10.77.0.2/24"), ip_interface("fd77::2/64")], 1400)
    state.enable_forwarding()
    set_up_links(state)
    state.default_route(True)
    state.route(ip_network("192.0.2.8/29"))
    rules = ClientRules(tun=name, mtu=1400, addresses=(ip_address("10.77.0.2"),), links=("m1",))
    state.apply_firewall(rules)
    return state


def test_undo_all_restores_everything_byte_for_byte(world, client, tun, tmp_path):
    before = picture(world.spaces, "client")
    with open_descriptors_unchanged():
        state = client(everything, tmp_path, "mpbond0")
        changed = picture(world.spaces, "client")
        assert all(changed[each] != before[each] for each in before)
        client(state.undo_all)
    client(world.spaces.ip, "client", "addr flush dev mpbond0", "link set mpbond0 down")
    after = picture(world.spaces, "client")
    assert without_device(after, "mpbond0") == without_device(before, "mpbond0")
    client(state.undo_all)
    assert not list(tmp_path.glob("*.json"))


KILLED = """
import sys, signal
from pathlib import Path
from tests.io.test_system import everything, open_tun
tun = open_tun("mpbond0")
everything(Path(sys.argv[1]), "mpbond0")
print("done", flush=True)
signal.pause()
"""


def killed_predecessor(world: World, state_dir: Path) -> None:
    """A process makes every change in the client and is killed with signal 9."""
    child = world.spaces.popen("client", sys.executable, "-c", KILLED, str(state_dir))
    assert child.stdout is not None
    assert child.stdout.readline() == "done\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()


def test_what_a_killed_process_left_is_cleaned_by_the_next(world, client, make, tmp_path):
    before = picture(world.spaces, "client")
    killed_predecessor(world, tmp_path)
    assert f"proto {ROUTE_PROTOCOL}" in world.spaces.run("client", "ip", "rule").stdout
    assert "mpbond_mpbond0" in world.spaces.run("client", "nft", "list", "tables").stdout
    said = []
    state = make(echo=said.append)
    ruleset = "nft list ruleset"
    after = picture(world.spaces, "client")
    assert {**after, ruleset: before[ruleset]} == before
    assert state.firewall_left, (
        "translated connections live on by the old rules until new ones come"
    )
    assert "mpbond_mpbond0" in after[ruleset]
    client(state.undo_all)
    assert picture(world.spaces, "client") == before
    assert "cleaning up after process" in said[0]
    assert any(line.startswith("ip rule del oif m1 lookup") for line in said)
    assert any(line.startswith("sysctl -w net.ipv4.ip_forward=0") for line in said)


def test_a_stale_journal_of_links_that_are_gone_undoes_without_error(
    world, client, make_while_replugging, tmp_path
):
    killed_predecessor(world, tmp_path)
    world.spaces.ip("client", "link del m3")
    client(make_while_replugging().undo_all)
    rules = world.spaces.run("client", "ip", "rule").stdout
    assert f"proto {ROUTE_PROTOCOL}" not in rules
    world.connect_modem(3)


def test_leftovers_are_swept_even_when_the_journal_is_lost(world, client, make, tmp_path):
    killed_predecessor(world, tmp_path)
    (tmp_path / "mpbond0.json").unlink()
    make()
    assert f"proto {ROUTE_PROTOCOL}" not in world.spaces.run("client", "ip", "rule").stdout
    # the firewall table's name lives in the journal only; the next apply replaces it
    world.spaces.run("client", "nft", "delete", "table", "inet", "mpbond_mpbond0")


def test_a_journal_from_before_a_reboot_is_not_believed(client, make, tmp_path):
    ghost = {"format": 1, "place": "another-boot:1", "pid": 1, "slot": 3, "firewall": True}
    journal.write(tmp_path / "mpbond0.json", ghost)
    said = []
    make(echo=said.append)
    assert said == []


def test_a_second_instance_of_the_same_tunnel_is_refused(client, make, tmp_path):
    make()
    with pytest.raises(PlatformError, match=rf"another mpbond \(pid {os.getpid()}\).*mpbond0"):
        make()


def test_two_tunnels_over_the_same_links_do_not_disturb_each_other(world, client, make, tun):
    second_tun = client(open_tun, "mpbond1")
    try:
        first, second = make("mpbond0"), make("mpbond1")
        client(first.tun_up, [ip_interface("10.77.0.2/24")], 1400)
        client(second.tun_up, [ip_interface("10.78.0.2/24")], 1400)
        first_tables = client(set_up_links, first)
        second_tables = client(set_up_links, second)
        assert not set(first_tables.values()) & set(second_tables.values())
        for state in (first, second):
            client(state.enable_forwarding)
            client(state.default_route, True)
        client(first.undo_all)
        values = picture(world.spaces, "client")["sysctls"]
        assert "ipv4/conf/m2/rp_filter:2" in values, "taken from the one that still needs it"
        assert "ipv4/ip_forward:1" in values
        for number in MODEMS:
            assert client(ask, SERVER, device=f"m{number}") == f"100.64.{number}.2"
        drain(second_tun)
        assert client(ask, SERVER, timeout=0.01) is None
        assert socket.inet_ntop(socket.AF_INET, read_packet(second_tun)[12:16]) == "10.78.0.2"
        client(second.undo_all)
    finally:
        second_tun.close()


def test_ranges_where_others_have_rules_are_passed_over(world, client, make, tmp_path):
    number = preferred_slot("mpbond0")
    world.spaces.ip("client", f"rule add from 10.9.9.9 lookup 99 priority {5000 + 64 * number}")
    try:
        state = make()
        assert client(read_slot, tmp_path) == (number + 1) % SLOTS
        client(state.undo_all)
    finally:
        world.spaces.ip("client", f"rule del from 10.9.9.9 lookup 99 priority {5000 + 64 * number}")


def test_a_slot_is_free_again_when_its_holder_is_gone(client):
    slot = client(hold_slot, 5)
    assert client(hold_slot, 5) is None
    slot.close()
    again = client(hold_slot, 5)
    assert again is not None
    again.close()


def test_a_renamed_link_gets_its_settings_back_under_its_new_name(world, client, make):
    state = make()
    client(set_up_links, state)
    world.spaces.ip("client", "link set m1 name renamed")
    try:
        client(state.undo_all)
        values = picture(world.spaces, "client")["sysctls"]
        assert "ipv4/conf/renamed/rp_filter:1" in values
    finally:
        world.spaces.ip("client", "link set renamed name m1")


def test_a_setting_somebody_else_changed_since_is_left_to_them(world, client, make):
    said = []
    state = make(echo=said.append)
    client(state.set_sysctl, "net.ipv4.ip_forward", 1)
    world.spaces.sysctl("client", {"net/ipv4/ip_forward": 0})
    said.clear()
    client(state.undo_all)
    assert said == []


def test_a_setting_that_does_not_exist_is_named(client, make):
    with pytest.raises(PlatformError, match=r"net/ipv4/no_such_thing.*no such setting"):
        client(make().set_sysctl, "net.ipv4.no_such_thing", 1)


READ_ONLY = """
import logging, sys
from pathlib import Path
from tests.io.test_system import SystemState, ip_interface, open_tun, set_up_links
logging.basicConfig(format="%(message)s")
tun = open_tun("mpbond0")
with SystemState(Path(sys.argv[1]), "mpbond0") as state:
    state.tun_up([ip_interface("10.77.0.2/24"), ip_interface("fd77::2/64")], 1400)
    set_up_links(state)
    print(set_up_links(state))
    state.enable_forwarding([4])
"""


def test_in_a_container_with_read_only_settings_links_work_and_forwarding_names_the_remedy(
    world, client, unchanged, tmp_path
):
    read_only = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec"
    argv = ["unshare", "-m", "sh", "-c", f'{read_only} "$@"', "sh"]
    argv += [sys.executable, "-c", READ_ONLY, str(tmp_path)]
    result = world.spaces.run("client", *argv, check=False)
    assert "'m1': " in result.stdout
    assert "None" not in result.stdout
    assert result.stderr.count("net/ipv4/conf/m1/rp_filter to 2: /proc/sys is read-only here") == 1
    assert result.returncode == 1
    assert "--sysctl net.ipv4.ip_forward=1" in result.stderr.splitlines()[-1]


def test_equal_subnets_work_where_arp_filter_was_set_for_all(world, client, make):
    world.spaces.sysctl("client", {"net/ipv4/conf/all/arp_filter": 1})
    try:
        state = make()
        client(set_up_links, state)
        for number in MODEMS:
            world.spaces.ip(f"modem{number}", "neigh flush dev usb")
            assert client(ask, SERVER, device=f"m{number}") == f"100.64.{number}.2"
        assert "ipv4/conf/lan0/arp_filter:1" in picture(world.spaces, "client")["sysctls"]
        client(state.undo_all)
        assert "ipv4/conf/all/arp_filter:1" in picture(world.spaces, "client")["sysctls"]
    finally:
        world.spaces.sysctl("client", {"net/ipv4/conf/all/arp_filter": 0})


def test_a_dry_run_says_the_commands_and_changes_nothing(world, client, tmp_path):
    before = picture(world.spaces, "client")
    said = []
    state = client(SystemState, tmp_path / "none", "mpbond0", dry_run=True, echo=said.append)
    link = client(read_links, ["m2"])["m2"]
    client(state.tun_up, [ip_interface("10.77.0.2/24"), ip_interface("fd77::2/64")], 1400)
    table = client(state.link_table, link)
    client(state.enable_forwarding)
    client(state.default_route, True)
    client(state.route, ip_network("192.0.2.8/29"))
    rules = ClientRules(tun="mpbond0", mtu=1400, addresses=(ip_address("10.77.0.2"),))
    client(state.apply_firewall, rules)
    client(state.undo_all)
    assert picture(world.spaces, "client") == before
    assert not (tmp_path / "none").exists()
    assert "ip link set mpbond0 mtu 1400 txqueuelen 1000 up" in said
    assert "ip -6 addr add" not in said
    assert "ip addr add fd77::2/64 dev mpbond0 nodad" in said
    assert f"ip route replace default via 192.168.8.1 dev m2 table {table} proto 109" in said
    assert "sysctl -w net.ipv4.conf.m2.rp_filter=2" in said
    assert "ip route add 192.0.2.8/29 dev mpbond0 proto 109 scope link" in said
    assert said[-1].startswith("nft -f -")


def test_the_commands_a_dry_run_says_do_the_same_as_the_real_thing(world, client, make, tmp_path):
    said = []
    link = client(read_links, ["m2"])["m2"]
    real = make()
    client(real.link_table, link)
    expected = picture(world.spaces, "client")
    client(real.undo_all)
    dry = client(SystemState, tmp_path, "mpbond0", dry_run=True, echo=said.append)
    client(dry.link_table, link)
    world.spaces.run("client", "sh", "-e", "-c", "\n".join(said))
    assert picture(world.spaces, "client") == expected
    # with the slot free but the numbers in use by us, the next start sweeps
    client(make().undo_all)
    undo = [f"net/ipv4/conf/m2/{key}" for key in ("arp_ignore", "arp_announce")]
    world.spaces.sysctl("client", dict.fromkeys(undo, 0) | {"net/ipv4/conf/m2/rp_filter": 1})


def read_slot(state_dir: Path) -> int:
    record = journal.read(state_dir / "mpbond0.json")
    assert record is not None
    return record["slot"]


def by_line(shown: dict[str, str]) -> dict[str, list[str]]:
    return {each: sorted(text.splitlines()) for each, text in shown.items()}


def without_device(shown: dict[str, str], name: str) -> dict[str, list[str]]:
    return {k: [line for line in v.splitlines() if name not in line] for k, v in shown.items()}


def is_readable(tun: pytun.TunTapDevice) -> bool:
    """Is there a packet that somebody sent? The kernel's own IPv6 multicast reports do not count."""
    return next_packet(tun, 0) is not None


def read_packet(tun: pytun.TunTapDevice) -> bytes:
    packet = next_packet(tun, 5)
    assert packet is not None, "nothing came out of the TUN"
    return packet


def next_packet(tun: pytun.TunTapDevice, patience: float) -> bytes | None:
    while select.select([tun.fileno()], [], [], patience)[0]:
        packet = os.read(tun.fileno(), 2048)
        if packet[0] >> 4 != 6 or packet[24] != 0xFF:
            return packet
    return None


def drain(tun: pytun.TunTapDevice) -> None:
    while is_readable(tun):
        pass


def test_require_platform_names_what_is_missing_without_the_capability():
    script = "from mpbond.io.system import require_platform; require_platform()"
    command = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
    command += [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "PlatformError" in result.stderr
    assert "CAP_NET_ADMIN" in result.stderr.splitlines()[-1]
