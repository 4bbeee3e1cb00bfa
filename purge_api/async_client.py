"""The client of the purge API for programs with an event loop; the same words as `purge_api.client`.

async with AsyncPurgeClient("http://127.0.0.1:9090", token) as client:
await client.purge("tag", ["article-17"])
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from purge_api.client import ANSWER_BYTES_MAX, TIMEOUT_S
from purge_api.errors import Unreachable
from purge_api.orders import Call, Headers, PurgeResult, document_of, purge_call, result_of, survey_call
from purge_api.vocabulary import API_PREFIX

__all__ = ["AsyncPurgeClient"]


class AsyncPurgeClient:
    """Speaks to one node over kept connections; a context that closes them.

    Args:
        base: The admin address, such as `http://127.0.0.1:9090`.
        token: The secret of a token; None sends none.
        timeout_s: Seconds to connect and to wait for each read.
    """

    def __init__(self, base: str, token: str | None, *, timeout_s: float = TIMEOUT_S) -> None:
        self.base = base if "://" in base else f"http://{base}"
        self._timeout_s = timeout_s
        self._fields = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._fields)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def purge(
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
        """As `PurgeClient.purge`."""
        call = purge_call(
            kind, items, headers, soft=soft, partial=partial, wait_s=wait_s, idempotency_key=idempotency_key
        )
        return result_of(await self._call("POST", API_PREFIX, call))

    async def dry_run(
        self, kind: str, items: Sequence[str] = (), *, headers: Headers | None = None
    ) -> list[dict[str, Any]]:
        """As `PurgeClient.dry_run`."""
        found: list[dict[str, Any]] = (await self._call("POST", API_PREFIX, survey_call(kind, items, headers)))["items"]
        return found

    async def show(self, purge_id: str) -> PurgeResult:
        """As `PurgeClient.show`."""
        return result_of(await self._call("GET", f"{API_PREFIX}/{quote(purge_id, safe='')}"))

    async def recent(self, limit: int = 50) -> list[PurgeResult]:
        """As `PurgeClient.recent`."""
        document = await self._call("GET", f"{API_PREFIX}?limit={limit}")
        return [result_of(purge) for purge in document["purges"]]

    async def _call(self, method: str, path: str, call: Call | None = None) -> dict[str, Any]:
        if self._session is None:
            raise RuntimeError("use it as a context: async with AsyncPurgeClient(...) as client")
        body, headers, wait_s = (None, None, 0.0) if call is None else (call.body, call.headers, call.wait_s)
        timeout = aiohttp.ClientTimeout(sock_connect=self._timeout_s, sock_read=self._timeout_s + wait_s)
        url = self.base.rstrip("/") + path
        try:
            async with self._session.request(method, url, data=body, headers=headers, timeout=timeout) as response:
                data = await response.content.read(ANSWER_BYTES_MAX)
                while not response.content.at_eof() and len(data) < ANSWER_BYTES_MAX:
                    data += await response.content.read(ANSWER_BYTES_MAX)
                return document_of(response.status, data)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"no answer from {self.base}: {str(error) or type(error).__name__}") from error
