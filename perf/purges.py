"""Purging a node as its clients do: one after the other, timed; many at once by wrk; and what the disk needs alone.

The clock of a purge runs from the first byte of the request to the last of the answer, on a kept connection.
"""

from __future__ import annotations

import http.client
import itertools
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Self

import orjson

from perf.errors import NotStartedError, WrongAnswerError
from perf.machine import pinned
from perf.peer import Peer

SCRIPT = Path(__file__).parent / "purge.lua"
TOKEN = "a-token-for-measuring"  # noqa: S105 - as it stands in profiles/headland-token.in
TIMEOUT_S = 30.0
ANSWER_BYTES = 65_536
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n(?:[^\r\n]+\r\n)*\r\n", re.IGNORECASE)
"""Of an answer, where its body begins."""
ROW_BYTES = 16_384  # about what one purge appends to the database's log: four pages
TAGS_AT_ONCE = 256  # that one PURGE may name
_runs = itertools.count(os.getpid() * 1000)


class Purger:
    """One client of a node's purge API, on cores of its own; a request is one write, to add little to what is timed."""

    def __init__(self, peer: Peer, cores: tuple[int, ...]) -> None:
        self._cores = cores
        self._socket = socket.create_connection(("127.0.0.1", peer.admin), TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = (
            f"POST /v1/purges HTTP/1.1\r\nHost: 127.0.0.1:{peer.admin}\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()

    def __enter__(self) -> Self:
        self._before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self._cores)
        return self

    def __exit__(self, *_error: object) -> None:
        os.sched_setaffinity(0, self._before)
        self._socket.close()

    def purge(self, kind: str, items: Sequence[str]) -> float:
        """Seconds that one purge took, from request to answer."""
        body = orjson.dumps({"type": kind, "items": items})
        request = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        begun = time.perf_counter()
        self._socket.sendall(request)
        answer = self._answer()
        took = time.perf_counter() - begun
        if not answer.startswith(b"HTTP/1.1 201 "):
            raise WrongAnswerError(f"a purge by {kind} was answered {answer[:400]!r}")
        return took

    def _answer(self) -> bytes:
        text = self._more(b"")
        while not (found := LENGTH.search(text)):
            text = self._more(text)
        while len(text) < found.end() + int(found[1]):
            text = self._more(text)
        return text

    def _more(self, text: bytes) -> bytes:
        piece = self._socket.recv(ANSWER_BYTES)
        if not piece:
            raise WrongAnswerError(f"the node closed the connection after {text[:400]!r}")
        return text + piece


def unique() -> str:
    """A word that no run has used before."""
    return f"run{next(_runs)}"


def at_once(admin: int, clients: int, seconds: float, cores: tuple[int, ...]) -> tuple[int, float, str]:
    """Purges that so many clients of an admin port were answered, the seconds it took, and the command."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:.0f}s", "--timeout", "10s", "-s", str(SCRIPT)]
    command += [f"http://127.0.0.1:{admin}", "--", TOKEN, unique()]
    done = subprocess.run(pinned(cores, command), capture_output=True, text=True, timeout=seconds + 60, check=False)
    found = re.search(r"^RESULT (\{.*\})$", done.stdout, re.MULTILINE)
    if not found:
        raise NotStartedError(f"wrk gave no result: {done.stdout[-500:]}{done.stderr[-500:]}")
    result = orjson.loads(found[1])
    if result["errors"] or not result["requests"]:
        raise WrongAnswerError(f"{result['requests']} purges and {result['errors']} errors")
    return result["requests"], result["duration_us"] / 1e6, " ".join(command)


def many_tags(peer: Peer, count: int) -> None:
    """That many rules by tag, in as few purges as may be, over the data port."""
    word = unique()
    with closing(http.client.HTTPConnection(peer.address, peer.http, timeout=TIMEOUT_S)) as connection:
        for first in range(0, count, TAGS_AT_ONCE):
            tags = " ".join(f"{word}-{number}" for number in range(first, min(first + TAGS_AT_ONCE, count)))
            connection.request("PURGE", "/", headers={"Host": "www.example.com", "Surrogate-Key": tags})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise WrongAnswerError(f"PURGE by tags was answered {answer.status}: {text[:200]!r}")


def synced(folder: Path, count: int) -> list[float]:
    """Seconds of so many appends that are synced one by one, on the disk of the peers' folders."""
    found = []
    with (folder / "synced").open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(bytes(ROW_BYTES))
            begun = time.perf_counter()
            os.fsync(file.fileno())
            found.append(time.perf_counter() - begun)
    return found


def quantile(values: Iterable[float], share: float) -> float:
    """The value that this share of the values does not pass."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
