"""`headland demo`: a small site, a node in front of it, and what to try with them; nothing to configure.

The origin runs on a thread of its own (`edge.demo_origin`). The node is an ordinary one, configured by the table below,
with a certificate and a purge token made for this run in a directory that is removed at the end. Ports that are taken
are replaced by free ones, because a demo should start.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import secrets
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge import process_log
from edge.configuration import Configuration, judge
from edge.demo_certificate import self_signed
from edge.demo_origin import DemoOrigin
from edge.document import COMMAND_LINE, Document
from edge.exits import Exit
from edge.lifecycle import Service, StartError
from edge.live import LiveLine
from edge.toml_lines import Path as KeyPath

__all__ = ["Places", "configure", "run", "things_to_try"]

HTTPS_PORT = 8443
ADMIN_PORT = 9090
LOOPBACK = "127.0.0.1"
TOKEN_BYTES = 18
"""Randomness in the purge token of one run."""
DRAIN = "3s"
"""How long running requests may take to end after Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is, as URLs; empty where there is none."""

    http: str
    https: str
    admin: str
    origin: str
    token: str


def run(listen: str, overrides: Mapping[KeyPath, Any]) -> Exit:
    """Serve until Ctrl-C.

    Args:
        listen: The address for clear text; a free port is taken when its port is not.
        overrides: Keys of the configuration from the command line, which win.

    Raises:
        ConfigurationError: The overrides do not make sense.
    """
    with DemoOrigin() as origin, tempfile.TemporaryDirectory(prefix="headland-demo-") as directory:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        configuration = configure(origin.url, listen, Path(directory), token, overrides)
        return asyncio.run(_serve(configuration, origin.url, token))


def configure(origin: str, listen: str, directory: Path, token: str, overrides: Mapping[KeyPath, Any]) -> Configuration:
    """The node's configuration; writes certificate, key and token into `directory`."""
    certificate, key = self_signed()
    for name, text in (("cert.pem", certificate), ("key.pem", key), ("token", token)):
        (directory / name).write_text(text, encoding="ascii")
    values: dict[str, Any] = {
        "node": {"name": "headland-demo", "drain": DRAIN, "server_timing": True},
        "listen": {"http": [_free(listen)], "https": [_free(f"{LOOPBACK}:{HTTPS_PORT}")]},
        "tls": [{"cert": "cert.pem", "key": "key.pem"}],
        "admin": {
            "listen": _free(f"{LOOPBACK}:{ADMIN_PORT}"),
            "tokens": [{"name": "demo", "file": "token", "scope": ["purge", "read"]}],
        },
        "purge": {"allow": ["127.0.0.0/8", "::1/128"]},
        # A reload in a browser asks caches not to answer; here it should show that they do.
        "site": [{"hosts": ["*"], "origin": "walk", "honour_client_directives": False}],
        "origin": {"walk": {"servers": [origin]}},
    }
    return judge(Document(COMMAND_LINE, directory, values).overridden(overrides))


async def _serve(configuration: Configuration, origin: str, token: str) -> Exit:
    process_log.configure(audit=False)  # its lines would tear up the live one
    service = Service(configuration)
    try:
        await service.start()
    except StartError as error:
        print(f"headland: {error}", file=sys.stderr)
        return error.status
    print(_text(_places(service, origin, token)), flush=True)
    live = asyncio.create_task(LiveLine(service.node, sys.stdout).run())
    await service.asked_to_stop()
    live.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await live
    print("stopping", flush=True)
    return await service.stop()


def _places(service: Service, origin: str, token: str) -> Places:
    addresses = dict(service.node.addresses())
    https = addresses.get("https", "")
    return Places(
        http=f"http://{addresses['http']}" if "http" in addresses else "",
        # The name localhost, because clients send no server name for an address.
        https=f"https://{https.replace(LOOPBACK, 'localhost')}" if https else "",
        admin=f"http://{service.admin_address}" if service.admin_address else "",
        origin=origin,
        token=token,
    )


def things_to_try(places: Places) -> list[tuple[str, str]]:
    """What each thing shows, and the command line for it."""
    http, https, admin, token = places.http, places.https, places.admin, places.token
    seen = "-w '%{time_starttransfer} s  %header{cache-status}\\n'"
    purge = f"-X POST {admin}/v1/purges -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json'"
    return [
        ("a miss, and a hit when asked again: see Cache-Status and Age", f"curl -sD - -o /dev/null {http}/gallery"),
        (
            "five visitors ask for a slow page at once, the origin is asked once",
            f"for i in 1 2 3 4 5; do curl -so /dev/null {seen} {http}/slow & done; wait",
        ),
        (
            "100 MiB over HTTP/2: the second time they come from memory, and so does a part of them",
            f"curl -ko /dev/null {https}/big; curl -skr 1000000-1000999 {https}/big | wc -c",
        ),
        (
            "purge a tag over the API, or one page with PURGE, and ask again",
            f'curl {purge} -d \'{{"type": "tag", "items": ["gallery"]}}\'; curl -X PURGE {http}/time',
        ),
        (
            "the origin breaks down, and what was stored still answers (origin=up mends it)",
            f"curl -s {http}/sie; curl -X POST '{http}/switch?origin=down'; sleep 3; curl -i {http}/sie",
        ),
    ]


def _text(places: Places) -> str:
    """What is printed at the start."""
    rows = [
        ("site", places.http + "/" if places.http else ""),
        ("", f"{places.https}/ (certificate made for this run; browsers will ask)" if places.https else ""),
        ("dashboard", places.admin + "/" if places.admin else ""),
        ("origin", f"{places.origin}/ (what the node asks; it takes 40 ms for a page)"),
    ]
    where = [f"  {name:<10} {text}" for name, text in rows if text]
    tries = [f"  # {title}\n  {command}\n" for title, command in things_to_try(places)]
    return "\n".join(["Headland demo", "", *where, "", "Try:", "", *tries, "Ctrl-C ends it.", ""])


def _free(address: str) -> str:
    """The address, or one with a free port when its port is taken."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((host.strip("[]"), int(port)))
            door.listen()  # two sockets may share a port until one listens
        except OSError as error:
            return f"{host}:0" if error.errno == errno.EADDRINUSE else address
        except (ValueError, OverflowError):
            return address  # no address at all, which the configuration says better
    return address
