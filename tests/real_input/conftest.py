"""A node before NGINX, which serves the distribution's documentation tree and made files of many sizes."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import certificates, nginx
from tests.processes import Headland

DOCUMENTATION = Path("/usr/share/doc")
MADE_BYTES = int(float(os.environ.get("HEADLAND_TEST_GIB", "2")) * (1 << 30))
"""All made files together; HEADLAND_TEST_GIB says how many GiB."""
MADE_SIZES = (1 << 10, 100 << 10, 10 << 20, 256 << 20)
"""Sizes of made files, in bytes; the last one again and again, until MADE_BYTES."""
BLOCK = 1 << 20
CONFIGURATION = """\
[node]
name = "pop1"
workers = 2
[listen]
http = "127.0.0.1:0"
https = "127.0.0.1:0"
[[tls]]
cert = "node/cert.pem"
key = "node/key.pem"
[admin]
listen = "off"
state_dir = "state"
[cache]
memory = "192MiB"
object_max = "64MiB"
fill_max = "64MiB"
[[site]]
hosts = "*"
origin = "nginx"
[[site.rule]]
ttl = "1h"
[origin.nginx]
servers = "http://127.0.0.1:{port}"
"""


@dataclass(frozen=True)
class Stage:
    """What is running, and where."""

    http: str
    https: str
    pid: int
    authority: Path
    origin: nginx.Nginx
    made: dict[str, str]
    """SHA-256 by path of each made file."""


def make(directory: Path) -> dict[str, str]:
    """Files whose every block tells its file and place, so that mixed or shifted bytes cannot go unseen."""
    digests = {}
    left, sizes = MADE_BYTES, list(MADE_SIZES)
    while left > 0:
        size = min(left, sizes.pop(0) if len(sizes) > 1 else sizes[0])
        path, digest = directory / f"{len(digests)}.bin", hashlib.sha256()
        with path.open("wb") as file:
            for offset in range(0, size, BLOCK):
                seed = hashlib.sha256(f"{path.name} {offset}".encode()).digest()
                block = (seed * (BLOCK // len(seed)))[: min(BLOCK, size - offset)]
                digest.update(block)
                file.write(block)
        digests[f"/made/{path.name}"] = digest.hexdigest()
        left -= size
    return digests


@pytest.fixture(scope="package")
def stage(tmp_path_factory):
    pytest.importorskip("_headland", reason="the extension is not built: make develop")
    if nginx.PROGRAM is None:
        pytest.skip("NGINX is not installed")
    directory = tmp_path_factory.mktemp("real")
    directory.chmod(0o755)
    (directory / "made").mkdir()
    made = make(directory / "made")
    authority = certificates.make(directory / "ca", "ca.test", authority=True)
    certificates.make(directory / "node", "localhost", issuer=authority)
    server = f"""
        location /doc/ {{ alias {DOCUMENTATION}/; autoindex off; }}
        location /made/ {{ alias {directory}/made/; etag on; }}
    """
    file = directory / "edge.toml"
    with nginx.Nginx(directory / "nginx", server) as origin:
        file.write_text(CONFIGURATION.format(port=origin.port))
        with Headland("serve", "--config", file) as node:
            places = node.serving()
            https = places["https"].replace("127.0.0.1", "localhost")
            yield Stage(places["http"], https, node.process.pid, authority.cert_file, origin, made)
    shutil.rmtree(directory / "made")
