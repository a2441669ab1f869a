"""What a link has carried, by calendar day: the account that a quota is held against.

Days are local ones, as a carrier's bill counts them, and come in as text such as `2024-05-17`, or as None
while the machine's clock is not set (routers wake up in 1970). What is carried then is undated: it counts
at once, on top of the newest day that is known, and is booked on the first day that is told. A clock that
was wrong otherwise, and is put right, does no lasting harm either: nothing is ever cleared because time
has passed. Each day keeps what was booked on it, and a period's use is the sum of its days.

Nothing here asks for the time or touches a file.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mpbond.config import Quota
from mpbond.core.path import Path

DAYS_KEPT: Final = 64  # a month, and room for days that a wrong clock has named
_PREFIX: Final = {"day": 10, "month": 7}  # characters of a day's text that name its period
_OVERHEAD: Final = {4: 28, 6: 48}  # bytes of IP's and UDP's headers, by IP version


class Usage:
    """Bytes that one link has carried, up and down together."""

    def __init__(self) -> None:
        self.days: dict[str, int] = {}  # the one written last stands last
        self.undated = 0

    def add(self, size: int, day: str | None) -> None:
        """Book bytes on a day; None: the clock is not set."""
        self.undated += size
        if day is None or not self.undated:
            return
        self.days[day] = self.days.pop(day, 0) + self.undated
        self.undated = 0
        while len(self.days) > DAYS_KEPT:
            del self.days[next(iter(self.days))]

    def used(self, period: str, day: str | None) -> int:
        """Return the bytes carried in the day or month that `day` lies in."""
        if day is None:
            day = next(reversed(self.days), "")
        begins = day[: _PREFIX[period]]
        dated = (count for at, count in self.days.items() if begins and at.startswith(begins))
        return self.undated + sum(dated)

    def exceeds(self, quota: Quota, day: str | None) -> bool:
        """Is the quota used up?"""
        return self.used(quota.period, day) >= quota.volume

    def to_map(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {"days": dict(self.days), "undated": self.undated}

    @classmethod
    def from_map(cls, record: Mapping[str, Any]) -> "Usage":
        """Read what `to_map` wrote. Raises ValueError."""
        usage = cls()
        days, usage.undated = record.get("days", {}), record.get("undated", 0)
        counts = [*days.values(), usage.undated] if isinstance(days, dict) else [None]
        if any(type(count) is not int or count < 0 for count in counts):
            raise ValueError("not an account of bytes")
        usage.days = {str(day): count for day, count in days.items()}
        return usage


class Tally:
    """Turns the ever-growing counters of paths into what each link has carried since last asked.

    It holds on to the paths it has seen until they have been asked once more after their end, so that
    the last bytes of a path or of a session count.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Path, int]] = {}

    def collect(self, paths: Iterable[Path]) -> Counter[str]:
        """Return new bytes by link; `paths` are all there are now."""
        new: Counter[str] = Counter()
        for path, before in self._seen.values():
            if path.link is not None:
                new[path.link] += _carried(path) - before
        fresh = {id(path): (path, _carried(path)) for path in paths}
        for key, (path, carried) in fresh.items():
            if key not in self._seen and path.link is not None:
                new[path.link] += carried
        self._seen = fresh
        return +new


def _carried(path: Path) -> int:
    """Bytes on the wire, both ways, IP's headers included."""
    version = 6 if isinstance(path.remote, tuple) and ":" in str(path.remote[0]) else 4
    sent, received = path.stats.sent, path.stats.received
    return int(sent.bytes + received.bytes + _OVERHEAD[version] * (sent.count + received.count))
