"""What one measurement found, as a value and as one line of JSON.

A `Result` is one system under one workload over one scenario on one clock. Results are kept one a
line, so that a run that was broken off keeps what it has, and files can be joined with `cat`. A line
may have keys this version does not know (they are passed over); one that lacks what it must have, or
that is no JSON, is an error that names file and line.

Two results with the same `key` are repetitions of one and the same run, of which one counts: a valid
one before one that is not, and then the one that was started last. `valid` says whether the figures may
be used: a measurement that failed, or in which the laboratory itself was the bottleneck, stays in the
file with its `reason` and without influence. A last line that was broken off is nobody's result.

Bytes, bit/s and seconds throughout; directions are "down" (from the internet) and "up". How a result
is put together from books and figures is in `bench.results.measured`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
import types
import typing
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FORMAT = 1


class Key(NamedTuple):
    """What a result is a result of."""

    clock: str
    scenario: str
    system: str
    workload: str
    seed: int
    repetition: int
    seconds: float
    tree: str
    """Of the files that were measured; see `bench.results.provenance`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Of some times in seconds; all None when there were none."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How a call fared; shares are of the packets sent."""

    sent: int
    lost_up: float
    lost_down: float
    lost_round_trip: float
    delay_up: Quantiles
    delay_down: Quantiles
    round_trip: Quantiles
    later_than_150: float
    """One way, in the worse direction, lost ones included (150 ms)."""
    later_than_300: float
    mos_up: float | None
    mos_down: float | None
    mos: float | None
    """The lower one of both; see `bench.voice`."""
    longest_gap: float
    """Longest time without a packet, in the worse direction."""
    cdf: dict[str, list[float]]
    """The quantiles 0, 0.01, … 1 of the round trips that came back."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """How long pages took from the first SYN to the last byte."""

    count: int
    failed: int
    p50: float | None
    p95: float | None
    mean: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Udp:
    """Packets of a stream of constant rate."""

    sent: int
    lost: int
    reordered: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """What a tunnel of mpbond did with the packets of hosts, by direction, and what it learned."""

    sent: dict[str, int]
    """Packets that hosts handed in, from before the window until nothing was under way any more."""
    received: dict[str, int]
    """How many of them came out."""
    dropped: dict[str, int]
    """How many the queue of the sending side dropped on purpose."""
    rates: dict[str, list[list[float | None]]]
    """What the sending side took each link to carry (bit/s of datagrams), by link, each second; only the
    simulator looks so often without being felt."""

    @property
    def lost(self) -> int:
        """Packets of both directions that were lost on the way."""
        return sum(self.sent[way] - self.received[way] - self.dropped[way] for way in self.sent)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """How late packets left the emulator, in seconds."""

    p50: float
    p99: float
    max: float
    share_late: float
    """Share of the packets that were more than 2 ms late."""
    unread: int | None = None
    """Packets dropped in front of the emulator because it did not read them in time."""
    overrun: int | None = None
    """Packets dropped because the emulator's memory was full."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The window in steps of `step` seconds: by link and step, or by step."""

    step: float
    start: float
    """Seconds of the links' clock."""
    down: list[list[int]]
    """Bytes that passed the bottleneck, by link."""
    up: list[list[int]]
    capacity_down: list[list[int]]
    capacity_up: list[list[int]]
    wait_down: list[list[float]]
    """The longest time (s) a packet stood in the link's queue."""
    wait_up: list[list[float]]
    goodput_down: list[int] | None
    """Bytes the application received."""
    goodput_up: list[int] | None

    def of(self, what: str, direction: str) -> Any:
        """Return a series by name ("capacity", "wait", "goodput", or "" for bytes carried)."""
        return getattr(self, f"{what}_{direction}" if what else direction)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One measurement."""

    clock: str
    scenario: str
    system: str
    workload: str
    seed: int
    repetition: int
    seconds: float
    started: str
    """Date and time, ISO 8601."""
    versions: dict[str, Any]
    machine: dict[str, Any]
    window: tuple[float, float] = (0.0, 0.0)
    """Seconds of the links' clock."""
    link: int | None = None
    """The one link that was used, where only one was."""
    capacity: dict[str, int | None] = dataclasses.field(default_factory=dict)
    """Bytes all links could have carried in the window."""
    capacity_by_link: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    goodput: dict[str, float | None] = dataclasses.field(default_factory=dict)
    efficiency: dict[str, float | None] = dataclasses.field(default_factory=dict)
    """Goodput as a share of the capacity of all links."""
    efficiency_of_link: dict[str, float | None] | None = None
    """Goodput as a share of the capacity of the link that was used."""
    flows: list[int] = dataclasses.field(default_factory=list)
    retransmits: int | None = None
    longest_stall: float | None = None
    alive: bool | None = None
    voice: Voice | None = None
    pages: Pages | None = None
    udp: Udp | None = None
    tunnel: Tunnel | None = None
    round_trip: Quantiles | None = None
    """Of small packets and their echoes."""
    packets_per_second: float | None = None
    """How many came at the highest rate at which hardly any were lost."""
    packets_most: float | None = None
    """How many came at whatever rate."""
    boxes: list[int] = dataclasses.field(default_factory=list)
    """Bytes by client box, where there were several."""
    cpu: dict[str, float] = dataclasses.field(default_factory=dict)
    """Seconds by process."""
    cpu_per_gb: dict[str, float] = dataclasses.field(default_factory=dict)
    """Seconds by process for 1e9 bytes of goodput."""
    links: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """By link and direction: the ledger's counters, `wait_p50` and `wait_p95`."""
    timeline: Timeline | None = None
    lateness: Lateness | None = None
    wall: float | None = None
    """Seconds the measurement took by the clock on the wall."""
    command: str | None = None
    """By which it was asked for."""
    check: dict[str, Any] | None = None
    """What the emulator's self-check found before; see `bench.lab.selfcheck`."""
    valid: bool = True
    reason: str | None = None

    @property
    def key(self) -> Key:
        """What this is a result of."""
        return Key(
            self.clock,
            self.scenario,
            self.system,
            self.workload,
            self.seed,
            self.repetition,
            self.seconds,
            str(self.versions.get("tree", self.versions.get("commit", ""))),
        )

    def to_json(self) -> str:
        """Return one line of JSON, without the newline."""
        return json.dumps(
            {"format": FORMAT, **dataclasses.asdict(self)}, separators=(",", ":"), allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Read a line; BenchError says what is wrong with it."""
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise BenchError(f"this is no JSON: {error.msg} at column {error.colno}") from None
        if not isinstance(document, dict):
            raise BenchError("a result is a JSON object")
        if document.get("format") != FORMAT:
            raise BenchError(
                f"its format is {document.get('format')!r}; this version reads {FORMAT}"
            )
        result: Result = _decode(cls, document, "")
        return result


def read(*paths: Path) -> list[Result]:
    """Return the results of files; of those with one key the one that counts, in the first's place.

    A last line that was broken off, when the disk was full say, is passed over with a note.
    """
    found: dict[Key, Result] = {}
    for path in paths:
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise BenchError(f"cannot read results from {path}: {error}") from None
        lines = text.splitlines()
        if lines and _broken_off(text):
            print(f"{path}:{len(lines)} was broken off and is passed over", file=sys.stderr)
            lines.pop()
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                result = Result.from_json(line)
            except BenchError as error:
                raise BenchError(f"{path}:{number}: {error}") from None
            found[result.key] = _better(found.get(result.key), result)
    return list(found.values())


def newest(results: Iterable[Result]) -> list[Result]:
    """Return of those that differ in nothing but what was measured the one that counts.

    What is not valid is among them only where nothing valid stands for it.
    """
    found: dict[Key, Result] = {}
    for result in results:
        key = result.key._replace(tree="")
        found[key] = _better(found.get(key), result)
    return list(found.values())


def _better(first: Result | None, second: Result) -> Result:
    if first is None or (first.valid, first.started) <= (second.valid, second.started):
        return second
    return first


def append(path: Path, results: Iterable[Result]) -> None:
    """Write results behind those that are there, a line each; BenchError when it cannot be done.

    A last line that was broken off gives way.
    """
    try:
        _end_last_line(path)
        with path.open("ab") as file:
            for result in results:
                file.write(result.to_json().encode() + b"\n")
    except OSError as error:
        raise BenchError(f"cannot write results to {path}: {error.strerror}") from None


def _end_last_line(path: Path) -> None:
    with path.open("a+b") as file:
        size = file.seek(0, 2)
        if not size or (file.seek(-1, 2), file.read(1))[1] == b"\n":
            return
        file.seek(0)
        content = file.read()
        if _broken_off(content.decode(errors="replace")):
            file.truncate(content.rfind(b"\n") + 1)
        else:
            file.write(b"\n")


def _broken_off(text: str) -> bool:
    """Say whether the last line has neither its end nor its newline."""
    last = text.rpartition("\n")[2]
    try:
        json.loads(last or "{}")
    except json.JSONDecodeError:
        return True
    return False


def _decode(kind: Any, value: Any, name: str) -> Any:
    """Make what an annotation says of what JSON had; unknown keys of objects are passed over."""
    origin = typing.get_origin(kind)
    if kind is Any:
        return value
    if origin in (types.UnionType, Union):
        return _decode_union(typing.get_args(kind), value, name)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_object(kind, value, name)
    if origin is list and isinstance(value, list):
        (inner,) = typing.get_args(kind)
        return value if inner in (int, float) else [_decode(inner, one, name) for one in value]
    if origin is dict and isinstance(value, dict):
        return {key: _decode(typing.get_args(kind)[1], one, name) for key, one in value.items()}
    if origin is tuple and isinstance(value, list) and len(value) == len(typing.get_args(kind)):
        pairs = zip(typing.get_args(kind), value, strict=True)
        return tuple(_decode(inner, one, name) for inner, one in pairs)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is None and isinstance(value, kind) and (kind is not int or value is not True):
        return value
    raise BenchError(f"{name or 'the result'} is not as it should be: {value!r:.60}")


def _decode_union(kinds: tuple[Any, ...], value: Any, name: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    (kind,) = (one for one in kinds if one is not type(None))
    return _decode(kind, value, name)


def _decode_object(kind: Any, value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise BenchError(f"{name} is not an object: {value!r:.60}")
    prefix = f"{name}." if name else ""
    kinds = _annotations(kind)
    given = {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            given[field.name] = _decode(kinds[field.name], value[field.name], prefix + field.name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise BenchError(f"{prefix}{field.name} is missing")
    return kind(**given)


@functools.cache
def _annotations(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)
