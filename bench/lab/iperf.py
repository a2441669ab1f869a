"""Measures with iperf3 between two namespaces, and reads its JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.lab.namespaces import LabError

if TYPE_CHECKING:
    from bench.lab.lab import Lab

LISTEN = "0A"
_ports = itertools.count(5201)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run of iperf3 saw at the receiver."""

    rate: float
    """bit/s of payload."""
    retransmits: int | None
    """TCP segments sent again."""
    loss: float | None
    """Share of UDP datagrams that did not come."""
    flow_ports: tuple[int, ...]
    """The client's port of each flow, in order."""
    timeline: tuple[float, ...]
    """bit/s in each interval, all flows together, omitted ones included."""


class Measurement:
    """One running iperf3: a server of its own for this run, and the client."""

    def __init__(
        self,
        lab: Lab,
        target: str,
        *,
        client: str = "client",
        server: str = "web",
        direction: str = "down",
        seconds: float = 5,
        omit: float = 0,
        flows: int = 1,
        udp_rate: float | None = None,
        udp_length: int = 1200,
        device: str | None = None,
        congestion: str = "cubic",
        interval: float = 0.5,
    ) -> None:
        """Starts measuring from `client` to address `target`, which is the namespace `server`.

        `direction` is "down" (server to client) or "up"; `udp_rate` in bit/s for all flows
        together makes it UDP; `device` binds the client to one interface; the first `omit`
        seconds do not count and come on top of `seconds`.
        """
        self._omit = omit
        self._seconds = seconds + omit
        port = str(next(_ports))
        self._lab = lab
        self.server = lab.popen(server, "iperf3", "-s", "-1", "--json", "-p", port)
        lab.wait_until(lambda: listening(self.server.pid, int(port)), what="iperf3 listening")
        argv = ["iperf3", "-c", target, "-p", port, "--json", "-i", f"{interval:g}"]
        argv += ["--get-server-output"]
        argv += ["-t", f"{seconds + omit:g}", "-P", str(flows), "--connect-timeout", "5000"]
        if udp_rate is None:
            argv += ["-C", congestion]
        else:
            argv += ["-u", "-b", f"{udp_rate / flows:.0f}", "-l", str(udp_length)]
        argv += ["-R"] if direction == "down" else []
        argv += ["--bind-dev", device] if device else []
        self.process = lab.popen(client, *argv, stderr=subprocess.STDOUT)

    def result(self, patience: float = 20) -> Measured:
        """Waits for the end and returns the figures; LabError when iperf3 failed."""
        try:
            output, _ = self.process.communicate(timeout=self._seconds + patience)
        except subprocess.TimeoutExpired:
            self.cancel()
            raise LabError("iperf3 did not come to its end") from None
        self._lab.stop(self.server)
        return read(output, self._omit)

    def cancel(self) -> None:
        """Gives up on the run."""
        self._lab.stop(self.process)
        self._lab.stop(self.server)


def iperf(lab: Lab, target: str, **options: Any) -> Measured:
    """Runs a Measurement to its end."""
    return Measurement(lab, target, **options).result()


def read(output: str, omit: float) -> Measured:
    """Reads what `iperf3 --json` printed; the first `omit` seconds do not count."""
    try:
        told = json.loads(output)
    except json.JSONDecodeError:
        raise LabError(f"iperf3 said no JSON but: {output.strip()[-500:]}") from None
    if "error" in told:
        raise LabError(f"iperf3 failed: {told['error']}")
    end = told["end"]
    receiver = told if told["start"]["test_start"]["reverse"] else told["server_output_json"]
    intervals = receiver["intervals"]
    loss = retransmits = None
    if told["start"]["test_start"]["protocol"] == "UDP":
        seen = receiver["end"]["sum"]
        loss = seen["lost_packets"] / seen["packets"] if seen["packets"] else None
    else:
        retransmits = end["sum_sent"].get("retransmits")
    return Measured(
        rate=_settled(intervals, omit),
        retransmits=retransmits,
        loss=loss,
        flow_ports=tuple(each["local_port"] for each in told["start"]["connected"]),
        timeline=tuple(each["sum"]["bits_per_second"] for each in intervals),
    )


def _settled(intervals: list[dict[str, Any]], omit: float) -> float:
    """Returns bit/s after the first seconds. (What `iperf3 --omit` says of them is wrong.)"""
    counted = [each["sum"] for each in intervals if each["sum"]["end"] > omit + 0.1]
    received = sum(int(each["bytes"]) for each in counted)
    return received * 8 / sum(float(each["seconds"]) for each in counted)


def listening(pid: int, port: int) -> bool:
    """Tells whether somebody listens on a TCP port, in the namespace of a process."""
    wanted = f"{port:04X}"
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].rsplit(":", 1)[1] == wanted and fields[3] == LISTEN:
                    return True
    return False
