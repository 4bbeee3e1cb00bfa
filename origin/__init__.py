"""Getting bytes from upstream: the settings of origins; connections, pool and retries are Rust."""

from __future__ import annotations

__all__: list[str] = []
