"""The admin application: what an operator, Prometheus and a load balancer ask of one node.

    GET /              dashboard: one page, nothing from elsewhere
    GET /healthz       200 while serving, 503 while draining
    GET /metrics       Prometheus text
    GET /v1/stats      the dashboard's numbers, with the last three minutes
    GET /v1/origins    every origin server: in service or not, load, latency, its last check
    POST /v1/cache     what is on disk: a question of `headland cache` as JSON; one that evicts needs the scope `purge`
    GET /v1/explain    ?url=...&header=Name:value&method=GET  what the node would do with a request now, and why

All but the first two need a token with the scope `read`, unless they are asked on loopback (`edge.admission`).

Everything else comes from extensions: the entry points of the group `headland.admin`, called with the application and
the context before the node serves. The purge API is one of them. The application belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any

import orjson
from aiohttp import web

from edge import admission, answers, dashboard, metrics
from edge.context import AdminContext
from edge.readings import History, Reading
from edge.stats import stats

__all__ = ["EXTENSIONS_GROUP", "Admin", "Extension", "load_extensions", "make_app", "node_version"]

EXTENSIONS_GROUP = "headland.admin"
EXPLAIN_URL_BYTES_MAX = 8_192
"""Bytes of a URL to explain."""
EXPLAIN_HEADERS_MAX = 64
"""Header fields of a request to explain."""
EVICTING_SCOPES = frozenset({"purge", "purge:all"})
"""What a token needs one of, to drop what is on disk."""
TICK_S = 1.0
"""Seconds between readings of the counters."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Extension = Callable[[web.Application, AdminContext], None]


def load_extensions() -> list[Extension]:
    """What is installed in the group `headland.admin`, by name."""
    points: list[EntryPoint] = sorted(entry_points(group=EXTENSIONS_GROUP), key=lambda point: point.name)
    return [point.load() for point in points]


def make_app(context: AdminContext, extensions: Iterable[Extension] | None = None) -> web.Application:
    """The application of one node, with its extensions mounted.

    Args:
        context: The node and its state.
        extensions: What to mount; the installed ones by default.

    Raises:
        Exception: Whatever an extension raises, such as the purge journal being damaged; the node must not serve then.
    """
    app = web.Application(middlewares=[answers.middleware])
    admin = Admin(context)
    metrics.register(context.registry, context.node, context.reload_state, node_version())
    app.router.add_get("/", admin.page)
    app.router.add_get("/healthz", admin.healthz)
    app.router.add_get("/metrics", admin.reading(admin.metrics))
    app.router.add_get("/v1/stats", admin.reading(admin.stats))
    app.router.add_get("/v1/origins", admin.reading(admin.origins))
    app.router.add_post("/v1/cache", admin.reading(admin.cache))
    app.router.add_get("/v1/explain", admin.reading(admin.explain))
    app.cleanup_ctx.append(admin.ticking)
    for mount in load_extensions() if extensions is None else extensions:
        mount(app, context)
    return app


def node_version() -> str:
    """The installed version; `0+unknown` when run from a tree that is not installed."""
    try:
        return version("headland")
    except PackageNotFoundError:
        return "0+unknown"


class Admin:
    """The handlers."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self.history = History()

    def tick(self) -> None:
        """Take one reading of the counters."""
        self.history.add(Reading.of(time.monotonic(), self._context.node.metrics()))

    async def ticking(self, _app: web.Application) -> AsyncIterator[None]:
        """Take readings as long as the application runs."""
        task = asyncio.create_task(self._tick_forever())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _tick_forever(self) -> None:
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)

    def reading(self, handler: Handler) -> Handler:
        """The handler, for those who may look."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            address = admission.local_address(request)
            if not admission.may_look(address, request.headers, self._context.tokens):
                detail = "expected Authorization: Bearer with a token that has the scope read"
                return answers.problem(401, detail, **{"WWW-Authenticate": 'Bearer realm="headland admin"'})
            return await handler(request)

        return guarded

    async def page(self, _request: web.Request) -> web.Response:
        """`GET /`."""
        return web.Response(text=dashboard.PAGE, content_type="text/html", headers=dashboard.HEADERS)

    async def healthz(self, _request: web.Request) -> web.Response:
        """`GET /healthz`."""
        draining = self._context.draining
        body = {"status": "draining" if draining else "ok", "node": self._context.node_name, "version": node_version()}
        return answers.json_answer(503 if draining else 200, orjson.dumps(body))

    async def metrics(self, _request: web.Request) -> web.Response:
        """`GET /metrics`."""
        body = metrics.exposition(self._context.registry)
        return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE, "Cache-Control": "no-store"})

    async def stats(self, _request: web.Request) -> web.Response:
        """`GET /v1/stats`."""
        return answers.json_answer(200, orjson.dumps(stats(self._context, self.history, node_version())))

    async def origins(self, _request: web.Request) -> web.Response:
        """`GET /v1/origins`."""
        return answers.json_answer(200, orjson.dumps({"origins": _origins(self._context)}))

    async def cache(self, request: web.Request) -> web.Response:
        """`POST /v1/cache`."""
        question = await request.read()
        try:
            document = orjson.loads(question)
            evicts = document["what"] == "evict"
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return answers.problem(400, "expected a JSON object with what: stat, verify, list or evict")
        if evicts and not admission.may_do(request.headers, self._context.tokens, EVICTING_SCOPES):
            return answers.problem(403, "evicting needs a token that has the scope purge or purge:all")
        try:
            found = await asyncio.to_thread(self._context.node.inspect, question)
        except ValueError as error:
            return answers.problem(400, str(error))
        return answers.json_answer(200, found)

    async def explain(self, request: web.Request) -> web.Response:
        """`GET /v1/explain`."""
        url = request.query.get("url", "")
        if not url or len(url) > EXPLAIN_URL_BYTES_MAX:
            return answers.problem(400, f"expected ?url= with an absolute URL of at most {EXPLAIN_URL_BYTES_MAX} bytes")
        lines = request.query.getall("header", [])
        if len(lines) > EXPLAIN_HEADERS_MAX:
            return answers.problem(400, f"at most {EXPLAIN_HEADERS_MAX} header parameters")
        try:
            headers = [_header(line) for line in lines]
            found = self._context.node.explain(url, headers, request.query.get("method", "GET"))
        except ValueError as error:
            return answers.problem(400, str(error))
        return answers.json_answer(200, found)


def _origins(context: AdminContext) -> list[dict[str, Any]]:
    """Every server as the core sees it, with the last word of its check."""
    checks = {(check.pop("origin"), check.pop("server")): check for check in context.checks()}
    found: list[dict[str, Any]] = orjson.loads(context.node.metrics())["origins"]
    for origin in found:
        for server in origin["servers"]:
            server["check"] = checks.get((origin["origin"], server["server"]))
    return found


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip() or not (line.isprintable() and line.isascii()):
        raise ValueError("expected header=Name:value")
    return name.strip(), value.strip()
