"""What a sender asks of its congestion control; the kinds there are, by name."""

from __future__ import annotations

from typing import Protocol

from bench.sim.tcp.sample import Sample


class Congestion(Protocol):
    """Decides on `flow.cwnd` and perhaps `flow.pacing_rate`."""

    name: str
    steers: bool
    """Whether it sets the window itself at every acknowledgement, also in recovery."""

    def reduce(self) -> int:
        """A loss has begun: return the new slow start threshold."""

    def undo(self, before: int) -> int:
        """The loss was none: return the window, which was `before` at the time."""

    def enter(self, state: int) -> None:
        """The flow is about to leave `flow.state` for another."""

    def acknowledged(self, sample: Sample) -> None:
        """An acknowledgement has come, and the scoreboard is up to date; the window is not yet due."""

    def avoid(self, packets: int) -> None:
        """Grow the window for packets delivered; not asked of what steers."""

    def control(self, sample: Sample) -> None:
        """Set window and pace; asked only of what steers."""

    def burst(self) -> int:
        """How many packets a paced flow lets out at once."""

    def resume(self, idle: float) -> None:
        """A packet is about to leave, the first after `idle` seconds with nothing in flight."""
