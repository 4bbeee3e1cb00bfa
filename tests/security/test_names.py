"""Certificates by name, and requests on a connection that was made for another one."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests import certificates
from tests.processes import Headland
from tests.security.recording import WAIT_S, RecordingOrigin

CONFIGURATION = """\
[listen]
https = "127.0.0.1:0"
[admin]
listen = "off"
state_dir = "state"
[[tls]]
cert = "a/cert.pem"
key = "a/key.pem"
[[tls]]
cert = "wild/cert.pem"
key = "wild/key.pem"
[[site]]
hosts = ["a.example", "b.example", "*.wild.example", "x.y.wild.example"]
origin = "app"
[origin.app]
servers = "{origin}"
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("names")
    certificates.make(place / "a", "a.example", "b.example")
    certificates.make(place / "wild", "*.wild.example")
    file: Path = place / "edge.toml"
    with RecordingOrigin() as origin:
        file.write_text(CONFIGURATION.format(origin=origin.url))
        with Headland("serve", "--config", file) as process:
            yield process.serving()["https"]


def _ask(node: str, sni: str | None, host: str) -> tuple[str, int]:
    """The first name of the certificate that was shown, and the status of a request for `host`."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # what is shown is looked at below
    name, port = node.rsplit(":", 1)
    with (
        socket.create_connection((name, int(port)), timeout=WAIT_S) as plain,
        context.wrap_socket(plain, server_hostname=sni) as stream,
    ):
        shown = stream.getpeercert(binary_form=True)
        assert shown is not None
        names = x509.load_der_x509_certificate(shown).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        stream.sendall(f"GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        with stream.makefile("rb") as answer:
            return str(names.value[0].value), int(answer.readline()[9:12])


@pytest.mark.parametrize(
    ("sni", "host", "shown", "status"),
    [
        ("a.example", "a.example", "a.example", 200),
        ("A.EXAMPLE", "a.example", "a.example", 200),
        ("a.example", "b.example", "a.example", 200),
        ("one.wild.example", "one.wild.example", "*.wild.example", 200),
        ("one.wild.example", "two.wild.example", "*.wild.example", 200),
        ("x.y.wild.example", "x.y.wild.example", "a.example", 200),
        ("one.wild.example", "a.example", "*.wild.example", 421),
        ("a.example", "one.wild.example", "a.example", 421),
        ("unknown.example", "unknown.example", "a.example", 421),
        (None, "a.example", "a.example", 200),
    ],
)
def test_the_name_chooses_the_certificate_and_bounds_the_connection(
    sni: str | None, host: str, shown: str, status: int, node: str
) -> None:
    """F21: a host that another certificate answers for is misdirected."""
    assert _ask(node, sni, host) == (shown, status)
