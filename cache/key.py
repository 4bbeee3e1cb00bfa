"""The bytes and the hash of a cache key, computed as the core does (`cache/src/key.rs`), without loading it.

For tools that read logs or stores: the `key` column of the access log is `key_hash` in hexadecimal. Host and target
must be canonical, as `_headland.canonical_url` makes them; `parts` are the header values that a site adds to its keys.

Every part carries its length, so no value can imitate the border between two parts. Layout, lengths as little-endian
u32: `scheme(1) host_len target_len host target`, then per further part `name_len name present(1)` and, when present,
`value_len value`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import xxhash

__all__ = ["SCHEMES", "Part", "key_bytes", "key_hash"]

Part = tuple[bytes, bytes | None]
"""Name and value of a further part; an absent value (None) differs from an empty one."""

SCHEMES = {"http": b"\x01", "https": b"\x02"}
"""The first byte of a key, by scheme."""


def key_bytes(scheme: str, host: str, target: str, parts: Sequence[Part] = ()) -> bytes:
    """Gives the whole key.

    Args:
        scheme: `http` or `https`.
        host: Canonical host, with its port where that is not the default of the scheme.
        target: Canonical path and query.
        parts: Further parts, in the order of the site's rules.

    Raises:
        KeyError: The scheme is neither `http` nor `https`.
        UnicodeEncodeError: Host or target is not ASCII, so it is not canonical.
    """
    host_bytes, target_bytes = host.encode("ascii"), target.encode("ascii")
    key = bytearray(SCHEMES[scheme])
    key += _length(host_bytes) + _length(target_bytes) + host_bytes + target_bytes
    for name, value in parts:
        key += _length(name) + name
        key += b"\x00" if value is None else b"\x01" + _length(value) + value
    return bytes(key)


def key_hash(scheme: str, host: str, target: str, parts: Sequence[Part] = ()) -> int:
    """Gives XXH3-128 over `key_bytes`, by which the core finds entries (and then compares the whole key)."""
    return xxhash.xxh3_128_intdigest(key_bytes(scheme, host, target, parts))


def _length(part: bytes) -> bytes:
    return struct.pack("<I", len(part))
