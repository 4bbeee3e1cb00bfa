"""The node's secret: 32 random bytes in its state directory, readable by nobody else.

Clients resume TLS sessions and skip QUIC's address validation with what was made with it. A file that was cut short is
made anew; nothing is lost by that but those tickets.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["SECRET_BYTES", "kept"]

SECRET_BYTES = 32
NAME = "secret"


def kept(directory: Path) -> bytes:
    """The secret, made if there is none. Raises `OSError`."""
    file = directory / NAME
    if file.exists() and len(known := file.read_bytes()) == SECRET_BYTES:
        return known
    made = secrets.token_bytes(SECRET_BYTES)
    fresh = directory / f"{NAME}.new"
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(made)
        out.flush()
        os.fsync(out.fileno())
    fresh.rename(file)
    return made
