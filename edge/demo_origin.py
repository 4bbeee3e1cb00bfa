"""The origin of `headland demo`: a small site that shows each behaviour of a cache, on a thread of its own.

It answers as a careful origin does: validators on everything that may be stored, 304 and ranges where they are asked
for, honest Cache-Control. Each page takes `THINKING_S`, as an origin far away would, so that a hit can be felt. One
switch makes it break every connection, to show what the node does then.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import hashlib
import random
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from importlib.resources import files
from types import TracebackType
from typing import Self

import orjson
from aiohttp import WSMsgType, hdrs, web

from edge import demo_art, demo_pages

__all__ = ["BIG_BYTES", "DemoOrigin", "Site", "make_site", "not_modified", "stored"]

THINKING_S = 0.04
"""Seconds that the origin takes for a page."""
SLOW_FIRST_S = 2.0
"""Seconds before the first byte of the slow page."""
SLOW_LINES = 8
SLOW_LINE_S = 0.25
"""Seconds between its lines."""
MIB = 1_048_576
BIG_BYTES = 100 * MIB
"""Bytes of the large file."""
START_S_MAX = 10.0
"""Seconds that the thread may take to listen."""
TEXTS = {
    "en": "Good morning. The tide is out until noon.",
    "de": "Guten Morgen. Bis Mittag ist Ebbe.",
    "fr": "Bonjour. La marée est basse jusqu'à midi.",
    "ja": "おはようございます。正午まで干潮です。",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STARTED_S = int(time.time())
"""Unix time of the last change of everything that does not change."""


class Site:
    """The handlers and the switch."""

    def __init__(self, *, thinking_s: float = THINKING_S, slow_first_s: float = SLOW_FIRST_S) -> None:
        self.down = False
        self._thinking_s = thinking_s
        self._slow_first_s = slow_first_s
        self._tile = random.Random(7).randbytes(MIB)  # noqa: S311 - contents of a file, not a secret

    # -- pages --------------------------------------------------------------------------------------------------------

    async def home(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request, demo_pages.home(), "home")

    async def gallery(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request, demo_pages.gallery(), "gallery")

    async def laboratory(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request, demo_pages.laboratory(), "laboratory")

    async def article(self, request: web.Request) -> web.StreamResponse:
        slug = request.match_info["slug"]
        stop = next((stop for stop in demo_pages.ARTICLES if stop.slug == slug), None)
        if stop is None:
            return await self.not_found(request)
        return await self._page(request, demo_pages.article(stop), f"articles {slug}")

    async def not_found(self, request: web.Request) -> web.StreamResponse:
        body = demo_pages.not_found(request.path).encode()
        return web.Response(status=404, body=body, content_type="text/html", headers={"Cache-Control": "max-age=10"})

    async def private(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(self._thinking_s)
        seen = request.cookies.get("visits", "0")
        visits = int(seen) + 1 if seen.isascii() and seen.isdigit() and len(seen) < 6 else 1
        response = web.Response(
            body=demo_pages.private(visits).encode(),
            content_type="text/html",
            headers={"Cache-Control": "private, max-age=60"},
        )
        response.set_cookie("visits", str(visits), httponly=True, samesite="Lax")
        return response

    async def _page(self, request: web.Request, text: str, tags: str) -> web.StreamResponse:
        await asyncio.sleep(self._thinking_s)
        fields = {
            "Cache-Control": "public, max-age=60, stale-while-revalidate=30, stale-if-error=3600",
            "Surrogate-Key": tags,
        }
        return stored(request, text.encode(), "text/html", fields)

    # -- files --------------------------------------------------------------------------------------------------------

    async def asset(self, request: web.Request) -> web.StreamResponse:
        assets = {
            "site.css": (_part("demo_site.css"), "text/css"),
            "site.js": (_part("demo_site.js"), "text/javascript"),
            "icon.svg": (ICON, "image/svg+xml"),
        }
        found = assets.get(request.match_info["name"])
        if found is None:
            return await self.not_found(request)
        return stored(request, *found, {"Cache-Control": "public, max-age=3600"})

    async def picture(self, request: web.Request) -> web.StreamResponse:
        number, kind = int(request.match_info["number"]), request.match_info["kind"]
        await asyncio.sleep(self._thinking_s)
        if kind == "svg":
            body, content_type = demo_art.coast(number), "image/svg+xml"
        else:
            body, content_type = await asyncio.to_thread(demo_art.strata, number), "image/png"
        return stored(
            request, body, content_type, {"Cache-Control": "public, max-age=86400", "Surrogate-Key": "pictures"}
        )

    async def big(self, request: web.Request) -> web.StreamResponse:
        """The large file: HEAD, validators and single ranges (RFC 9110 section 14)."""
        fields = {
            "Cache-Control": "public, max-age=3600",
            "ETag": '"big-1"',
            "Last-Modified": formatdate(STARTED_S, usegmt=True),
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if not_modified(request, fields["ETag"]):
            return web.Response(status=304, headers=fields)
        part = _range(request, fields["ETag"])
        if part is None:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{BIG_BYTES}"})
        response = web.StreamResponse(status=200, headers=fields)
        if part != range(BIG_BYTES):
            response.set_status(206)
            response.headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{BIG_BYTES}"
        response.content_length = len(part)
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            for start in range(part.start - part.start % MIB, part.stop, MIB):
                await response.write(self._mebibyte(start // MIB)[max(part.start - start, 0) : part.stop - start])
        await response.write_eof()
        return response

    def _mebibyte(self, index: int) -> bytes:
        """Each begins with its own number, so that a wrong order or a gap shows."""
        return index.to_bytes(8, "big") + self._tile[8:]

    # -- behaviours ---------------------------------------------------------------------------------------------------

    async def slow(self, request: web.Request) -> web.StreamResponse:
        """Thinks long, then speaks line by line; may be stored."""
        await asyncio.sleep(self._slow_first_s)
        fields = {
            "Cache-Control": "public, max-age=20",
            "Content-Type": "text/plain; charset=utf-8",
            "ETag": f'"{time.time()}"',
        }
        response = web.StreamResponse(headers=fields)
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            for line in range(SLOW_LINES):
                await response.write(f"line {line + 1} of {SLOW_LINES}, as slow as the tide\n".encode())
                await asyncio.sleep(SLOW_LINE_S if self._slow_first_s else 0)
        await response.write_eof()
        return response

    async def clock(self, request: web.Request) -> web.StreamResponse:
        return await self._now(request, "public, max-age=10")

    async def swr(self, request: web.Request) -> web.StreamResponse:
        return await self._now(request, "public, max-age=5, stale-while-revalidate=30")

    async def sie(self, request: web.Request) -> web.StreamResponse:
        return await self._now(request, "public, max-age=2, stale-if-error=600")

    async def tagged(self, request: web.Request) -> web.StreamResponse:
        return await self._now(request, "public, max-age=600", {"Surrogate-Key": "demo tagged"})

    async def no_store(self, request: web.Request) -> web.StreamResponse:
        return await self._now(request, "no-store")

    async def _now(
        self, request: web.Request, cache_control: str, more: Mapping[str, str] | None = None
    ) -> web.StreamResponse:
        await asyncio.sleep(self._thinking_s)
        body = orjson.dumps({"now": formatdate(usegmt=True), "unix_ms": int(time.time() * 1000)}) + b"\n"
        return stored(request, body, "application/json", {"Cache-Control": cache_control, **(more or {})})

    async def vary(self, request: web.Request) -> web.StreamResponse:
        """Negotiates language and coding."""
        await asyncio.sleep(self._thinking_s)
        language = _language(request.headers.get("Accept-Language", ""))
        body = (TEXTS[language] + "\n").encode()
        fields = {
            "Cache-Control": "public, max-age=60",
            "Vary": "Accept-Language, Accept-Encoding",
            "Content-Language": language,
        }
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, mtime=0)
            fields["Content-Encoding"] = "gzip"
        return stored(request, body, "text/plain", fields)

    async def error(self, request: web.Request) -> web.StreamResponse:
        """The status that is asked for."""
        text = request.query.get("status", "500")
        status = int(text) if text in {str(known.value) for known in HTTPStatus if known >= 400} else 500
        return web.Response(status=status, text=f"{status} {HTTPStatus(status).phrase}, as you asked\n")

    async def switch(self, request: web.Request) -> web.StreamResponse:
        """Break every connection from now on, or no longer."""
        word = request.query.get("origin")
        if word not in {"up", "down"}:
            return web.Response(status=400, text="expected ?origin=up or ?origin=down\n")
        self.down = word == "down"
        return web.Response(text=f"the origin is {word}\n", headers={"Cache-Control": "no-store"})

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """Takes anything, keeps nothing, tells what it was."""
        digest, size = hashlib.sha256(), 0
        async for chunk in request.content.iter_any():
            digest.update(chunk)
            size += len(chunk)
        return web.json_response({"bytes": size, "sha256": digest.hexdigest()}, headers={"Cache-Control": "no-store"})

    async def echo(self, request: web.Request) -> web.StreamResponse:
        """A WebSocket that says everything back."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type == WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket

    # -- around -------------------------------------------------------------------------------------------------------

    @web.middleware
    async def breaking(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """While the switch is down, every connection breaks but the switch's own."""
        if self.down and request.path != "/switch" and request.transport is not None:
            request.transport.abort()
        return await handler(request)


def make_site(site: Site | None = None) -> web.Application:
    """The application; `site` holds the switch."""
    site = site or Site()
    app = web.Application(middlewares=[site.breaking], client_max_size=0)
    for path, handler in (
        ("/", site.home),
        ("/gallery", site.gallery),
        ("/laboratory", site.laboratory),
        ("/articles/{slug}", site.article),
        ("/private", site.private),
        ("/assets/{name}", site.asset),
        (r"/img/{number:\d{1,3}}.{kind:svg|png}", site.picture),
        ("/big", site.big),
        ("/slow", site.slow),
        ("/time", site.clock),
        ("/swr", site.swr),
        ("/sie", site.sie),
        ("/tagged", site.tagged),
        ("/no-store", site.no_store),
        ("/vary", site.vary),
        ("/error", site.error),
        ("/echo", site.echo),
    ):
        app.router.add_get(path, handler, allow_head=path != "/echo")
    app.router.add_post("/switch", site.switch)
    app.router.add_route("*", "/upload", site.upload)
    app.router.add_get("/{rest:.*}", site.not_found)
    return app


class DemoOrigin:
    """The site on a thread with its own event loop, from `start` to `stop`; also as a context manager."""

    def __init__(self) -> None:
        self.port = 0
        """The port on 127.0.0.1, once started."""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-origin", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(START_S_MAX):
            raise RuntimeError("the origin of the demo did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S_MAX)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            served = runner.run(self._serve())
            self._ready.set()
            self._loop.run_forever()
            runner.run(served.cleanup())

    async def _serve(self) -> web.AppRunner:
        served = web.AppRunner(make_site(), access_log=None, shutdown_timeout=0.5)
        await served.setup()
        await web.TCPSite(served, "127.0.0.1", 0).start()
        self.port = served.addresses[0][1]
        return served


def stored(request: web.Request, body: bytes, content_type: str, fields: Mapping[str, str]) -> web.Response:
    """An answer with validators, or 304 when the client has it (RFC 9110 section 13)."""
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = {"ETag": etag, **fields}
    if not_modified(request, etag):
        return web.Response(status=304, headers=headers)
    charset = "utf-8" if content_type.startswith("text/") else None
    return web.Response(body=body, headers=headers, content_type=content_type, charset=charset)


def not_modified(request: web.Request, etag: str) -> bool:
    """Whether If-None-Match names this version, compared weakly (RFC 9110 section 13.1.2)."""
    sent = request.headers.get(hdrs.IF_NONE_MATCH)
    if sent is None:
        return False
    return sent.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in sent.split(",")}


def _range(request: web.Request, etag: str) -> range | None:
    """The bytes of the large file that are asked for; None when there are none (RFC 9110 section 14.1.2)."""
    text = request.headers.get(hdrs.RANGE, "")
    if_range = request.headers.get(hdrs.IF_RANGE, etag)
    unit, _, spec = text.partition("=")
    first, dash, last = spec.strip().partition("-")
    digits = all(part.isascii() and part.isdigit() for part in (first, last) if part)
    if unit != "bytes" or not dash or not (first or last) or not digits or if_range != etag:
        return range(BIG_BYTES)  # what is not understood is ignored
    if not first:
        return range(max(BIG_BYTES - int(last), 0), BIG_BYTES) if int(last) else None
    stop = min(int(last) + 1, BIG_BYTES) if last else BIG_BYTES
    return range(int(first), stop) if int(first) < stop else None


def _language(accepted: str) -> str:
    """The first language of the list that there is a text for; weights are left aside."""
    for member in accepted.split(","):
        word = member.partition(";")[0].strip().lower().partition("-")[0]
        if word in TEXTS:
            return word
    return "en"


@functools.cache
def _part(name: str) -> bytes:
    return files("edge").joinpath(name).read_bytes()


ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#136a8a"/>'
    b'<path d="M4 23c5 0 6-11 11-11 4 0 4 5 7 5 2 0 3-2 6-2v13H4z" fill="#fff"/></svg>'
)
