"""Numbers as a person says them: rates, times, fractions, with `-` for what is not known."""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = "-"
_RATES: Final = ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"))
_VOLUMES: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_SPANS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def rate(bits_per_second: float | None) -> str:
    """Writes a rate, as `7.82 Mbit/s` or `64 kbit/s`; three digits that count."""
    if bits_per_second is None:
        return UNKNOWN
    if bits_per_second < 0.5:
        return "0"
    for unit, name in _RATES:
        if bits_per_second >= 0.9995 * unit:
            return f"{_three_digits(bits_per_second / unit)} {name}"
    return f"{bits_per_second / 1e3:.1f} kbit/s" if bits_per_second >= 50 else "<0.1 kbit/s"


def megabits(bits_per_second: float | None) -> str:
    """Writes a rate without its unit, in Mbit/s, as `7.82` or `0.06`."""
    if bits_per_second is None:
        return UNKNOWN
    value = bits_per_second / 1e6
    return "0" if value < 0.005 else _three_digits(value)


def volume(size: float) -> str:
    """Writes a number of bytes, as `20 GB` or `1.25 GB`; three digits that count."""
    for unit, name in _VOLUMES:
        if size >= 0.9995 * unit:
            digits = _three_digits(size / unit)
            return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits} {name}"
    return f"{size:.0f} B"


def delay(seconds: float | None) -> str:
    """Writes a short time, as `61 ms`, `3.2 ms` or `1.4 s`."""
    if seconds is None:
        return UNKNOWN
    if seconds >= 0.9995:
        return f"{seconds:.1f} s"
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f} ms" if milliseconds >= 9.95 else f"{milliseconds:.1f} ms"


def span(seconds: float | None) -> str:
    """Writes a long time by its two largest units, as `2 h 3 min`."""
    if seconds is None:
        return UNKNOWN
    rest = int(seconds)
    parts: list[str] = []
    for unit, name in _SPANS:
        if rest >= unit or (unit == 1 and not parts):
            parts.append(f"{rest // unit} {name}")
        elif parts:
            break
        rest %= unit
    return " ".join(parts[:2])


def percent(fraction: float | None) -> str:
    """Writes a fraction, as `17 %` or `0.3 %`."""
    if fraction is None:
        return UNKNOWN
    value = fraction * 100
    if value == 0:
        return "0 %"
    if value < 0.05:
        return "<0.1 %"
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.1f} %"


def count(number: int, noun: str) -> str:
    """Writes a number of things, as `1 packet` or `1,204 packets`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"
