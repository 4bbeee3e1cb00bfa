"""The machine under the comparison: which cores serve, which ones load, and what has to be told beside the numbers."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores a role may use. Servers and load never share one, unless the machine has only one."""

    server: tuple[int, ...]
    load: tuple[int, ...]
    origin: tuple[int, ...]

    @property
    def shared(self) -> bool:
        """Whether server and load compete for one core: throughput then says nothing, CPU per request still does."""
        return bool(set(self.server) & set(self.load))


def plan_cores(available: tuple[int, ...] | None = None) -> Cores:
    """One core to serve, one to load, one for the origin; on two cores load and origin share the first."""
    cores = tuple(sorted(os.sched_getaffinity(0))) if available is None else available
    server = cores[-1:]
    load = cores[:-1] or cores
    return Cores(server, load[:1], load[1:] or load)


def pinned(cores: tuple[int, ...], command: list[str]) -> list[str]:
    """`command` so that it and all its children run on `cores` only."""
    return ["taskset", "-c", ",".join(map(str, cores)), *command]


def find_program(name: str) -> str | None:
    """A program's path: beside this Python first (a virtual environment's), then on PATH and in the system's sbin."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(places))


def first_line(command: list[str]) -> str:
    """The first non-empty line that a program says about itself, on either stream; empty when it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (done.stdout + done.stderr).splitlines()
    return next((line.strip() for line in lines if line.strip()), "")


def describe(cores: Cores) -> dict[str, object]:
    """What a reader needs to judge the numbers: kernel, processor, cores, memory, the load generators' versions."""
    return {
        "kernel": platform.release(),
        "system": _os_name(),
        "processor": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "server_cores": list(cores.server),
        "load_cores": list(cores.load),
        "origin_cores": list(cores.origin),
        "wrk": first_line(["wrk", "-v"]),
        "h2load": first_line(["h2load", "--version"]),
        "openssl": first_line(["openssl", "version"]),
        "load_average": os.getloadavg()[0],
    }


def _cpu_name() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _os_name() -> str:
    for line in _lines("/etc/os-release"):
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
