"""The client's books: what its links have carried and how fast they were, kept across restarts.

One file, `<tun>.links.json` in the state directory, replaced as a whole. It is written seldom, for it may
lie on a router's flash: after `SAVE_INTERVAL` if anything has changed, sooner once a link has used another
hundredth of its quota, and at the end. So a crash forgets a hundredth of a quota at most. A file that
cannot be read is an empty one: the start must not fail because of it.

A link's rate is remembered as an average over minutes in which it was learned, not as its last value,
which may be that of a dead spot.
"""

import logging
import pathlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from mpbond.config import LinkConfig
from mpbond.core.path import Path
from mpbond.io import journal
from mpbond.runtime.usage import Tally, Usage

SAVE_INTERVAL: Final = 600.0  # seconds
SOONEST_SAVE: Final = 10.0  # seconds, however fast a quota is used
QUOTA_STEP: Final = 0.01  # of a quota
CLOCK_IS_SET_AFTER: Final = 1_704_067_200  # 2024 began: this program was not there before
RATE_GAIN: Final = 1 / 60  # of a second's rate in the average

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Account:
    """What is remembered of one link; rates in bits per second."""

    usage: Usage = field(default_factory=Usage)
    up: float | None = None
    down: float | None = None
    unsaved: int = 0  # bytes

    def learn(self, up: float | None, down: float | None) -> None:
        """Take a second's learned rates into the average; None: not known now."""
        self.up, self.down = _blend(self.up, up), _blend(self.down, down)


class Books:
    """The accounts of all links by name, and the file they are kept in."""

    def __init__(self, directory: pathlib.Path, tun: str) -> None:
        self._path = directory / f"{tun}.links.json"
        self._accounts: dict[str, Account] = {}
        self._tally = Tally()
        self._changed = False
        self._saved = float("-inf")

    def of(self, name: str) -> Account:
        """The account of a link."""
        return self._accounts.setdefault(name, Account())

    def collect(self, paths: Iterable[Path], day: str | None) -> None:
        """Book what the paths have carried since last asked; call it once a second."""
        for name, size in self._tally.collect(paths).items():
            account = self.of(name)
            account.usage.add(size, day)
            account.unsaved += size
            self._changed = True

    def learn(self, name: str, up: float | None, down: float | None) -> None:
        """Note the rates a link has been found to have, in bits per second."""
        if up is not None or down is not None:
            self.of(name).learn(up, down)
            self._changed = True

    def exhausted(self, name: str, settings: LinkConfig, day: str | None) -> bool:
        """Has the link used up its quota, if it has one?"""
        return settings.quota is not None and self.of(name).usage.exceeds(settings.quota, day)

    def status(self, name: str, settings: LinkConfig, day: str | None) -> dict[str, Any] | None:
        """Return what `mpbond status` shows of a link's quota."""
        quota = settings.quota
        if quota is None:
            return None
        return {
            "used": self.of(name).usage.used(quota.period, day),
            "of": quota.volume,
            "per": quota.period,
            "action": settings.quota_action,
            "exhausted": self.exhausted(name, settings, day),
        }

    def due(self, settings: Iterable[tuple[str, LinkConfig]], now: float) -> bool:
        """Is it time to save? `settings` are those of the links in use."""
        if not self._changed or now - self._saved < SOONEST_SAVE:
            return False
        return now - self._saved >= SAVE_INTERVAL or any(
            of.quota is not None and self.of(name).unsaved >= QUOTA_STEP * of.quota.volume
            for name, of in settings
        )

    def to_save(self, now: float) -> dict[str, Any]:
        """Return the record to be written, and take it for written."""
        self._changed = False
        self._saved = now
        links = {}
        for name, account in self._accounts.items():
            account.unsaved = 0
            links[name] = {**account.usage.to_map(), "up": account.up, "down": account.down}
        return {"format": journal.FORMAT, "links": links}

    def write(self, record: dict[str, Any]) -> None:
        """Put a record on disk. Raises PlatformError; what it held will be in the next."""
        try:
            journal.write(self._path, record)
        except BaseException:
            self._changed = True
            raise

    def load(self, now: float) -> None:
        """Read the file, if there is one that can be understood."""
        self._saved = now
        record = journal.read(self._path)
        links = record.get("links") if record is not None else None
        for name, told in links.items() if isinstance(links, dict) else ():
            try:
                usage, up, down = Usage.from_map(told), _rate(told["up"]), _rate(told["down"])
            except (AttributeError, KeyError, ValueError):
                _log.warning("%s says nothing useful of link %s", self._path, name)
                continue
            self._accounts[str(name)] = Account(usage, up, down)


def today(wall: float) -> str | None:
    """Return the local day of a wall-clock time (seconds since 1970), None while that is not set."""
    if wall < CLOCK_IS_SET_AFTER:
        return None
    return time.strftime("%Y-%m-%d", time.localtime(wall))


def _blend(average: float | None, rate: float | None) -> float | None:
    if average is None or rate is None:
        return rate if average is None else average
    return average + RATE_GAIN * (rate - average)


def _rate(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e13:
        raise ValueError("not a rate")
    return float(value)
