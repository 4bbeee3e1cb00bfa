"""`headland fleet demo`: a NATS server and some nodes on this machine, and what to try with them.

Everything is made for this run in a directory that is removed at the end: the server's store, a configuration and the
state of each node, a token. The nodes are processes of their own, as at points of presence; the small site of
`headland demo` stands behind them. Ends when one of them does, or on Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.demo_origin import DemoOrigin
from edge.exits import Exit
from edge.remote import failed

__all__ = ["FleetPlace", "run", "things_to_try"]

LOOPBACK: Final = "127.0.0.1"
PLACES: Final = "/usr/sbin:/usr/local/sbin:/usr/local/bin"
"""Where the server may be besides the search path."""
READY_S: Final = 10.0
"""Seconds in which the server must listen."""
STOP_S: Final = 10.0
LOOK_S: Final = 0.05
"""Seconds between two looks at a node."""
TOKEN_VARIABLE: Final = "HEADLAND_TOKEN"  # noqa: S105 - the name of the variable
CONFIGURATION: Final = """\
[node]
name = "{name}"
workers = 1
drain = "1s"
[listen]
http = "{host}:{http}"
[admin]
listen = "{host}:{admin}"
state_dir = "{name}"
tokens = [{{ name = "demo", env = "HEADLAND_TOKEN", scope = ["purge", "read"] }}]
[purge]
allow = ["127.0.0.0/8"]
[fleet]
servers = "nats://{host}:{bus}"
[[site]]
hosts = "*"
origin = "walk"
honour_client_directives = false
[origin.walk]
servers = "{origin}"
"""


@dataclass(frozen=True, slots=True)
class FleetPlace:
    """Where one node is."""

    name: str
    http: str
    admin: str


def run(nodes: int) -> Exit:
    """Serve until Ctrl-C; `nodes` of them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # Also where a shell has the first ignored, as for what it runs in the background.
        signal.signal(number, signal.default_int_handler)
    program = shutil.which("nats-server") or shutil.which("nats-server", path=PLACES)
    if program is None:
        return failed(Exit.USAGE, "nats-server is not installed; on Debian: apt-get install nats-server")
    with (
        DemoOrigin() as origin,
        tempfile.TemporaryDirectory(prefix="headland-fleet-") as scratch,
        contextlib.ExitStack() as ended,
    ):
        bus = _free_port()
        _start_bus(ended, program, bus, Path(scratch))
        token = secrets.token_urlsafe(18)
        started = [
            _start_node(ended, f"pop{number}", Path(scratch), token, {"bus": bus, "origin": origin.url})
            for number in range(1, nodes + 1)
        ]
        for process, _ in started:
            line = (process.stdout.readline() if process.stdout else b"").decode().strip()
            if " serving " not in line:
                return failed(Exit.STATE, "a node did not start; what it says stands above")
            print(line, flush=True)
        places = [place for _, place in started]
        if not _know_each_other(places, token):
            return failed(Exit.STATE, f"the nodes did not find each other within {READY_S:.0f} s")
        print(_text(places, token), flush=True)
        return _until_one_ends([process for process, _ in started])


def things_to_try(places: Sequence[FleetPlace], token: str) -> list[tuple[str, str]]:
    """What each thing shows, and the command line for it."""
    first, last = places[0], places[-1]
    command = f"{TOKEN_VARIABLE}={token} headland purge --admin {first.admin}"
    ask = f"curl -sI {last.http}/gallery | grep -i cache-status"
    return [
        (f"a page, stored at {last.name}", f"{ask}; {ask}"),
        (
            f"purged by way of {first.name}, in force at {last.name} when it is answered",
            f"{command} --all --wait; {ask}",
        ),
        (
            "which nodes have it, and since when",
            f"curl -s http://{first.admin}/v1/purges -H 'Authorization: Bearer {token}'",
        ),
        ("PURGE at one node reaches all", f"curl -X PURGE {first.http}/gallery; {ask}"),
    ]


def _start_bus(ended: contextlib.ExitStack, program: str, port: int, scratch: Path) -> None:
    words = [program, "-a", LOOPBACK, "-p", str(port), "-js", "-sd", str(scratch / "bus")]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - its own
    ended.callback(_end, process)
    ready = threading.Event()
    for _ in range(int(READY_S / 0.05)):
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 1):
            return
        ready.wait(0.05)


def _start_node(
    ended: contextlib.ExitStack, name: str, scratch: Path, token: str, upstream: Mapping[str, object]
) -> tuple[subprocess.Popen[bytes], FleetPlace]:
    http, admin = _free_port(), _free_port()
    file = scratch / f"{name}.toml"
    file.write_text(
        CONFIGURATION.format(name=name, host=LOOPBACK, http=http, admin=admin, **upstream), encoding="ascii"
    )
    words = [sys.executable, "-m", "edge", "serve", "--config", str(file)]
    variables = {**os.environ, TOKEN_VARIABLE: token}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=variables)  # noqa: S603 - the node itself
    ended.callback(_end, process)
    return process, FleetPlace(name, f"http://{LOOPBACK}:{http}", f"{LOOPBACK}:{admin}")


def _know_each_other(places: Sequence[FleetPlace], token: str) -> bool:
    """Whether each node counts all as alive: until then, who waits for the fleet waits for those that are known."""
    deadline = time.monotonic() + READY_S
    for place in places:
        while _alive(place, token) < len(places):
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_S)
    return True


def _alive(place: FleetPlace, token: str) -> int:
    """How many nodes this one counts as alive, itself among them."""
    request = urllib.request.Request(f"http://{place.admin}/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=READY_S) as answer:  # noqa: S310 - the same
        found = re.search(r"^headland_fleet_nodes (\d+)", answer.read().decode(), re.MULTILINE)
    return int(found[1]) if found else 0


def _until_one_ends(processes: Sequence[subprocess.Popen[bytes]]) -> Exit:
    over = threading.Event()

    def watch(process: subprocess.Popen[bytes]) -> None:
        process.wait()
        over.set()

    for process in processes:
        threading.Thread(target=watch, args=(process,), daemon=True).start()
    try:
        over.wait()
    except KeyboardInterrupt:
        print("stopping", flush=True)
        return Exit.OK
    return failed(Exit.STATE, "a node has ended; what it says stands above")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
    if process.stdout is not None:
        process.stdout.close()


def _text(places: Sequence[FleetPlace], token: str) -> str:
    tries = [f"  # {title}\n  {command}\n" for title, command in things_to_try(places, token)]
    return "\n".join(["", "Try:", "", *tries, "Ctrl-C ends it.", ""])


def _free_port() -> int:
    with socket.socket() as door:
        door.bind((LOOPBACK, 0))
        return int(door.getsockname()[1])
