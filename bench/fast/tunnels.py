"""What carries the packets over the wires: nothing at all, mpbond, and others to measure it against.

    veth         no tunnel: what wires, kernel and generators can do by themselves
    mpbond:N     client and server as users run them, over the first N wires
    wireguard    wireguard-go with the MTU that wg-quick(8) would choose
    openvpn      TLS between two peers, AES-256-GCM in the program itself (no kernel module), over UDP with
                 --fast-io and large buffers
    fastd:METHOD fastd in mode tun; without a method, the fastest of `METHODS` here (see bench.fast.run)

`carrying` is a context: what it has set up is gone when it ends. Programs that end by themselves are errors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes, serialization

from bench.errors import BenchError, unknown
from bench.fast.wires import CLIENT, SERVER
from bench.lab import topology
from bench.lab.certificates import self_signed
from bench.lab.namespaces import LabError
from bench.lab.systems import (
    WIREGUARD_INNER,
    WIREGUARD_OVERHEAD,
    WIREGUARD_PORT,
    WireGuard,
    version_of_wireguard,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from bench.fast.wires import Wires

VETH, MPBOND, WIREGUARD, OPENVPN, FASTD = "veth", "mpbond", "wireguard", "openvpn", "fastd"
OTHERS = (WIREGUARD, OPENVPN, FASTD)
"""Kinds of tunnels that mpbond is measured against."""
METHODS = ("aes128-gcm", "salsa2012+umac", "aes128-ctr+umac")
"""Of fastd, those that encrypt and authenticate and may be the fastest."""
SYSTEMS = (VETH, "mpbond:1", "mpbond:2", "mpbond:6", *OTHERS)
PROGRAMS = {
    WIREGUARD: {"wireguard-go": "wireguard-go", "wg": "wireguard-tools"},
    OPENVPN: {"openvpn": "openvpn"},
    FASTD: {"fastd": "fastd"},
}
"""What is needed, and in which Debian package it is."""
OUTSIDE = topology.SERVER[0]
WIRE_MTU = 1500
MTU = 1440
"""Of OpenVPN's and fastd's devices: what fills a wire's packets best, in steps of 16, and fits into them."""
OPENVPN_PORT, FASTD_PORT = 1194, 10000
OPENVPN_INNER, FASTD_INNER = ("10.79.0.1", "10.79.0.2"), ("10.80.0.1", "10.80.0.2")
"""Server, client."""
OPENVPN_BUFFER = 4 << 20
MOST_PATHS = 6
SIDES = ((SERVER, 0), (CLIENT, 1))


@dataclasses.dataclass(frozen=True, slots=True)
class Tunnel:
    """What is measured."""

    kind: str
    paths: int = 1
    """How many wires it uses."""
    method: str | None = None
    """fastd's, if it was named."""

    @classmethod
    def parse(cls, name: str) -> Tunnel:
        """Return what a name stands for; BenchError says which there are."""
        kind, colon, rest = name.partition(":")
        if kind == MPBOND and (not colon or (rest.isascii() and rest.isdigit())):
            paths = int(rest) if colon else 1
            if 1 <= paths <= MOST_PATHS:
                return cls(kind, paths)
        elif kind == FASTD and (not colon or rest in METHODS):
            return cls(kind, method=rest or None)
        elif kind in (VETH, *OTHERS) and not colon:
            return cls(kind)
        raise unknown("system", name, SYSTEMS)

    @property
    def name(self) -> str:
        """How it is called in results."""
        if self.kind == MPBOND:
            return f"{MPBOND}:{self.paths}"
        return self.kind if self.method is None else f"{self.kind}:{self.method}"

    def require(self) -> None:
        """Raise BenchError if a program is missing."""
        for program, package in PROGRAMS.get(self.kind, {}).items():
            if shutil.which(program) is None:
                raise BenchError(
                    f"measuring against {self.kind} needs the program {program}; scripts/bench "
                    f"installs it, and so does apt-get install {package}"
                )


@dataclasses.dataclass(frozen=True, slots=True)
class Carrier:
    """A tunnel that stands."""

    inner: dict[str, str]
    """The address of "client" and "server" inside it."""
    processes: dict[str, int] = dataclasses.field(default_factory=dict)
    """Process ids of its programs, by what they are called in results."""
    versions: dict[str, Any] = dataclasses.field(default_factory=dict)


@contextlib.contextmanager
def carrying(wires: Wires, tunnel: Tunnel) -> Iterator[Carrier]:
    """Sets a tunnel up, and takes it down at the end."""
    tunnel.require()
    made = {
        VETH: _veth,
        MPBOND: _mpbond,
        WIREGUARD: _wireguard,
        OPENVPN: _openvpn,
        FASTD: _fastd,
    }[tunnel.kind](wires, tunnel)
    with made as carrier:
        target = carrier.inner[SERVER]
        ping = ("ping", "-n", "-q", "-c", "1", "-W", "1", target)
        wires.wait_until(
            lambda: wires.run(CLIENT, *ping, check=False).returncode == 0,
            what=f"a ping through {tunnel.name}",
        )
        yield carrier


@contextlib.contextmanager
def _veth(wires: Wires, _tunnel: Tunnel) -> Iterator[Carrier]:
    link = wires.links[0]
    yield Carrier({CLIENT: link.address, SERVER: link.gateway})


@contextlib.contextmanager
def _mpbond(wires: Wires, tunnel: Tunnel) -> Iterator[Carrier]:
    bond = wires.bond
    for side in (CLIENT, SERVER):
        bond.forget_log(side)
        bond.forget_state(side)  # what was learned of the wires is of the measurement before
        bond.running.pop(side, None)
    try:
        wires.start_server()
        wires.start_client(links=[link.name for link in wires.links[: tunnel.paths]])
        yield Carrier(
            {side: bond.inner(side)[0] for side in (CLIENT, SERVER)},
            {f"mpbond {side}": bond.running[side].pid for side in (CLIENT, SERVER)},
        )
    finally:
        for side in (CLIENT, SERVER):
            if side in bond.running:
                wires.stop(bond.running[side])
    for side in (CLIENT, SERVER):
        status, said = bond.running[side].returncode, bond.log(side)
        if status != 0 or "Traceback" in said or "ERROR" in said:
            raise LabError(f"mpbond {side} ended with status {status} and said: {said[-1000:]}")


@contextlib.contextmanager
def _wireguard(wires: Wires, _tunnel: Tunnel) -> Iterator[Carrier]:
    server, client = (WireGuard(wires, side) for side in (SERVER, CLIENT))
    with contextlib.ExitStack() as undoing:
        undoing.callback(client.stop)
        undoing.callback(server.stop)
        for end, inner in ((server, WIREGUARD_INNER[0]), (client, WIREGUARD_INNER[1])):
            end.start(WIRE_MTU - WIREGUARD_OVERHEAD, inner)
        server.configure(client, f"{WIREGUARD_INNER[1]}/32")
        client.configure(server, f"{WIREGUARD_INNER[0]}/32", f"{OUTSIDE}:{WIREGUARD_PORT}")
        wires.wait_until(client.connected, what="WireGuard's handshake")
        yield Carrier(
            dict(zip((SERVER, CLIENT), WIREGUARD_INNER, strict=True)),
            {f"wireguard-go {s}": e.process.pid for s, e in ((CLIENT, client), (SERVER, server))},
            {"wireguard-go": version_of_wireguard(wires)},
        )
        server.check()
        client.check()


@contextlib.contextmanager
def _openvpn(wires: Wires, _tunnel: Tunnel) -> Iterator[Carrier]:
    prints = {side: _certificate(wires.directory, side) for side in (SERVER, CLIENT)}
    with contextlib.ExitStack() as undoing:
        ends = {}
        for (side, own), other in zip(SIDES, (CLIENT, SERVER), strict=True):
            addresses = OPENVPN_INNER[own], OPENVPN_INNER[1 - own]
            argv = openvpn(wires.directory, side, addresses, prints[other])
            ends[side] = _Program(wires, side, "openvpn", argv, undoing)
        for end in ends.values():
            done = functools.partial(end.said, "Initialization Sequence Completed")
            wires.wait_until(done, what="OpenVPN's handshake")
        yield Carrier(
            dict(zip((SERVER, CLIENT), OPENVPN_INNER, strict=True)),
            {f"openvpn {side}": ends[side].pid for side in (CLIENT, SERVER)},
            {"openvpn": wires.run(CLIENT, "openvpn", "--version", check=False).stdout.split()[1]},
        )
        for end in ends.values():
            end.check()


def openvpn(
    directory: Path, side: str, addresses: tuple[str, str], fingerprint: str
) -> tuple[str, ...]:
    """Return the command of one end; `addresses` are its own inside, and the other's."""
    words = (
        f"openvpn --dev ovpn0 --dev-type tun --proto udp4 --ifconfig {' '.join(addresses)}"
        f" --cert {directory}/{side}.crt --key {directory}/{side}.pem --peer-fingerprint {fingerprint}"
        " --data-ciphers AES-256-GCM --disable-dco --fast-io --txqueuelen 1000"
        f" --sndbuf {OPENVPN_BUFFER} --rcvbuf {OPENVPN_BUFFER} --tun-mtu {MTU} --mssfix 0 --verb 3"
    ).split()
    if side == SERVER:
        words += f"--tls-server --dh none --local {OUTSIDE} --lport {OPENVPN_PORT}".split()
    else:
        words += f"--tls-client --nobind --remote {OUTSIDE} {OPENVPN_PORT}".split()
    return tuple(words)


def _certificate(directory: Path, side: str) -> str:
    """Makes a key and a certificate that signs itself; returns its fingerprint."""
    made, key = self_signed(side)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write_secret(directory / f"{side}.pem", secret.decode())
    (directory / f"{side}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return made.fingerprint(hashes.SHA256()).hex(":")


@contextlib.contextmanager
def _fastd(wires: Wires, tunnel: Tunnel) -> Iterator[Carrier]:
    method = tunnel.method or METHODS[0]
    made = {side: _fastd_keys(wires) for side in (SERVER, CLIENT)}
    with contextlib.ExitStack() as undoing:
        ends = {}
        for (side, own), other in zip(SIDES, (CLIENT, SERVER), strict=True):
            file = wires.directory / f"fastd-{side}.conf"
            _write_secret(file, fastd(side, method, made[side][0], made[other][1]))
            argv = ("fastd", "--config", str(file))
            ends[side] = _Program(wires, side, "fastd", argv, undoing)
            wires.wait_until(functools.partial(_is_there, wires, ends[side]), what="fastd's device")
            wires.spaces.ip(
                side, f"addr add {FASTD_INNER[own]}/24 dev fastd0", f"link set fastd0 mtu {MTU} up"
            )
        said = wires.run(CLIENT, "fastd", "--version", check=False).stdout.split()
        yield Carrier(
            dict(zip((SERVER, CLIENT), FASTD_INNER, strict=True)),
            {f"fastd {side}": ends[side].pid for side in (CLIENT, SERVER)},
            {"fastd": f"{said[-1] if said else 'unknown'}, method {method}"},
        )
        for end in ends.values():
            end.check()


def _is_there(wires: Wires, end: _Program) -> bool:
    end.check()
    shown = wires.run(end.side, "ip", "link", "show", "dev", "fastd0", check=False)
    return shown.returncode == 0


def fastd(side: str, method: str, secret: str, peer: str) -> str:
    """Return the configuration of one end; `secret` is its own key, `peer` the other's public one."""
    lines = [
        "log level warn;",
        "mode tun;",
        'interface "fastd0";',
        f'method "{method}";',
        f"mtu {MTU};",
        f'secret "{secret}";',
    ]
    remote = ""
    if side == SERVER:
        lines.append(f"bind {OUTSIDE}:{FASTD_PORT};")
    else:
        remote = f" remote {OUTSIDE}:{FASTD_PORT};"
    lines.append(f'peer "other" {{ key "{peer}";{remote} }}')
    return "\n".join(lines) + "\n"


def _fastd_keys(wires: Wires) -> tuple[str, str]:
    said = wires.run(CLIENT, "fastd", "--generate-key").stdout
    found = dict(line.split(": ") for line in said.splitlines() if ": " in line)
    try:
        return found["Secret"], found["Public"]
    except KeyError:
        raise LabError(f"fastd made no key but said: {said[-500:]}") from None


class _Program:
    """A running program of a tunnel, with what it says in a file."""

    def __init__(
        self,
        wires: Wires,
        side: str,
        name: str,
        argv: tuple[str, ...],
        undoing: contextlib.ExitStack,
    ) -> None:
        self.side = side
        self._name = f"{name} of the {side}"
        self._log = wires.directory / f"{name}-{side}.log"
        with self._log.open("w") as log:
            self.process: subprocess.Popen[str] = wires.popen(side, *argv, stdout=log)
        undoing.callback(wires.stop, self.process)
        self.pid = self.process.pid

    def said(self, words: str) -> bool:
        """Has it said these words? LabError when it has ended."""
        self.check()
        return words in self._log.read_text(errors="replace")

    def check(self) -> None:
        """Raise LabError if it has ended."""
        if (ended := self.process.poll()) is not None:
            said = self._log.read_text(errors="replace")[-1000:]
            raise LabError(f"{self._name} ended with status {ended} and said: {said}")


def _write_secret(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)
