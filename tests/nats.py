"""A real NATS server with JetStream, on a free port and in a directory of its own; and an unreliable way to it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

WAIT_S = 20.0


def program() -> str:
    """The server's program; skips the test where there is none."""
    found = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("nats-server is not installed")
    return found


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


class NatsServer:
    """One server; may be stopped and started again with what it keeps."""

    def __init__(self, directory: Path, *more: str, configuration: str = "") -> None:
        self._program = program()
        self._directory = directory
        self._more = more
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        if configuration:
            file = directory / "nats.conf"
            file.write_text(configuration)
            self._more = ("-c", str(file), *more)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> None:
        store = self._directory / "jetstream"
        words = [self._program, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(store), *self._more]
        log = (self._directory / "nats.log").open("ab")
        self._process = subprocess.Popen(words, stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + WAIT_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as wire:
                wire.settimeout(WAIT_S)
                assert wire.recv(4).startswith(b"INFO")
                return
            assert time.monotonic() < deadline, (self._directory / "nats.log").read_text()
            assert self._process.poll() is None, (self._directory / "nats.log").read_text()

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(WAIT_S)
            self._process = None
