"""The purge API over HTTP: every answer of the table in its issue, against a real journal on loopback."""

from __future__ import annotations

import io
import logging

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purge_api import desk as desk_module
from purge_api.errors import Refused
from purge_api.models import parse
from purge_api.sites import Sites
from purge_api.vocabulary import KINDS
from tests.purging import READER, SECRET, SITES, TAGGER, URL, Context, Wire, bearer, find_api, order, problem, serving
from tests.waiting import until

_headland = pytest.importorskip("_headland", reason="the extension is not built: make develop")

canonicalise = _headland.canonical_url


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path)


@pytest.fixture
async def client(context):
    async with serving(context) as client:
        yield client


async def test_a_purge_is_created_with_its_place_and_state(client, context):
    response = await client.post("/v1/purges", json=order(), headers=bearer())
    assert response.status == 201
    body = await response.json()
    assert response.headers["Location"] == f"/v1/purges/{body['id']}"
    assert response.headers["Cache-Control"] == "no-store"
    assert body["state"] == "applied"
    assert (body["type"], body["mode"], body["items"], body["epoch"]) == ("url", "hard", [URL], 1)
    times = {"received_at": body["received_at"], "applied_at": body["applied_at"]}
    assert body["nodes"] == [{"name": "pop1", "state": "applied", **times}]
    assert body["counts"] == {"items": 1, "nodes": 1, "applied": 1}
    assert body["received_at"] <= body["applied_at"]
    assert context.ledger.applied == [("url", URL, False, 1)]
    again = await client.get(response.headers["Location"], headers=bearer())
    assert again.status == 200
    assert await again.json() == body


@pytest.mark.parametrize(
    ("body", "rules"),
    [
        (order("url", ("HTTPS://WWW.example.com/a?b=c",)), [("url", "https://www.example.com/a?b=c", False)]),
        (order("url", (URL, URL)), [("url", URL, False)]),
        (order("prefix", ("www.example.com/img/",)), [("prefix", "https://www.example.com/img/", False)]),
        (order("prefix", ("https://www.example.com/img/",)), [("prefix", "https://www.example.com/img/", False)]),
        (order("host", ("WWW.example.com",)), [("host", "www.example.com", False)]),
        (order("host", ("127.0.0.1:8080",)), [("host", "127.0.0.1:8080", False)]),
        (order("tag", ("news", "Sport/1"), mode="soft"), [("tag", "news", True), ("tag", "Sport/1", True)]),
        (order("all", ("*",)), [("all", "", False)]),
        (order("path", ("http://www.example.com/a/./b",)), [("path", "http://www.example.com/a/b", False)]),
        (order("wildcard", ("WWW.example.com/*.png",)), [("wildcard", "www.example.com/*.png", False)]),
        (order("regex", ("*~^/[0-9]+/",)), [("regex", "*~^/[0-9]+/", False)]),
        (
            order("site", ("www.example.com",), mode="soft"),
            [("site", "www.example.com", True), ("site", "*.static.example.com", True)],
        ),
        (
            {"type": "uri", "selectors": [URL], "purge": True},
            [("url", URL, False)],
        ),
        ({"type": "uri-prefix", "selectors": ["https://a.example/x/"]}, [("prefix", "https://a.example/x/", True)]),
        ({"type": "origin", "selectors": ["https://a.example"]}, [("host", "a.example", True)]),
        (
            {"type": "group", "selectors": ["https://a.example"], "groups": ["x y"], "purge": True},
            [("tag", "group:https://a.example:x%20y", False)],
        ),
        (order("all", ()), [("all", "", False)]),
        ({"type": "all", "mode": "soft"}, [("all", "", True)]),
    ],
)
async def test_each_kind_becomes_canonical_rules(client, context, body, rules):
    response = await client.post("/v1/purges", json=body, headers=bearer())
    assert response.status == 201, await response.text()
    assert [rule[:3] for rule in context.ledger.applied] == rules


@pytest.mark.parametrize(
    ("body", "word", "says"),
    [
        (b"{", "bad-json", "not JSON"),
        (b"[]", "bad-request", "object"),
        (b'{"type":"url","items":["https://a/"],"force":true}', "unknown-member", "force"),
        (b'{"type":"url","items":["https://a/"],"dry_run":1}', "bad-dry_run", "true or false"),
        (b'{"type":"all","wait":"fleet","wait_ms":0}', "bad-wait_ms", "1 to 30000"),
        (order("path", ("https://a.example/x?y",)), "bad-item", "no query"),
        (order("wildcard", ("www.example.com",)), "bad-item", "a wildcard is a host"),
        (order("wildcard", ("h/" + "*" * 17,)), "bad-item", "at most 16 asterisks"),
        (order("regex", ("www.example.com~(",)), "bad-item", "regular expression"),
        (order("regex", ("www.example.com~" + "(a{100}){100}",)), "bad-item", "too large"),
        (order("site", ("nowhere.example",)), "bad-item", "no such site"),
        (order("site", ("*",)), "bad-item", "takes every other host"),
        (b'{"type":"group","selectors":["https://a.example"],"purge":true}', "bad-items", "groups"),
        (b"{}", "missing-member", "type is missing"),
        (order("ban"), "bad-type", "one of url, path, prefix, wildcard, regex, host, site, tag, all"),
        (order(mode="gone"), "bad-mode", "one of hard, soft"),
        (order("url", ()), "bad-items", "items is empty"),
        (order("url", None), "bad-items", "list of strings"),
        (order("url", URL), "bad-items", "list of strings"),
        (order("all", (URL,)), "bad-items", "takes no items"),
        (order("url", (URL, "/relative")), "bad-item", "item 1 is refused: expected an absolute URL"),
        (order("url", (URL, 7)), "bad-item", "item 1 is refused: expected a string, not 7"),
        (order("url", ("https://a.example/..%2fx",)), "bad-item", "item 0 is refused: "),
        (order("url", ("https://a.example/\r\nX",)), "bad-item", "control character"),
        (order("url", ("https://a.example/" + "x" * 8192,)), "bad-item", "longer than 8192 bytes"),
        (order("prefix", ("/img/",)), "bad-item", "expected host and path"),
        (order("prefix", ("www.example.com",)), "bad-item", "expected host and path"),
        (order("prefix", ("www.example.com/img/*",)), "bad-item", "no wildcard"),
        (order("prefix", ("www.example.com/img?a",)), "bad-item", "no query"),
        (order("host", ("https://www.example.com",)), "bad-item", "without scheme"),
        (order("host", ("*.example.com",)), "bad-item", "no wildcard"),
        (order("tag", ("a,b",)), "bad-item", "no comma"),
        (order("tag", ("a b",)), "bad-item", "space"),
        (order("tag", ("",)), "bad-item", "is empty"),
        (order("tag", ("x" * 1025,)), "bad-item", "longer than 1024 bytes"),
        (order("tag", ("a",), headers={"a": "b"}), "bad-headers", "mean nothing for type tag"),
        (order("path", (URL,), headers={"a": "b"}), "bad-headers", "mean nothing for type path"),
        (order(headers={}), "bad-headers", "leave it out for all"),
        (order(headers=[["a", "b"]]), "bad-headers", "must be an object"),
        (order(headers={"a": 7}), "bad-headers", "the value of 'a' must be a string"),
        (order(headers={"a": "b", "A": "c"}), "bad-headers", "twice"),
        (order(headers={"a b": None}), "bad-headers", "names that are tokens"),
        (order(headers={"a": "b\r\nc: d"}), "bad-headers", "printable ASCII"),
        (order(headers={"a": "x" * 4096}), "bad-headers", "4096 bytes"),
        (order(headers={f"a{number}": "b" for number in range(17)}), "bad-headers", "at most 16"),
        (order("url", (URL, "https://shop.example/"), headers={"a": "b"}), "bad-headers", "purge them one by one"),
    ],
)
async def test_a_bad_order_is_refused_whole_and_named(client, context, body, word, says):
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    response = await client.post(
        "/v1/purges", data=data, headers=bearer() | {"Content-Type": "application/json; charset=utf-8"}
    )
    document = await problem(response, 400, word)
    assert says in document["detail"]
    assert context.ledger.applied == []
    if word == "bad-item":
        assert document["errors"][0]["index"] in {0, 1}
        assert document["errors"][0]["reason"]


async def test_header_fields_are_kept_as_the_rules_leave_them(client, context):
    url = "https://shop.example/a"
    body = order("url", (url,), headers={"Accept-Language": "de", "X-None": None})
    created = await (await client.post("/v1/purges", json=body, headers=bearer())).json()
    assert created["headers"] == {"accept-language": "de", "x-site": "shop"}
    (rule,) = context.ledger.core.rules()
    assert rule[5] == [("accept-language", "de"), ("x-site", "shop")]
    await client.post("/v1/purges", json=body | {"dry_run": True}, headers=bearer())
    assert context.node.headers == (("accept-language", "de"), ("x-site", "shop"))
    plain = await (await client.post("/v1/purges", json=order(), headers=bearer())).json()
    assert "headers" not in plain


@pytest.mark.parametrize(
    ("kind", "item", "limit"),
    [("url", URL, 500), ("tag", "t", 256), ("host", "h", 256), ("wildcard", "h/*", 16)],
)
async def test_items_are_bounded(client, kind, item, limit):
    response = await client.post("/v1/purges", json=order(kind, [item] * (limit + 1)), headers=bearer())
    document = await problem(response, 413, "too-many-items")
    assert str(limit) in document["detail"]
    response = await client.post("/v1/purges", json=order(kind, [item] * limit), headers=bearer())
    assert response.status == 201


async def test_a_body_is_bounded_whether_its_length_is_told_or_not(client):
    large = b" " * (desk_module.BODY_BYTES_MAX + 1)
    fields = bearer() | {"Content-Type": "application/json"}
    await problem(await client.post("/v1/purges", data=io.BytesIO(large), headers=fields), 413, "body")

    async def chunks():
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    await problem(await client.post("/v1/purges", data=chunks(), headers=fields), 413, "body")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
async def test_a_body_that_a_form_could_send_is_refused(client, context, content_type):
    response = await client.post(
        "/v1/purges", data=orjson.dumps(order()), headers=bearer() | {"Content-Type": content_type}
    )
    await problem(response, 415, "content-type")
    assert context.ledger.applied == []


async def test_a_dry_run_counts_and_purges_nothing(client, context):
    body = order("tag", ("a", "b"), dry_run=True)
    response = await client.post("/v1/purges", json=body, headers=bearer())
    assert response.status == 200
    document = await response.json()
    assert document["items"] == [{"item": item, "objects": 2, "bytes": 10} for item in ("a", "b")]
    assert context.ledger.applied == []


async def test_a_batch_may_be_applied_in_part_and_says_exactly_which(client, context):
    body = order("url", (URL, "/relative", 7), partial=True)
    response = await client.post("/v1/purges", json=body, headers=bearer())
    assert response.status == 201
    document = await response.json()
    assert document["results"] == [{"item": URL, "state": "applied", "epoch": 1}]
    assert [(item["index"], item["item"]) for item in document["refused"]] == [(1, "/relative"), (2, "7")]
    assert len(context.ledger.applied) == 1
    none = await client.post("/v1/purges", json=order("url", ("/x",), partial=True), headers=bearer())
    await problem(none, 400, "bad-item")


# -- reading ----------------------------------------------------------------------------------------------------------


async def test_a_caller_sees_its_own_purges_and_a_reader_all(client):
    posted = await client.post("/v1/purges", json=order(), headers=bearer())
    place = posted.headers["Location"]
    assert (await client.get(place, headers=bearer())).status == 200
    assert (await client.get(place, headers=bearer(READER))).status == 200
    await problem(await client.get(place, headers=bearer(TAGGER)), 404, "unknown-purge")
    await problem(await client.get(place), 401, "no-token")
    await problem(await client.get("/v1/purges/77-00", headers=bearer(READER)), 404, "unknown-purge")
    await problem(await client.get("/v1/purges/%00", headers=bearer(READER)), 404, "unknown-purge")


async def test_the_list_is_newest_first_and_bounded(client):
    for number in range(5):
        await client.post("/v1/purges", json=order("tag", [f"t{number}"]), headers=bearer())
    listing = await (await client.get("/v1/purges?limit=3", headers=bearer(READER))).json()
    assert [purge["items"] for purge in listing["purges"]] == [["t4"], ["t3"], ["t2"]]
    assert listing["epoch"] == 5
    await problem(await client.get("/v1/purges", headers=bearer()), 403, "scope")
    for bad in ("0", "-1", "x", "99999999999999", "²"):
        await problem(await client.get(f"/v1/purges?limit={bad}", headers=bearer(READER)), 400, "bad-limit")


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/v1/purges"), ("DELETE", "/v1/purges/1-a"), ("PURGE", "/v1/purges")]
)
async def test_other_methods_are_not_allowed(client, method, path):
    response = await client.request(method, path, headers=bearer())
    await problem(response, 405, "method")
    assert response.headers["Allow"]


# -- around -----------------------------------------------------------------------------------------------------------


async def test_each_purge_and_each_refusal_is_one_line_without_secrets(client, caplog):
    caplog.set_level(logging.INFO, "headland.audit")
    await client.post("/v1/purges", json=order("tag", ("evil\x1b", "a")), headers=bearer())
    await client.post("/v1/purges", json=order(), headers=bearer())
    await client.post("/v1/purges", json=order(), headers=bearer("wrong-secret"))
    lines = [record.getMessage() for record in caplog.records if record.name == "headland.audit"]
    assert len(lines) == 3
    assert not any(SECRET in line or "wrong-secret" in line or "\x1b" in line or "\n" in line for line in lines)
    refused, applied, unknown = (orjson.loads(line) for line in lines)
    assert (refused["result"], refused["actor"], refused["status"]) == ("refused", "ci", 400)
    assert (applied["result"], applied["actor"], applied["items"], applied["client"]) == (
        "applied",
        "ci",
        [URL],
        "127.0.0.1",
    )
    assert (unknown["result"], unknown["actor"], unknown["status"]) == ("refused", "", 401)


async def test_purges_are_counted(client, context):
    await client.post("/v1/purges", json=order("tag", ("a", "b"), mode="soft"), headers=bearer())
    await client.post("/v1/purges", json=order(), headers=bearer("wrong"))
    value = context.registry.get_sample_value
    assert value("headland_purges_total", {"type": "tag", "mode": "soft"}) == 1
    assert value("headland_purges_total", {"type": "url", "mode": "hard"}) == 0
    assert value("headland_purge_items_total", {"type": "tag"}) == 2
    assert value("headland_purge_refused_total", {"reason": "unknown-token"}) == 1
    assert value("headland_purge_apply_seconds_count") == 1
    assert [(shown["type"], shown["count"]) for shown in context.sources["purges"]()] == [("tag", 2)]
    # The journal's own thread counts these, after it has told the caller.
    steps = ("queued", "written", "applied")
    until(lambda: all(value("headland_purge_commit_seconds_count", {"step": step}) == 1 for step in steps))


async def test_a_purge_on_the_data_port_is_durable_when_it_is_answered(client, context):
    (handler,) = context.on_purge
    receipt = await handler(Wire(fields=(("soft-purge", "1"),)))
    assert receipt.status == 200
    assert context.ledger.applied == [("url", URL, True, 1)]
    told = orjson.loads(receipt.body)
    assert told["status"] == "ok"
    shown = await (await client.get(f"/v1/purges/{told['id']}", headers=bearer(READER))).json()
    assert (shown["actor"], shown["mode"]) == ("PURGE", "soft")


async def test_purges_of_a_node_going_down_are_refused(client, context):
    find_api(client)._desk.journal.close()
    await problem(await client.post("/v1/purges", json=order(), headers=bearer()), 503, "journal")
    (handler,) = context.on_purge
    assert (await handler(Wire())).status == 503
    assert context.ledger.applied == []


async def test_a_failing_handler_tells_the_client_nothing(client, context, caplog):
    def broken(url: str) -> tuple[str, str, str]:
        raise RuntimeError("secret detail")

    context.canonicalise = broken
    response = await client.post("/v1/purges", json=order(), headers=bearer())
    document = await problem(response, 500, "internal")
    assert "secret detail" not in str(document)
    assert "secret detail" in caplog.text


async def test_paths_outside_the_api_are_left_alone(client):
    response = await client.get("/elsewhere")
    assert response.status == 404
    assert response.content_type == "text/plain"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
orders = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS) | json_values},
    optional={
        "items": st.lists(st.text() | st.sampled_from([URL, "a.example/x", "t", "h/*", "h~x"]) | json_values)
        | json_values,
        "mode": st.sampled_from(["hard", "soft"]) | json_values,
        "headers": st.dictionaries(st.sampled_from(["a", "A", ""]), st.none() | st.text(max_size=3)) | json_values,
    },
)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=60) | (orders | json_values).map(lambda value: orjson.dumps(value, default=str)))
def test_whatever_is_sent_is_an_order_or_refused(body):
    try:
        order = parse(body, canonicalise, Sites(SITES))
    except Refused as refused:
        assert refused.status in {400, 413}  # noqa: PT017 - the other way out is as good
        orjson.dumps([refused.detail, refused.extra])
    else:
        assert order.items
        assert len(set(order.items)) == len(order.items)
        for item in order.items:
            _headland.canonical_purge(
                order.kind, item, order.headers
            )  # what is accepted is a rule, or the journal could not be read
