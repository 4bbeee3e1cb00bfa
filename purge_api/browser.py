"""Keeping browsers of other sites out (CSRF and DNS rebinding), from header fields alone. Pure.

A purge needs a bearer token in a header field and a body of type application/json, neither of which a form or an image
of another site can send, and no CORS header is ever answered, so a preflight fails. This file is the second wall: a
request that says it comes from another origin is refused, and so is one that reached a loopback address under a name
that is not one of loopback's, which is what a rebound DNS name looks like.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from purge_api.errors import Refused

__all__ = ["refuse_foreign"]

NAMES_MAX = 64
"""Addresses and names of which it is remembered what they are."""


def refuse_foreign(headers: Mapping[str, str], scheme: str, local_address: str | None) -> None:
    """Let a request pass, or raise `Refused`.

    Args:
        headers: The request's fields, compared without regard to case.
        scheme: `http` or `https`, as the request came in.
        local_address: The address that the connection was made to; None for a Unix socket.

    Raises:
        Refused: 403.
    """
    host = headers.get("Host", "")
    if local_address is not None and _is_loopback(local_address) and not _names_loopback(host):
        raise Refused(403, "foreign-host", f"Host {host!r} is not a name of the loopback address it was sent to")
    origin = headers.get("Origin")
    if origin is not None and origin.lower() != f"{scheme}://{host}".lower():
        raise Refused(403, "foreign-origin", "requests from pages of another origin are refused")
    if headers.get("Sec-Fetch-Site", "none").lower() in {"cross-site", "same-site"}:
        raise Refused(403, "foreign-origin", "requests from pages of another site are refused")


@lru_cache(NAMES_MAX)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


@lru_cache(NAMES_MAX)
def _names_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)
