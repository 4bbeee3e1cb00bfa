"""The scopes of tokens and of nodes of a fleet; what they allow is the business of the purge API."""

from __future__ import annotations

from typing import Literal

__all__ = ["PurgeScope", "Scope"]

PurgeScope = Literal["purge", "purge:url", "purge:prefix", "purge:pattern", "purge:host", "purge:tag", "purge:all"]
"""What may be purged: everything, or by some kinds."""
Scope = Literal["purge", "purge:url", "purge:prefix", "purge:pattern", "purge:host", "purge:tag", "purge:all", "read"]
"""And whether metrics, explain and the purges of others may be read."""
