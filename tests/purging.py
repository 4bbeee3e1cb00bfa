"""A node as the purge API sees it, with the ledger of the core and without a core around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from purge_api.mount import mount

_headland = pytest.importorskip("_headland", reason="the extension is not built: make develop")

SECRET = "s3cret-of-ci"
READER = "s3cret-of-reader"
TAGGER = "s3cret-of-tagger"
SHOP = "s3cret-of-shop"
URL = "https://www.example.com/a"
SITES = {
    "www.example.com": ("www.example.com", "*.static.example.com"),
    "shop.example": ("shop.example",),
    "*": ("*",),
}

Fields = Sequence[tuple[str, str]]


class SpyLedger:
    """The ledger of the core, and what was asked of it."""

    def __init__(self) -> None:
        self.core = _headland.Ledger()
        self.applied: list[tuple[str, str, bool, int]] = []

    def apply(self, kind: str, value: str, soft: bool, at_ms: int, epoch: int | None = None) -> int:
        given = self.core.apply(kind, value, soft, at_ms, epoch)
        self.applied.append((kind, value, soft, given))
        return given

    def apply_all(
        self, kind: str, values: list[str], soft: bool, at_ms: int, first_epoch: int, *, headers: Fields | None = None
    ) -> None:
        self.core.apply_all(kind, values, soft, at_ms, first_epoch, headers=headers)
        self.applied += [(kind, value, soft, first_epoch + index) for index, value in enumerate(values)]

    def reserve(self, count: int = 1) -> int:
        return self.core.reserve(count)

    def epoch(self) -> int:
        return self.core.epoch()

    def held(self, first: int, last: int) -> tuple[list[int], int]:
        return self.core.held(first, last)

    def __len__(self) -> int:
        return len(self.core)


class Core:
    """What a core says of all that is stored: each purge reaches two objects of ten bytes together."""

    def __init__(self) -> None:
        self.forgotten: list[int] = []
        self.oldest = 2**62
        self.headers: Fields | None = None

    def varied(self, url: str, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [*headers, ("x-site", "shop")] if "//shop.example" in url else headers

    def reach(self, purges: list[tuple[str, str]], headers: Fields | None = None) -> list[tuple[int, int]]:
        self.headers = headers
        return [(2, 10)] * len(purges)

    def forget_rules(self, until: int) -> int:
        self.forgotten.append(min(until, self.oldest))
        return self.forgotten[-1]


@dataclass(frozen=True)
class Token:
    name: str
    secret: str
    scopes: frozenset[str]
    sites: frozenset[str] = frozenset()


TOKENS = (
    Token("ci", SECRET, frozenset({"purge"})),
    Token("reader", READER, frozenset({"read"})),
    Token("tagger", TAGGER, frozenset({"purge:tag"})),
    Token("shop", SHOP, frozenset({"purge"}), frozenset({"shop.example"})),
)


@dataclass
class Context:
    state_dir: Path
    tokens: tuple[Token, ...] = TOKENS
    node_name: str = "pop1"
    ledger: SpyLedger = field(default_factory=SpyLedger)
    node: Core = field(default_factory=Core)
    sites: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(SITES))
    canonicalise: Callable[[str], tuple[str, str, str]] = _headland.canonical_url
    on_purge: list = field(default_factory=list)
    fleet: None = None
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    sources: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Wire:
    """A purge as the data port hands it over."""

    method: str = "PURGE"
    url: str = URL
    fields: tuple[tuple[str, str], ...] = ()
    client: str = "192.0.2.7"
    allowed: bool = True


def bearer(secret: str = SECRET, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}", **more}


@asynccontextmanager
async def serving(context: Context) -> AsyncIterator[TestClient]:
    """The purge API on loopback, and a client for it."""
    app = web.Application()
    mount(app, context)
    async with TestClient(TestServer(app)) as client:
        yield client


def order(kind: str = "url", items: object = (URL,), **more: object) -> dict[str, object]:
    """The body of an order."""
    return {"type": kind, "items": list(items) if isinstance(items, tuple) else items, **more}


async def problem(response: ClientResponse, status: int, word: str) -> dict:
    """The document of a refusal, which has to be this one."""
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    document = await response.json()
    assert document["status"] == status
    assert document["type"] == f"urn:headland:purge:{word}"
    assert document["title"]
    assert document["detail"]
    return document


def find_api(client: TestClient) -> Any:
    """The API's own object behind the client."""
    route = next(route for route in client.app.router.routes() if route.method == "POST")
    return route.handler.__self__
