"""No-Vary-Search: one stored answer for the queries that it declares equivalent, where its site wants that."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request

import pytest

from purge_api.client import PurgeClient
from tests import certificates
from tests.processes import TOKEN, Headland, preamble
from tests.quic_client import client_of

CONFIGURATION = """\
[[site]]
hosts = "deaf.test"
origin = "app"
[[site]]
hosts = "*"
origin = "app"
no_vary_search = true
[origin.app]
servers = "{origin}"
"""


@pytest.fixture(scope="module")
def places(origin, tmp_path_factory):
    file = tmp_path_factory.mktemp("no-vary-search") / "edge.toml"
    secure = certificates.make(file.parent, "a.example")
    file.write_text(preamble(admin=True, secure=secure) + CONFIGURATION.format(origin=origin.url))
    with Headland("serve", "--config", file) as node:
        yield node.serving()


@pytest.fixture(params=["h1", "h2", "h3"])
def client(request, places):
    return client_of(places, request.param)


@pytest.fixture
def page(origin, path):
    """Answers that differ by `id` alone, and say so."""

    def script(exchange):
        if exchange.method == "POST":
            exchange.answer(200)
            return
        fields = {"Cache-Control": "max-age=60", "No-Vary-Search": 'params, except=("id" "v")', "Vary": "X-Colour"}
        if "v=2" in exchange.target:
            fields["No-Vary-Search"] = "params=(x)"
        exchange.answer(200, fields, f"{exchange.number} {exchange.target}")

    origin.at(path, script)
    return path


def test_an_equivalent_query_is_a_hit(client, page):
    first = client.get(f"{page}?id=1&utm=a")
    again = client.get(f"{page}?utm=b&id=%31")
    assert (again.cache, again.body) == ("hit", first.body)
    assert client.get(f"{page}?id=2&utm=a").cache == "fwd=uri-miss; stored"
    assert client.get(f"{page}?id=2").body.endswith(b"id=2&utm=a")


def test_hosts_variants_and_paths_are_kept_apart(client, origin, page):
    client.get(f"{page}?id=1&utm=a")
    assert client.get(f"{page}?id=1&utm=b", host="other.test").cache == "fwd=uri-miss; stored"
    assert client.get(f"{page}?id=1&utm=c", "X-Colour: red").cache == "fwd=uri-miss; stored"
    assert client.get(f"{page}/?id=1&utm=b").status == 404


def test_a_value_that_does_not_parse_is_the_default(client, page):
    client.get(f"{page}?v=2&utm=a")
    assert client.get(f"{page}?v=2&utm=b").cache == "fwd=uri-miss; stored"


def test_a_site_that_does_not_want_it_keys_by_the_whole_query(client, page):
    client.get(f"{page}?id=1&utm=a", host="deaf.test")
    assert client.get(f"{page}?id=1&utm=b", host="deaf.test").cache == "fwd=uri-miss; stored"


def test_a_client_that_wants_validation_gets_its_own_query(client, page):
    client.get(f"{page}?id=1&utm=a")
    assert client.get(f"{page}?id=1&utm=b", "Cache-Control: no-cache").cache == "fwd=uri-miss; stored"


@pytest.mark.parametrize("soft", [False, True])
def test_a_purge_of_either_url_is_seen_by_both(client, places, page, soft):
    host = f"p{page[1:]}.test"
    purges = PurgeClient(f"http://{places['admin']}", TOKEN)
    for purged in ("a", "b", "c"):
        client.get(f"{page}?id=1&utm=a", host=host)
        before = client.get(f"{page}?id=1&utm=c", host=host)
        assert before.cache == "hit"
        purges.purge("url", [f"{client.scheme}://{host}{page}?id=1&utm={purged}"], soft=soft)
        assert client.get(f"{page}?id=1&utm=b", host=host).cache != "hit"
        for query in ("a", "b", "c"):
            number = int(client.get(f"{page}?id=1&utm={query}", host=host).body.split()[0])
            assert number > int(before.body.split()[0])


def test_an_unsafe_request_invalidates_what_is_equivalent(client, page):
    client.get(f"{page}?id=1&utm=a")
    assert client.get(f"{page}?id=1&utm=b", method="POST", body="x").status == 200
    assert client.get(f"{page}?id=1&utm=a").cache != "hit"


def test_explain_tells_that_an_equivalent_answers(client, places, page):
    client.get(f"{page}?id=1&utm=a")
    asked = urllib.parse.urlencode({"url": client.url(f"{page}?utm=z&id=1")})
    request = urllib.request.Request(
        f"http://{places['admin']}/v1/explain?{asked}", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    with urllib.request.urlopen(request) as response:
        told = json.load(response)
    assert told["answer"]["outcome"] == "hit"
    assert told["answer"]["clause"].startswith("No-Vary-Search section 6")
