"""Who asks, and what they may: bearer tokens with scopes. Pure.

The presented secret is hashed and compared with the hash of every token, with `hmac.compare_digest` and without leaving
early, so that the time taken tells neither how much of a secret was right nor which token it was nor how long it is. A
token in the query, in the body or in a cookie is never looked at.

Scopes: `purge` (every kind), `purge:url` (also by path), `purge:prefix`, `purge:pattern` (wildcard, regex),
`purge:host` (also by site), `purge:tag`, `purge:all`, `read`. A token may be bound to sites; then it purges what is
named by a host of them, and nothing by tag, because a tag may be on anything.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from purge_api.context import TokenFace
from purge_api.errors import Refused
from purge_api.items import host_of
from purge_api.sites import Sites
from purge_api.vocabulary import SCOPE_OF

__all__ = ["Identity", "Tokens", "presented"]

PLAIN_FIELDS = ("Fastly-Key", "AccessKey", "X-Auth-Key")
"""Header fields that carry the bare secret, as the clients of Fastly, Bunny and Cloudflare send it."""
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="headland purge"'}


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whose token is known."""

    name: str
    scopes: frozenset[str]
    sites: frozenset[str] = frozenset()
    """The names of the sites that it is bound to; all when empty."""

    def may_purge(self, kind: str) -> bool:
        """Whether it may purge by this kind."""
        return "purge" in self.scopes or f"purge:{SCOPE_OF[kind]}" in self.scopes

    def may_read(self) -> bool:
        """Whether it may see the purges of others."""
        return "read" in self.scopes

    def require_purge(self, kind: str) -> None:
        """Raises `Refused` with 403 when it may not purge by this kind."""
        if not self.may_purge(kind):
            scope = SCOPE_OF[kind]
            raise Refused(403, "scope", f"token {self.name!r} has neither the scope purge nor purge:{scope}")

    def require_sites(self, kind: str, values: Iterable[str], sites: Sites) -> None:
        """Raises `Refused` with 403 when a canonical value is not of a site that it is bound to."""
        if not self.sites:
            return
        for index, value in enumerate(values):
            host = host_of(kind, value)
            site = None if host is None else sites.named(host) if kind == "site" else sites.of_host(host)
            if site not in self.sites:
                bound = ", ".join(sorted(self.sites))
                detail = f"token {self.name!r} is bound to {bound}; item {index} is not of it alone"
                raise Refused(403, "site", detail, extra={"index": index})

    def require_read(self) -> None:
        """Raises `Refused` with 403 when it may not see the purges of others."""
        if not self.may_read():
            raise Refused(403, "scope", f"token {self.name!r} does not have the scope read")


class Tokens:
    """The tokens in force; made anew when the configuration changes."""

    def __init__(self, tokens: Iterable[TokenFace]) -> None:
        self._known = [(_digest(token.secret), Identity(token.name, token.scopes, token.sites)) for token in tokens]

    def __len__(self) -> int:
        return len(self._known)

    def authenticate(self, headers: Mapping[str, str]) -> Identity:
        """The caller behind a request's header fields.

        Raises:
            Refused: 403 when no token is configured; 401 when none is presented, or a wrong one.
        """
        if not self._known:
            raise Refused(
                403,
                "no-tokens",
                "purging over the API is off, because no token is configured; add one to tokens in [admin]",
            )
        secret = presented(headers)
        identity = self._match(secret)
        if identity is None:
            raise Refused(401, "unknown-token", "the token is not known", headers=CHALLENGE)
        return identity

    def _match(self, secret: str) -> Identity | None:
        digest = _digest(secret)
        found: Identity | None = None
        for known, identity in self._known:
            if hmac.compare_digest(known, digest):
                found = identity  # no early exit: the time must not tell which one it was
        return found


def presented(headers: Mapping[str, str]) -> str:
    """The secret that a request presents.

    Raises:
        Refused: 401 when there is none or the scheme is not Bearer; 400 when different ones are presented.
    """
    secrets = {value for name in PLAIN_FIELDS if (value := headers.get(name))}
    authorization = headers.get("Authorization")
    if authorization is not None:
        # RFC 9110 section 11.1: the scheme is compared without regard to case.
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() != "bearer" or not credentials.strip():
            raise Refused(401, "bad-authorization", "expected Authorization: Bearer <token>", headers=CHALLENGE)
        secrets.add(credentials.strip())
    if not secrets:
        raise Refused(401, "no-token", "expected Authorization: Bearer <token>", headers=CHALLENGE)
    if len(secrets) > 1:
        raise Refused(400, "several-tokens", "the request presents different tokens; send one")
    return secrets.pop()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
