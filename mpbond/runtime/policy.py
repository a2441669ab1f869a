"""How each of the client's links may be used now.

Three things have a say: the configuration, what `mpbond set` has changed since, and the books, for a
link whose quota is used up becomes a last resort or is not used at all. `count` is called once a second;
what a link carries beyond its quota is what it carries in one.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from mpbond.config import TIERS, ClientConfig, LinkConfig
from mpbond.config.amounts import FASTEST_CAP, SLOWEST_CAP
from mpbond.core.path import Path
from mpbond.errors import ControlError
from mpbond.runtime.books import Books, today
from mpbond.runtime.control import Request
from mpbond.runtime.program import parse_direction

LAST_RESORT: Final = TIERS.index("last resort")
USED_UP: Final = "its quota is used up"

_log = logging.getLogger(__name__)


class LinkPolicy:
    """Settings of links as they hold at the moment."""

    def __init__(self, config: ClientConfig, books: Books) -> None:
        self.books = books
        self._config = config
        self._changes: dict[str, dict[str, Any]] = {}  # by `mpbond set`
        self._exhausted: set[str] = set()
        self._day: str | None = None

    def settings(self, name: str) -> LinkConfig:
        """What holds for a link."""
        asked = self._asked(name)
        if name in self._exhausted and asked.quota_action == TIERS[LAST_RESORT]:
            return replace(asked, tier=LAST_RESORT)
        return asked

    def allows(self, name: str) -> bool:
        """May the link be used at all?"""
        return name not in self._exhausted or self._asked(name).quota_action != "off"

    def remembered(self, name: str) -> tuple[float | None, float | None]:
        """How fast the link was the last time, up and down, in bits per second."""
        account = self.books.of(name)
        return account.up, account.down

    def count(self, paths: Iterable[Path], names: Iterable[str], wall: float) -> None:
        """Book what paths have carried and learned, and judge the links of these names."""
        paths = list(paths)
        self._day = today(wall)
        self.books.collect(paths, self._day)
        for path in paths:
            if path.link is not None and path.up:
                up = path.rate.rate * 8 if path.rate.learned and path.rate.rate else None
                self.books.learn(path.link, up, path.peer_rate or None)
        for name in names:
            self.judge(name)

    def judge(self, name: str) -> None:
        """Find out whether a link's quota is used up."""
        asked = self._asked(name)
        exhausted = self.books.exhausted(name, asked, self._day)
        if exhausted == (name in self._exhausted):
            return
        if exhausted:
            self._exhausted.add(name)
            kind = "off" if asked.quota_action == "off" else "a last resort"
            _log.warning("link %s has used up its quota: it is %s now", name, kind)
        else:
            self._exhausted.discard(name)
            _log.info("link %s has quota again", name)

    def due(self, names: Iterable[str], now: float) -> bool:
        """Is it time to save the books?"""
        return self.books.due(((name, self._asked(name)) for name in names), now)

    def status(self, name: str) -> dict[str, Any] | None:
        """Return what `mpbond status` shows of a link's quota."""
        return self.books.status(name, self._asked(name), self._day)

    def reload(self, config: ClientConfig) -> None:
        """Go by another configuration; what was changed meanwhile is forgotten."""
        self._config = config
        self._changes.clear()

    def change(self, name: str, value: Any, request: Request) -> str:
        """Carry out `mpbond set tier` or `set cap`; return the link. Raises ControlError."""
        link = str(request.get("link"))
        if name == "tier":
            if value not in TIERS:
                words = ", ".join(TIERS)
                raise ControlError(f"There is no tier named {value!r}; there are {words}.")
            changed: dict[str, Any] = {"tier": TIERS.index(value)}
        else:
            direction = parse_direction(request)
            cap = _parse_cap(value)
            changed = {f"cap_{way}": cap for way in ("up", "down") if direction in (way, "both")}
        self._changes.setdefault(link, {}).update(changed)
        return link

    def _asked(self, name: str) -> LinkConfig:
        settings = self._config.settings_of(name)
        changes = self._changes.get(name)
        return replace(settings, **changes) if changes else settings


def _parse_cap(value: Any) -> float:
    """Return a cap in bits per second, 0 for none. Raises ControlError."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if known and (value == 0 or SLOWEST_CAP <= value <= FASTEST_CAP):
        return float(value)
    raise ControlError(f"A cap is 0 or 10 kbit/s to 100 Gbit/s, in bit/s, not {value!r}.")
