"""The results of load generators, as plain dictionaries with their types."""

from __future__ import annotations

from typing import TypedDict

from bench.lab.traffic.meter import Tardiness


class Machine(TypedDict):
    """What a generator says of itself."""

    cpu: dict[str, float]
    """CPU seconds of "client" and "server" from beginning to end."""
    lateness: Tardiness
    """How late timers fired; the worse of both programs in every figure."""


class TransferResult(Machine):
    """One direction of TCP in bulk."""

    bytes: int
    """Payload that the receiving program read within the time."""
    per_flow: list[int]
    timeline: list[int]
    first_byte: float | None
    """From the beginning to the first byte; None when none came."""
    longest_stall: float
    """The longest time without a new byte, from the first byte to the end."""
    sent: int
    """Bytes that the sending program handed to its kernel."""
    retransmits: int
    """Segments sent again, by TCP_INFO at the sender; over the subflows that are left."""
    spurious: int
    """Segments that the receiver said had come already (DSACK)."""
    subflows: int
    """The most subflows a connection had at the end; 1 without MPTCP."""
    congestion: str | None
    """The sender's congestion control as the kernel names it; None when nothing was sent."""
    completed: int
    """Pieces fetched to the end, where there are pieces."""
    alive: bool
    """Whether every connection came about and lasted until the end."""


class PagesResult(Machine):
    """Pages that were opened; `pages` is empty and all have failed when nothing came through."""

    pages: list[float]
    """How long each took that came to its end."""
    failed: int
    bytes: int
    """Payload that came within the time, of whatever page."""
    timeline: list[int]
    error: str | None
    """Why a page failed, if one did."""


class UdpResult(Machine):
    """A stream at a constant rate; counts are datagrams, late ones included; all may be lost."""

    sent: int
    refused: int
    """How many of those the sender's own kernel did not take."""
    received: int
    lost: int
    duplicates: int
    reordered: int
    """Those that came after one with a larger number."""
    overrun: int
    """Those that came and were thrown away because the generator did not read in time."""
    bytes: int
    """Payload that came within the time."""
    timeline: list[int]
    longest_stall: float


class OneWay(TypedDict):
    """One direction of a call."""

    lost: int
    refused: int
    delays: list[float | None]
    """One-way delay of every packet in the order of sending; None for a lost one."""


class VoiceResult(Machine):
    """A call; no packet has a delay when nothing came through."""

    sent: int
    """Packets each way."""
    up: OneWay
    down: OneWay
    round_trips: list[float | None]
    """By packet sent up: its delay and that of the first packet that goes back after it."""


class QuicResult(Machine):
    """A download over QUIC."""

    bytes: int
    timeline: list[int]
    longest_stall: float
    alive: bool
    """Whether the connection came about and lasted until the end."""
    saturated: bool
    """Whether a generator used a core nearly whole: then it was the limit, not the network."""
