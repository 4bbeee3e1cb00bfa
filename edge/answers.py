"""The admin address's answers that are not success, as problem documents (RFC 9457), and who may ask at all.

The admin side has no cookies and no CORS. What it tells without a token (metrics, explain, dashboard) is kept from
pages of other sites by the browser itself; what remains is a DNS name rebound to loopback, so a request that reached a
loopback address under another name is refused.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiohttp import hdrs, web

__all__ = ["json_answer", "middleware", "problem"]

log = logging.getLogger(__name__)


def json_answer(status: int, body: bytes, content_type: str = "application/json") -> web.Response:
    """An answer of JSON that no cache keeps."""
    fields = {hdrs.CACHE_CONTROL: "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, body=body, headers=fields, content_type=content_type)


def problem(status: int, detail: str, **headers: str) -> web.Response:
    """A problem document; its title is the status's own phrase, so its type is `about:blank`."""
    document: dict[str, Any] = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    answer = json_answer(status, orjson.dumps(document), "application/problem+json")
    answer.headers.update(headers)
    return answer


@web.middleware
async def middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse rebound names, and give every error the shape of a problem document."""
    if _is_rebound(request):
        return problem(403, f"Host {request.host!r} is not a name of the loopback address it was sent to")
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return problem(405, f"{request.method} is not known here; allowed: {allowed}", Allow=allowed)
    except web.HTTPNotFound:
        return problem(404, "there is nothing at this path of the admin address")
    except web.HTTPException as error:
        return problem(error.status, error.reason or HTTPStatus(error.status).description)
    except Exception:
        log.exception("admin: %s %s failed", request.method, request.path)
        return problem(500, "the node failed; its log says why")


def _is_rebound(request: web.Request) -> bool:
    name: Any = None if request.transport is None else request.transport.get_extra_info("sockname")
    return isinstance(name, tuple) and _is_loopback(name[0]) and not _names_loopback(request.headers.get(hdrs.HOST, ""))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _names_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)
