"""The path of Cloudflare's purge API, so that its clients work with another base URL.

    POST /client/v4/zones/{zone}/purge_cache    one of files, tags, hosts, prefixes, purge_everything

A file may be an object with a URL and header fields that select one variant; all variants of it are purged. What is
purged is gone: that API knows no softer mode. Answers have its envelope.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from purge_api.desk import Asked, PurgeDesk, read_body
from purge_api.errors import JournalError, Refused
from purge_api.models import PurgeRequest, document_of
from purge_api.problem import json_answer
from purge_api.vendors import VendorDesk

__all__ = ["add_routes"]

KIND_OF = {"files": "url", "tags": "tag", "hosts": "host", "prefixes": "prefix"}
EVERYTHING = "purge_everything"
CODES = {400: 1012, 401: 10_000, 403: 10_000, 404: 7_003, 413: 1_094, 429: 10_100}
"""Numbers of errors by status; people read the message, clients only look whether it succeeded."""


def add_routes(app: web.Application, desk: PurgeDesk) -> None:
    """Put the path on the admin application."""
    vendor = VendorDesk(desk)

    async def handle(request: web.Request) -> web.Response:
        asked = Asked.now(request.remote or "")
        try:
            identity = vendor.admit(request, asked)
            order = _order(vendor, request.match_info["zone"], document_of(await read_body(request)))
            (record,), fields = await vendor.apply([order], asked, identity)
        except Refused as refused:
            vendor.desk.refuse(refused, asked)
            code = CODES.get(refused.status, 1_000)
            return json_answer(refused.status, _envelope(code, refused.detail), refused.headers)
        except JournalError as error:
            vendor.desk.refuse(error, asked)
            return json_answer(503, _envelope(1_000, str(error)), {"Retry-After": "1"})
        done = {"success": True, "errors": [], "messages": [], "result": {"id": record.id}}
        return json_answer(200, done, fields)

    app.router.add_post("/client/v4/zones/{zone}/purge_cache", handle)


def _order(vendor: VendorDesk, zone: str, document: dict[str, Any]) -> PurgeRequest:
    given = [name for name in (*KIND_OF, EVERYTHING) if document.get(name)]
    if len(given) != 1:
        raise Refused(400, "bad-request", f"expected exactly one of {', '.join((*KIND_OF, EVERYTHING))}")
    if given == [EVERYTHING]:
        return vendor.everything_of(zone, soft=False)
    vendor.known(zone)
    items = document[given[0]]
    if given == ["files"] and isinstance(items, list):
        items = [item.get("url") if isinstance(item, dict) else item for item in items]
    return vendor.order(KIND_OF[given[0]], items, soft=False)


def _envelope(code: int, message: str) -> dict[str, Any]:
    return {"success": False, "errors": [{"code": code, "message": message}], "messages": [], "result": None}
