"""Bringing many objects into a cache quickly, each answer checked: a few kept-alive connections on asyncio streams."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from perf import browser
from perf.errors import WrongAnswerError
from perf.http_client import HOST
from perf.peer import Peer

CONNECTIONS = 8
HEAD = "".join(f"{name}: {value}\r\n" for name, value in (("Host", HOST), *browser.HEADERS))


async def ask_all(peer: Peer, paths: Iterable[str], body_bytes: int) -> None:
    """GET every path once over HTTP/1.1; status and length of each answer must be right."""
    todo = iter(paths)
    await asyncio.gather(*(_ask(peer, todo, body_bytes) for _ in range(CONNECTIONS)))


async def _ask(peer: Peer, todo: Iterator[str], body_bytes: int) -> None:
    reader, writer = await asyncio.open_connection(peer.address, peer.http)
    try:
        for path in todo:
            writer.write(f"GET {path} HTTP/1.1\r\n{HEAD}\r\n".encode("ascii"))
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            if not head.startswith("http/1.1 200 ") or f"\r\ncontent-length: {body_bytes}\r\n" not in head:
                raise WrongAnswerError(f"{peer.name} {path}: {head.splitlines()[0]}, no body of {body_bytes} bytes")
            await reader.readexactly(body_bytes)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise WrongAnswerError(f"{peer.name}: broke a connection: {error}") from error
    finally:
        writer.close()
