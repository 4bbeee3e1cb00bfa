"""The node: settings, policy, command line and life of the process; the serving itself is Rust (`_headland`).

Imports of this package stay light, because every run of the command pays for them: names are in their own modules
(`edge.settings`, `edge.policy`, `edge.lifecycle`).
"""

from __future__ import annotations

__all__: list[str] = []
