"""Who may ask the admin address what. Pure, but for `local_address`.

On loopback whoever is on the machine may look; only a DNS name rebound to loopback may not, which shows as a Host that
is none of loopback's names. On any other address looking takes a token with the scope `read`, except at `/healthz` and
at the page of the dashboard, which hold nothing. What changes anything guards itself (the purge API).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from edge.context import Token

__all__ = ["is_rebound", "local_address", "may_do", "may_look"]

READ_SCOPE = "read"
NAMES_MAX = 64
"""Addresses and names of which it is remembered what they are."""


def local_address(request: web.Request) -> str | None:
    """The address that a request was sent to; None where there is none."""
    name: Any = None if request.transport is None else request.transport.get_extra_info("sockname")
    return name[0] if isinstance(name, tuple) else None


def is_rebound(address: str | None, host: str) -> bool:
    """Whether a request to this address names a host that is not the address's."""
    return address is not None and _is_loopback(address) and not _names_loopback(host)


def may_look(address: str | None, headers: Mapping[str, str], tokens: Iterable[Token]) -> bool:
    """Whether a request may see what only readers may."""
    if address is None or _is_loopback(address):
        return True
    return may_do(headers, tokens, frozenset({READ_SCOPE}))


def may_do(headers: Mapping[str, str], tokens: Iterable[Token], scopes: frozenset[str]) -> bool:
    """Whether a request has a token with one of some scopes."""
    scheme, _, credentials = headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer":
        return False
    presented, fits = _digest(credentials.strip()), False
    for token in tokens:
        # All are compared, whichever fits, so that the time taken tells nothing.
        same = hmac.compare_digest(presented, _digest(token.secret))
        fits |= same and not scopes.isdisjoint(token.scopes)
    return fits


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


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
