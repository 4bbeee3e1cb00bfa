"""Active health checks: one task per server asks it for a page and tells the core when it goes down or comes back.

    checks = Checks(node.set_server_health)
    await checks.watch(targets_of("app", settings, trust))   # again after each reload: what stayed equal goes on
    await checks.close()

A server is in service until its checks have failed `fall` times in a row, and out until they have been well `rise`
times. Each check opens a connection of its own, so that a server which accepts nothing more is found; nothing is
followed, and no cookie is kept. What it may read is bounded. Lives on one event loop; the core takes reports from any
thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from origin.settings import HealthSettings, OriginSettings

__all__ = ["Checks", "Report", "Target", "Trust", "Verdict", "targets_of"]

BODY_BYTES_MAX: Final = 64 * 1024
"""Bytes of an answer that are looked at."""
JITTER: Final = 0.1
"""The share of the interval by which checks drift apart, so that nodes do not ask in step."""

_LOG = logging.getLogger("headland.health")

Report = Callable[[str, str, bool], object]
"""Is told origin, server and whether it is up, when that changes."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe and as whom to come, as PEM texts."""

    ca_pem: str | None = None
    client_cert_pem: str | None = None
    client_key_pem: str | None = field(default=None, repr=False)
    server_name: str | None = None
    verify: bool = True
    version_min: str = "1.2"

    def context(self) -> ssl.SSLContext:
        """For connections to the server. Raises `ssl.SSLError` for what cannot be used."""
        context = ssl.create_default_context(cadata=self.ca_pem)
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if self.version_min == "1.3" else ssl.TLSVersion.TLSv1_2
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_cert_pem is not None:
            with _file_of(self.client_cert_pem + "\n" + (self.client_key_pem or "")) as name:
                context.load_cert_chain(name)
        return context


@contextlib.contextmanager
def _file_of(text: str) -> Iterator[str]:
    """A private file with this text, as OpenSSL wants it; gone afterwards."""
    number, name = tempfile.mkstemp(prefix="headland-")
    try:
        with os.fdopen(number, "w") as file:
            file.write(text)
        yield name
    finally:
        Path(name).unlink()


@dataclass(frozen=True, slots=True)
class Target:
    """One server and how it is checked."""

    origin: str
    server: str
    """Its URL, as the settings have it."""
    settings: HealthSettings
    trust: Trust
    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()
    """Header fields that go with the request."""


def targets_of(origin: str, settings: OriginSettings, trust: Trust) -> list[Target]:
    """The servers of an origin that are checked: all, or none."""
    if settings.health is None:
        return []
    return [Target(origin, server.url, settings.health, trust) for server in settings.servers]


@dataclass(slots=True)
class Verdict:
    """What a row of checks says of a server. Pure."""

    rise: int
    fall: int
    up: bool = True
    row: int = 0
    """Checks in a row that said the opposite of `up`."""

    def take(self, well: bool) -> bool:
        """Take one check; whether it changed the verdict."""
        self.row = 0 if well is self.up else self.row + 1
        if self.row < (self.fall if self.up else self.rise):
            return False
        self.up, self.row = not self.up, 0
        return True


@dataclass(slots=True)
class _Watch:
    target: Target
    verdict: Verdict
    task: asyncio.Task[None] | None = None
    checked_at_s: float | None = None
    """Unix time of the last check."""
    took_ms: float | None = None
    failure: str = ""
    """Why the last check failed, if it did."""

    def state(self) -> dict[str, Any]:
        return {
            "origin": self.target.origin,
            "server": self.target.server,
            "up": self.verdict.up,
            "checked_at_s": self.checked_at_s,
            "took_ms": self.took_ms,
            "failure": self.failure,
        }


class Checks:
    """All checks of a node; belongs to the event loop that calls it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._watches: dict[Target, _Watch] = {}

    async def watch(self, targets: Iterable[Target]) -> None:
        """Check these and no others from now on."""
        wanted = dict.fromkeys(targets)
        gone = [watch for target, watch in self._watches.items() if target not in wanted]
        down = {_place(target) for target, watch in self._watches.items() if not watch.verdict.up}
        known = self._watches
        self._watches = {
            target: known.get(target) or self._begun(target, _place(target) not in down) for target in wanted
        }
        await self._end(gone)

    async def close(self) -> None:
        """Check nothing any more; servers stay as they were found."""
        watches, self._watches = list(self._watches.values()), {}
        await self._stop(watches)

    def states(self) -> list[dict[str, Any]]:
        """What is known of each server."""
        return [watch.state() for watch in self._watches.values()]

    def _begun(self, target: Target, up: bool) -> _Watch:
        watch = _Watch(target, Verdict(target.settings.rise, target.settings.fall, up))
        watch.task = asyncio.get_running_loop().create_task(self._run(watch))
        return watch

    async def _end(self, watches: list[_Watch]) -> None:
        """Nobody looks at these any more, so nobody would bring them back."""
        await self._stop(watches)
        watched = {_place(target) for target in self._watches}
        for watch in watches:
            place = _place(watch.target)
            if not watch.verdict.up and place not in watched:
                self._report(*place, True)

    @staticmethod
    async def _stop(watches: list[_Watch]) -> None:
        tasks = [watch.task for watch in watches if watch.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, watch: _Watch) -> None:
        settings = watch.target.settings
        while True:
            began = time.monotonic()
            watch.failure = await _check(watch.target)
            watch.took_ms = (time.monotonic() - began) * 1000
            watch.checked_at_s = time.time()
            if watch.verdict.take(not watch.failure):
                self._tell(watch)
            pause_s = settings.interval_ms / 1000 * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
            await asyncio.sleep(pause_s)

    def _tell(self, watch: _Watch) -> None:
        target, up = watch.target, watch.verdict.up
        self._report(target.origin, target.server, up)
        if up:
            _LOG.warning("origin %s: %s is up again", target.origin, target.server)
        else:
            _LOG.warning("origin %s: %s is down: %s", target.origin, target.server, watch.failure)


def _place(target: Target) -> tuple[str, str]:
    return target.origin, target.server


async def _check(target: Target) -> str:
    """Ask once; why the server is not well, empty when it is."""
    settings = target.settings
    timeout = aiohttp.ClientTimeout(total=settings.timeout_ms / 1000)
    try:
        secure = target.server.startswith("https:")
        context = await asyncio.to_thread(target.trust.context) if secure else True
        connector = aiohttp.TCPConnector(ssl=context, force_close=True, use_dns_cache=False)
        jar = aiohttp.DummyCookieJar()
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=jar) as session,
            session.request(
                target.method,
                target.server + settings.path,
                headers={"User-Agent": "headland-health"}
                | ({"Host": settings.host} if settings.host else {})
                | dict(target.fields),
                allow_redirects=False,
                server_hostname=target.trust.server_name if secure else None,
            ) as answer,
        ):
            return await _judge(settings, answer)
    except TimeoutError:
        return f"no answer within {settings.timeout_ms} ms"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return str(error) or type(error).__name__


async def _judge(settings: HealthSettings, answer: aiohttp.ClientResponse) -> str:
    if answer.status not in settings.status:
        return f"status {answer.status}"
    if settings.body is None:
        return ""
    body = b""
    async for piece in answer.content.iter_any():
        body += piece
        if settings.body.encode() in body[:BODY_BYTES_MAX]:
            return ""
        if len(body) > BODY_BYTES_MAX:
            break
    return f"no {settings.body!r} in the body"
