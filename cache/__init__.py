"""What may be stored, for how long and under which key: the settings of the cache; the deciding itself is Rust."""

from __future__ import annotations

__all__: list[str] = []
