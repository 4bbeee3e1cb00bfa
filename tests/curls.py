"""curl as the client, for HTTP/1.1 and HTTP/2 alike: whole answers, or answers taken piece by piece."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

VERSIONS = {"h1": "--http1.1", "h2": "--http2-prior-knowledge"}
TIME_S = 30
"""Seconds that one transfer may take."""


@dataclass(frozen=True)
class Answer:
    """One answer; field names are in lower case, and lines of one name are joined by a comma.

    Its status is 0 when the transfer broke before curl had a head.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    ended: int
    """curl's exit status: 0 when the transfer was whole."""

    @property
    def cache(self) -> str:
        """Our member of Cache-Status without the node's name and without what is counted: the outcome's words."""
        ours = self.headers["cache-status"].rsplit("pop1; ", 1)[1]
        return re.sub(r"; (ttl|fwd-status)=-?\d+", "", ours)

    @property
    def age(self) -> int:
        """Age, in seconds."""
        return int(self.headers["age"])


class Transfer:
    """A transfer that runs: what curl has got so far is read as it comes."""

    def __init__(self, arguments: list[str]) -> None:
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._text = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Go away in the middle."""
        self.process.kill()
        self.process.communicate()

    def until(self, part: bytes) -> None:
        """Wait until this has arrived."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + TIME_S
        while part not in self._text:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{part!r} did not arrive, only {self._text!r}"
            piece = os.read(self.process.stdout.fileno(), 65_536)
            assert piece, f"ended before {part!r}, after {self._text!r}"
            self._text += piece

    def answer(self) -> Answer:
        """Wait for the end."""
        rest, errors = self.process.communicate(timeout=TIME_S + 5)
        text = self._text + rest
        while True:
            head, _, text = text.partition(b"\r\n\r\n")
            match = re.match(rb"HTTP/\S+ (\d+)", head)
            if match is None and self.process.returncode:
                return Answer(0, {}, b"", self.process.returncode)
            assert match, f"no answer: {head!r} {errors!r}"
            if match[1][0] != ord("1"):
                break
        headers: dict[str, str] = {}
        for line in head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Answer(int(match[1]), headers, text, self.process.returncode)


class Client:
    """Asks one node by one version of HTTP."""

    scheme = "http"
    usual_port = 80

    def __init__(self, address: str, version: str) -> None:
        self.address = address
        self.version = version

    def url(self, path: str) -> str:
        """What is asked for by a path."""
        return f"{self.scheme}://{self.address}{path}"

    def start(
        self,
        path: str,
        *fields: str,
        host: str | None = None,
        method: str | None = None,
        body: str | None = None,
        extra: tuple[str, ...] = (),
    ) -> Transfer:
        """Begin a request; fields are given as `Name: value`."""
        arguments = ["curl", "-q", "-sS", "-N", "-i", "--path-as-is", "--max-time", str(TIME_S), VERSIONS[self.version]]
        if method == "HEAD":
            arguments.append("--head")
        elif method:
            arguments += ["--request", method]
        if body is not None:
            arguments += ["--data-binary", body]
        for field in (*([f"Host: {host}"] if host else []), *fields):
            arguments += ["--header", field]
        return Transfer([*arguments, *extra, self.url(path)])

    def get(self, path: str, *fields: str, **options: object) -> Answer:
        """A whole answer."""
        with self.start(path, *fields, **options) as transfer:  # type: ignore[arg-type]
            return transfer.answer()

    def poll(self, holds: Callable[[Answer], bool], path: str, *fields: str, **options: object) -> Answer:
        """Ask again and again until the answer is so."""
        deadline = time.monotonic() + TIME_S
        while True:
            answer = self.get(path, *fields, **options)
            if holds(answer):
                return answer
            assert time.monotonic() < deadline, f"still {answer}"
