"""A small synchronous client of the purge API, for `headland purge` and for scripts.

    from purge_api import Client

    client = Client("http://127.0.0.1:9090", token)
    client.purge("url", ["https://www.example.com/a"])

One connection per request; proxies of the environment are not used, because the admin address is one's own node.
"""

from __future__ import annotations

import http.client
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from purge_api.errors import Answered, ClientError, Unreachable
from purge_api.orders import Call, Headers, PurgeResult, document_of, purge_call, result_of, survey_call
from purge_api.vocabulary import API_PREFIX, items_max

__all__ = ["Answered", "ClientError", "PurgeClient", "PurgeResult", "Unreachable"]

TIMEOUT_S = 30.0
"""Seconds to connect, and to wait for each read of the answer."""
ANSWER_BYTES_MAX = 8 * 1_048_576
"""Bytes of an answer that are read."""


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
        self,
        kind: str,
        items: Sequence[str] = (),
        *,
        headers: Headers | None = None,
        soft: bool = False,
        partial: bool = False,
        wait_s: float = 0.0,
        idempotency_key: str | None = None,
    ) -> PurgeResult:
        """Purge, and come back when it is durable and in force.

        Args:
            kind: `url`, `path`, `prefix`, `wildcard`, `regex`, `host`, `site`, `tag` or `all`.
            items: What to purge; none for `all`. One request takes a bounded number, see `purge_many`.
            headers: For URLs: purge only the variant that a request with these fields would get; None for one that it
                does not have.
            soft: Make stale instead of gone.
            partial: Leave bad items out instead of refusing all; `refused` of the result lists them.
            wait_s: Seconds to wait until every live node of the fleet has applied it; `missing` names those that
                had not.
            idempotency_key: Makes trying again safe; a random one by default.

        Raises:
            Answered: The node refused; `problem` says why.
            Unreachable: No answer.
        """
        call = purge_call(
            kind, items, headers, soft=soft, partial=partial, wait_s=wait_s, idempotency_key=idempotency_key
        )
        return result_of(self._call("POST", API_PREFIX, call))

    def purge_many(
        self,
        kind: str,
        items: Iterable[str],
        *,
        headers: Headers | None = None,
        soft: bool = False,
        partial: bool = False,
        wait_s: float = 0.0,
    ) -> Iterator[PurgeResult]:
        """Purge any number of items, in as many requests as it takes; yields one result per request.

        A request that gets no answer is tried once more, under its idempotency key. Raises as `purge` does; the
        requests before are then in force.
        """
        for group in _grouped(items, items_max(kind)):
            how = {"headers": headers, "soft": soft, "partial": partial, "wait_s": wait_s}
            yield self._purge_twice(kind, group, how)

    def _purge_twice(self, kind: str, group: list[str], how: dict[str, Any]) -> PurgeResult:
        """Once more when there was no answer; the key makes it one purge."""
        key = secrets.token_hex(16)
        try:
            return self.purge(kind, group, **how, idempotency_key=key)
        except Unreachable:
            return self.purge(kind, group, **how, idempotency_key=key)

    def dry_run(self, kind: str, items: Sequence[str] = (), *, headers: Headers | None = None) -> list[dict[str, Any]]:
        """What a purge would reach on this node now: item, objects and bytes of each. Raises as `purge` does."""
        found: list[dict[str, Any]] = self._call("POST", API_PREFIX, survey_call(kind, items, headers))["items"]
        return found

    def show(self, purge_id: str) -> PurgeResult:
        """One purge by its id. Raises as `purge` does."""
        return result_of(self._call("GET", f"{API_PREFIX}/{quote(purge_id, safe='')}"))

    def recent(self, limit: int = 50) -> list[PurgeResult]:
        """The newest purges; needs the scope read. Raises as `purge` does."""
        return [result_of(purge) for purge in self._call("GET", f"{API_PREFIX}?limit={limit}")["purges"]]

    def _call(self, method: str, path: str, call: Call | None = None) -> dict[str, Any]:
        fields = {} if call is None else dict(call.headers)
        if self._token is not None:
            fields["Authorization"] = f"Bearer {self._token}"
        connection = self._connection(0.0 if call is None else call.wait_s)
        try:
            connection.request(method, self._path + path, None if call is None else call.body, fields)
            response = connection.getresponse()
            data = response.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
            raise Unreachable(f"no answer from {self.base}: {reason}") from error
        finally:
            connection.close()
        return document_of(response.status, data)

    def _connection(self, wait_s: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout_s + wait_s)


def _grouped(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """The items in groups of at most `size`, as they come."""
    group: list[str] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
