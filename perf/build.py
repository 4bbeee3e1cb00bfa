"""The suite's own Rust programs, built when first needed: `fast` is optimised, without the node's link-time passes."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import orjson

from perf.errors import NotAvailableError, NotStartedError
from perf.machine import find_program

HERE = Path(__file__).parent
DEADLINE_S = 900.0


@functools.cache
def built(crate: str) -> str:
    """Path of the program that the crate in the folder `crate` builds to."""
    cargo = find_program("cargo")
    if cargo is None:
        raise NotAvailableError(f"not installed: cargo, to build perf/{crate}")
    command = [cargo, "build", "--quiet", "--profile", "fast", "--message-format=json", "--manifest-path"]
    command.append(str(HERE / crate / "Cargo.toml"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    if done.returncode:
        raise NotStartedError(f"perf/{crate} does not build: {done.stderr[-500:]}")
    messages = (orjson.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return str([message["executable"] for message in messages if message.get("executable")][-1])
