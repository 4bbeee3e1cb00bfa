"""A small synchronous client of the purge API, for `headland purge` and for scripts.

    from purge_api.client import PurgeClient

    client = PurgeClient("http://127.0.0.1:9090", token)
    client.purge("url", ["https://www.example.com/a"])

One connection per request; proxies of the environment are not used, because the admin address is one's own node.
"""

from __future__ import annotations

import http.client
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from purge_api.errors import Answered, ClientError, Unreachable
from purge_api.vocabulary import API_PREFIX, items_max

__all__ = ["Answered", "ClientError", "PurgeClient", "PurgeResult", "Unreachable"]

TIMEOUT_S = 30.0
"""Seconds to connect, and to wait for each read of the answer."""
ANSWER_BYTES_MAX = 8 * 1_048_576
"""Bytes of an answer that are read."""


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """A purge as the node reports it."""

    id: str
    state: str
    epoch: int
    items: tuple[str, ...]
    document: dict[str, Any]
    """The whole answer."""


class PurgeClient:
    """Speaks to one node.

    Args:
        base: The admin address, such as `http://127.0.0.1:9090`.
        token: The secret of a token; None sends none.
        timeout_s: Seconds to connect and to wait for each read.

    Raises:
        ValueError: `base` is not an http or https URL.
    """

    def __init__(self, base: str, token: str | None, *, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(base if "://" in base else f"http://{base}")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{base!r} is not an http or https URL")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._path = parts.path.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self.base = base

    def purge(
        self, kind: str, items: Sequence[str] = (), *, soft: bool = False, idempotency_key: str | None = None
    ) -> PurgeResult:
        """Purge, and come back when it is durable and in force.

        Args:
            kind: `url`, `prefix`, `host`, `tag` or `all`.
            items: What to purge; none for `all`. At most 500 URLs or 256 others, see `purge_many`.
            soft: Make stale instead of gone.
            idempotency_key: Makes trying again safe; a random one by default.

        Raises:
            Answered: The node refused; `problem` says why.
            Unreachable: No answer.
        """
        body: dict[str, Any] = {"type": kind, "mode": "soft" if soft else "hard"}
        if kind != "all":
            body["items"] = list(items)
        key = idempotency_key or secrets.token_hex(16)
        return _result(self._call("POST", API_PREFIX, body, {"Idempotency-Key": key}))

    def dry_run(self, kind: str, items: Sequence[str] = ()) -> list[dict[str, Any]]:
        """What a purge would reach on this node now: item, objects and bytes of each. Raises as `purge` does."""
        body: dict[str, Any] = {"type": kind, "dry_run": True}
        if kind != "all":
            body["items"] = list(items)
        found: list[dict[str, Any]] = self._call("POST", API_PREFIX, body)["items"]
        return found

    def purge_many(self, kind: str, items: Iterable[str], *, soft: bool = False) -> Iterator[PurgeResult]:
        """Purge any number of items, in as many requests as it takes; yields one result per request.

        Raises as `purge` does; the requests before are then in force.
        """
        limit = items_max(kind)
        group: list[str] = []
        for item in items:
            group.append(item)
            if len(group) == limit:
                yield self.purge(kind, group, soft=soft)
                group = []
        if group:
            yield self.purge(kind, group, soft=soft)

    def show(self, purge_id: str) -> PurgeResult:
        """One purge by its id. Raises as `purge` does."""
        return _result(self._call("GET", f"{API_PREFIX}/{quote(purge_id, safe='')}"))

    def recent(self, limit: int = 50) -> list[PurgeResult]:
        """The newest purges; needs the scope read. Raises as `purge` does."""
        return [_result(purge) for purge in self._call("GET", f"{API_PREFIX}?limit={limit}")["purges"]]

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        fields = dict(headers or {})
        if self._token is not None:
            fields["Authorization"] = f"Bearer {self._token}"
        payload = None
        if body is not None:
            payload = orjson.dumps(body)
            fields["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            connection.request(method, self._path + path, payload, fields)
            response = connection.getresponse()
            data = response.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
            raise Unreachable(f"no answer from {self.base}: {reason}") from error
        finally:
            connection.close()
        document = _document(data)
        if response.status >= 300:
            raise Answered(response.status, document)
        return document

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _result(document: dict[str, Any]) -> PurgeResult:
    try:
        return PurgeResult(
            id=document["id"],
            state=document["state"],
            epoch=document["epoch"],
            items=tuple(document["items"]),
            document=document,
        )
    except (KeyError, TypeError):
        raise Answered(502, {"detail": "the answer is not one of a purge API; is this the admin address?"}) from None
