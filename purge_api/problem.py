"""Errors as problem documents (RFC 9457), for every path under the API's own.

`middleware` turns what handlers raise into answers: `Refused` says itself what to say, aiohttp's own errors (404, 405,
413) get the same shape, a `JournalError` is the node's fault and a 503, and anything else is a 500 that is logged and
tells the client nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import hdrs, web

from purge_api.errors import JournalError, Refused
from purge_api.vocabulary import API_PREFIX

__all__ = ["json_answer", "middleware", "problem"]

PROBLEM_TYPE = "urn:headland:purge:"
RETRY_AFTER_S = 1
"""What a client is asked to wait when the journal could not take its purge."""
log = logging.getLogger(__name__)


def json_answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer of JSON that no cache keeps."""
    fields = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(headers or {})}
    return web.Response(status=status, body=orjson.dumps(body), headers=fields, content_type="application/json")


def problem(
    status: int,
    word: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> web.Response:
    """A problem document."""
    document = {
        "type": PROBLEM_TYPE + word,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **(extra or {}),
    }
    answer = json_answer(status, document, headers)
    answer.content_type = "application/problem+json"
    return answer


@web.middleware
async def middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Give every error under the API's path the shape of a problem document."""
    if request.path != API_PREFIX and not request.path.startswith(API_PREFIX + "/"):
        return await handler(request)
    try:
        return await handler(request)
    except Refused as refused:
        return problem(refused.status, refused.word, refused.detail, headers=refused.headers, extra=refused.extra)
    except JournalError as error:
        return problem(503, "journal", str(error), headers={hdrs.RETRY_AFTER: str(RETRY_AFTER_S)})
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"{request.method} is not known here; allowed: {allowed}"
        return problem(405, "method", detail, headers={hdrs.ALLOW: allowed})
    except web.HTTPException as error:
        return problem(error.status, "http", error.reason or HTTPStatus(error.status).description)
    except Exception:
        log.exception("purge API: %s %s failed", request.method, request.path)
        return problem(500, "internal", "the node failed; its log says why")
