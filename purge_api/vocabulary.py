"""The words and bounds of the purge API, which server and client share. No imports, so that a client loads quickly."""

from __future__ import annotations

__all__ = [
    "API_PREFIX",
    "HOST_BYTES_MAX",
    "ITEMS_MAX",
    "KINDS",
    "MODES",
    "PATTERN_BYTES_MAX",
    "SCOPE_OF",
    "TAG_BYTES_MAX",
    "URLS_MAX",
    "URL_BYTES_MAX",
    "items_max",
]

API_PREFIX = "/v1/purges"
"""Where the API stands on the admin address."""
KINDS = ("url", "path", "prefix", "wildcard", "regex", "host", "site", "tag", "all")
MODES = ("hard", "soft")
SCOPE_OF = {
    "url": "url",
    "path": "url",
    "prefix": "prefix",
    "wildcard": "pattern",
    "regex": "pattern",
    "host": "host",
    "site": "host",
    "tag": "tag",
    "all": "all",
}
"""The scope of a token, `purge:SCOPE`, that each kind needs."""
URLS_MAX = 500
"""Items of kind `url` or `path` in one request."""
PATTERNS_MAX = 16
"""Items of kind `wildcard` or `regex` in one request: each is tried against what is looked up, so they are few."""
ITEMS_MAX = 256
"""Items of any other kind in one request."""
URL_BYTES_MAX = 8_192
"""Bytes of one URL, path or prefix."""
PATTERN_BYTES_MAX = 512
"""Bytes of one wildcard or regular expression, host included."""
TAG_BYTES_MAX = 1_024
"""Bytes of one tag."""
HOST_BYTES_MAX = 261
"""Bytes of one host: a name of 253, a colon and a port, and the brackets of an IPv6 address."""


def items_max(kind: str) -> int:
    """Items of a kind that one request may have."""
    if kind in {"url", "path"}:
        return URLS_MAX
    return PATTERNS_MAX if kind in {"wildcard", "regex"} else ITEMS_MAX
