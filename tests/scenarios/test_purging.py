"""A purge is seen by the very next request, whichever way it came."""

from __future__ import annotations

import json

import pytest

from purge_api.client import PurgeClient
from tests.processes import TOKEN

FIELDS = {"Cache-Control": "max-age=60", "ETag": '"1"'}


@pytest.fixture
def purges(places):
    return PurgeClient(f"http://{places['admin']}", TOKEN)


@pytest.fixture
def tagged(origin, path):
    """Answers that carry the tag of their path, and can be confirmed."""

    def script(exchange):
        fields = FIELDS | {"Cache-Tag": f"tag{path[1:]}"}
        if exchange.headers.get("If-None-Match") == '"1"':
            exchange.answer(304, fields)
        else:
            exchange.answer(200, fields, str(exchange.number))

    for where in (path, f"{path}/a", f"{path}/b"):
        origin.at(where, script)
    return path


def items_of(kind, host, path):
    return {
        "url": [f"http://{host}{path}/a"],
        "path": [f"http://{host}{path}/a"],
        "wildcard": [f"{host}{path}/*"],
        "regex": [f"{host}~^{path}/.$"],
        "prefix": [f"http://{host}{path}/"],
        "host": [host],
        "tag": [f"tag{path[1:]}"],
        "all": [],
    }[kind]


@pytest.mark.parametrize("kind", ["url", "path", "prefix", "wildcard", "regex", "host", "tag", "all"])
@pytest.mark.parametrize("soft", [False, True])
def test_the_next_request_knows(client, purges, tagged, kind, soft):
    host, where = f"p{tagged[1:]}.test", f"{tagged}/a"
    client.get(where, host=host)
    assert client.get(where, host=host).cache == "hit"
    purges.purge(kind, items_of(kind, host, tagged), soft=soft)
    answer = client.get(where, host=host)
    if soft:
        assert (answer.body, answer.cache) == (b"1", "fwd=stale")
        assert "fwd-status=304" in answer.headers["cache-status"]
    else:
        assert (answer.body, answer.cache) == (b"2", "fwd=miss; detail=purged; stored")
    assert client.get(where, host=host).cache == "hit"


@pytest.mark.parametrize("kind", ["url", "path", "prefix", "wildcard", "regex", "host", "tag"])
def test_nothing_else_is_purged(origin, client, purges, tagged, kind):
    host, other = f"p{tagged[1:]}.test", f"q{tagged[1:]}.test"
    origin.says(f"{tagged}-untagged", FIELDS, "x")
    kept = [(other, f"{tagged}/a")] if kind != "tag" else [(host, f"{tagged}-untagged")]
    kept += [(host, f"{tagged}/b")] if kind in {"url", "path"} else []
    kept += [(host, f"{tagged}-untagged")] if kind in {"prefix", "wildcard", "regex"} else []
    for where in (*kept, (host, f"{tagged}/a")):
        client.get(where[1], host=where[0])
    purges.purge(kind, items_of(kind, host, tagged))
    for name, where in kept:
        assert client.get(where, host=name).cache == "hit", (name, where)


def test_all_variants_of_a_url_are_purged(origin, client, purges, path):
    origin.at(path, lambda it: it.answer(200, FIELDS | {"Vary": "X-Device"}, it.headers["X-Device"]))
    devices = [f"X-Device: {name}" for name in "abc"]
    for device in devices:
        client.get(path, device)
    purges.purge("url", [client.url(path)])
    for device in devices:
        assert client.get(path, device).cache.endswith("stored")


def test_a_soft_purge_lets_stale_be_served_while_it_refreshes(origin, client, purges, path):
    fields = {"Cache-Control": "max-age=60, stale-while-revalidate=60"}
    origin.at(path, lambda exchange: exchange.answer(200, fields, str(exchange.number)))
    client.get(path)
    purges.purge("url", [client.url(path)], soft=True)
    answer = client.get(path)
    assert (answer.body, answer.cache) == (b"1", "hit; detail=stale-while-revalidate")
    assert client.poll(lambda answer: answer.cache == "hit", path).body == b"2"


def test_a_soft_purge_keeps_what_stands_in_for_a_dead_origin(origin, client, purges, path):
    origin.says(path, {"Cache-Control": "max-age=60, stale-if-error=60"}, "kept")
    client.get(path)
    purges.purge("url", [client.url(path)], soft=True)
    answer = client.get(path, "X-Origin: dead")
    assert (answer.body, answer.cache) == (b"kept", "hit; detail=stale-if-error")


def test_a_hard_purge_leaves_nothing_to_stand_in(origin, client, purges, path):
    origin.says(path, {"Cache-Control": "max-age=60, stale-if-error=60, stale-while-revalidate=60"}, "gone")
    client.get(path)
    purges.purge("url", [client.url(path)])
    assert client.get(path, "X-Origin: dead").status == 502


@pytest.mark.parametrize("soft", [False, True])
def test_purge_on_the_data_port(client, tagged, soft):
    client.get(tagged)
    answer = client.get(tagged, *(["Soft-Purge: 1"] if soft else []), method="PURGE")
    assert (answer.status, json.loads(answer.body)["status"]) == (200, "ok")
    after = client.get(tagged)
    assert after.cache == ("fwd=stale" if soft else "fwd=miss; detail=purged; stored")


def test_purge_on_the_data_port_needs_an_allowed_address(origin, client, tagged):
    client.get(tagged)
    answer = client.get(tagged, method="PURGE", extra=("--interface", "127.0.0.2"))
    assert answer.status == 403
    assert client.get(tagged).cache == "hit"
    assert [exchange.method for exchange in origin.asked(tagged)] == ["GET"]


def test_a_forwarded_address_does_not_allow_a_purge(client, tagged):
    fields = ("X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1")
    answer = client.get(tagged, *fields, method="PURGE", extra=("--interface", "127.0.0.2"))
    assert answer.status == 403


def test_purging_what_is_not_there_is_fine(client, path):
    assert client.get(path, method="PURGE").status == 200


def test_a_path_is_purged_with_every_query(origin, client, purges, path):
    origin.says(path, FIELDS, "x")
    queries = ("", "?a=1", "?b")
    for query in queries:
        client.get(path + query)
    purges.purge("path", [client.url(path)])
    assert [client.get(path + query).cache for query in queries] == ["fwd=miss; detail=purged; stored"] * 3


def test_a_site_is_purged_with_all_its_hosts_and_ports(origin, client, purges, path):
    origin.says(path, FIELDS, "x")
    hosts = ("site.test", "site.test:8080", "a.b.site.test", "othersite.test")
    for host in hosts:
        client.get(path, host=host)
    purges.purge("site", ["site.test"])
    cached = [client.get(path, host=host).cache == "hit" for host in hosts]
    assert cached == [False, False, False, True]


def test_a_dry_run_counts_what_would_go_and_nothing_goes(client, purges, tagged):
    for where in ("/a", "/b"):
        client.get(tagged + where)
    reached = purges.dry_run("tag", [f"tag{tagged[1:]}", "nothing-has-this"])
    assert [item["objects"] for item in reached] == [2, 0]
    assert reached[0]["bytes"] > 0
    assert client.get(f"{tagged}/a").cache == "hit"


def test_the_last_of_a_thousand_tags_purges(origin, client, purges, path):
    tags = [f"{path[1:]}-{number}" for number in range(1_000)]
    origin.says(path, FIELDS | {"Surrogate-Key": " ".join(tags)}, "tagged")
    client.get(path)
    assert client.get(path).cache == "hit"
    purges.purge("tag", tags[-1:])
    assert client.get(path).cache == "fwd=miss; detail=purged; stored"


@pytest.mark.parametrize(
    ("method", "where", "fields"),
    [
        ("BAN", "/", ["X-Host: .*", "X-Url: ^{path}/"]),
        ("BAN", "/", ["X-Cache-Tags: (^|,)(other|tag{tag})(,|$)"]),
        ("PURGE", "/", ["X-Magento-Tags-Pattern: ((^|,)tag{tag}(,|$))"]),
        ("PURGEKEYS", "/", ["xkey-purge: other tag{tag}"]),
        ("PURGE", "{path}/.*", ["X-Purge-Method: regex"]),
        ("GET", "/purge{path}/a", []),
    ],
)
def test_clients_purge_on_the_data_port_as_they_are_used_to(client, tagged, method, where, fields):
    client.get(f"{tagged}/a")
    names = {"path": tagged, "tag": tagged[1:]}
    answer = client.get(where.format(**names), *(field.format(**names) for field in fields), method=method)
    assert (answer.status, json.loads(answer.body)["status"]) == (200, "ok")
    assert client.get(f"{tagged}/a").cache == "fwd=miss; detail=purged; stored"


def test_a_token_purges_from_any_address(client, tagged):
    client.get(tagged)
    elsewhere = ("--interface", "127.0.0.2")
    wrong = client.get(tagged, "Authorization: Bearer wrong", method="PURGE", extra=elsewhere)
    assert (wrong.status, client.get(tagged).cache) == (401, "hit")
    right = client.get(tagged, f"Authorization: Bearer {TOKEN}", method="PURGE", extra=elsewhere)
    assert (right.status, client.get(tagged).cache) == (200, "fwd=miss; detail=purged; stored")


def test_what_nginx_helper_asks_for_is_an_ordinary_path_elsewhere(origin, client, path):
    origin.says(f"/purge{path}", FIELDS, "a page")
    assert client.get(f"/purge{path}", extra=("--interface", "127.0.0.2")).body == b"a page"
