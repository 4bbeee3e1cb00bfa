"""Nodes as processes of their own, started by the command line as a user would, and waited for by what they say."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.certificates import Identity

ROOT = Path(__file__).parents[1]
START_S = 30.0
"""Seconds until a node must have said that it serves."""
STOP_S = 30.0
"""Seconds until a node must have ended after a signal."""

ADMIN_TOKEN = 'tokens = [{ name = "ci", env = "HEADLAND_TOKEN", scope = ["purge", "read"] }]'
TOKEN = "a-token-for-tests"
"""What the token of `preamble` is; processes are given it as HEADLAND_TOKEN unless told otherwise."""


def preamble(*, admin: bool = False, secure: Identity | None = None, **node: str | int) -> str:
    """The tables that every test's configuration begins with: the node, one door on a free port, the admin address.

    With `admin` that listens as well and has one token; with `secure` there is a door for TLS and HTTP/3, too;
    `node` are further keys of its table.
    """
    keys = {"name": "pop1", "workers": 2, **node}
    lines = ["[node]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    lines += ["[listen]", 'http = "127.0.0.1:0"', "[admin]", 'state_dir = "state"']
    lines += ['listen = "127.0.0.1:0"', ADMIN_TOKEN] if admin else ['listen = "off"']
    if secure is not None:
        at = lines.index("[admin]")
        lines[at:at] = ['https = "127.0.0.1:0"', "http3 = true"]
        lines += ["[[tls]]", f'cert = "{secure.cert_file}"', f'key = "{secure.key_file}"']
    return "\n".join(lines) + "\n"


class Headland:
    """One `headland` process; a context that ends it."""

    def __init__(self, *arguments: object, **variables: str) -> None:
        # A process that is killed leaves its temporary files behind.
        self._scratch = tempfile.TemporaryDirectory(prefix="headland-test-")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": self._scratch.name, "HEADLAND_TOKEN": TOKEN, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # With what it started: children would keep the pipes open.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        self._scratch.cleanup()

    def serving(self) -> dict[str, str]:
        """Wait for the line that says where it serves: addresses by kind, and the line itself as `line`."""
        line = self.line("stdout")
        assert " serving " in line, f"{line!r} {self.rest_of('stderr') if not line else ''}"
        return {"line": line, **dict(re.findall(r"(http|https|admin) on (\S+?)(?:,|$)", line))}

    def line(self, stream: str) -> str:
        """The next line of `stdout` or `stderr`, without its end; empty when the stream has ended."""
        source = getattr(self.process, stream)
        deadline = time.monotonic() + START_S
        text = b""
        # One byte at a time: what lies in a buffer of Python's would hide from select.
        while not text.endswith(b"\n"):
            ready, _, _ = select.select([source], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no line on {stream} within {START_S} s; so far {text!r}"
            byte = os.read(source.fileno(), 1)
            if not byte:
                break
            text += byte
        return text.decode().rstrip("\n")

    def rest_of(self, stream: str) -> str:
        """What is left on a stream of a process that ends."""
        parts = []
        while part := os.read(getattr(self.process, stream).fileno(), 65_536):
            parts.append(part)
        return b"".join(parts).decode()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def status(self) -> int:
        """Wait for its end; the answer is its exit status."""
        return self.process.wait(STOP_S)
