"""A server process of ours: started in its own folder, pinned, watched until it is ready, ended with its whole group.

Each runs in its own session, so that ending it takes along what it started and nothing else on the machine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from perf.errors import NotStartedError
from perf.machine import pinned

READY_DEADLINE_S = 20.0
READY_POLL_S = 0.02
STOP_DEADLINE_S = 10.0
LOG_TAIL_BYTES = 2000


class Process:
    """One running server; `prefix` is put before its command, such as another network namespace."""

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        folder: Path,
        cores: tuple[int, ...],
        ready: Callable[[], bool],
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.command = command
        self._log = folder / "output.log"
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                [*prefix, *pinned(cores, command)],
                cwd=folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            self._await(ready)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._child.pid

    def log_tail(self) -> str:
        return self._log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()

    def stop(self) -> None:
        """SIGTERM to the group, then SIGKILL once the deadline has passed."""
        if self._child.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(STOP_DEADLINE_S)
        self._signal(signal.SIGKILL)
        self._child.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)

    def _await(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_DEADLINE_S
        while not ready():
            if self._child.poll() is not None:
                raise NotStartedError(f"{self.name} ended with {self._child.returncode}: {self.log_tail()}")
            if time.monotonic() > deadline:
                raise NotStartedError(f"{self.name} was not ready after {READY_DEADLINE_S:.0f} s: {self.log_tail()}")
            time.sleep(READY_POLL_S)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody holds now; all are bound at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
