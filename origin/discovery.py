"""Servers found at run time: what lists them (a file, a URL, SRV records) is read again and again.

The core hears of changes.

    discovery = Discovery(apply)           # apply(origin, servers) is awaited with each new list
    discovery.watch({"app": source})       # again after each reload: what stayed equal goes on
    await discovery.close()

A list is JSON (a list of URLs or tables as in `servers`, or such a list as the member `servers`), or text with one URL
per line. One that cannot be read, says nothing valid or is empty changes nothing: the last good list stays, and the log
says so once. Lives on one event loop; files are read on threads beside it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import orjson
from pydantic import TypeAdapter, ValidationError

from origin import dns
from origin.settings import DiscoverySettings, Server, ServerList

__all__ = ["Apply", "Discovery", "Source", "of_records", "parsed"]

TTL_S_MAX: Final = 3600.0
"""Seconds that records are believed, whatever they say."""
WEIGHT_MAX: Final = 1000
RANK_MAX: Final = 9
LIST_BYTES_MAX: Final = 1024 * 1024
"""Bytes of a list."""

_LOG = logging.getLogger("headland.discovery")
_SERVERS: Final[TypeAdapter[list[Server]]] = TypeAdapter(ServerList)

Apply = Callable[[str, list[Server]], Awaitable[None]]
"""Takes the servers of an origin."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where an origin's servers are listed."""

    settings: DiscoverySettings
    base: Path
    """What a relative file is beside."""

    async def servers(self) -> tuple[list[Server], float]:
        """The servers as they are listed, and for how many seconds that holds at least.

        Raises `OSError`, `aiohttp.ClientError`, `ValueError`.
        """
        least_s = self.settings.interval_ms / 1000
        name = self.settings.srv
        if name is None:
            return parsed(await self.read()), least_s
        nameserver = self.settings.nameserver
        if nameserver is None:
            nameserver = await asyncio.to_thread(dns.system_nameserver)
        async with asyncio.timeout(self.settings.timeout_ms / 1000):
            records = await dns.srv(name, nameserver)
        ttl_s = min(record.ttl_s for record in records)
        return of_records(records, self.settings.scheme), max(least_s, min(ttl_s, TTL_S_MAX))

    async def read(self) -> bytes:
        """The list as it stands. Raises `OSError`, `aiohttp.ClientError`, `TimeoutError`, `ValueError`."""
        if self.settings.file is not None:
            return await asyncio.to_thread(self._read_file, self.base / self.settings.file)
        timeout = aiohttp.ClientTimeout(total=self.settings.timeout_ms / 1000)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self.settings.url or "") as answer:
            answer.raise_for_status()
            return _bounded(await answer.content.read(LIST_BYTES_MAX + 1))

    @staticmethod
    def _read_file(path: Path) -> bytes:
        with path.open("rb") as file:
            return _bounded(file.read(LIST_BYTES_MAX + 1))


def _bounded(data: bytes) -> bytes:
    if len(data) > LIST_BYTES_MAX:
        raise ValueError(f"more than {LIST_BYTES_MAX} bytes")
    return data


def parsed(data: bytes) -> list[Server]:
    """The servers of a list. Raises `ValueError` with one sentence."""
    text = data.strip()
    if text[:1] in {b"[", b"{"}:
        listed = orjson.loads(text)
        listed = listed.get("servers") if isinstance(listed, dict) else listed
    else:
        lines = (line.strip() for line in text.decode().splitlines())
        listed = [line for line in lines if line and not line.startswith("#")]
    try:
        return _SERVERS.validate_python(listed)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"servers{'.' if place else ''}{place}: {first['msg']}") from error


def of_records(records: list[dns.Srv], scheme: str) -> list[Server]:
    """The servers that SRV records name (RFC 2782). Priorities become ranks, weights shares."""
    ranks = sorted({record.priority for record in records})
    heaviest = max(record.weight for record in records)
    listed = [
        {
            "url": f"{scheme}://{record.target}:{record.port}",
            "priority": min(ranks.index(record.priority), RANK_MAX),
            # Zero means hardly ever; there is no smaller share than one.
            "weight": max(1, record.weight * WEIGHT_MAX // max(heaviest, WEIGHT_MAX)),
        }
        for record in sorted(records, key=lambda record: (record.priority, record.target, record.port))
    ]
    return _SERVERS.validate_python(listed)


class Discovery:
    """All lists of a node; belongs to the event loop that calls it."""

    def __init__(self, apply: Apply) -> None:
        self._apply = apply
        self._tasks: dict[str, tuple[Source, asyncio.Task[None]]] = {}
        self.found: dict[str, list[Server]] = {}
        """The last good list of each origin."""

    async def watch(self, sources: Mapping[str, Source]) -> None:
        """Read these and no others from now on; what was found elsewhere is forgotten."""
        gone = {name for name, (source, _) in self._tasks.items() if sources.get(name) != source}
        await self._stop(gone)
        for name, source in sources.items():
            if name not in self._tasks:
                self._tasks[name] = source, asyncio.get_running_loop().create_task(self._run(name, source))

    async def close(self) -> None:
        """Read nothing any more."""
        await self._stop(set(self._tasks))

    async def _stop(self, names: set[str]) -> None:
        tasks = [self._tasks.pop(name)[1] for name in names]
        for name in names:
            self.found.pop(name, None)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, name: str, source: Source) -> None:
        failure = ""
        while True:
            pause_s = source.settings.interval_ms / 1000
            try:
                servers, pause_s = await source.servers()
                if servers != self.found.get(name):
                    await self._apply(name, servers)
                    self.found[name] = servers
                    _LOG.warning("origin %s: %d servers found", name, len(servers))
                failure = ""
            except (OSError, aiohttp.ClientError, ValueError) as error:  # TimeoutError is an OSError
                if failure != str(error):
                    _LOG.warning(
                        "origin %s: the servers known before stay: %s", name, str(error) or type(error).__name__
                    )
                failure = str(error)
            await asyncio.sleep(pause_s)
