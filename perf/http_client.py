"""A plain client for checking answers: one request at a time, every byte kept. Never used to measure speed."""

from __future__ import annotations

import asyncio
import http.client
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from aioquic.asyncio.client import connect
from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration

from edge.probe_http3 import Http3Client
from perf import browser
from perf.errors import WrongAnswerError

TIMEOUT_S = 20.0
HOST = "www.example.com"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; status 0 means that there was none. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    version: str = ""


def fetch(address: str, port: int, path: str, *, tls: bool = False) -> Answer:
    """GET over a new connection; status 0 when nobody answers."""
    try:
        with connected(address, port, tls=tls) as connection:
            return get(connection, path)
    except (OSError, http.client.HTTPException):
        return Answer(0, {}, b"")


@contextmanager
def connected(address: str, port: int, *, tls: bool = False) -> Iterator[http.client.HTTPConnection]:
    """A connection that is kept for several `get`s."""
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            address, port, timeout=TIMEOUT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT_S)
    try:
        yield connection
    finally:
        connection.close()


def get(connection: http.client.HTTPConnection, path: str) -> Answer:
    """GET with the headers of a browser."""
    connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", HOST)
    for name, value in browser.HEADERS:
        connection.putheader(name, value)
    connection.endheaders()
    reply = connection.getresponse()
    body = reply.read()
    version = {10: "1.0", 11: "1.1"}.get(reply.version, "?")
    return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, body, version)


def fetch_h2(address: str, port: int, path: str) -> Answer:
    """GET over HTTP/2 and TLS by curl, which must be installed."""
    command = ["curl", "-sk", "--http2", "--compressed", "-D", "/dev/stderr", "--resolve", f"{HOST}:{port}:{address}"]
    command += [*browser.flags(), f"https://{HOST}:{port}{path}"]
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    lines = done.stderr.decode("latin-1").splitlines()
    if done.returncode or not lines or len(lines[0].split()) < 2:
        raise WrongAnswerError(f"curl got no HTTP/2 answer for {path}: exit {done.returncode}")
    version, status = lines[0].split()[:2]
    pairs = (line.partition(":") for line in lines[1:] if ":" in line)
    return Answer(int(status), {name.lower(): value.strip() for name, _, value in pairs}, done.stdout, version)


def fetch_h3(address: str, port: int, path: str) -> Answer:
    """GET over HTTP/3 by aioquic, which shares nothing with the node and nothing with the generator."""
    try:
        return asyncio.run(asyncio.wait_for(_fetch_h3(address, port, path), TIMEOUT_S))
    except (OSError, TimeoutError) as error:
        raise WrongAnswerError(f"no HTTP/3 answer for {path}: {error}") from error


async def _fetch_h3(address: str, port: int, path: str) -> Answer:
    made = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=HOST, verify_mode=ssl.CERT_NONE)
    async with connect(address, port, configuration=made, create_protocol=Http3Client) as protocol:
        told = await cast("Http3Client", protocol).ask("GET", HOST, path, browser.HEADERS)
        if told.broken:
            raise WrongAnswerError(f"the HTTP/3 answer for {path} broke off")
        return Answer(told.status, dict(told.headers), bytes(told.body), "HTTP/3")
