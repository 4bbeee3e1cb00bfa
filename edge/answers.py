"""The admin address's answers that are not success, as problem documents (RFC 9457).

The admin side has no cookies and no CORS, so the browser itself keeps what it tells from pages of other sites.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import hdrs, web

from edge import admission

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
    if admission.is_rebound(admission.local_address(request), request.headers.get(hdrs.HOST, "")):
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
