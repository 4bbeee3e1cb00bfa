"""A client that takes nothing does not hold its connection for longer than it may."""

import select
import socket
import ssl

from tests.certificates import make
from tests.origins import Origin
from tests.processes import Headland

CONFIG = """\
[node]
name = "pop1"
[listen]
http = "127.0.0.1:0"
https = "127.0.0.1:0"
[[tls]]
cert = "cert.pem"
key = "key.pem"
[admin]
listen = "127.0.0.1:0"
state_dir = "state"
[log]
format = "json"
path = "-"
[limits]
write_stall_time = "1s"
body_idle_time = "500ms"
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


def upload(address: str, pieces: int, pause_s: float) -> bytes:
    """Begin the answer to a body of ten bytes that comes in so many pieces, and is never whole with fewer than ten."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=WAIT_S) as client:
        client.sendall(b"POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n")
        for _ in range(pieces):
            client.sendall(b".")
            # An answer ends the pause.
            select.select([client], [], [], pause_s)
        return client.recv(12)


def test_a_body_may_take_long_but_not_be_silent_for_long(tmp_path):
    make(tmp_path, "a.example")
    with Origin() as origin:
        file = tmp_path / "edge.toml"
        file.write_text(CONFIG.format(origin=origin.url))
        with Headland("serve", "--config", file) as headland:
            address = headland.serving()["http"]
            assert upload(address, 10, 0.15) == b"HTTP/1.1 200"
            assert upload(address, 5, 0.0) == b"HTTP/1.1 408"


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
                while '"complete":false' not in (line := headland.line("stdout")):
                    assert line, "the node ended"
