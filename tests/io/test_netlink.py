"""The watcher and the picture of the links, on real interfaces in a network namespace."""

import socket
import struct
import threading
from ipaddress import ip_address, ip_interface

import pytest

from bench.lab.namespaces import Namespaces
from mpbond.io import netlink
from mpbond.io.netlink import LinkWatcher, disturbs, read_links
from mpbond.io.routes import ROUTE_PROTOCOL
from tests.io.world import Inside, open_descriptors_unchanged

pytestmark = pytest.mark.netns

PATIENCE = 10.0


class Recorder:
    """Keeps what a watcher delivers; `wait` waits for a picture that satisfies a condition."""

    def __init__(self) -> None:
        self.pictures = []
        self._changed = threading.Condition()

    def __call__(self, links) -> None:
        with self._changed:
            self.pictures.append(links)
            self._changed.notify_all()

    def wait(self, condition, what: str):
        with self._changed:
            seen = self._changed.wait_for(
                lambda: self.pictures and condition(self.pictures[-1]), PATIENCE
            )
        assert seen, f"not reported: {what}; last: {self.pictures[-1:]}"
        return self.pictures[-1]

    def wait_for_more_than(self, count: int, what: str) -> None:
        with self._changed:
            seen = self._changed.wait_for(lambda: len(self.pictures) > count, PATIENCE)
        assert seen, f"not reported: {what}"


class Router:
    """A namespace with links wwan0 and wwan1 (far0 and far1 are the modems' ends)."""

    def __init__(self) -> None:
        self.spaces = Namespaces()
        self.spaces.open()
        self.spaces.add("router")
        self.inside = Inside(self.spaces.full("router"))
        for number in (0, 1):
            self.plug(number)

    def ip(self, *lines: str) -> None:
        self.spaces.ip("router", *lines)

    def plug(self, number: int) -> None:
        self.ip(
            f"link add wwan{number} type veth peer name far{number}",
            f"link set wwan{number} up",
            f"link set far{number} up",
            f"addr add 192.168.8.100/24 dev wwan{number}",
            f"route add default via 192.168.8.1 dev wwan{number} metric {100 + number}",
        )

    def close(self) -> None:
        self.inside.close()
        self.spaces.close()


@pytest.fixture
def router():
    made = Router()
    yield made
    made.close()


@pytest.fixture
def watch(router):
    watchers = []

    def start(patterns=("wwan*",), exclude=("mpbond0",), on_change=None):
        recorder = Recorder()
        watcher = LinkWatcher(patterns, exclude, on_change or recorder)
        watchers.append(watcher)
        router.inside(watcher.start)
        return watcher, recorder

    yield start
    for watcher in watchers:
        watcher.close()


@pytest.fixture
def seen(router, watch):
    """A recorder whose watcher has delivered both links in good order."""
    _, recorder = watch()
    recorder.wait(
        lambda links: (
            len(links) == 2
            and all(
                link.up and link.gateways and len(link.addresses) == 2 for link in links.values()
            )
        ),
        "two good links",
    )
    return recorder


def test_the_first_picture_comes_at_once_and_is_complete(router, seen):
    link = seen.pictures[-1]["wwan0"]
    assert link.name == "wwan0"
    assert link.mtu == 1500
    assert ip_interface("192.168.8.100/24") in link.addresses
    assert link.gateways == (ip_address("192.168.8.1"),)
    assert not link.point_to_point
    assert set(seen.pictures[-1]) == {"wwan0", "wwan1"}


def test_loss_and_return_of_carrier_are_reported(router, seen):
    router.ip("link set far0 down")
    seen.wait(lambda links: not links["wwan0"].up, "carrier lost")
    router.ip("link set far0 up")
    seen.wait(lambda links: links["wwan0"].up, "carrier back")


def test_a_link_set_down_and_up_is_reported(router, seen):
    router.ip("link set wwan1 down")
    links = seen.wait(lambda links: not links["wwan1"].up, "link down")
    assert links["wwan1"].gateways == ()
    router.ip("link set wwan1 up")
    seen.wait(lambda links: links["wwan1"].up, "link up")


def test_a_deleted_link_goes_and_a_new_one_comes_with_another_index(router, seen):
    old = seen.pictures[-1]["wwan0"].index
    router.ip("link del wwan0")
    seen.wait(lambda links: "wwan0" not in links, "link gone")
    router.plug(0)
    links = seen.wait(lambda links: "wwan0" in links and links["wwan0"].up, "link back")
    assert links["wwan0"].index != old


def test_a_rename_in_and_out_of_the_pattern_is_reported(router, seen):
    router.ip("link set wwan0 name spare")
    seen.wait(lambda links: set(links) == {"wwan1"}, "renamed away")
    router.ip("link set spare name wwan7")
    seen.wait(lambda links: set(links) == {"wwan1", "wwan7"}, "renamed back")


def test_changes_of_address_mtu_and_gateway_are_reported(router, seen):
    router.ip("addr add 10.1.2.3/30 dev wwan0")
    seen.wait(lambda links: ip_interface("10.1.2.3/30") in links["wwan0"].addresses, "address")
    router.ip("addr del 10.1.2.3/30 dev wwan0")
    seen.wait(lambda links: ip_interface("10.1.2.3/30") not in links["wwan0"].addresses, "removal")
    router.ip("link set wwan0 mtu 1420")
    seen.wait(lambda links: links["wwan0"].mtu == 1420, "MTU")
    router.ip("route replace default via 192.168.8.9 dev wwan0 metric 100")
    seen.wait(lambda links: links["wwan0"].gateways == (ip_address("192.168.8.9"),), "gateway")
    router.ip("route del default via 192.168.8.9 dev wwan0 metric 100")
    seen.wait(lambda links: links["wwan0"].gateways == (), "gateway gone")


def test_an_address_taken_and_given_back_within_a_burst_is_delivered_again(router, seen):
    """The kernel has dropped all routes of the link, so the same picture is news."""
    count = len(seen.pictures)
    router.ip(
        "addr del 192.168.8.100/24 dev wwan0",
        "addr add 192.168.8.100/24 dev wwan0",
        "route add default via 192.168.8.1 dev wwan0 metric 100",
    )
    seen.wait_for_more_than(count, "a disturbance")
    seen.wait(lambda links: bool(links["wwan0"].gateways), "the same picture")


def test_gateways_come_best_first_from_all_tables_and_shapes_but_not_from_us(router, seen):
    router.ip(
        "route add default via 192.168.8.3 dev wwan0 metric 7 table 77",
        f"route add default via 192.168.8.4 dev wwan0 metric 1 table 78 proto {ROUTE_PROTOCOL}",
        "route add default metric 50 nexthop via 192.168.8.5 dev wwan0"
        " nexthop via 192.168.8.6 dev wwan1",
        "route add unreachable default metric 5",
        "route add ::/0 via fe80::5 dev wwan0 metric 60",
    )
    links = seen.wait(lambda links: len(links["wwan0"].gateways) == 4, "gateways")
    expected = ["192.168.8.3", "192.168.8.5", "fe80::5", "192.168.8.1"]
    assert links["wwan0"].gateways == tuple(map(ip_address, expected))
    assert links["wwan1"].gateways == tuple(map(ip_address, ["192.168.8.6", "192.168.8.1"]))


def test_a_link_without_need_of_a_gateway_is_known_as_such(router):
    router.ip(
        "tuntap add ppp0 mode tun",
        "addr add 100.64.0.7 peer 100.64.0.1 dev ppp0",
        "route replace default dev wwan1 metric 3",
    )
    links = router.inside(read_links, ["ppp*", "wwan*"])
    assert links["ppp0"].point_to_point
    assert ip_address("100.64.0.7") in [a.ip for a in links["ppp0"].addresses]
    assert links["wwan1"].point_to_point
    assert not links["wwan0"].point_to_point


def test_the_loopback_and_excluded_names_never_match(router):
    router.ip("tuntap add mpbond0 mode tun")
    links = router.inside(read_links, ["*"], exclude=["mpbond0"])
    assert set(links) == {"wwan0", "wwan1", "far0", "far1"}


def test_events_about_other_interfaces_are_not_delivered(router, watch):
    _, recorder = watch(patterns=("wwan0",))
    recorder.wait(
        lambda links: links["wwan0"].up and len(links["wwan0"].addresses) == 2, "the link"
    )
    count = len(recorder.pictures)
    router.ip("link set wwan1 mtu 1300", "addr add 10.9.9.9/32 dev wwan1")
    router.ip("link set wwan0 mtu 1300")
    recorder.wait(lambda links: links["wwan0"].mtu == 1300, "our own")
    assert len(recorder.pictures) == count + 1


def test_an_overrun_socket_loses_nothing(router, watch, monkeypatch):
    monkeypatch.setattr(netlink, "_RECEIVE_BUFFER", 2048)
    recorder, busy, overrun = Recorder(), threading.Event(), threading.Event()
    real = netlink.LinkWatcher._drain

    def drain(self):
        with_overrun = real(self)
        if with_overrun:
            overrun.set()
        return with_overrun

    monkeypatch.setattr(netlink.LinkWatcher, "_drain", drain)

    def slow(links):
        busy.wait(PATIENCE)
        recorder(links)

    watch(on_change=slow)
    router.ip(*(f"addr add 10.3.{n}.1/24 dev far0" for n in range(250)))
    router.ip("link set wwan0 mtu 1333")
    busy.set()
    recorder.wait(lambda links: links["wwan0"].mtu == 1333, "the last of many changes")
    assert overrun.wait(PATIENCE), "the socket was not overrun: the test proves nothing"
    router.ip("link set wwan0 mtu 1444")
    recorder.wait(lambda links: links["wwan0"].mtu == 1444, "a change after the overrun")


def test_a_handler_that_raises_does_not_end_the_watching(router, watch, caplog):
    recorder = Recorder()

    def fragile(links):
        recorder(links)
        raise RuntimeError("handler")

    watch(on_change=fragile)
    recorder.wait(bool, "first picture")
    router.ip("link set wwan0 mtu 1400")
    recorder.wait(lambda links: links["wwan0"].mtu == 1400, "a change after the failure")
    assert "handler of changed links failed" in caplog.text


def test_closing_ends_the_thread_and_frees_everything(router, watch):
    with open_descriptors_unchanged():
        watcher, recorder = watch()
        recorder.wait(bool, "first picture")
        watcher.close()
        watcher.close()
    assert not any(thread.name == "link-watcher" for thread in threading.enumerate())
    count = len(recorder.pictures)
    router.ip("link set wwan0 mtu 1400")
    assert len(recorder.pictures) == count


def test_a_handler_may_close_its_own_watcher(router):
    closed = threading.Event()

    def close(_links):
        watcher.close()
        closed.set()

    with open_descriptors_unchanged():
        watcher = LinkWatcher(["wwan*"], [], close)
        router.inside(watcher.start)
        assert closed.wait(PATIENCE)
        for thread in threading.enumerate():
            if thread.name == "link-watcher":
                thread.join(PATIENCE)


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def link_body(index: int, flags: int) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, 0)


@pytest.mark.parametrize(
    ("buffer", "answer"),
    [
        (b"", False),
        (message(16, link_body(3, 1)), False),
        (message(16, link_body(3, 0)), True),
        (message(16, link_body(4, 0)), False),
        (message(17, link_body(3, 1)), True),
        (message(21, struct.pack("=BBBBI", 2, 24, 0, 0, 3)), True),
        (message(20, struct.pack("=BBBBI", 2, 24, 0, 0, 3)), False),
        (message(20, b"\0" * 8) + message(17, link_body(3, 0)), True),
        (message(2, b"\0" * 20), True),
        (message(17, b""), False),
        (message(16, link_body(3, 1))[:-1], True),
        (struct.pack("=IHHII", 0, 16, 0, 0, 0), True),
    ],
)
def test_what_may_have_removed_our_routes_is_recognised(buffer, answer):
    assert disturbs(buffer, {3}) is answer
