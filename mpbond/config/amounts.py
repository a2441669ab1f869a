"""Amounts with their units: rates in bits per second and volumes of bytes by day or month.

Units are those on a modem's bill: 1 GB is 10^9 bytes, 1 GiB is 2^30, a bit is no byte. A bare number
is a rate in bit/s; a volume always needs its unit, for nobody means bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mpbond.config.model import PERIODS, Quota
from mpbond.config.place import kind, shown

if TYPE_CHECKING:
    from mpbond.config.place import Place

SLOWEST_CAP: Final = 10e3  # bit/s; a full-size packet takes more than a second
FASTEST_CAP: Final = 100e9  # bit/s
RATE_EXAMPLE: Final = "8 Mbit/s"
_LARGEST_QUOTA: Final = 10**18  # bytes

_RATE: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?(|k|m|g)bit/s", re.IGNORECASE)
_PREFIXES: Final = {"": 1e0, "k": 1e3, "m": 1e6, "g": 1e9}
_QUOTA: Final = re.compile(
    r"(\d{1,12}(?:\.\d{1,6})?) ?(kB|MB|GB|TB|KiB|MiB|GiB|TiB) per ([a-z]{1,20})"
)
_VOLUMES: Final = {
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


def read_rate(text: str) -> float | None:
    """Reads `8 Mbit/s` as bits per second; None if it is nothing of the kind or out of range."""
    found = _RATE.fullmatch(text.strip())
    rate = float(found[1]) * _PREFIXES[found[2].lower()] if found else None
    return rate if rate is not None and SLOWEST_CAP <= rate <= FASTEST_CAP else None


def cap(place: Place, value: object) -> float:
    """Reads the most that a link may carry in one direction, in bits per second."""
    right = f'write a rate such as "{RATE_EXAMPLE}" or "500 kbit/s", from 10 kbit/s to 100 Gbit/s'
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise place.error(f"{shown(value)} is {kind(value)}", right)
    if not isinstance(value, str):
        if not SLOWEST_CAP <= value <= FASTEST_CAP:
            raise place.error(f"{shown(value)} bit/s is out of range", right)
        return float(value)
    rate = read_rate(value)
    if rate is None:
        raise place.error(f"{shown(value)} is no rate that can be used", right)
    return rate


def quota(place: Place, value: object) -> Quota:
    """Reads a volume for a day or a month."""
    right = 'write a volume such as "20 GB per month" or "500 MB per day"'
    if not isinstance(value, str):
        raise place.error(f"{shown(value)} is {kind(value)}", right)
    found = _QUOTA.fullmatch(value.strip())
    if found is None or found[3] not in PERIODS:
        raise place.error(f"{shown(value)} is no volume for a day or a month", right)
    volume = round(float(found[1]) * _VOLUMES[found[2]])
    if not 0 < volume <= _LARGEST_QUOTA:
        raise place.error(f"{shown(value)} is out of range", right)
    return Quota(volume=volume, period=found[3])
