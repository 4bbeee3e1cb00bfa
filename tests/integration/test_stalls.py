"""A client that takes nothing does not hold its connection for longer than it may."""

import socket
import ssl
import time

from tests.certificates import make
from tests.origins import Origin
from tests.processes import Headland

CONFIG = """\
[node]
name = "pop1"
[listen]
https = "127.0.0.1:0"
[[tls]]
cert = "cert.pem"
key = "key.pem"
[admin]
listen = "127.0.0.1:0"
state_dir = "state"
[log]
format = "json"
path = "access.log"
[limits]
write_stall_time = "1s"
[[site]]
hosts = "*"
origin = "app"
[origin.app]
servers = "{origin}"
"""
BODY = bytes(32 * 1024)
"""Less than TLS holds back: the answer is written at once, and waits there."""
REQUESTS = 600
"""Their answers are more than any socket takes that nobody reads."""
WAIT_S = 20.0


def test_an_answer_that_waits_inside_tls_has_a_deadline_too(tmp_path):
    make(tmp_path, "a.example")
    with Origin(lambda _target: (200, {"Cache-Control": "max-age=60"}, BODY)) as origin:
        file = tmp_path / "edge.toml"
        file.write_text(CONFIG.format(origin=origin.url))
        with Headland("serve", "--config", file) as headland:
            host, port = headland.serving()["https"].rsplit(":", 1)
            context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
            with (
                socket.create_connection((host, int(port)), timeout=WAIT_S) as clear,
                context.wrap_socket(clear, server_hostname="a.example") as client,
            ):
                client.sendall(b"GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n" * REQUESTS)
                log = tmp_path / "access.log"
                deadline = time.monotonic() + WAIT_S
                while not (log.exists() and b'"complete":false' in log.read_bytes()):
                    assert time.monotonic() < deadline, "the node still waits"
                    time.sleep(0.05)
