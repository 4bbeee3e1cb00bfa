"""Active health checks against real servers: verdicts, what counts as well, what a reload leaves."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from origin.health import Checks, Target, Trust, Verdict
from origin.settings import HealthSettings
from tests import certificates

FAST = {"interval_ms": 100, "timeout_ms": 1_000, "fall": 2, "rise": 2}


def test_a_verdict_takes_a_row_of_checks_to_change():
    verdict = Verdict(rise=2, fall=3)
    assert [verdict.take(well) for well in (False, False, True, False, False, False)] == [False] * 5 + [True]
    assert [verdict.take(well) for well in (True, False, True, True)] == [False, False, False, True]
    assert verdict.up


class Page:
    """A server whose one page is as the test says."""

    def __init__(self) -> None:
        self.status, self.body, self.hosts = 200, "all is well", set()
        self.asked = asyncio.Semaphore(0)

    async def handler(self, request: web.Request) -> web.Response:
        self.hosts.add(request.host)
        self.asked.release()
        if self.status == 302:
            raise web.HTTPFound("/elsewhere")
        return web.Response(status=self.status, text=self.body)

    async def checked_once(self) -> None:
        """Wait for the second check: the first one is over."""
        for _ in range(2):
            await asyncio.wait_for(self.asked.acquire(), 10)

    @contextlib.asynccontextmanager
    async def served(self, context: ssl.SSLContext | None = None):
        app = web.Application()
        app.router.add_get("/health", self.handler)
        server = TestServer(app, scheme="https" if context else "http")
        await server.start_server(ssl=context)
        try:
            yield str(server.make_url("")).rstrip("/")
        finally:
            await server.close()


class Reports:
    """What was reported, waited for."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[str, str, bool]] = asyncio.Queue()

    def take(self, origin: str, server: str, up: bool) -> None:
        self.queue.put_nowait((origin, server, up))

    async def next(self) -> bool:
        return (await asyncio.wait_for(self.queue.get(), 10))[2]


@pytest.fixture
async def reports():
    return Reports()


@pytest.fixture
async def checks(reports):
    checks = Checks(reports.take)
    yield checks
    await checks.close()


def _target(server: str, trust: Trust | None = None, **settings: object) -> Target:
    return Target("app", server, HealthSettings(path="/health", **FAST | settings), trust or Trust())


async def test_a_server_goes_down_and_comes_back(checks, reports):
    page = Page()
    async with page.served() as url:
        await checks.watch([_target(url, host="app.test")])
        page.status = 500
        assert await reports.next() is False
        state = checks.states()[0]
        assert (state["origin"], state["server"], state["up"], state["failure"]) == ("app", url, False, "status 500")
        page.status = 200
        assert await reports.next() is True
        assert page.hosts == {"app.test"}


@pytest.mark.parametrize(
    ("settings", "answer", "failure"),
    [
        ({"status": [204, 404]}, (404, ""), ""),
        ({"body": "well"}, (200, "all is well"), ""),
        ({"body": "well"}, (200, "x" * 100_000 + "well"), "no 'well' in the body"),
        ({}, (302, ""), "status 302"),
    ],
)
async def test_what_is_well_is_said_by_status_and_body(checks, reports, settings, answer, failure):
    page = Page()
    page.status, page.body = answer
    async with page.served() as url:
        await checks.watch([_target(url, fall=1, **settings)])
        if failure:
            assert await reports.next() is False
        await page.checked_once()
        state = checks.states()[0]
        assert (state["up"], state["failure"]) == (not failure, failure)


async def test_who_refuses_or_says_nothing_is_down(checks, reports):
    # The kernel accepts, and nobody answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for server in (f"http://127.0.0.1:{unused_port()}", f"http://127.0.0.1:{port}"):
            await checks.watch([_target(server, timeout_ms=50)])
            assert await reports.next() is False
            await checks.watch([])
            assert await reports.next() is True, "nobody looks any more, so it is not kept out"


async def test_a_reload_leaves_what_is_equal_as_it_was(checks, reports):
    page = Page()
    page.status = 500
    async with page.served() as url:
        await checks.watch([_target(url)])
        assert await reports.next() is False
        await checks.watch([_target(url)])
        assert checks.states()[0]["up"] is False
        # Checked otherwise from now on: what was found stands until the new checks find something else.
        await checks.watch([_target(url, rise=1)])
        assert checks.states()[0]["up"] is False
        page.status = 200
        assert await reports.next() is True


async def test_a_server_is_verified_as_the_origin_is(checks, reports, tmp_path):
    authority = certificates.make(tmp_path / "ca", "ca.test", authority=True)
    identity = certificates.make(tmp_path / "server", "app.test", issuer=authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.cert_file, identity.key_file)
    page = Page()
    async with page.served(context) as url:
        good = Trust(ca_pem=authority.cert_file.read_text(), server_name="app.test")
        await checks.watch([_target(url, good, fall=1)])
        await page.checked_once()
        assert checks.states()[0]["failure"] == ""
        await checks.watch([_target(url, Trust(server_name="app.test"), fall=1)])
        assert await reports.next() is False
