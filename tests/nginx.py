"""NGINX as an origin for tests: one process with a configuration of the test's own, on a port of its choice."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.scripted import closed_port

PROGRAM = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
START_S = 10.0
"""Seconds until it must take connections."""
MAIN = """\
{user}
daemon off;
worker_processes 1;
error_log {directory}/error.log;
pid {directory}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    include /etc/nginx/mime.types;
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    sendfile on;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{port} {listen};
{server}
    }}
}}
"""


class Nginx:
    """A running NGINX; a context that ends it."""

    def __init__(self, directory: Path, server: str, listen: str = "") -> None:
        self.directory = directory
        self.port = closed_port()
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / "nginx.conf"
        # Its workers read what the test wrote, which is for the test's user only.
        user = "user root;" if os.getuid() == 0 else ""
        file.write_text(MAIN.format(user=user, directory=directory, port=self.port, server=server, listen=listen))
        assert PROGRAM is not None
        self.process = subprocess.Popen([PROGRAM, "-e", directory / "error.log", "-c", file])

    def asked(self) -> list[str]:
        """The lines of its access log."""
        return (self.directory / "access.log").read_text().splitlines()

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert self.process.poll() is None, (self.directory / "error.log").read_text()
                assert time.monotonic() < deadline, "NGINX does not listen"
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.wait(10)
