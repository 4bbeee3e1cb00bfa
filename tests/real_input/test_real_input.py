"""Real input: NGINX with the distribution's documentation and large made files; curl, wrk, h2load and a browser.

What is compared is bytes, not looks: every answer through the node, first from the origin and then from the store, has
the bytes of the file on disk.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from tests import certificates
from tests.processes import Headland

DOCUMENTS = Path("/usr/share/doc")
DOCUMENT_FILES = 2000
"""Files of the documentation that are asked for, twice each."""
LARGE_FILES = 4
LARGE_MIB = 256
"""Mebibytes of each made file: a gibibyte in all passes through a node that may keep 64 MiB."""
RESIDENT_MIB_MAX = 400
"""Resident mebibytes of the node's process after all of it."""
WAIT_S = 20.0


def _need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@dataclass
class Place:
    """A node before NGINX: its doors, its process and the folder of the made files."""

    http: str
    https: str
    pid: int
    files: Path


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _await_port(port: int) -> None:
    """Wait until something listens; each try is a real connection, refused at once until then."""
    for _ in range(10_000):
        with socket.socket() as probe:
            probe.settimeout(WAIT_S)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    pytest.fail("NGINX did not start")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    _need("nginx", "curl")
    folder = tmp_path_factory.mktemp("real")
    files = folder / "files"
    files.mkdir()
    block = hashlib.shake_256(b"headland").digest(1 << 20)
    for number in range(LARGE_FILES):
        with (files / f"large{number}").open("wb") as file:
            for part in range(LARGE_MIB):
                file.write(part.to_bytes(8, "big") + bytes([number]) + block[9:])
    (files / "1k").write_bytes(block[:1024])
    port = _free_port()
    (folder / "nginx.conf").write_text(
        f"""daemon off; pid {folder}/pid; error_log stderr crit; worker_processes 1; {_user()}
        events {{ worker_connections 1024; }}
        http {{ access_log off; keepalive_requests 1000000;
          client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
          fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
          server {{ listen 127.0.0.1:{port}; add_header Cache-Control max-age=600;
            location /doc/ {{ alias {DOCUMENTS}/; disable_symlinks off; }}
            location /files/ {{ alias {files}/; }} }} }}"""
    )
    identity = certificates.make(folder / "tls", "localhost")
    (folder / "edge.toml").write_text(
        f"""[listen]
http = ["127.0.0.1:0"]
https = ["127.0.0.1:0"]
[[tls]]
cert = "{identity.cert_file}"
key = "{identity.key_file}"
[admin]
listen = "127.0.0.1:0"
state_dir = "{folder}/state"
[cache]
memory = "64MiB"
[[site]]
hosts = ["*"]
origin = "docs"
[origin.docs]
servers = ["http://127.0.0.1:{port}"]
"""
    )
    nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    with subprocess.Popen([str(nginx), "-p", folder, "-c", folder / "nginx.conf"]) as origin:
        try:
            _await_port(port)
            with Headland("serve", "--config", folder / "edge.toml") as node:
                serving = node.serving()
                yield Place(serving["http"], serving["https"], node.process.pid, files)
        finally:
            origin.terminate()


def _digest(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := stream.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def _user() -> str:
    return "user root;" if os.geteuid() == 0 else ""


def _documents() -> list[Path]:
    found = (path for path in sorted(DOCUMENTS.rglob("*")) if path.is_file() and os.access(path, os.R_OK))
    plain = (path for path in found if re.fullmatch(r"[A-Za-z0-9._/+-]+", str(path)))
    return [path for path, _ in zip(plain, range(DOCUMENT_FILES), strict=False)]


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_thousands_of_real_documents_arrive_as_they_are(place: Place, protocol: str, tmp_path: Path) -> None:
    documents = _documents()
    if len(documents) < 100:
        pytest.skip(f"{DOCUMENTS} holds only {len(documents)} files here")
    for _ in ("from the origin", "from the store"):
        config = tmp_path / "curl"
        lines = [
            f'url = "https://{place.https}/doc/{path.relative_to(DOCUMENTS)}"\noutput = "{tmp_path}/{number}"'
            for number, path in enumerate(documents)
        ]
        config.write_text("\n".join(lines))
        subprocess.run(["curl", "-sSfk", protocol, "-K", config], check=True, timeout=120)
        for number, path in enumerate(documents):
            assert (tmp_path / str(number)).read_bytes() == path.read_bytes(), path


def test_a_gibibyte_passes_whole_through_a_small_node(place: Place) -> None:
    for number in range(LARGE_FILES):
        file = place.files / f"large{number}"
        with subprocess.Popen(
            ["curl", "-sSf", f"http://{place.http}/files/{file.name}"], stdout=subprocess.PIPE
        ) as curl:
            assert curl.stdout is not None
            got = _digest(curl.stdout)
        with file.open("rb") as stream:
            assert got == _digest(stream)
    status = Path(f"/proc/{place.pid}/status").read_text()
    resident = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]
    assert resident < RESIDENT_MIB_MAX, f"{resident:.0f} MiB"


def test_wrk_sees_no_error(place: Place) -> None:
    _need("wrk")
    told = subprocess.run(
        ["wrk", "-t1", "-c16", "-d1", f"http://{place.http}/files/1k"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert "Non-2xx" not in told
    assert "Socket errors" not in told
    assert int(re.search(r"(\d+) requests in", told)[1]) > 0  # type: ignore[index]


@pytest.mark.parametrize("door", ["clear", "tls"])
def test_h2load_sees_no_error(place: Place, door: str) -> None:
    _need("h2load")
    url = f"http://{place.http}/files/1k" if door == "clear" else f"https://{place.https}/files/1k"
    told = subprocess.run(
        ["h2load", "-n2000", "-c4", "-m10", url], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in told, told


def test_a_browser_shows_the_demo_over_https(tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("not installed: chromium")
    with Headland("demo", "--listen", "127.0.0.1:0") as demo:
        lines = [demo.line("stdout") for _ in range(4)]
        address = re.search(r"https://\S+", "\n".join(lines))
        assert address, lines
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--ignore-certificate-errors",
            "--virtual-time-budget=5000",
        ]
        told = subprocess.run(
            [browser, *flags, f"--user-data-dir={tmp_path}", "--dump-dom", address[0]],
            capture_output=True,
            text=True,
            check=True,
            timeout=90,
        ).stdout
    assert "<html" in told
    assert "Headland" in told
