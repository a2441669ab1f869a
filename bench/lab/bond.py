"""The programs under test in a laboratory: `mpbond server` and `mpbond client`.

They run as a user runs them. Keys are made once per box, configurations are written as TOML into
the laboratory's directory, and status is read from the control sockets there. Output goes to
`<side>.log` beside them.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import json
import os
import shutil
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

import msgpack
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.lab import topology
from bench.lab.namespaces import LabError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.lab.site import Site

PORT = 4510
POOL = ("10.77.0.0/24", "fd77::/64")
INNER_SERVER = ("10.77.0.1", "fd77::1")
PATH_PATIENCE = 15.0  # s for a fresh client to have every path up


class Bond:
    """One server and the clients of a laboratory."""

    def __init__(self, lab: Site) -> None:
        self._lab = lab
        self._keys: dict[str, X25519PrivateKey] = {}
        self.running: dict[str, subprocess.Popen[str]] = {}

    def start_server(
        self,
        *,
        peers: Mapping[str, Mapping[str, Any]] | None = None,
        others: Sequence[Mapping[str, Any]] = (),
        env: Mapping[str, str] | None = None,
        wait: bool = True,
        **server: Any,
    ) -> subprocess.Popen[str]:
        """Starts the server and waits until its control socket answers.

        `server` overrides keys of [server]; `peers` those of a [[client]], by box name. Every box
        of the laboratory is a known client with fixed addresses: the first is .2, the next .3.
        `others` are further [[client]] tables, of clients that no box is.
        """
        boxes = dict.fromkeys(link.box for link in self._lab.links)
        config = {
            "version": 1,
            "server": {
                "private_key_file": str(self._key_file("server")),
                "listen": [f"0.0.0.0:{PORT}", f"[::]:{PORT}"],
                "tun": "mpbond0",
                "pool": list(POOL),
                **self._places("server"),
                **server,
            },
            "client": [
                {
                    "name": box,
                    "public_key": self.public_key(box),
                    "addresses": list(self.inner(box)),
                    **((peers or {}).get(box, {})),
                }
                for box in boxes
            ]
            + [dict(other) for other in others],
        }
        child = self._start("server", "server", config, env)
        if wait:
            self._wait("server", bool, "the server's first status")
        return child

    def start_client(
        self,
        box: int = 0,
        *,
        endpoints: list[str] | None = None,
        concentrator: Mapping[str, Any] | None = None,
        link: Mapping[str, Mapping[str, Any]] | None = None,
        env: Mapping[str, str] | None = None,
        wait: bool = True,
        **client: Any,
    ) -> subprocess.Popen[str]:
        """Starts a client; with `wait`, returns once every link it joins has its path up.

        Its addresses inside the tunnel and a default route, if asked for, stand by then too.

        `client` overrides keys of [client], `concentrator` those of [concentrator], and `link`
        gives [link.NAME] tables. The default endpoint is the server's IPv4 address.
        """
        name = topology.box_name(box)
        config = self._client_config(name, client)
        config["concentrator"] |= concentrator or {}
        if endpoints is not None:
            config["concentrator"]["endpoints"] = endpoints
        config["link"] = dict(link or {})
        child = self._start(name, "client", config, env)
        if wait:
            wanted = config["client"]["links"]
            links = [each.name for each in self._lab.links if each.box == name]
            count = sum(any(fnmatch.fnmatchcase(each, one) for one in wanted) for each in links)
            self.wait_paths(name, count)
            self._wait(name, lambda status: self._addressed(name, status["tun"]), "its addresses")
            if config["client"].get("default_route"):
                self._wait(name, lambda status: status["default_route"], "the default route")
        return child

    def dry_run(self, side: str, **client: Any) -> subprocess.CompletedProcess[str]:
        """Runs `mpbond client --dry-run` to its end."""
        file = self.config_file(side)
        file.write_text(to_toml(self._client_config(side, client)))
        argv = (sys.executable, "-m", "mpbond", "client", "--config", str(file), "--dry-run")
        return self._lab.run(side, *argv)

    def inner(self, side: str) -> tuple[str, str]:
        """Returns the addresses of "server" or a client box inside the tunnel."""
        if side == "server":
            return INNER_SERVER
        host = 2 + int(side.removeprefix("client") or 0)
        return f"10.77.0.{host}", f"fd77::{host}"

    def public_key(self, side: str) -> str:
        """Returns a side's public key as configurations spell it."""
        return base64.b64encode(self.raw_public_key(side)).decode()

    def raw_public_key(self, side: str) -> bytes:
        """Returns a side's public key, 32 bytes."""
        return self._private(side).public_key().public_bytes_raw()

    def config_file(self, side: str) -> Path:
        """Returns where a side's configuration is written."""
        return self._lab.directory / f"{side}.toml"

    def control_socket(self, side: str) -> Path:
        """Returns where a side's control socket stands."""
        return self._lab.directory / f"{side}.sock"

    def log(self, side: str) -> str:
        """Returns what a side has printed so far."""
        file = self._lab.directory / f"{side}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def forget_log(self, side: str) -> None:
        """Forgets what a side has printed; the next program of that side begins anew."""
        (self._lab.directory / f"{side}.log").unlink(missing_ok=True)

    def forget_state(self, side: str) -> None:
        """Forgets what a side has kept for its next start; it must not run."""
        shutil.rmtree(self._lab.directory / f"{side}-state", ignore_errors=True)

    def status(self, side: str) -> dict[str, Any]:
        """Asks a side's control socket for its status; raises OSError when nobody answers."""
        reply = self.request(side, {"verb": "status"})
        if not reply.get("ok"):
            raise LabError(f"{side} refused to give its status: {reply.get('error')}")
        status: dict[str, Any] = reply["status"]
        return status

    def request(self, side: str, message: Mapping[str, Any]) -> dict[str, Any]:
        """Puts one request to a side's control socket and returns the reply."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.control_socket(side)))
            body = msgpack.packb(message)
            connection.sendall(struct.pack("!I", len(body)) + body)
            with connection.makefile("rb") as stream:
                (length,) = struct.unpack("!I", stream.read(4))
                reply: dict[str, Any] = msgpack.unpackb(stream.read(length))
        return reply

    def session(self, side: str = "client", index: int = 0) -> dict[str, Any]:
        """Returns one session of a side's status; an empty dict when there is none."""
        sessions = self.status(side)["sessions"]
        return sessions[index] if index < len(sessions) else {}

    def paths(self, side: str = "client") -> dict[str, dict[str, Any]]:
        """Returns the paths of a side's first session by link name (by number on the server)."""
        listed = self.session(side).get("paths", [])
        return {each["link"] or str(each["id"]): each for each in listed}

    def wait_paths(self, side: str, count: int, timeout: float = PATH_PATIENCE) -> None:
        """Waits until exactly `count` paths of a side are up."""

        def enough(status: dict[str, Any]) -> bool:
            paths = [path for each in status["sessions"] for path in each["paths"]]
            return len([path for path in paths if path["state"] == "up"]) == count

        self._wait(side, enough, f"{count} paths of {side} being up", timeout)

    def _addressed(self, side: str, tun: Mapping[str, Any]) -> bool:
        """Whether a side's TUN device has the addresses of its session: the system is changed later."""
        show = ("ip", "-o", "address", "show", "dev", tun["name"])
        there = self._lab.run(side, *show, check=False).stdout
        return all(f" {address} " in there for address in tun["addresses"])

    def _wait(
        self,
        side: str,
        enough: Callable[[dict[str, Any]], bool],
        what: str,
        timeout: float = PATH_PATIENCE,
    ) -> None:
        def look() -> bool:
            if (ended := self.running[side].poll()) is not None:
                said = self.log(side)[-2000:]
                raise LabError(f"mpbond {side} ended with status {ended} and said: {said}")
            with contextlib.suppress(OSError, struct.error):
                return enough(self.status(side))
            return False

        try:
            self._lab.wait_until(look, timeout, what)
        except LabError as late:
            raise LabError(f"{late}; {side} said: {self.log(side)[-2000:]}") from None

    def _start(
        self, side: str, verb: str, config: Mapping[str, Any], env: Mapping[str, str] | None
    ) -> subprocess.Popen[str]:
        file = self.config_file(side)
        file.write_text(to_toml(config))
        with (self._lab.directory / f"{side}.log").open("a") as log:
            child = self._lab.popen(
                side,
                *(sys.executable, "-m", "mpbond", verb, "--config", str(file)),
                stdout=log,
                env=env,
            )
        self.running[side] = child
        return child

    def _client_config(self, name: str, client: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "version": 1,
            "client": {
                "private_key_file": str(self._key_file(name)),
                "links": ["wwan*"],
                "tun": "mpbond0",
                **self._places(name),
                **client,
            },
            "concentrator": {
                "public_key": self.public_key("server"),
                "endpoints": [f"{topology.SERVER[0]}:{PORT}"],
            },
        }

    def _places(self, side: str) -> dict[str, str]:
        state = self._lab.directory / f"{side}-state"
        state.mkdir(mode=0o700, exist_ok=True)
        return {"control": str(self.control_socket(side)), "state_dir": str(state)}

    def _private(self, side: str) -> X25519PrivateKey:
        return self._keys.setdefault(side, X25519PrivateKey.generate())

    def _key_file(self, side: str) -> Path:
        file = self._lab.directory / f"{side}.key"
        if not file.exists():
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                out.write(base64.b64encode(self._private(side).private_bytes_raw()) + b"\n")
        return file


def to_toml(config: Mapping[str, Any], prefix: str = "") -> str:
    """Writes plain values, tables and arrays of tables as TOML."""
    plain, tables = [], []
    for key, value in config.items():
        if isinstance(value, dict):
            tables.append(f"\n[{prefix}{key}]\n{to_toml(value, f'{prefix}{key}.')}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            tables += [f"\n[[{prefix}{key}]]\n{to_toml(each)}" for each in value]
        else:
            plain.append(f"{key} = {json.dumps(value)}\n")
    return "".join(plain + tables)
