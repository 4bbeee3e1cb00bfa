"""The paths of Fastly's purge API, so that its clients work with another base URL.

    POST /service/{service}/purge/{key}    one surrogate key
    POST /service/{service}/purge          many: {"surrogate_keys": [...]}, or the field Surrogate-Key
    POST /service/{service}/purge_all      all of the service; cannot be soft, as there
    POST /purge/{url}                      one URL

`Fastly-Soft-Purge`, whatever its value, makes stale instead of gone. Keys are tags, which belong to no service.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from purge_api.desk import Asked, PurgeDesk, read_body
from purge_api.errors import JournalError, Refused
from purge_api.models import PurgeRequest, document_of
from purge_api.problem import json_answer
from purge_api.vendors import VendorDesk

__all__ = ["add_routes"]

Step = Callable[[VendorDesk, web.Request], Awaitable[list[PurgeRequest]]]
Shape = Callable[[list[PurgeRequest], list[str]], Any]


def add_routes(app: web.Application, desk: PurgeDesk) -> None:
    """Put the paths on the admin application."""
    vendor = VendorDesk(desk)
    service = "/service/{service}"
    app.router.add_post(f"{service}/purge/{{key:.+}}", _handler(vendor, _one_key, _one))
    app.router.add_post(f"{service}/purge", _handler(vendor, _keys, _by_key))
    app.router.add_post(f"{service}/purge_all", _handler(vendor, _all, lambda *_: {"status": "ok"}))
    app.router.add_post("/purge/{url:.+}", _handler(vendor, _url, _one))


def _handler(vendor: VendorDesk, step: Step, shape: Shape) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        asked = Asked.now(request.remote or "")
        try:
            identity = vendor.admit(request, asked)
            orders = await step(vendor, request)
            records, fields = await vendor.apply(orders, asked, identity)
        except Refused as refused:
            vendor.desk.refuse(refused, asked)
            document = {"msg": refused.word, "detail": refused.detail}
            return json_answer(refused.status, document, refused.headers)
        except JournalError as error:
            vendor.desk.refuse(error, asked)
            return json_answer(503, {"msg": "journal", "detail": str(error)}, {"Retry-After": "1"})
        return json_answer(200, shape(orders, [record.id for record in records]), _rate(fields))

    return handle


def _rate(fields: dict[str, str]) -> dict[str, str]:
    """The spelling that Fastly's clients know, beside the common one."""
    return {
        **fields,
        "Fastly-Ratelimit-Remaining": fields.get("X-RateLimit-Remaining", "0"),
        "Fastly-Ratelimit-Reset": fields.get("X-RateLimit-Reset", "0"),
    }


async def _one_key(vendor: VendorDesk, request: web.Request) -> list[PurgeRequest]:
    vendor.known(request.match_info["service"])
    return [vendor.order("tag", [request.match_info["key"]], soft=_soft(request))]


async def _keys(vendor: VendorDesk, request: web.Request) -> list[PurgeRequest]:
    vendor.known(request.match_info["service"])
    keys: Any = [key for line in request.headers.getall("Surrogate-Key", []) for key in line.split()]
    body = await read_body(request)
    if body:
        keys = document_of(body).get("surrogate_keys", keys)
    return [vendor.order("tag", keys, soft=_soft(request))]


async def _all(vendor: VendorDesk, request: web.Request) -> list[PurgeRequest]:
    if _soft(request):
        raise Refused(400, "soft-purge-all", "a purge of everything cannot be soft here; POST /v1/purges can")
    return [vendor.everything_of(request.match_info["service"], soft=False)]


async def _url(vendor: VendorDesk, request: web.Request) -> list[PurgeRequest]:
    # As it was sent: the path that aiohttp has decoded is not the URL's.
    url = request.raw_path.partition("/purge/")[2]
    if "://" not in url:
        url = f"https://{url}"
    return [vendor.order("url", [url], soft=_soft(request))]


def _soft(request: web.Request) -> bool:
    return "Fastly-Soft-Purge" in request.headers


def _one(_orders: list[PurgeRequest], ids: list[str]) -> dict[str, str]:
    return {"status": "ok", "id": ids[0]}


def _by_key(orders: list[PurgeRequest], ids: list[str]) -> dict[str, str]:
    return dict.fromkeys(orders[0].items, ids[0])
