"""Sets up and takes down what carries the traffic in the laboratory: one system at a time.

Traffic always runs from the client box to the web host. Between the two stand

    bare       nothing: sockets are bound to one modem's interface
    mpbond     client and server as users run them, over all links or one, with a default route that
               blocks when no path is up
    mptcp      the kernel's own: a subflow over every modem, by an endpoint for each (ip-mptcp(8)),
               the first one over the best link; the kernel's default scheduler. What is not TCP
               takes the best link plainly
    wireguard  wireguard-go on both sides, over one link, with the MTU that wg-quick(8) would choose;
               the server hides the client behind its address, as mpbond's does

`carrying` is a context: what it has set up is gone when it ends, also when that is by an exception,
so one network serves one system after the other. Programs that end badly are errors.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.errors import BenchError
from bench.lab import topology
from bench.lab.namespaces import LabError
from bench.systems import BARE, MPBOND, MPTCP, QUEUE_DROPS, WIREGUARD, best_link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from bench.lab.lab import Lab
    from bench.lab.site import Site
    from bench.links.shape import LinkSpec
    from bench.systems import System

BOX = "client"
PREFERRED = 50
"""Metric of a route that goes before those of all modems."""
MOST_SUBFLOWS = 8
"""What the kernel allows per connection besides the first."""
WIREGUARD_PORT = 51820
WIREGUARD_OVERHEAD = 80  # bytes that wg-quick leaves: IPv6, UDP, and WireGuard's own
WIREGUARD_INNER = ("10.78.0.1", "10.78.0.2")  # server, client


class Counts(NamedTuple):
    """Packets of hosts at one side of a tunnel."""

    sent: int
    received: int
    dropped: int
    """By the send queue, on purpose; not among those sent."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """What carries the traffic, and how traffic gets into it."""

    device: str | None = None
    """The interface of the client box to bind sockets to; None: routes lead there."""
    mptcp: bool = False
    """Whether TCP sockets are to be MPTCP's."""
    link: int | None = None
    """The one link it uses."""
    processes: dict[str, int] = dataclasses.field(default_factory=dict)
    """Process ids of its programs, by what they are called in results."""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    """Versions of its programs, where they are not this repository's."""
    pulled: Callable[[int], None] = lambda _link: None
    """To be told when a link was pulled, as a network manager would be."""
    restored: Callable[[int], None] = lambda _link: None
    """To be told when a link was put back."""
    counts: Callable[[], dict[str, Counts]] | None = None
    """Says what a tunnel of mpbond has done with packets so far, by side: "client" and "server"."""
    doubt: Callable[[], str | None] = lambda: None
    """Says after some traffic why it was not what it should have been; None if it was."""


def require(system: System) -> None:
    """Raise BenchError if this machine lacks what a system needs."""
    if system.kind == MPTCP and not Path("/proc/sys/net/mptcp").is_dir():
        raise BenchError("this kernel has no Multipath TCP (CONFIG_MPTCP), which mptcp measures")
    if system.kind == WIREGUARD:
        for program, package in (("wireguard-go", "wireguard-go"), ("wg", "wireguard-tools")):
            if shutil.which(program) is None:
                raise BenchError(
                    f"the system wireguard needs the program {program}; scripts/bench installs it,"
                    f" and so does apt-get install {package}"
                )


@contextlib.contextmanager
def carrying(
    lab: Lab, system: System, specs: Sequence[LinkSpec], direction: str
) -> Iterator[Carrier]:
    """Sets a system up for traffic in a direction, connected, and takes it down at the end."""
    require(system)
    with _KINDS[system.kind](lab, system, specs, direction) as carrier:
        yield carrier


@contextlib.contextmanager
def _bare(lab: Lab, system: System, specs: Sequence[LinkSpec], direction: str) -> Iterator[Carrier]:
    (link,) = system.used(specs, direction)
    yield Carrier(device=lab.links[link].name, link=link)


@contextlib.contextmanager
def _mpbond(
    lab: Lab, system: System, specs: Sequence[LinkSpec], direction: str
) -> Iterator[Carrier]:
    bond = lab.bond
    used = system.used(specs, direction)
    weights = system.weights(specs, direction)
    settings: dict[str, Any] = {"scheduler": system.scheduler, "hold": system.hold}
    boxes = sorted({spec.client for spec in specs})
    sides = [*map(topology.box_name, boxes), "server"]
    for side in sides:
        bond.forget_log(side)
        bond.forget_state(side)  # what was learned of links is of the measurement before
    with _ended(lab, sides):
        lab.start_server(**settings)
        for box in boxes:
            mine = used if box == 0 else [n for n, spec in enumerate(specs) if spec.client == box]
            lab.start_client(
                box,
                links=[lab.links[link].name for link in mine],
                link={lab.links[link].name: {"weight": round(weights[link], 3)} for link in mine},
                default_route=True,
                when_down="block",  # what goes past the tunnel is not what is measured
                **settings,
            )
        yield Carrier(
            link=used[0] if system.one_link else None,
            processes={f"mpbond {side}": bond.running[side].pid for side in sides},
            counts=None
            if len(boxes) > 1
            else lambda: {side: _counts(bond.status(side)) for side in sides},
        )
    for side in sides:
        status, said = bond.running[side].returncode, bond.log(side)
        if status != 0 or "Traceback" in said or "ERROR" in said:
            raise LabError(f"mpbond {side} ended with status {status} and said: {said[-1000:]}")


def _counts(status: dict[str, Any]) -> Counts:
    sessions = status["sessions"]
    return Counts(
        sent=sum(each["sent"]["packets"] for each in sessions),
        received=sum(each["received"]["packets"] for each in sessions),
        dropped=sum(status["drops"].get(reason, 0) for reason in QUEUE_DROPS),
    )


@contextlib.contextmanager
def _ended(lab: Lab, sides: Sequence[str]) -> Iterator[None]:
    """Ends programs of the bond in order, by SIGTERM, whatever has happened."""
    for side in sides:
        lab.bond.running.pop(side, None)
    try:
        yield
    finally:
        for side in sides:
            if side in lab.bond.running:
                lab.stop(lab.bond.running[side])


@contextlib.contextmanager
def _mptcp(
    lab: Lab, system: System, specs: Sequence[LinkSpec], direction: str
) -> Iterator[Carrier]:
    used = system.used(specs, direction)
    best = best_link(specs, direction)

    def add(link: int) -> None:
        if link == best:
            _prefer(lab, "default", link)
        each = lab.links[link]
        # bound to its device, a subflow takes the route of that device, whatever the metrics say
        endpoint = f"endpoint add {each.address} dev {each.name} id {link + 1} subflow"
        lab.run(BOX, "ip", "mptcp", *endpoint.split())

    def drop(link: int) -> None:
        lab.run(BOX, "ip", "mptcp", "endpoint", "delete", "id", str(link + 1))

    for side in (BOX, "web"):
        limits = f"limits set subflows {MOST_SUBFLOWS} add_addr_accepted {MOST_SUBFLOWS}"
        lab.run(side, "ip", "mptcp", *limits.split())
    # else a few lost SYNs would turn every later connection into plain TCP, for an hour
    _sysctl_if_known(lab, BOX, "net/mptcp/blackhole_timeout", 0)
    before = counters(lab)

    def doubt() -> str | None:
        now = counters(lab)
        grown = {name: now[name] - before[name] for name in now}
        if not grown["MPTcpExtMPCapableSYNACKRX"]:
            return "no connection was a Multipath TCP one"
        if len(used) > 1 and not grown["MPTcpExtMPJoinSynAckRx"]:
            return "no Multipath TCP connection got a second subflow"
        return None

    try:
        for link in used:
            add(link)
        yield Carrier(mptcp=True, pulled=drop, restored=add, doubt=doubt)
    finally:
        lab.run(BOX, "ip", "mptcp", "endpoint", "flush", check=False)
        _unprefer(lab, "default")


@contextlib.contextmanager
def _wireguard(
    lab: Lab, system: System, specs: Sequence[LinkSpec], direction: str
) -> Iterator[Carrier]:
    (link,) = system.used(specs, direction)
    outside = topology.SERVER[0]
    server, client = (WireGuard(lab, side) for side in ("server", BOX))
    table = f"table ip {server.device}"
    forwarding = lab.run("server", "cat", "/proc/sys/net/ipv4/ip_forward").stdout.strip()
    nat = f"""
        {table} {{
            chain postrouting {{
                type nat hook postrouting priority srcnat; policy accept;
                ip saddr {WIREGUARD_INNER[1]} oifname "eth0" masquerade
            }}
        }}
    """
    with contextlib.ExitStack() as undoing:
        undoing.callback(client.stop)
        undoing.callback(server.stop)
        undoing.callback(_unprefer, lab, outside)
        undoing.callback(lab.spaces.sysctl, "server", {"net/ipv4/ip_forward": forwarding})
        undoing.callback(lab.spaces.nft, "server", f"{table}\ndelete {table}")
        lab.spaces.nft("server", nat)
        lab.spaces.sysctl("server", {"net/ipv4/ip_forward": 1})
        _prefer(lab, outside, link)
        mtu = specs[link].mtu - WIREGUARD_OVERHEAD
        server.start(mtu, WIREGUARD_INNER[0])
        client.start(mtu, WIREGUARD_INNER[1])
        server.configure(client, f"{WIREGUARD_INNER[1]}/32")
        client.configure(server, "0.0.0.0/0", f"{outside}:{WIREGUARD_PORT}")
        lab.spaces.ip(BOX, f"route add default dev {client.device} metric {PREFERRED}")
        lab.wait_until(client.connected, what="WireGuard's handshake")
        yield Carrier(
            link=link,
            processes={
                "wireguard-go client": client.process.pid,
                "wireguard-go server": server.process.pid,
            },
            versions={"wireguard-go": version_of_wireguard(lab)},
            restored=lambda back: _prefer(lab, outside, link) if back == link else None,
        )
        server.check()
        client.check()


class WireGuard:
    """One end of a WireGuard tunnel in user space."""

    def __init__(self, lab: Site, side: str) -> None:
        self._lab = lab
        self._side = side
        self._key = X25519PrivateKey.generate()
        # control sockets of all namespaces lie in one directory, by name of the device
        self.device = f"wg{lab.spaces.run_id}{side[0]}"

    @property
    def public_key(self) -> str:
        """The public key as configurations spell it."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def start(self, mtu: int, address: str) -> None:
        """Starts the program and raises its device."""
        with (self._lab.directory / f"{self.device}.log").open("a") as log:
            self.process = self._lab.popen(
                self._side,
                *("wireguard-go", "-f", self.device),
                stdout=log,
                env={"LOG_LEVEL": "error"},
            )
        self._lab.wait_until(self._answers, what=f"wireguard-go of the {self._side}")
        self._lab.spaces.ip(
            self._side,
            f"addr add {address}/24 dev {self.device}",
            f"link set {self.device} mtu {mtu} up",
        )

    def configure(self, peer: WireGuard, inside: str, endpoint: str | None = None) -> None:
        """Tells it its key and its peer; without an endpoint it waits to be called."""
        private = base64.b64encode(self._key.private_bytes_raw()).decode()
        lines = ["[Interface]", f"PrivateKey = {private}"]
        lines += [f"ListenPort = {WIREGUARD_PORT}"] if endpoint is None else []
        lines += ["[Peer]", f"PublicKey = {peer.public_key}", f"AllowedIPs = {inside}"]
        if endpoint is not None:
            lines += [f"Endpoint = {endpoint}", "PersistentKeepalive = 25"]
        file = self._lab.directory / f"{self.device}.conf"
        file.touch(mode=0o600)
        file.write_text("\n".join(lines) + "\n")
        self._lab.run(self._side, "wg", "setconf", self.device, str(file))

    def connected(self) -> bool:
        """Tells whether a handshake with the peer has come to its end."""
        shown = self._lab.run(self._side, "wg", "show", self.device, "latest-handshakes").stdout
        return bool(shown.split()) and shown.split()[-1] != "0"

    def stop(self) -> None:
        """Ends the program; its device goes with it."""
        if hasattr(self, "process"):
            self._lab.stop(self.process)
            Path(f"/var/run/wireguard/{self.device}.sock").unlink(missing_ok=True)

    def check(self) -> None:
        """Raise LabError if the program has ended."""
        if (ended := self.process.poll()) is not None:
            said = (self._lab.directory / f"{self.device}.log").read_text()[-1000:]
            raise LabError(f"wireguard-go ended with status {ended} and said: {said}")

    def _answers(self) -> bool:
        self.check()
        return self._lab.run(self._side, "wg", "show", self.device, check=False).returncode == 0


def version_of_wireguard(lab: Site) -> str:
    said = lab.run(BOX, "wireguard-go", "--version").stdout.split()
    return said[1] if len(said) > 1 else "unknown"


def counters(lab: Lab) -> dict[str, int]:
    """Returns the counters of the client box's kernel for Multipath TCP."""
    shown = lab.run(BOX, "nstat", "-asz", "MPTcpExt*").stdout
    lines = [line.split() for line in shown.splitlines() if line.startswith("MPTcpExt")]
    return {name: int(count) for name, count, *_ in lines}


def _prefer(lab: Lab, target: str, link: int) -> None:
    """Leads what goes to a target over one link, whatever else there is."""
    each = lab.links[link]
    where = f"via {each.gateway} dev {each.name} metric {PREFERRED}"
    lab.spaces.ip(BOX, f"route replace {target} {where}")


def _unprefer(lab: Lab, target: str) -> None:
    """Takes the way of `_prefer` back, unless it went with its link."""
    lab.run(BOX, *f"ip route del {target} metric {PREFERRED}".split(), check=False)


def _sysctl_if_known(lab: Lab, side: str, path: str, value: int) -> None:
    if Path(f"/proc/sys/{path}").exists():
        lab.spaces.sysctl(side, {path: value})


_KINDS: dict[
    str, Callable[[Lab, System, Sequence[LinkSpec], str], AbstractContextManager[Carrier]]
] = {BARE: _bare, MPBOND: _mpbond, MPTCP: _mptcp, WIREGUARD: _wireguard}
