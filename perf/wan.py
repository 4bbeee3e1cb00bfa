"""A far origin: two network namespaces with a wire of a given delay, loss and rate between them.

The harness, the peers and the load move into the near one for as long as the link is up (`os.setns` is younger than our
oldest Python, so libc's is called); the origin is started in the far one. Where this is not allowed, the scenario is
skipped with the reason.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perf.errors import NotAvailableError
from perf.machine import pinned

SOURCE = Path(__file__).parent / "wanlink.c"
CLONE_NEWNET = 0x40000000
NEAR_ADDRESS, FAR_ADDRESS = "10.77.1.1", "10.77.1.2"


@dataclass(frozen=True, slots=True)
class Link:
    """One wire: delay per direction in ms, loss in percent, rate in Mbit/s (0: none)."""

    delay_ms: float
    loss_percent: float = 0.0
    mbit: float = 0.0


@dataclass(frozen=True, slots=True)
class Wan:
    """A link that is up: the ends' addresses and the words that start a program at the far one."""

    near_address: str
    address: str
    far: tuple[str, ...]


@contextmanager
def up(link: Link, folder: Path, cores: tuple[int, ...]) -> Iterator[Wan]:
    """Set the link up and stay in its near namespace until the block ends."""
    if os.geteuid() != 0:
        raise NotAvailableError("network namespaces need root")
    near, far = (f"headland-{end}-{os.getpid()}" for end in ("near", "far"))
    program = _compiled(folder)
    with contextlib.ExitStack() as stack:
        for space in (near, far):
            _space(stack, space)
        numbers = (f"{link.delay_ms:g}", f"{link.loss_percent:g}", f"{link.mbit:g}")
        _wire(stack, pinned(cores, [str(program), near, NEAR_ADDRESS, far, FAR_ADDRESS, *numbers]))
        stack.enter_context(inside(near))
        yield Wan(NEAR_ADDRESS, FAR_ADDRESS, ("ip", "netns", "exec", far))


@dataclass(frozen=True, slots=True)
class Arm:
    """One end of a star: its namespace, the words that start a program there, and the hub's address from there."""

    space: str
    prefix: tuple[str, ...]
    hub: str


@contextmanager
def star(link: Link, arms: int, folder: Path, cores: tuple[int, ...]) -> Iterator[tuple[tuple[str, ...], list[Arm]]]:
    """A hub with a link to each of some namespaces; the words that start a program at the hub, and the arms."""
    if os.geteuid() != 0:
        raise NotAvailableError("network namespaces need root")
    program = _compiled(folder)
    hub = f"headland-hub-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        _space(stack, hub)
        found = []
        for number in range(1, arms + 1):
            space = f"headland-arm{number}-{os.getpid()}"
            _space(stack, space)
            near, far = f"10.77.{number}.1", f"10.77.{number}.2"
            numbers = (f"{link.delay_ms:g}", f"{link.loss_percent:g}", f"{link.mbit:g}")
            _wire(stack, pinned(cores, [str(program), hub, near, space, far, *numbers]))
            found.append(Arm(space, ("ip", "netns", "exec", space), near))
        yield ("ip", "netns", "exec", hub), found


def _space(stack: contextlib.ExitStack, name: str) -> None:
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "delete", name)


def _wire(stack: contextlib.ExitStack, command: list[str]) -> None:
    wire = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    stack.callback(wire.kill)
    if wire.stdout is None or wire.stdout.readline() != b"ready\n":
        raise NotAvailableError(f"no link: {wire.stderr.read().decode() if wire.stderr else ''}")


@contextmanager
def inside(space: str) -> Iterator[None]:
    """This thread in a namespace, until the block ends; sockets stay in the one where they were made."""
    with Path("/proc/self/ns/net").open("rb") as home, Path(f"/run/netns/{space}").open("rb") as there:
        _setns(there.fileno())
        try:
            yield
        finally:
            _setns(home.fileno())


def _setns(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotAvailableError(f"network namespaces are not allowed here: {done.stderr.strip()}")


def _compiled(folder: Path) -> Path:
    compiler = shutil.which("cc")
    if compiler is None or shutil.which("ip") is None:
        raise NotAvailableError("not installed: cc or ip")
    program = folder / "wanlink"
    subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(SOURCE)], check=True)
    return program
