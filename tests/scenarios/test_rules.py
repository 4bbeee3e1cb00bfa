"""Rules of every kind, from TOML to what clients and the origin see."""

from __future__ import annotations

import pytest

from tests import certificates
from tests.curls import Client
from tests.processes import Headland, preamble
from tests.quic_client import client_of
from tests.scripted import ScriptedOrigin

RULES = """\
[[site]]
hosts = "rules.test"
origin = "app"
[[site.rule]]
path = "/bypass/**"
cache = false
[[site.rule]]
cookie = { session = true }
cache = false
[[site.rule]]
path_prefix = "/force/"
cache = "force"
ttl = "1m"
[[site.rule]]
path_prefix = "/ttl/"
ttl = "1h"
[[site.rule]]
status = 404
ttl = "1m"
[[site.rule]]
path_prefix = "/by-status/"
ttl_status = { "5xx" = "1m", "200" = "2m" }
[[site.rule]]
path_prefix = "/grace/"
grace = "1h"
[[site.rule]]
path_prefix = "/sie/"
stale_if_error = "1h"
[[site.rule]]
path_prefix = "/drop/"
key = { query_drop = ["utm"] }
[[site.rule]]
path_prefix = "/allow/"
key = { query_allow = ["id"] }
[[site.rule]]
path_prefix = "/sort/"
key = { query = "sort" }
[[site.rule]]
path_prefix = "/ignore/"
key = { query = "ignore" }
[[site.rule]]
path_prefix = "/headers/"
key = { headers = ["X-Tenant"] }
[[site.rule]]
path_prefix = "/cookies/"
key = { cookies = ["tier"] }
[[site.rule]]
path_prefix = "/edit/"
set_request_header = { x-from = "edge" }
remove_request_header = "x-secret"
set_header = { x-set = "1" }
add_header = { x-add = "2" }
remove_header = "x-gone"
[[site.rule]]
path_prefix = "/seen/"
response_header = { x-kind = "page*" }
ttl = "1m"
set_header = { x-seen = "page" }
[[site.rule]]
path = "/old"
redirect = "https://www.test${target}"
redirect_status = 301
[[site.rule]]
path_suffix = ".php"
deny = 403
[[site.rule]]
method = "DELETE"
deny = 405
[[site.rule]]
client = "192.0.2.0/24"
deny = 403
[[site.rule]]
path_regex = "^/other/[0-9]+$"
origin = "other"
[origin.app]
servers = "ORIGIN"
[origin.other]
servers = "OTHER"
"""


@pytest.fixture(scope="module")
def other():
    with ScriptedOrigin() as running:
        yield running


@pytest.fixture(scope="module")
def rules_at(origin, other, tmp_path_factory):
    pytest.importorskip("_headland", reason="the extension is not built: make develop")
    file = tmp_path_factory.mktemp("rules") / "edge.toml"
    secure = certificates.make(file.parent, "rules.test")
    file.write_text(
        preamble(secure=secure, workers=1) + RULES.replace("ORIGIN", origin.url).replace("OTHER", other.url)
    )
    with Headland("serve", "--config", file) as node:
        yield node.serving()


@pytest.fixture(params=["h1", "h2", "h3"])
def get(request, rules_at):
    client = client_of(rules_at, request.param)
    return lambda path, *fields, **options: client.get(path, *fields, host="rules.test", **options)


def test_bypass_by_path_and_by_cookie(origin, get, path):
    for where in (f"/bypass{path}", path):
        origin.says(where, {"Cache-Control": "max-age=60"}, "x")
    for _ in range(2):
        assert get(f"/bypass{path}").cache == "fwd=bypass; detail=rule"
        assert get(path, "Cookie: a=b; session=1").cache == "fwd=bypass; detail=rule"
    get(path)
    assert get(path, "Cookie: a=b").cache == "hit"


def test_force_wins_over_the_origin(origin, get, path):
    origin.says(f"/force{path}", {"Cache-Control": "max-age=0"}, "x")
    get(f"/force{path}")
    assert get(f"/force{path}").cache == "hit"


def test_ttl(origin, get, path):
    origin.says(f"/ttl{path}", {}, "x")
    get(f"/ttl{path}")
    hit = get(f"/ttl{path}")
    assert hit.cache == "hit"
    assert 3500 < int(hit.headers["cache-status"].rsplit("ttl=", 1)[1]) <= 3600


def test_negative_answers_are_kept_where_a_rule_says_so(origin, get, path):
    origin.says(path, {}, "no", status=404)
    get(path)
    answer = get(path)
    assert (answer.status, answer.cache) == (404, "hit")
    origin.says(f"/by-status{path}", {}, "broken", status=503)
    get(f"/by-status{path}")
    answer = get(f"/by-status{path}")
    assert (answer.status, answer.cache) == (503, "hit")
    assert len(origin.asked(path)) == 1


def test_grace_serves_stale_while_it_fetches(origin, get, path):
    stale = {"Cache-Control": "max-age=10", "Age": "11", "ETag": '"1"'}
    fresh = {"Cache-Control": "max-age=60"}
    origin.at(f"/grace{path}", lambda it: it.answer(200, stale if it.number == 1 else fresh, str(it.number)))
    get(f"/grace{path}")
    answer = get(f"/grace{path}")
    assert (answer.body, answer.cache) == (b"1", "hit; detail=stale-while-revalidate")


def test_stale_if_error_by_rule(origin, get, path):
    stale = {"Cache-Control": "max-age=10", "Age": "11", "ETag": '"1"'}
    origin.at(f"/sie{path}", lambda it: it.answer(200 if it.number == 1 else 503, stale, str(it.number)))
    get(f"/sie{path}")
    answer = get(f"/sie{path}")
    assert (answer.status, answer.body, answer.cache) == (200, b"1", "hit; detail=stale-if-error")


@pytest.mark.parametrize(
    ("rule", "first", "same", "different"),
    [
        ("drop", "?a=1&utm=x", ["?utm=y&a=1", "?a=1"], ["?a=2"]),
        ("allow", "?id=1&x=1", ["?x=2&id=1", "?id=1"], ["?id=2", ""]),
        ("sort", "?a=1&b=2", ["?b=2&a=1"], ["?b=1&a=2"]),
        ("ignore", "?a=1", ["?b=2", ""], []),
    ],
)
def test_the_querys_part_of_the_key(  # noqa: PLR0917 - a table
    origin, get, path, rule, first, same, different
):
    where = f"/{rule}{path}"
    origin.says(where, {"Cache-Control": "max-age=60"}, "x")
    get(where + first)
    for query in same:
        assert get(where + query).cache == "hit", query
    for query in different:
        assert get(where + query).cache != "hit", query


def test_header_fields_in_the_key(origin, get, path):
    where = f"/headers{path}"
    origin.at(where, lambda it: it.answer(200, {"Cache-Control": "max-age=60"}, it.headers.get("X-Tenant", "-")))
    for _ in range(2):
        assert get(where, "X-Tenant: a").body == b"a"
        assert get(where, "X-Tenant: b").body == b"b"
        assert get(where).body == b"-"
    assert len(origin.asked(where)) == 3


def test_cookies_in_the_key(origin, get, path):
    """One cookie counts, and the others do not split the key."""
    where = f"/cookies{path}"
    origin.at(where, lambda it: it.answer(200, {"Cache-Control": "max-age=60"}, it.headers.get("Cookie", "-")))
    assert get(where, "Cookie: tier=gold; id=1").body == b"tier=gold; id=1"
    assert get(where, "Cookie: id=2; tier=gold").body == b"tier=gold; id=1"
    assert get(where, "Cookie: id=3").body == b"id=3"
    assert get(where, "X-Tier: gold").body == b"id=3"
    assert get(where, "Cookie: Tier=gold").body == b"id=3"
    assert get(where, "Cookie: tier=").body == b"tier="
    assert len(origin.asked(where)) == 3


@pytest.mark.parametrize("rule", ["drop", "allow", "sort", "ignore", "headers"])
def test_a_write_invalidates_under_the_key_that_the_rules_make(origin, get, path, rule):
    where = f"/{rule}{path}"
    origin.says(where, {"Cache-Control": "max-age=60"}, "x")
    target = f"{where}?id=1&utm=x"
    get(target, "X-Tenant: a")
    assert get(target, "X-Tenant: a").cache == "hit"
    get(target, "X-Tenant: a", method="POST", body="x")
    assert get(target, "X-Tenant: a").cache != "hit"


def test_header_edits_on_both_sides(origin, get, path):
    where = f"/edit{path}"
    origin.says(where, {"Cache-Control": "max-age=60", "X-Gone": "1", "X-Add": "1", "X-Set": "0"}, "x")
    for cache in ("fwd=uri-miss; stored", "hit"):
        answer = get(where, "X-Secret: s", "X-From: client")
        assert answer.cache == cache
        assert answer.headers["x-set"] == "1"
        assert answer.headers["x-add"] == "1, 2"
        assert "x-gone" not in answer.headers
    (exchange,) = origin.asked(where)
    assert exchange.headers.get_all("X-From") == ["edge"]
    assert exchange.headers["X-Secret"] is None


def test_conditions_on_the_response(origin, get, path):
    where = f"/seen{path}"
    origin.says(where, {"X-Kind": "page-1"}, "x")
    assert get(where).headers["x-seen"] == "page"
    hit = get(where)
    assert hit.cache == "hit"
    assert hit.headers["x-seen"] == "page"
    origin.says(f"{where}-2", {"X-Kind": "other"}, "x")
    assert "x-seen" not in get(f"{where}-2").headers


def test_redirect_and_denial_ask_no_origin(origin, get):
    answer = get("/old?a=1")
    assert (answer.status, answer.headers["location"]) == (301, "https://www.test/old?a=1")
    assert get("/a.php").status == 403
    assert get("/a", method="DELETE").status == 405
    assert not origin.asked("/a.php") + origin.asked("/old") + origin.asked("/a")


def test_a_rule_chooses_the_origin(origin, other, get):
    other.says("/other/1", {"Cache-Control": "max-age=60"}, "other")
    assert get("/other/1").body == b"other"
    origin.says("/other/x", {"Cache-Control": "max-age=60"}, "app")
    assert get("/other/x").body == b"app"


def test_a_host_without_a_site_is_misdirected(rules_at):
    assert Client(rules_at["http"], "h1").get("/", host="unknown.test").status == 421
