"""Durations and sizes as people write them: "1500ms", "10s", "1d"; "512KiB", "100MB".

They are parsed once, where the configuration is read; behind that border a duration is a whole number of milliseconds
and a size a whole number of bytes, and the unit stands in the name (`ttl_ms`, `memory_bytes`). Numbers without a unit
are refused, because half of all readers would guess another unit than the author.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["DURATION_UNITS_MS", "SIZE_UNITS_BYTES", "duration_ms", "duration_text", "size_bytes", "size_text"]

DURATION_UNITS_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SIZE_UNITS_BYTES: Final = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
# Fifteen digits with the largest unit still fit the 64 bits of the snapshot.
_AMOUNT: Final = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,3}))? ?([A-Za-z]{1,3})", re.ASCII)
_U63_MAX: Final = 2**63 - 1


def duration_ms(text: str) -> int:
    """Milliseconds of a duration such as "10s" or "1.5h"; raises `ValueError` for anything else."""
    return _amount(text, DURATION_UNITS_MS, 'a duration such as "10s" or "1d"')


def size_bytes(text: str) -> int:
    """Bytes of a size such as "512KiB" or "100MB"; raises `ValueError` for anything else."""
    return _amount(text, SIZE_UNITS_BYTES, 'a size such as "512KiB" or "100MB"')


def duration_text(ms: int) -> str:
    """The shortest exact way to write so many milliseconds."""
    return _text(ms, {unit: factor for unit, factor in DURATION_UNITS_MS.items() if factor > 1}, "ms", zero="0s")


def size_text(count: int) -> str:
    """The shortest exact way to write so many bytes, in powers of 1024 where they divide it."""
    binary = {unit: SIZE_UNITS_BYTES[unit] for unit in ("KiB", "MiB", "GiB", "TiB")}
    decimal = {unit: SIZE_UNITS_BYTES[unit] for unit in ("kB", "MB", "GB", "TB")}
    return _text(count, binary if count % 1024 == 0 else decimal, "B", zero="0B")


def _amount(text: str, units: dict[str, int], expected: str) -> int:
    match = _AMOUNT.fullmatch(text)
    if match is None or match[3] not in units:
        raise ValueError(f"expected {expected}")
    whole, fraction, factor = match[1], match[2] or "", units[match[3]]
    scaled = int(whole + fraction) * factor
    amount, rest = divmod(scaled, (1, 10, 100, 1000)[len(fraction)])
    if rest:
        raise ValueError(f"expected {expected}, without a fraction of {'a millisecond' if 'ms' in units else 'a byte'}")
    if amount > _U63_MAX:
        raise ValueError(f"expected {expected}, less than 2^63 of its smallest unit")
    return amount


def _text(amount: int, units: dict[str, int], smallest: str, zero: str) -> str:
    if amount == 0:
        return zero
    for unit, factor in sorted(units.items(), key=lambda item: -item[1]):
        if amount % factor == 0:
            return f"{amount // factor}{unit}"
    return f"{amount}{smallest}"
