"""The admin application on loopback: health, metrics, explain, dashboard, extensions."""

from __future__ import annotations

import base64
import hashlib
import logging
import re

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from edge import admission, process_log
from edge.admin import Admin, load_extensions, make_app
from edge.context import AdminContext, Token
from tests.test_metrics import document


class StillNode:
    """The shape of a node whose counters do not move."""

    def addresses(self) -> list[tuple[str, str]]:
        return [("http", "127.0.0.1:8080")]

    def metrics(self) -> bytes:
        return orjson.dumps(document())

    def explain(self, url: str, headers: list[tuple[str, str]], method: str = "GET") -> bytes:
        if not url.startswith("http"):
            raise ValueError("not an absolute URL")
        return orjson.dumps({"url": url, "headers": headers, "method": method})


@pytest.fixture
def context(tmp_path):
    node = StillNode()
    return AdminContext(node=node, ledger=None, node_name="pop1", state_dir=tmp_path, canonicalise=lambda url: url)


@pytest.fixture
async def client(context):
    def failing(app: web.Application, _context: AdminContext) -> None:
        async def fail(_request: web.Request) -> web.Response:
            raise RuntimeError("secret detail")

        app.router.add_get("/fails", fail)

    async with TestClient(TestServer(make_app(context, [failing]))) as client:
        yield client


async def test_health_is_ok_until_the_node_drains(client, context):
    response = await client.get("/healthz")
    assert response.status == 200
    body = await response.json()
    assert (body["status"], body["node"]) == ("ok", "pop1")
    assert (await client.head("/healthz")).status == 200
    context.draining = True
    response = await client.get("/healthz")
    assert response.status == 503
    assert (await response.json())["status"] == "draining"


async def test_metrics_are_prometheus_text(client):
    response = await client.get("/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    names = {family.name for family in text_string_to_metric_families(await response.text())}
    assert {"headland_requests", "headland_ttfb_seconds", "headland_build_info"} <= names


async def test_explain_hands_url_and_fields_to_the_node(client):
    response = await client.get("/v1/explain?url=https://www.example.com/a&header=Accept:%20text/html&header=X:y")
    assert await response.json() == {
        "url": "https://www.example.com/a",
        "headers": [["Accept", "text/html"], ["X", "y"]],
        "method": "GET",
    }


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?url=",
        "?url=nonsense",
        "?url=https://a/&header=novalue",
        "?url=https://a/&header=:x",
        "?url=https://a/&header=a:%0d%0ab",
        "?url=https://a/" + "x" * 8_180,
        "?url=https://a/" + "&header=a:b" * 65,
    ],
)
async def test_a_bad_explain_is_named(client, query):
    response = await client.get("/v1/explain" + query)
    assert response.status == 400
    if len(query) < 8_000:
        assert response.content_type == "application/problem+json"
        assert (await response.json())["detail"]


async def test_errors_are_problem_documents_and_tell_nothing(client, caplog):
    for method, path, status in [("GET", "/nowhere", 404), ("POST", "/healthz", 405), ("GET", "/fails", 500)]:
        response = await client.request(method, path)
        assert response.status == status
        assert response.content_type == "application/problem+json"
        document = await response.json()
        assert document["status"] == status
        assert "secret detail" not in str(document)
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    ("host", "status"), [("rebound.example", 403), ("", 403), ("localhost:9090", 200), ("[::1]:1", 200)]
)
async def test_a_rebound_name_is_refused(client, host, status):
    assert (await client.get("/metrics", headers={"Host": host})).status == status


@pytest.mark.parametrize("path", ["/metrics", "/v1/stats", "/v1/explain?url=https://www.example.com/"])
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer of-ci"}, 401),
        ({"Authorization": "Basic of-grafana"}, 401),
        ({"Authorization": "bearer of-grafana"}, 200),
    ],
)
async def test_off_loopback_looking_takes_a_token_with_the_scope(  # noqa: PLR0917 - fixtures
    client, context, monkeypatch, path, fields, status
):
    monkeypatch.setattr(admission, "local_address", lambda _request: "192.0.2.1")
    context.tokens = (
        Token("ci", "of-ci", frozenset({"purge"})),
        Token("grafana", "of-grafana", frozenset({"read"})),
    )
    response = await client.get(path, headers=fields | {"Host": "pop1.example"})
    assert response.status == status
    if status == 401:
        assert response.content_type == "application/problem+json"
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    for open_to_all in ("/", "/healthz"):
        assert (await client.get(open_to_all)).status == 200


async def test_stats_hold_what_the_dashboard_shows(client, context):
    context.sources["purges"] = lambda: [{"id": "1-a"}]
    stats = await (await client.get("/v1/stats")).json()
    assert stats["node"] == "pop1"
    assert stats["purges"] == [{"id": "1-a"}]
    assert stats["total"]["outcomes"] == {"hit": 90, "miss": 8, "local": 2}
    assert stats["origin"]["reuse_ratio"] == 0.75
    assert stats["addresses"] == [{"kind": "http", "address": "127.0.0.1:8080"}]
    assert set(stats["series"]) == {"requests_per_s", "hit_ratio", "hit_p95_ms", "miss_p95_ms", "bytes_per_s"}


def test_readings_are_taken_by_ticks(context):
    admin = Admin(context)
    for _ in range(3):
        admin.tick()
    assert len(admin.history.steps()) == 2


async def test_the_dashboard_is_one_page_that_loads_nothing_from_elsewhere(client):
    response = await client.get("/")
    assert response.status == 200
    assert response.content_type == "text/html"
    page = await response.text()
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)
    policy = response.headers["Content-Security-Policy"]
    for tag in ("script", "style"):
        (text,) = re.findall(f"<{tag}>(.+?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "Set-Cookie" not in response.headers


def test_an_extension_that_cannot_start_stops_the_start(context):
    def damaged(_app: web.Application, _context: AdminContext) -> None:
        raise RuntimeError("the purge journal is damaged")

    with pytest.raises(RuntimeError, match="damaged"):
        make_app(context, [damaged])


def test_installed_extensions_are_found():
    assert all(callable(extension) for extension in load_extensions())


def test_audit_lines_stand_alone_on_standard_error(capsys):
    logger = logging.getLogger(process_log.AUDIT_LOGGER)
    before = (logger.level, logger.propagate, logger.handlers)
    try:
        process_log.configure(audit=True)
        logger.info("%s", '{"event":"purge"}')
        logger.handlers[0].flush()
        process_log.configure(audit=False)
        logger.info("%s", "unseen")
    finally:
        logger.level, logger.propagate, logger.handlers = before
    assert capsys.readouterr().err == '{"event":"purge"}\n'
