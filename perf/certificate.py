"""A certificate for one run: ECDSA P-256, as most sites serve today, made by openssl. All peers get the same one."""

from __future__ import annotations

import subprocess
from pathlib import Path

NAME = "www.example.com"
DAYS = "2"


def make(folder: Path, kind: str = "ec") -> tuple[Path, Path]:
    """Write a self-signed certificate and its key (PEM) for NAME, localhost and 127.0.0.1; `kind` is ec or rsa."""
    cert, key = folder / f"{kind}.pem", folder / f"{kind}.key"
    algorithm = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"] if kind == "ec" else ["rsa:2048"]
    command = ["openssl", "req", "-x509", "-newkey", *algorithm, "-nodes", "-days", DAYS, "-subj", f"/CN={NAME}"]
    names = f"subjectAltName=DNS:{NAME},DNS:localhost,IP:127.0.0.1,IP:10.77.1.2"
    command += [
        "-addext",
        names,
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key
