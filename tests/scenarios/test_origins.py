"""Several servers, servers that fail, TLS and HTTP/2 towards the origin."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections import Counter

import pytest

from tests import certificates, nginx
from tests.curls import Client
from tests.processes import Headland, preamble
from tests.scripted import ScriptedOrigin, closed_port
from tests.waiting import until

BASE = """\
[[site]]
hosts = "*"
origin = "app"
[origin.app]
"""


@pytest.fixture
def serve(tmp_path):
    pytest.importorskip("_headland", reason="the extension is not built: make develop")
    nodes: list[Headland] = []

    def start(text, version="h1", admin=False, **node):
        file = tmp_path / str(len(nodes)) / "edge.toml"
        file.parent.mkdir()
        file.write_text(preamble(admin=admin, workers=1, **node) + BASE + text)
        node = Headland("serve", "--config", file)
        nodes.append(node)
        places = node.serving()
        client = Client(places["http"], version)
        client.admin = places.get("admin")
        return client

    yield start
    for node in nodes:
        with node:
            pass


@pytest.fixture
def servers():
    with ScriptedOrigin() as one, ScriptedOrigin() as two:
        for server, name in ((one, "one"), (two, "two")):
            server.says("/", {"Cache-Control": "no-store"}, name)
        yield one, two


def test_round_robin_gives_each_server_its_share(serve, servers):
    client = serve(f'servers = ["{servers[0].url}", "{servers[1].url}"]')
    counts = Counter(client.get("/").body for _ in range(10))
    assert counts == {b"one": 5, b"two": 5}


def test_weights_count(serve, servers):
    client = serve(f'servers = [{{ url = "{servers[0].url}", weight = 3 }}, "{servers[1].url}"]')
    counts = Counter(client.get("/").body for _ in range(16))
    assert counts == {b"one": 12, b"two": 4}


def test_least_connections_avoids_the_busy_server(serve, servers, gate):
    client = serve(f'servers = ["{servers[0].url}", "{servers[1].url}"]\nbalance = "least-connections"')
    for server in servers:

        def wait(exchange):
            gate.pass_through()
            exchange.answer(200, {"Cache-Control": "no-store"}, "late")

        server.at("/busy", wait)
    with client.start("/busy") as busy:
        while not (taken := [server.asked("/busy") != [] for server in servers]).count(True):
            pass
        idle = b"two" if taken[0] else b"one"
        assert {client.get("/").body for _ in range(6)} == {idle}
        gate.set()
        assert busy.answer().body == b"late"


def test_a_server_that_is_down_costs_no_client_an_error(serve, servers):
    client = serve(
        f'servers = ["http://127.0.0.1:{closed_port()}", "{servers[1].url}"]\n'
        "[origin.app.ejection]\nfailures = 2\n[origin.app.retries]\nbudget_percent = 100"
    )
    assert {client.get("/").body for _ in range(20)} == {b"two"}


def test_a_server_that_always_fails_is_ejected(serve, servers):
    servers[0].at("/", lambda exchange: exchange.cut())
    client = serve(
        f'servers = ["{servers[0].url}", "{servers[1].url}"]\n'
        '[origin.app.ejection]\nfailures = 2\nbase = "10m"\n[origin.app.retries]\nbudget_percent = 100'
    )
    answers = {client.get("/").status for _ in range(20)}
    assert answers == {200}
    assert len(servers[0].asked("/")) <= 4


def test_a_backup_is_used_when_nothing_else_is_left(serve, servers):
    budget = "[origin.app.retries]\nbudget_percent = 100"
    backup = f'{{ url = "{servers[1].url}", backup = true }}'
    client = serve(f'servers = ["{servers[0].url}", {backup}]\n{budget}')
    assert {client.get("/").body for _ in range(5)} == {b"one"}
    ejection = "[origin.app.ejection]\nfailures = 1\nmax_percent = 100"
    client = serve(f'servers = ["http://127.0.0.1:{closed_port()}", {backup}]\n{ejection}\n{budget}')
    assert {client.get("/").body for _ in range(5)} == {b"two"}


def _bodies(client, paths):
    return [client.get(path, host="site.test").body for path in paths]


def test_of_two_choices_the_slow_server_is_avoided(serve, servers, gate):
    client = serve(f'servers = ["{servers[0].url}", "{servers[1].url}"]\nbalance = "two-choices"')

    def late(exchange):
        gate.wait(0.3)
        exchange.answer(200, {"Cache-Control": "no-store"}, "one")

    servers[0].at("/", late)
    # Each is asked once or twice before it is known; after that the slow one rests.
    assert Counter(_bodies(client, ["/"] * 20))[b"two"] >= 17


def test_a_url_belongs_to_one_server_and_moves_only_when_that_is_out(serve, servers):
    pages = [f"/page?{number}" for number in range(20)]
    with ScriptedOrigin() as third:
        for server, name in ((servers[0], "one"), (servers[1], "two"), (third, "three")):
            server.says("/page", {"Cache-Control": "no-store"}, name)
        three = f'servers = ["{servers[0].url}", "{servers[1].url}", "{third.url}"]\nbalance = "hash"'
        client = serve(three)
        homes = _bodies(client, pages)
        assert set(homes) == {b"one", b"two", b"three"}
        assert _bodies(client, pages) == homes
        assert _bodies(serve(three), pages) == homes, "another node agrees"
    rest = f'servers = ["{servers[0].url}", "{servers[1].url}"]\nbalance = "hash"'
    moved = zip(homes, _bodies(serve(rest), pages), strict=True)
    assert all(before in {after, b"three"} for before, after in moved)


def test_a_field_or_the_clients_address_can_be_the_key(serve, servers):
    two = f'servers = ["{servers[0].url}", "{servers[1].url}"]\nbalance = "hash"\n'
    client = serve(two + 'hash_by = "header"\nhash_header = "X-User"')
    homes = {user: {client.get("/", f"X-User: {user}").body for _ in range(4)} for user in "abcdefgh"}
    assert all(len(home) == 1 for home in homes.values())
    assert set.union(*homes.values()) == {b"one", b"two"}
    client = serve(two + 'hash_by = "client"')
    assert len(set(_bodies(client, ["/"] * 8))) == 1


def test_a_cookie_binds_a_client_to_its_server(serve, servers):
    client = serve(f'servers = ["{servers[0].url}", "{servers[1].url}"]\nsticky_cookie = "HL"')
    first = client.get("/")
    cookie = first.headers["set-cookie"].split(";")[0]
    assert cookie.startswith("HL=")
    for _ in range(5):
        again = client.get("/", f"Cookie: a=b; {cookie}")
        assert (again.body, "set-cookie" in again.headers) == (first.body, False)
    other = client.get("/", "Cookie: HL=0000000000000000")
    assert other.headers["set-cookie"].startswith("HL="), "a server that is not there any more is replaced"
    for server in servers:
        server.says("/shared", {"Cache-Control": "max-age=60"}, "for all")
    assert "set-cookie" not in client.get("/shared").headers


def test_priorities_and_zones_decide_who_is_asked(serve, servers):
    far = f'{{ url = "{servers[0].url}", zone = "far" }}'
    near = f'{{ url = "{servers[1].url}", zone = "here" }}'
    client = serve(f"servers = [{far}, {near}]", zone="here")
    assert set(_bodies(client, ["/"] * 6)) == {b"two"}
    second = f'{{ url = "{servers[0].url}", priority = 1 }}'
    client = serve(f'servers = [{second}, "{servers[1].url}"]')
    assert set(_bodies(client, ["/"] * 6)) == {b"two"}


def test_a_server_that_its_checks_find_down_gets_no_request_until_they_find_it_up(serve, servers):
    for server in servers:
        server.says("/health", body="well")
    checks = '[origin.app.health]\npath = "/health"\nbody = "well"\ninterval = "100ms"\nfall = 2\nrise = 2'
    client = serve(f'servers = ["{servers[0].url}", "{servers[1].url}"]\nslow_start = "0s"\n{checks}', admin=True)

    def state():
        with urllib.request.urlopen(f"http://{client.admin}/v1/origins") as answer:
            return json.load(answer)["origins"][0]["servers"][0]

    servers[0].says("/health", body="not at all")
    until(lambda: state()["down"])
    assert state()["check"]["failure"] == "no 'well' in the body"
    assert set(_bodies(client, ["/"] * 6)) == {b"two"}
    servers[0].says("/health", body="well")
    until(lambda: not state()["down"])
    assert set(_bodies(client, ["/"] * 6)) == {b"one", b"two"}


def test_a_server_that_answers_with_errors_is_ejected(serve, servers):
    servers[0].says("/", {"Cache-Control": "no-store"}, "broken", status=500)
    client = serve(f'servers = ["{servers[0].url}", "{servers[1].url}"]\n[origin.app.ejection]\nbase = "10m"')
    _bodies(client, ["/"] * 14)
    assert set(_bodies(client, ["/"] * 6)) == {b"two"}
    assert len(servers[0].asked("/")) <= 7


def test_after_a_503_another_server_is_asked(serve, servers):
    servers[0].says("/", {"Cache-Control": "no-store"}, "busy", status=503)
    client = serve(f'servers = ["{servers[0].url}", "{servers[1].url}"]\n[origin.app.retries]\nbudget_percent = 100')
    assert {client.get("/").body for _ in range(10)} == {b"two"}


def test_a_request_that_takes_long_is_asked_of_another_server_too(serve, servers, gate):
    hedged = '[origin.app.hedge]\npercent = 100\ndelay_min = "10ms"'
    client = serve(f'servers = ["{servers[0].url}", "{servers[1].url}"]\n{hedged}')
    _bodies(client, ["/"] * 50)

    def late(exchange):
        gate.pass_through()
        exchange.answer(200, {"Cache-Control": "no-store"}, "one")

    servers[0].at("/", late)
    assert set(_bodies(client, ["/"] * 6)) == {b"two"}
    gate.set()


def test_an_origin_with_enough_to_do_gives_503_or_what_is_stale(serve, servers, gate):
    servers[0].says("/stale", {"Cache-Control": "max-age=0, stale-if-error=600", "ETag": '"1"'}, "old")
    bounded = "[origin.app.concurrency]\nrequests_max = 1"
    client = serve(f'servers = ["{servers[0].url}"]\n{bounded}', admin=True)
    assert client.get("/stale").body == b"old"

    def late(exchange):
        gate.pass_through()
        exchange.answer(200, {"Cache-Control": "no-store"}, "late")

    servers[0].at("/busy", late)
    with client.start("/busy") as busy:
        servers[0].wait_asked("/busy", 1)
        refused = client.get("/other")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert "error=connection_limit_reached" in refused.headers["proxy-status"]
        assert client.get("/other", method="POST", body="x").status == 503
        stale = client.get("/stale")
        assert (stale.body, stale.cache) == (b"old", "hit; detail=stale-if-error")
        gate.set()
        assert busy.answer().body == b"late"
    assert client.get("/stale").body == b"old"
    with urllib.request.urlopen(f"http://{client.admin}/metrics") as metrics:
        assert b'headland_origin_errors_total{reason="overloaded"} 3.0' in metrics.read()


@pytest.fixture
def authority(tmp_path):
    return certificates.make(tmp_path / "ca", "ca.test", authority=True)


@pytest.fixture
def identity(tmp_path, authority):
    return certificates.make(tmp_path / "server", "app.test", issuer=authority)


@pytest.fixture
def secure(identity):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.cert_file, identity.key_file)
    with ScriptedOrigin(context) as running:
        running.says("/", {"Cache-Control": "max-age=60"}, "secure")
        yield running


def test_tls_to_the_origin_with_its_own_authority(serve, secure, authority):
    client = serve(f'servers = "{secure.url}"\nca = "{authority.cert_file}"\nserver_name = "app.test"')
    assert client.get("/").body == b"secure"
    assert client.get("/").cache == "hit"


@pytest.mark.parametrize("wrong", ["authority", "name", "system"])
def test_an_origin_that_cannot_be_verified_gets_no_request(serve, secure, authority, tmp_path, wrong):
    other = certificates.make(tmp_path / "other", "other.test", authority=True)
    ca = {"authority": other, "name": authority, "system": None}[wrong]
    name = "wrong.test" if wrong == "name" else "app.test"
    trust = f'ca = "{ca.cert_file}"\n' if ca else ""
    answer = serve(f'servers = "{secure.url}"\n{trust}server_name = "{name}"').get("/")
    assert answer.status == 502
    assert "error=tls_certificate_error" in answer.headers["proxy-status"]
    assert "details=" in answer.headers["proxy-status"]
    assert not secure.exchanges


@pytest.mark.skipif(nginx.PROGRAM is None, reason="NGINX is not installed")
@pytest.mark.parametrize("setting", ["true", "false"])
def test_safe_requests_go_out_with_the_handshake_where_the_settings_say_so(
    serve, identity, authority, tmp_path, setting
):
    # No connection is kept: each request needs a handshake. Whether NGINX finds a request early that it took early is
    # a race with the end of the handshake, which is why /late may answer at once.
    server = f"""
        ssl_certificate {identity.cert_file};
        ssl_certificate_key {identity.key_file};
        ssl_protocols TLSv1.3;
        ssl_session_cache shared:s:1m;
        ssl_early_data on;
        add_header Cache-Control no-store always;
        location / {{ return 200 "$request_method$ssl_early_data"; }}
        location /late {{
            if ($ssl_early_data) {{ return 425; }}
            return 200 late;
        }}
    """
    with nginx.Nginx(tmp_path / "nginx", server, "ssl") as running:
        client = serve(
            f'servers = "https://127.0.0.1:{running.port}"\nca = "{authority.cert_file}"\n'
            f'server_name = "app.test"\nearly_data = {setting}\n[origin.app.pool]\nwarm = 0\nidle_max = 0',
            admin=True,
        )
        assert client.get("/").body == b"GET"
        assert client.get("/").body in ({b"GET", b"GET1"} if setting == "true" else {b"GET"})
        assert _early(client) == (1 if setting == "true" else 0, 0)
        assert client.get("/", method="POST", body="pay").body == b"POST"
        assert _early(client) == (1 if setting == "true" else 0, 0)
        answer = client.get("/late")
        assert (answer.status, answer.body) == (200, b"late")
        assert _early(client) == (2 if setting == "true" else 0, 0)


def _early(client):
    """Requests that went out with a handshake: those that the server took, those that it did not."""
    with urllib.request.urlopen(f"http://{client.admin}/metrics") as metrics:
        text = metrics.read().decode()
    words = (f'headland_origin_early_data_total{{result="{word}"}} ' for word in ("taken", "refused"))
    return tuple(int(float(text.split(word)[1].split()[0])) for word in words)


@pytest.mark.skipif(nginx.PROGRAM is None, reason="NGINX is not installed")
@pytest.mark.parametrize("version", ["h1", "h2"])
def test_http2_to_the_origin(serve, identity, authority, tmp_path, version):
    server = f"""
        ssl_certificate {identity.cert_file};
        ssl_certificate_key {identity.key_file};
        location / {{ add_header Cache-Control max-age=60; return 200 "$server_protocol $uri"; }}
    """
    with nginx.Nginx(tmp_path / "nginx", server, "ssl http2") as running:
        client = serve(
            f'servers = "https://127.0.0.1:{running.port}"\nca = "{authority.cert_file}"\nserver_name = "app.test"',
            version,
        )
        for number in range(20):
            answer = client.get(f"/{number}")
            assert (answer.status, answer.body) == (200, f"HTTP/2.0 /{number}".encode())
        assert client.get("/0").cache == "hit"
